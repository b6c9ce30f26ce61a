//! A merged wallet: its keys pay from another one, within the same budgets, and what it owes is owed there.
//!
//! ```text
//! Merge ─▶ heir    spent + held of each budget ▶ Inherit, one message at a time, once by (from, number)
//!                  owed ▶ external             ▶ Reclaim, once by (from, number)
//! ```
//!
//! What is held here counts there as if it were spent; what comes back of it is taken off again. So a budget that both
//! wallets know is never wider than one, at any moment. The money itself is moved by transfers.

use guildhall_domain::money::MicroUsd;

use super::draft::Draft;
use super::heir::{HEARD_PREFIX, HEIR_KEY, Heir};
use super::ledger::Movement;
use super::movement::received_id;
use super::protocol::{
    AMOUNT_MAX, BudgetLeft, BudgetLine, COUNTS_MAX, Command, Count, Note, RefusalCode, Reply, Wallet,
};
use super::refusal::{Stop, check_count, check_id, refuse};
use super::state::WalletMachine;
use crate::machine::{Effect, Enlisted, MachineError, Write};
use crate::protocol::Protocol;

/// How soon a delivery that failed is tried again, in milliseconds; then twice as long each time.
const RETRY_MS: i64 = 1_000;

impl WalletMachine {
    /// Names the wallet that this one goes up in.
    pub(super) fn merge(&mut self, into: String, draft: &mut Draft) -> Result<Reply, Stop> {
        check_id("a wallet's name", &into)?;
        if into == self.name {
            return Err(refuse(RefusalCode::OwnWallet, "a wallet is merged into another"));
        }
        match &self.heir {
            Some(heir) if heir.into != into => {
                return Err(refuse(RefusalCode::IdReused, format!("it was merged into {}", heir.into)));
            }
            Some(_) => {}
            None => self.heir = Some(Heir { into, number: 0, is_telling: false }),
        }
        self.hand_on(draft)?;
        draft.put(HEIR_KEY.to_owned(), &self.heir)?;
        let is_told = self.heir.as_ref().is_some_and(|heir| !heir.is_telling);
        Ok(Reply::Merged { is_told, balance: self.balance()? })
    }

    /// Hands on what is owed here, and what has changed of budgets.
    pub(super) fn hand_on(&mut self, draft: &mut Draft) -> Result<(), MachineError> {
        let Some(heir) = &mut self.heir else { return Ok(()) };
        let amount = self.sums.owed.min(AMOUNT_MAX);
        if amount > MicroUsd::ZERO {
            let number = heir.next_number().to_string();
            let note = Note { wallet: Some(heir.into.clone()), ..Note::default() };
            self.sums.post(Movement::PassOn, &number, amount, &note, draft)?;
            let (id, reason) = (received_id(&self.name, &number), "owed by a merged account".to_owned());
            deliver("owed", heir, &Command::Reclaim { id, amount, reason, of: None }, draft)?;
        }
        if !heir.is_telling {
            let counts = self.holds.budgets.changes(COUNTS_MAX, draft)?;
            if !counts.is_empty() {
                let number = heir.next_number();
                heir.is_telling = true;
                deliver("budgets", heir, &Command::Inherit { from: self.name.clone(), number, counts }, draft)?;
            }
        }
        Ok(())
    }

    /// Counts what a merged wallet's keys have spent and hold.
    pub(super) fn inherit(
        &mut self,
        from: String,
        number: u64,
        counts: &[Count],
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        check_id("a wallet's name", &from)?;
        if counts.len() > COUNTS_MAX {
            return Err(refuse(RefusalCode::Invalid, format!("at most {COUNTS_MAX} lines are told of at a time")));
        }
        counts.iter().try_for_each(check_count)?;
        if self.heard.get(&from).is_none_or(|heard| *heard < number) {
            self.holds.budgets.inherit(counts, draft)?;
            draft.put(format!("{HEARD_PREFIX}{from}"), &number)?;
            self.heard.insert(from, number);
        }
        Ok(Reply::Acknowledged)
    }

    /// Notes that the other wallet has what was sent there.
    pub(super) fn settle_handed_on(
        &mut self,
        delivery: &Enlisted,
        answer: &[u8],
        draft: &mut Draft,
    ) -> Result<(), MachineError> {
        match serde_json::from_slice(answer).map_err(|error| MachineError::unreadable(&delivery.id, &error))? {
            Reply::Moved { .. } => {}
            Reply::Acknowledged => {
                if let Some(heir) = &mut self.heir {
                    heir.is_telling = false;
                    draft.put(HEIR_KEY.to_owned(), heir)?;
                }
            }
            _ => return Err(MachineError::unreadable(&delivery.id, &"not taken by the other wallet")),
        }
        draft.push(Write::Strike { id: delivery.id.clone() });
        Ok(())
    }

    /// What may be held more under all of these lines; `None` when there are none. Of a merged wallet nothing: its budgets
    /// are kept by the other.
    pub(super) fn room(&self, budgets: &[BudgetLine]) -> Option<MicroUsd> {
        let room = self.holds.budgets.room(budgets);
        if self.heir.is_some() { room.map(|_| MicroUsd::ZERO) } else { room }
    }

    /// How the line with the least left stands, seen by a lease that holds `own`.
    pub(super) fn budget_left(&self, budgets: &[BudgetLine], own: MicroUsd) -> Option<BudgetLeft> {
        let left = self.holds.budgets.left(budgets, own)?;
        let is_merged = self.heir.is_some();
        Some(if is_merged { BudgetLeft { available: own, others_held: MicroUsd::ZERO, ..left } } else { left })
    }
}

fn deliver(what: &str, heir: &Heir, command: &Command, draft: &mut Draft) -> Result<(), MachineError> {
    let (binding, name) = (Wallet::BINDING.to_owned(), heir.into.clone());
    let effect = Effect::Deliver { binding, name, command: serde_json::to_string(command)? };
    let id = format!("{what}:{}", heir.number);
    draft.push(Write::Enlist(Enlisted { id, effect, retry_after_ms: RETRY_MS }));
    draft.put(HEIR_KEY.to_owned(), heir)
}
