//! What a wallet answers.

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::budgets::BudgetLeft;
use super::ledger::{JournalLine, is_nothing};
use super::protocol::QueuedRecord;

/// What a wallet answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The money moved.
    Moved {
        /// It had moved before; this command changed nothing.
        duplicate: bool,
        /// Settled money, afterwards.
        balance: MicroUsd,
        /// Less holds of calls.
        available: MicroUsd,
    },
    /// To [`super::protocol::Command::Lease`].
    Leased(Leased),
    /// To [`super::protocol::Command::Hold`] and [`super::protocol::Command::Release`].
    Held {
        /// What the hold holds now.
        held: MicroUsd,
        /// Settled money.
        balance: MicroUsd,
        /// Less holds of calls.
        available: MicroUsd,
    },
    /// To [`super::protocol::Command::Capture`].
    Captured {
        /// What was charged to the balance, now or when the capture was first made; nothing of one that may have been
        /// folded.
        charged: MicroUsd,
        /// What nothing covered.
        written_off: MicroUsd,
        /// What the hold still holds.
        held: MicroUsd,
        /// Settled money, afterwards.
        balance: MicroUsd,
        /// Less holds of calls.
        available: MicroUsd,
    },
    /// To [`super::protocol::Command::Balance`].
    Balance(Balance),
    /// To [`super::protocol::Command::Audit`].
    Audit(Audit),
    /// To [`super::protocol::Command::AckRecords`], [`super::protocol::Command::Inherit`] and
    /// [`super::protocol::Command::EndBudgets`].
    Acknowledged,
    /// To [`super::protocol::Command::Merge`].
    Merged {
        /// Whether the other wallet knows all that this one had to tell of budgets.
        is_told: bool,
        /// What there is.
        balance: Balance,
    },
    /// To [`super::protocol::Command::Budgets`].
    Budgets {
        /// In the order of the command; `others_held` is what all leases hold.
        lines: Vec<BudgetLeft>,
    },
    /// To [`super::protocol::Command::PendingRecords`].
    Records {
        /// Newest first.
        records: Vec<QueuedRecord>,
        /// Whether there may be older ones.
        #[serde(default)]
        more: bool,
    },
    /// To [`super::protocol::Command::Journal`].
    Journal {
        /// Oldest first.
        entries: Vec<JournalLine>,
        /// The `after` of the next page, while there may be one.
        next_after: Option<i64>,
    },
    /// To [`super::protocol::Command::Recent`].
    Recent {
        /// Newest first.
        entries: Vec<JournalLine>,
        /// What there is after the newest of them.
        balance: Balance,
    },
    /// To [`super::protocol::Command::Fold`].
    Folded {
        /// Whether there is more to fold.
        more: bool,
    },
    /// To [`super::protocol::Command::Find`].
    Found {
        /// What moved; `None` when the journal has no such entry.
        amount: Option<MicroUsd>,
        /// When; milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_ms: Option<i64>,
    },
    /// Nothing was changed.
    Refused {
        /// Why, for programmes.
        code: RefusalCode,
        /// Why, for the log.
        message: String,
        /// What was free to move or hold, when that was too little; for a "payment required" answer.
        free: Option<MicroUsd>,
        /// The budget that left too little.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<BudgetLeft>,
    },
}

/// What a lease holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// What may be spent under the lease until it expires.
    pub held: MicroUsd,
    /// Settled money.
    pub balance: MicroUsd,
    /// Less holds of calls.
    pub available: MicroUsd,
    /// What other leases hold: money that may be free again within seconds. Holds of calls are not in it.
    pub others_held: MicroUsd,
    /// What this command's captures were short of.
    pub written_off: MicroUsd,
    /// Of the lease's budgets, the one that leaves the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetLeft>,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Settled money.
    pub balance: MicroUsd,
    /// Less holds of calls: what a user sees.
    pub available: MicroUsd,
    /// Reserved for calls.
    pub held_calls: MicroUsd,
    /// Reserved by leases.
    pub held_leases: MicroUsd,
    /// Taken back by the outside when it was spent already.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub owed: MicroUsd,
    /// What of the balance may be spent and not be withdrawn yet, by when it may: at most a hundred parts, the last with
    /// the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub immature: Vec<Maturity>,
}

impl Balance {
    /// What may be withdrawn now, once leases let go of it.
    #[must_use]
    pub fn withdrawable(&self) -> MicroUsd {
        let immature = self.immature.iter().fold(0_i64, |sum, part| sum.saturating_add(part.amount.0));
        self.available.min(MicroUsd(self.balance.0.saturating_sub(immature)))
    }
}

/// Money that may be spent now and withdrawn later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maturity {
    /// From when on it may be withdrawn; milliseconds since 1970.
    pub at_ms: i64,
    /// How much.
    pub amount: MicroUsd,
}

/// The books, recomputed from the journal. Always: `deposited_net` + `transferred_net` + `written_off` + `owed` =
/// `charged` + `journal_in_flight` + `journal_balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Whether the stored sums equal the journal's, nothing is negative, and no more is held than there is.
    pub consistent: bool,
    /// Entries read.
    pub entries: u64,
    /// Settled money as stored.
    pub balance: MicroUsd,
    /// Settled money by the journal.
    pub journal_balance: MicroUsd,
    /// Sent and not yet acknowledged, as stored.
    pub in_flight: MicroUsd,
    /// The same by the journal.
    pub journal_in_flight: MicroUsd,
    /// Reserved by holds of both kinds.
    pub held: MicroUsd,
    /// From outside, less what went back there.
    pub deposited_net: MicroUsd,
    /// What usage was worth, written-off parts included.
    pub charged: MicroUsd,
    /// The part of `charged` that no money covered.
    pub written_off: MicroUsd,
    /// Received from other wallets, less what is known to have arrived there; may be negative.
    pub transferred_net: MicroUsd,
    /// Taken back by the outside when it was spent already.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub owed: MicroUsd,
}

/// Why a wallet refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// There is less free money than asked.
    Insufficient,
    /// There is enough, but not all of it may be withdrawn yet.
    Immature,
    /// A budget leaves less than asked.
    BudgetExceeded,
    /// The id was used with another amount, kind or wallet.
    IdReused,
    /// An amount is negative or above [`super::protocol::AMOUNT_MAX`], or would lift the balance above it.
    AmountInvalid,
    /// An id or text is empty or too long, a batch too large, a time in the past.
    Invalid,
    /// A transfer to the wallet itself.
    OwnWallet,
    /// Too many holds are open.
    TooManyHolds,
}
