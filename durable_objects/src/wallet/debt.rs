//! Debts: what the outside took back of a deposit (a refund, a chargeback) that the owner had already spent.
//!
//! No balance goes below zero. What is free is taken at once; the rest is owed, and every amount that becomes free from
//! then on pays the debt first: a deposit, a transfer that arrives, a hold that lapses. Nothing new is held meanwhile.

use guildhall_domain::money::MicroUsd;

use super::draft::Draft;
use super::ledger::{Movement, SUMS_KEY};
use super::protocol::{Note, Reply};
use super::refusal::{Stop, check_amount, check_id, check_reason};
use super::state::{WalletMachine, is_repeated};
use crate::machine::{Facts, MachineError};

impl WalletMachine {
    /// Takes money back to the outside, now or as soon as there is some.
    pub(super) fn reclaim(
        &mut self,
        id: &str,
        amount: MicroUsd,
        reason: String,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        check_id("a reclaim's id", id)?;
        check_amount(amount)?;
        check_reason(&reason)?;
        let note = Note { reason: Some(reason), ..Note::default() };
        if is_repeated(facts, &Movement::Owe.entry_id(id), amount, &note)? {
            return self.moved(true);
        }
        self.sums.post(Movement::Owe, id, amount, &note, draft)?;
        self.repay(draft)?;
        self.moved(false)
    }

    /// Pays debts from what is free.
    pub(super) fn repay(&mut self, draft: &mut Draft) -> Result<(), MachineError> {
        let amount = self.sums.owed.min(self.free()?);
        if amount <= MicroUsd::ZERO {
            return Ok(());
        }
        self.sums.repayments += 1;
        let id = self.sums.repayments.to_string();
        self.sums.post(Movement::Repay, &id, amount, &Note::default(), draft)?;
        draft.put(SUMS_KEY.to_owned(), &self.sums)
    }
}
