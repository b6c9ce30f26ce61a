//! Debts: what the outside took back of a deposit (a refund, a chargeback) that the owner had already spent.
//!
//! No balance goes below zero. What is free is taken at once; the rest is owed, and every amount that becomes free from
//! then on pays the debt first: a deposit, a transfer that arrives, a hold that lapses. Nothing new is held meanwhile.

use guildhall_domain::money::MicroUsd;

use super::draft::Draft;
use super::ledger::{Movement, SUMS_KEY};
use super::movement::Asked;
use super::protocol::{Note, Reply};
use super::refusal::Stop;
use super::state::WalletMachine;
use crate::machine::{Facts, MachineError};

impl WalletMachine {
    /// Takes money back to the outside, now or as soon as there is some.
    pub(super) fn reclaim(
        &mut self,
        asked: Asked<'_>,
        of: Option<&str>,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        if !asked.is_new(facts)? {
            return self.moved(true);
        }
        asked.post(&mut self.sums, draft)?;
        if let Some(deposit_id) = of {
            self.immature.take_back(deposit_id, asked.amount, draft)?;
        }
        self.repay(draft)?;
        self.moved(false)
    }

    /// Pays debts from what is free; those of a merged wallet are the other one's.
    pub(super) fn repay(&mut self, draft: &mut Draft) -> Result<(), MachineError> {
        if self.heir.is_some() {
            return self.hand_on(draft);
        }
        let amount = self.sums.owed.min(self.free()?);
        if amount <= MicroUsd::ZERO {
            return Ok(());
        }
        self.sums.repayments += 1;
        let id = self.sums.repayments.to_string();
        self.sums.post(Movement::Repay, &id, amount, &Note::default(), draft)?;
        draft.put(SUMS_KEY.to_owned(), &self.sums)?;
        self.immature.fit(self.sums.balance, draft)
    }
}
