//! Movements that commands ask for by name: what is checked of each, and what is written.

use guildhall_domain::money::MicroUsd;

use super::draft::Draft;
use super::ledger::{Movement, Sums, note_of};
use super::protocol::{Note, RefusalCode};
use super::refusal::{Stop, check_amount, check_id, check_reason, refuse};
use crate::machine::{Facts, MachineError};

/// A movement that is asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub movement: Movement,
    /// Names it.
    pub id: &'a str,
    pub amount: MicroUsd,
    pub reason: &'a str,
    /// The other wallet.
    pub wallet: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Between the wallet and the outside.
    pub const fn of(movement: Movement, id: &'a str, amount: MicroUsd, reason: &'a str) -> Self {
        Self { movement, id, amount, reason, wallet: None }
    }

    /// Checks it. `false` when it was made before: another reason is no other movement.
    ///
    /// # Errors
    /// [`RefusalCode::IdReused`] when the id was used for another amount or wallet.
    pub fn is_new(&self, facts: &Facts) -> Result<bool, Stop> {
        check_id("a movement's id", self.id)?;
        self.wallet.map_or(Ok(()), |wallet| check_id("a wallet's name", wallet))?;
        check_amount(self.amount)?;
        check_reason(self.reason)?;
        let entry_id = self.entry_id();
        let Some(entry) = facts.known.get(&entry_id) else {
            return Ok(true);
        };
        if entry.amount_usd_micros != self.amount.0 || note_of(entry)?.wallet.as_deref() != self.wallet {
            return Err(refuse(RefusalCode::IdReused, format!("{entry_id} was used for something else")));
        }
        Ok(false)
    }

    /// Makes it.
    pub fn post(&self, sums: &mut Sums, draft: &mut Draft) -> Result<(), MachineError> {
        let (reason, wallet) = (Some(self.reason.to_owned()), self.wallet.map(str::to_owned));
        let note = Note { reason, wallet, ..Note::default() };
        sums.post(self.movement, &self.name(), self.amount, &note, draft)
    }

    fn entry_id(&self) -> String {
        self.movement.entry_id(&self.name())
    }

    /// The id, apart from those of other wallets.
    fn name(&self) -> String {
        match self.wallet {
            Some(from) if self.movement == Movement::Receive => received_id(from, self.id),
            _ => self.id.to_owned(),
        }
    }
}

/// The name of a transfer at the wallet that receives it. The length keeps `("a", "b:c")` and `("a:b", "c")` apart.
pub fn received_id(from: &str, id: &str) -> String {
    format!("{}:{from}:{id}", from.len())
}

/// The outbox id of a capture's record.
pub fn record_id(capture_id: &str) -> String {
    format!("record:{capture_id}")
}
