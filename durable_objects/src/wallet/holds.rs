//! Reservations of money: what leases and calls hold of the balance.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::budgets::Budgets;
use super::draft::Draft;
use super::ledger::{less, plus};
use super::protocol::BudgetLine;
use crate::machine::{MachineError, Row};

/// Leases open at the same time, one for each isolate and each of its keys with a budget; more than any account keeps
/// busy.
const LEASES_MAX: usize = 10_000;
/// Holds of calls open at the same time.
const CALLS_MAX: usize = 10_000;

/// Who holds: a lease, which comes back within seconds, or a call, which may run for long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Lease(String),
    Call(String),
}

impl Key {
    fn row_key(&self) -> String {
        match self {
            Self::Lease(id) => format!("lease:{id}"),
            Self::Call(id) => format!("call:{id}"),
        }
    }

    fn parse(row_key: &str) -> Option<Self> {
        let (kind, id) = row_key.split_once(':')?;
        match kind {
            "lease" => Some(Self::Lease(id.to_owned())),
            "call" => Some(Self::Call(id.to_owned())),
            _ => None,
        }
    }

    /// The holder's id, without its kind.
    pub fn id(&self) -> &str {
        match self {
            Self::Lease(id) | Self::Call(id) => id,
        }
    }
}

/// A reservation; never of nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub amount: MicroUsd,
    pub expires_at_ms: i64,
    /// What it counts against beside the balance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetLine>,
}

/// All reservations, their sums, and which expires next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holds {
    holds: BTreeMap<Key, Hold>,
    by_expiry: BTreeSet<(i64, Key)>,
    leases: Group,
    calls: Group,
    /// What they hold of each budget, and what was spent of it.
    pub budgets: Budgets,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Group {
    open: usize,
    total: MicroUsd,
}

impl Holds {
    /// When a holder's hold expires; `None` when it has none.
    pub fn expires_at_ms(&self, key: &Key) -> Option<i64> {
        self.holds.get(key).map(|hold| hold.expires_at_ms)
    }

    /// The budgets that an open hold counts against.
    pub fn budgets_of(&self, key: &Key) -> Option<&[BudgetLine]> {
        self.holds.get(key).map(|hold| hold.budgets.as_slice())
    }

    /// Takes a stored row in. Answers whether it was a hold or a budget.
    pub fn load(&mut self, row: &Row) -> Result<bool, MachineError> {
        let Some(key) = Key::parse(&row.key) else {
            return self.budgets.load(row);
        };
        let hold = serde_json::from_str(&row.value).map_err(|error| MachineError::unreadable(&row.key, &error))?;
        self.replace(&key, Some(hold))?;
        Ok(true)
    }

    /// What is held under this key; nothing when it is not open.
    pub fn amount(&self, key: &Key) -> MicroUsd {
        self.holds.get(key).map_or(MicroUsd::ZERO, |hold| hold.amount)
    }

    /// Whether a hold is open under this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.holds.contains_key(key)
    }

    /// What leases hold together.
    pub const fn leases_total(&self) -> MicroUsd {
        self.leases.total
    }

    /// What calls hold together.
    pub const fn calls_total(&self) -> MicroUsd {
        self.calls.total
    }

    /// Whether one more may be opened of the kind of this key.
    pub const fn has_room(&self, key: &Key) -> bool {
        match key {
            Key::Lease(_) => self.leases.open < LEASES_MAX,
            Key::Call(_) => self.calls.open < CALLS_MAX,
        }
    }

    /// Opens, changes or, with nothing to hold, closes a hold.
    pub fn set(&mut self, key: &Key, hold: Hold, draft: &mut Draft) -> Result<(), MachineError> {
        let hold = Some(hold).filter(|hold| hold.amount > MicroUsd::ZERO);
        match &hold {
            Some(hold) => draft.put(key.row_key(), hold)?,
            None if self.contains(key) => draft.delete(key.row_key()),
            None => {}
        }
        self.replace(key, hold)
    }

    /// Closes a hold, if it is open.
    pub fn close(&mut self, key: &Key, draft: &mut Draft) -> Result<(), MachineError> {
        self.set(key, Hold { amount: MicroUsd::ZERO, expires_at_ms: 0, budgets: Vec::new() }, draft)
    }

    /// Takes money out of a hold, which stays open as long as anything is left.
    pub fn take(&mut self, key: &Key, amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        match self.holds.get(key) {
            Some(hold) if amount > MicroUsd::ZERO => {
                let hold = Hold { amount: less(hold.amount, amount)?, ..hold.clone() };
                self.set(key, hold, draft)
            }
            _ => Ok(()),
        }
    }

    /// Closes what has expired.
    pub fn expire(&mut self, draft: &mut Draft) -> Result<(), MachineError> {
        while let Some((expires_at_ms, key)) = self.by_expiry.first().cloned()
            && expires_at_ms <= draft.now_ms
        {
            self.close(&key, draft)?;
        }
        Ok(())
    }

    /// When the next one expires; milliseconds since 1970.
    pub fn next_expiry_ms(&self) -> Option<i64> {
        self.by_expiry.first().map(|(expires_at_ms, _)| *expires_at_ms)
    }

    fn replace(&mut self, key: &Key, hold: Option<Hold>) -> Result<(), MachineError> {
        let of_lease = matches!(key, Key::Lease(_));
        let group = if of_lease { &mut self.leases } else { &mut self.calls };
        if let Some(before) = self.holds.remove(key) {
            group.open = group.open.saturating_sub(1);
            group.total = less(group.total, before.amount)?;
            self.budgets.drop_held(&before.budgets, of_lease, before.amount)?;
            self.by_expiry.remove(&(before.expires_at_ms, key.clone()));
        }
        if let Some(hold) = hold {
            group.open += 1;
            group.total = plus(group.total, hold.amount)?;
            self.budgets.add_held(&hold.budgets, of_lease, hold.amount)?;
            self.by_expiry.insert((hold.expires_at_ms, key.clone()));
            self.holds.insert(key.clone(), hold);
        }
        Ok(())
    }
}
