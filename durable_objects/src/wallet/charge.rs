//! Charges: by lease, and by the hold of a call.

use std::collections::BTreeSet;

use guildhall_domain::money::MicroUsd;

use super::budgets::are_same;
use super::draft::Draft;
use super::holds::{Hold, Key};
use super::ledger::{Movement, less, plus};
use super::movement::record_id;
use super::protocol::{BudgetLine, Capture, LEASE_MAX_MS, Lease, Leased, Note, QueuedRecord, RefusalCode, Reply};
use super::refusal::{Stop, check_lease, refuse};
use super::state::WalletMachine;
use crate::machine::{Effect, Enlisted, Facts, MachineError, Write};

/// How long the queue's consumer has before a record is sent again, in milliseconds.
const RECORD_RETRY_MS: i64 = 60 * 1_000;

/// What a capture came to.
struct Charge {
    charged: MicroUsd,
    written_off: MicroUsd,
}

impl WalletMachine {
    /// See [`Lease`].
    pub(super) fn lease(&mut self, lease: Lease, facts: &Facts, draft: &mut Draft) -> Result<Reply, Stop> {
        check_lease(&lease)?;
        let Lease { id, captures, want, least, expires_at_ms, budgets } = lease;
        let key = Key::Lease(id);
        if self.holds.budgets_of(&key).is_some_and(|open| !are_same(open, &budgets)) {
            return Err(refuse(RefusalCode::Invalid, "a lease keeps its budgets while it is open"));
        }
        self.holds.budgets.open(&budgets, draft)?;
        let mut written_off = MicroUsd::ZERO;
        let mut seen = BTreeSet::new();
        for capture in captures {
            let is_entered = facts.known.contains_key(&Movement::Capture.entry_id(&capture.id));
            let is_known = is_entered || self.folded.may_hold(&capture);
            if !is_known && seen.insert(capture.id.clone()) {
                written_off = plus(written_off, self.charge(&key, &budgets, capture, facts, draft)?.written_off)?;
            }
        }
        let expires_at_ms = expires_at_ms.min(draft.now_ms.saturating_add(LEASE_MAX_MS));
        let want = if expires_at_ms <= draft.now_ms { MicroUsd::ZERO } else { want };
        // Each statement of a holder expires later than the one before it: this one was overtaken on its way.
        let is_overtaken = self.holds.expires_at_ms(&key).is_some_and(|latest_ms| expires_at_ms < latest_ms);
        if !is_overtaken {
            let want = Hold { amount: want, expires_at_ms, budgets: budgets.clone() };
            self.set_lease(&key, want, least, draft)?;
        }
        let held = self.holds.amount(&key);
        let budget = self.budget_left(&budgets, held);
        Ok(Reply::Leased(Leased {
            held,
            balance: self.sums.balance,
            available: self.available()?,
            others_held: less(self.holds.leases_total(), held)?,
            written_off,
            budget,
        }))
    }

    /// Brings a lease to what is wanted, or as near as money and budgets reach, or leaves it when that is less than `least`.
    fn set_lease(&mut self, key: &Key, want: Hold, least: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        let current = self.holds.amount(key);
        let within_reach = plus(current, self.free_within(&want.budgets)?)?;
        let amount = want.amount.min(within_reach);
        let has_place = self.holds.contains(key) || self.holds.has_room(key);
        if want.amount <= current || (amount >= least && has_place) {
            self.holds.set(key, Hold { amount, ..want }, draft)?;
        }
        Ok(())
    }

    /// Charges the hold of a call.
    pub(super) fn capture(
        &mut self,
        key: &Key,
        capture: Capture,
        close: bool,
        budgets: Vec<BudgetLine>,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        let budgets = self.holds.budgets_of(key).map_or(budgets, <[BudgetLine]>::to_vec);
        let charge = match charged_before(&capture, facts)? {
            Some(charge) => charge,
            None if self.folded.may_hold(&capture) => Charge { charged: MicroUsd::ZERO, written_off: MicroUsd::ZERO },
            None => {
                // Where there is no place to count it, what was used is charged all the same.
                let lines = self.holds.budgets.open_known(&budgets, draft)?;
                self.charge(key, &lines, capture, facts, draft)?
            }
        };
        if close {
            self.holds.close(key, draft)?;
        }
        let Charge { charged, written_off } = charge;
        let (balance, available) = (self.sums.balance, self.available()?);
        Ok(Reply::Captured { charged, written_off, held: self.holds.amount(key), balance, available })
    }

    /// Takes a charge from its hold, then from free money within its budgets, and writes off the rest: what was used is
    /// owed, but a prepaid wallet never owes, and a budget is never overstepped. A lease's charge of nothing moves nothing,
    /// so it leaves no entry: made again, it is at most a record that is sent again.
    fn charge(
        &mut self,
        key: &Key,
        budgets: &[BudgetLine],
        capture: Capture,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Charge, MachineError> {
        let Capture { id, amount, record, counts, sealed_at_ms } = capture;
        let from_hold = amount.min(self.holds.amount(key));
        let from_free = less(amount, from_hold)?.min(self.free_within(budgets)?);
        let charged = plus(from_hold, from_free)?;
        let written_off = less(amount, charged)?;
        let note = Note { hold: Some(key.id().to_owned()), sealed_at_ms, ..Note::default() };
        self.holds.take(key, from_hold, draft)?;
        self.holds.budgets.spend(budgets, charged, draft)?;
        self.holds.budgets.count(counts, budgets, charged, draft)?;
        if amount > MicroUsd::ZERO || matches!(key, Key::Call(_)) {
            self.sums.post(Movement::Capture, &id, charged, &note, draft)?;
        }
        self.immature.spend(charged, draft)?;
        if written_off > MicroUsd::ZERO {
            self.sums.post(Movement::WriteOff, &id, written_off, &note, draft)?;
        }
        let enlisted_id = record_id(&id);
        if let Some(record) = record
            && !facts.enlisted.contains(&enlisted_id)
        {
            let item = serde_json::to_string(&QueuedRecord { wallet: self.name.clone(), id, record, written_off })?;
            let effect = Effect::Enqueue { item };
            draft.push(Write::Enlist(Enlisted { id: enlisted_id, effect, retry_after_ms: RECORD_RETRY_MS }));
        }
        Ok(Charge { charged, written_off })
    }
}

/// What the same capture came to when it was first made, if it was.
fn charged_before(capture: &Capture, facts: &Facts) -> Result<Option<Charge>, Stop> {
    let amount_of = |movement: Movement| {
        facts.known.get(&movement.entry_id(&capture.id)).map(|entry| MicroUsd(entry.amount_usd_micros))
    };
    let Some(charged) = amount_of(Movement::Capture) else {
        return Ok(None);
    };
    let written_off = amount_of(Movement::WriteOff).unwrap_or_default();
    if plus(charged, written_off)? != capture.amount {
        return Err(refuse(RefusalCode::IdReused, format!("capture {} was of another amount", capture.id)));
    }
    Ok(Some(Charge { charged, written_off }))
}
