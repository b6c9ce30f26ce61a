//! The books: which movements of money there are, and between which accounts.
//!
//! Every movement takes from one account and gives to another, so the accounts of a wallet always add up to nothing.
//! `balance` and `in_flight` are the owner's; the others are where money comes from and goes to. Holds are no movements:
//! they reserve part of the balance and leave no trace when they lapse.

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use crate::machine::{Entry, MachineError, NumberedEntry, Write};

/// The row of the stored sums.
pub const SUMS_KEY: &str = "sums";

/// The sum of two amounts, which stay far below what fits.
pub fn plus(one: MicroUsd, other: MicroUsd) -> Result<MicroUsd, MachineError> {
    one.checked_add(other).ok_or_else(|| MachineError(format!("{one} + {other} does not fit")))
}

/// The difference of two amounts, the second of which is part of the first.
pub fn less(one: MicroUsd, part: MicroUsd) -> Result<MicroUsd, MachineError> {
    let difference = one.checked_sub(part).filter(|difference| !difference.is_negative());
    difference.ok_or_else(|| MachineError(format!("{one} - {part} is below zero")))
}

/// An account of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Settled money of the owner.
    Balance,
    /// Sent to another wallet, whose answer is awaited.
    InFlight,
    /// Outside the platform: deposits and withdrawals.
    External,
    /// What usage was worth.
    Revenue,
    /// The part of it that no money covered.
    WriteOff,
    /// Other wallets.
    Wallets,
    /// What the owner owes to the outside, as a negative amount.
    Debt,
}

impl Account {
    /// Its name in the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::InFlight => "in_flight",
            Self::External => "external",
            Self::Revenue => "revenue",
            Self::WriteOff => "write_off",
            Self::Wallets => "wallets",
            Self::Debt => "debt",
        }
    }
}

/// A kind of movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// A deposit.
    Credit,
    /// A withdrawal.
    Debit,
    /// A charge, as far as money covers it.
    Capture,
    /// A charge, as far as nothing covers it.
    WriteOff,
    /// A transfer leaves.
    Send,
    /// The other wallet has it.
    Arrive,
    /// The other wallet refused it.
    Return,
    /// A transfer from another wallet.
    Receive,
    /// The outside takes a deposit back.
    Owe,
    /// The owner's money pays for that.
    Repay,
    /// The wallet that this one was merged into owes it.
    PassOn,
}

impl Movement {
    /// From where to where.
    const fn accounts(self) -> (Account, Account) {
        match self {
            Self::Credit => (Account::External, Account::Balance),
            Self::Debit => (Account::Balance, Account::External),
            Self::Capture => (Account::Balance, Account::Revenue),
            Self::WriteOff => (Account::WriteOff, Account::Revenue),
            Self::Send => (Account::Balance, Account::InFlight),
            Self::Arrive => (Account::InFlight, Account::Wallets),
            Self::Return => (Account::InFlight, Account::Balance),
            Self::Receive => (Account::Wallets, Account::Balance),
            Self::Owe => (Account::Debt, Account::External),
            Self::Repay => (Account::Balance, Account::Debt),
            Self::PassOn => (Account::External, Account::Debt),
        }
    }

    /// The journal id of the movement that a command names `id`.
    pub fn entry_id(self, id: &str) -> String {
        let kind = match self {
            Self::Credit => "credit",
            Self::Debit => "debit",
            Self::Capture => "capture",
            Self::WriteOff => "write_off",
            Self::Send => "send",
            Self::Arrive => "arrive",
            Self::Return => "return",
            Self::Receive => "receive",
            Self::Owe => "owe",
            Self::Repay => "repay",
            Self::PassOn => "pass_on",
        };
        format!("{kind}:{id}")
    }
}

/// An entry of the journal: `amount` moved from the account `debit` to the account `credit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Its number, rising.
    pub seq: i64,
    /// The kind and the command's id, as `credit:ID`.
    pub id: String,
    /// When; milliseconds since 1970.
    pub at_ms: i64,
    /// `balance`, `in_flight`, `external`, `revenue`, `write_off`, `wallets` or `debt`.
    pub debit: String,
    /// As `debit`.
    pub credit: String,
    /// How much.
    pub amount: MicroUsd,
    /// What it was for.
    pub note: Note,
}

/// What an entry was for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// As the command gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The other wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
    /// The lease or hold that was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Of a capture, as [`super::protocol::Capture::sealed_at_ms`]; 0 when nobody said it.
    #[serde(default, skip_serializing_if = "is_no_time")]
    pub sealed_at_ms: i64,
}

/// The owner's accounts, as the journal adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub balance: MicroUsd,
    pub in_flight: MicroUsd,
    /// What is owed to the outside.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub owed: MicroUsd,
    /// How often a debt was paid: names the next time.
    #[serde(default, skip_serializing_if = "is_never")]
    pub repayments: u64,
}

/// Leaves a time that nobody said out of what is stored.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so; where words are small the lint is silent")]
pub const fn is_no_time(at_ms: &i64) -> bool {
    *at_ms == 0
}

/// Leaves an amount of nothing out of what is stored.
pub fn is_nothing(amount: &MicroUsd) -> bool {
    *amount == MicroUsd::ZERO
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so; where words are small the lint is silent")]
const fn is_never(times: &u64) -> bool {
    *times == 0
}

impl Sums {
    /// Moves money and says so in the journal.
    pub fn post(
        &mut self,
        movement: Movement,
        id: &str,
        amount: MicroUsd,
        note: &Note,
        draft: &mut Draft,
    ) -> Result<(), MachineError> {
        let (debit, credit) = movement.accounts();
        match movement {
            Movement::Owe => self.owed = plus(self.owed, amount)?,
            Movement::Repay | Movement::PassOn => self.owed = less(self.owed, amount)?,
            _ => {}
        }
        if let Some(sum) = self.account(debit) {
            *sum = less(*sum, amount)?;
        }
        if let Some(sum) = self.account(credit) {
            *sum = plus(*sum, amount)?;
        }
        draft.put(SUMS_KEY.to_owned(), self)?;
        draft.push(Write::Append(Entry {
            id: movement.entry_id(id),
            at_ms: draft.now_ms,
            debit: debit.name().to_owned(),
            credit: credit.name().to_owned(),
            amount_usd_micros: amount.0,
            note: serde_json::to_string(note)?,
        }));
        Ok(())
    }

    const fn account(&mut self, account: Account) -> Option<&mut MicroUsd> {
        match account {
            Account::Balance => Some(&mut self.balance),
            Account::InFlight => Some(&mut self.in_flight),
            Account::External | Account::Revenue | Account::WriteOff | Account::Wallets | Account::Debt => None,
        }
    }
}

/// An entry as callers see it.
pub fn line_of(numbered: NumberedEntry) -> Result<JournalLine, MachineError> {
    let NumberedEntry { seq, entry } = numbered;
    Ok(JournalLine {
        seq,
        note: note_of(&entry)?,
        id: entry.id,
        at_ms: entry.at_ms,
        debit: entry.debit,
        credit: entry.credit,
        amount: MicroUsd(entry.amount_usd_micros),
    })
}

/// What an entry was for.
pub fn note_of(entry: &Entry) -> Result<Note, MachineError> {
    serde_json::from_str(&entry.note).map_err(|error| MachineError::unreadable(&entry.id, &error))
}
