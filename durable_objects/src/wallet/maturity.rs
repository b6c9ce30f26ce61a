//! Money that whoever paid it may take back for a while: spent as any other, and withdrawn only when it has matured.
//!
//! Calls and transfers take it first, the oldest before the rest: what was paid in to be spent is spent, and what was
//! earned is left. A withdrawal never takes it, so nothing that went through here reaches a bank before its time. What the
//! outside takes back goes from the deposit that it was; other debts are paid from it last.

use std::collections::BTreeMap;

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::ledger::{less, plus};
use super::protocol::Maturity;
use crate::machine::{MachineError, Row};

const ROW_PREFIX: &str = "immature:";
/// Parts that a reader is told apart.
const PARTS_MAX: usize = 100;

/// What is left of each deposit that has not matured, by when it does. Together never more than the balance.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Immature {
    lots: BTreeMap<(i64, String), MicroUsd>,
    total: MicroUsd,
}

/// What is stored of a deposit.
#[derive(Serialize, Deserialize)]
struct Lot {
    at_ms: i64,
    amount: MicroUsd,
}

impl Immature {
    /// Takes a stored row in. Answers whether it was a deposit.
    pub fn load(&mut self, row: &Row) -> Result<bool, MachineError> {
        let Some(id) = row.key.strip_prefix(ROW_PREFIX) else {
            return Ok(false);
        };
        let Lot { at_ms, amount } =
            serde_json::from_str(&row.value).map_err(|error| MachineError::unreadable(&row.key, &error))?;
        self.total = plus(self.total, amount)?;
        self.lots.insert((at_ms, id.to_owned()), amount);
        Ok(true)
    }

    /// All of it.
    pub const fn total(&self) -> MicroUsd {
        self.total
    }

    /// By when it matures.
    pub fn parts(&self) -> Vec<Maturity> {
        let mut parts: Vec<Maturity> = Vec::new();
        for ((at_ms, _), amount) in &self.lots {
            let is_full = parts.len() >= PARTS_MAX;
            match parts.last_mut() {
                Some(last) if last.at_ms == *at_ms || is_full => {
                    *last = Maturity { at_ms: *at_ms, amount: MicroUsd(last.amount.0.saturating_add(amount.0)) };
                }
                _ => parts.push(Maturity { at_ms: *at_ms, amount: *amount }),
            }
        }
        parts
    }

    /// Notes a deposit.
    pub fn add(&mut self, id: &str, at_ms: i64, amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        if at_ms <= draft.now_ms {
            return Ok(());
        }
        self.set((at_ms, id.to_owned()), amount, draft)
    }

    /// Forgets what has matured.
    pub fn expire(&mut self, draft: &mut Draft) -> Result<(), MachineError> {
        while let Some((key, _)) = self.lots.first_key_value()
            && key.0 <= draft.now_ms
        {
            self.set(key.clone(), MicroUsd::ZERO, draft)?;
        }
        Ok(())
    }

    /// Spends of it, as far as it goes.
    pub fn spend(&mut self, mut amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        while amount > MicroUsd::ZERO
            && let Some((key, lot)) = self.lots.first_key_value()
        {
            let (key, lot) = (key.clone(), *lot);
            let part = amount.min(lot);
            self.set(key, less(lot, part)?, draft)?;
            amount = less(amount, part)?;
        }
        Ok(())
    }

    /// Takes from one deposit, as far as it is there.
    pub fn take_back(&mut self, id: &str, amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        match self.lots.iter().find(|((_, of), _)| of == id) {
            Some((key, lot)) => {
                let (key, left) = (key.clone(), less(*lot, amount.min(*lot))?);
                self.set(key, left, draft)
            }
            None => Ok(()),
        }
    }

    /// Keeps no more than there is.
    pub fn fit(&mut self, balance: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        let excess = MicroUsd(self.total.0.saturating_sub(balance.0));
        self.spend(excess, draft)
    }

    fn set(&mut self, key: (i64, String), amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        let row_key = format!("{ROW_PREFIX}{}", key.1);
        let before = self.lots.remove(&key).unwrap_or_default();
        self.total = plus(less(self.total, before)?, amount)?;
        if amount == MicroUsd::ZERO {
            draft.delete(row_key);
            return Ok(());
        }
        draft.put(row_key, &Lot { at_ms: key.0, amount })?;
        self.lots.insert(key, amount);
        Ok(())
    }
}
