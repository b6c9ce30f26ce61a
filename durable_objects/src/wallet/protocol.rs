//! The wallet as its callers see it: one object per owner of money.
//!
//! Amounts are never negative. `balance` is settled money; a hold reserves part of it without moving it; `available` is
//! the balance less holds of calls (leases come back within seconds, so a user is not shown them).

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

pub use super::answers::{Audit, Balance, Leased, Maturity, RefusalCode, Reply};
pub use super::budgets::{BudgetLeft, BudgetLine, Count};
pub use super::ledger::{JournalLine, Note};
use super::ledger::{is_no_time, is_nothing};
use crate::protocol::Protocol;

/// The largest amount in a command, and the largest balance: a thousand million dollars. Far inside what JSON numbers
/// and SQLite sums hold exactly.
pub const AMOUNT_MAX: MicroUsd = MicroUsd(1_000_000_000_000_000);
/// The longest id, wallet name or reason, in bytes.
pub const TEXT_MAX_BYTES: usize = 256;
/// The longest usage record, in bytes.
pub const RECORD_MAX_BYTES: usize = 72 * 1024;
/// Captures in one [`Lease`], and ids in one [`Command::AckRecords`].
pub const BATCH_MAX: usize = 256;
/// Entries in one page of [`Command::Journal`], [`Command::Recent`] and [`Command::PendingRecords`].
pub const PAGE_MAX: u32 = 1_000;
/// Budget lines of one hold.
pub const BUDGETS_MAX: usize = 8;
/// Counts of one [`Capture`].
pub const COUNTS_MAX: usize = 512;
/// The longest that a lease may hold money, in milliseconds; a later expiry is brought forward.
pub const LEASE_MAX_MS: i64 = 10 * 60 * 1_000;
/// The least age of what is folded, in milliseconds: what comes back from so far away may be lost.
pub const FOLD_AGE_MIN_MS: i64 = 24 * 60 * 60 * 1_000;

/// The protocol of the `Wallet` object.
#[derive(Debug)]
pub enum Wallet {}

impl Protocol for Wallet {
    const BINDING: &'static str = "WALLET";
    type Command = Command;
    type Reply = Reply;
}

/// The wallet of an owner. An id of the account or agent is the name itself: [`Command::Transfer`] names wallets by it.
#[must_use]
pub fn name(owner_id: &str) -> String {
    owner_id.to_owned()
}

/// What a caller may ask of a wallet. Every command that moves money carries an id and takes effect once, however
/// often it arrives; the same id with another amount is refused as [`RefusalCode::IdReused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Deposits money from outside. Answer: [`Reply::Moved`].
    Credit {
        /// Names the deposit.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
    },
    /// Withdraws money to the outside; refused unless all of it is free (available and not leased). Answer:
    /// [`Reply::Moved`].
    Debit {
        /// Names the withdrawal.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
    },
    /// Deposits money that whoever paid it may take back for a while, as a card's. It may be spent at once, and withdrawn
    /// later; see [`Balance::immature`]. Answer: [`Reply::Moved`].
    Deposit {
        /// Names the deposit, as a credit's.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
        /// From when on it may be withdrawn; milliseconds since 1970.
        matures_at_ms: i64,
    },
    /// A debit that takes no money that has not matured; refused as [`RefusalCode::Immature`] when only that stands in its
    /// way. Answer: [`Reply::Moved`].
    Withdraw {
        /// Names the withdrawal, as a debit's.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
    },
    /// Takes a deposit back to the outside: what is free at once, the rest of what becomes free next. Until then it is
    /// owed, and nothing new is held or moved. Answer: [`Reply::Moved`].
    Reclaim {
        /// Names it.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
        /// The deposit: what of it has not matured is gone first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<String>,
    },
    /// Reports captures and states what to hold from now on; see [`Lease`]. Answer: [`Reply::Leased`].
    Lease(Lease),
    /// Reserves all of `amount` for a long-running call, or nothing. Repeating it while the hold is open changes
    /// nothing. Answer: [`Reply::Held`].
    Hold {
        /// Names the hold.
        id: String,
        /// How much.
        amount: MicroUsd,
        /// When the hold is released by itself; milliseconds since 1970.
        expires_at_ms: i64,
        /// Budgets that it counts against, at most [`BUDGETS_MAX`]; it is refused as [`RefusalCode::BudgetExceeded`]
        /// when one of them does not leave `amount`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        budgets: Vec<BudgetLine>,
    },
    /// Charges a call's hold, by the rule of [`Lease::captures`]. Answer: [`Reply::Captured`].
    Capture {
        /// The hold, open or not.
        hold_id: String,
        /// What to charge.
        capture: Capture,
        /// Whether to release the rest of the hold in the same step.
        close: bool,
        /// The hold's budgets, for when it has lapsed; while it is open, its own count.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        budgets: Vec<BudgetLine>,
    },
    /// Gives a call's hold back; without effect when there is none. Answer: [`Reply::Held`] with nothing held.
    Release {
        /// The hold.
        hold_id: String,
    },
    /// Moves free money to another wallet. It has left this balance when the answer comes; it arrives there once,
    /// whatever fails in between, or comes back if that wallet refuses it. Answer: [`Reply::Moved`].
    Transfer {
        /// Names the transfer.
        id: String,
        /// The name of the other wallet.
        to: String,
        /// How much.
        amount: MicroUsd,
        /// For both journals.
        reason: String,
    },
    /// The other end of a transfer; only wallets send it. Answer: [`Reply::Moved`].
    Receive {
        /// The transfer; its name is unique for the wallet that it comes from.
        id: String,
        /// The name of the wallet that it comes from.
        from: String,
        /// How much.
        amount: MicroUsd,
        /// For the journal.
        reason: String,
    },
    /// The owner's keys pay from another wallet from now on, within the same budgets: what they have spent of them counts
    /// there, what this wallet still holds and charges included, and what it owes is owed there. Nothing is held here
    /// under a budget any more. Answer: [`Reply::Merged`].
    Merge {
        /// The name of the other wallet; always the same.
        into: String,
    },
    /// What a merged wallet has to tell of budgets; only wallets send it. Answer: [`Reply::Acknowledged`].
    Inherit {
        /// The name of the merged wallet.
        from: String,
        /// Rises with every message of that wallet.
        number: u64,
        /// What to add to each line, or to take from it: at most [`COUNTS_MAX`].
        counts: Vec<Count>,
    },
    /// Reads what there is. Answer: [`Reply::Balance`].
    Balance,
    /// Reads how budgets stand. Answer: [`Reply::Budgets`].
    Budgets {
        /// At most [`BATCH_MAX`].
        lines: Vec<BudgetLine>,
    },
    /// Says that nothing is to be spent under these lines any more; a day later they make way for new ones. Answer:
    /// [`Reply::Acknowledged`].
    EndBudgets {
        /// As [`BudgetLine::id`], at most [`BATCH_MAX`].
        ids: Vec<String>,
    },
    /// Recomputes everything from the journal. Entries that an audit has found right are read no more. Answer:
    /// [`Reply::Audit`].
    Audit,
    /// Says that usage records arrived, so that they are sent no more. Answer: [`Reply::Acknowledged`].
    AckRecords {
        /// Ids of captures, at most [`BATCH_MAX`].
        ids: Vec<String>,
    },
    /// Reads the usage records not yet acknowledged, newest first. Answer: [`Reply::Records`].
    PendingRecords {
        /// At most so many; at most [`PAGE_MAX`].
        limit: u32,
    },
    /// Reads the journal, oldest first. Answer: [`Reply::Journal`].
    Journal {
        /// Entries after this number; 0 for the first page.
        after: i64,
        /// At most so many; at most [`PAGE_MAX`].
        limit: u32,
    },
    /// Looks whether a movement was made. Answer: [`Reply::Found`].
    Find {
        /// As [`JournalLine::id`].
        entry_id: String,
    },
    /// Reads the newest entries of the journal and what there is, both of one moment. Answer: [`Reply::Recent`].
    Recent {
        /// At most so many; at most [`PAGE_MAX`].
        limit: u32,
        /// Only entries before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<i64>,
    },
    /// Merges charges that were sealed and made before a time: those of a UTC day with nothing between them become one
    /// entry. From then on captures sealed by that time are known, whether the journal has them or not. Only entries that
    /// an audit has found right are merged; where there are none, nothing changes. A part is done at once; as long as more
    /// is left, every [`Command::Lease`] and [`Command::Capture`] does a small part, too. Answer: [`Reply::Folded`].
    Fold {
        /// Milliseconds since 1970, at least [`FOLD_AGE_MIN_MS`] ago; a time before the last one changes nothing.
        before_ms: i64,
    },
}

/// A statement, not a difference: "these captures happened under my hold `id`; from now on it is `want`, until then".
///
/// Captures come first and always take effect. Then the hold is set: 0 closes it, less than before releases the
/// difference, more reserves what is free up to `want`. When that cannot reach `least`, the hold is left exactly as it
/// was, its expiry included: whoever gets nothing usable takes nothing, and two callers who wait for each other's
/// leases cannot starve each other for ever. The caller sees it by [`Leased::held`], and by [`Leased::others_held`]
/// whether waiting may help. A hold already expired when the command arrives holds nothing. A statement that expires
/// before the hold that it would change was overtaken on its way: its captures take effect, the hold stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Names the holder: an isolate.
    pub id: String,
    /// At most [`BATCH_MAX`]. Each takes from the hold first, then from what is free; what neither covers is written
    /// off, so that no balance is ever negative. An id that was captured before is passed over, and so is one that may
    /// have been folded. One of nothing leaves no entry; repeated, its record may be sent again.
    pub captures: Vec<Capture>,
    /// What to hold from now on.
    pub want: MicroUsd,
    /// The least that is of use; at most `want`.
    pub least: MicroUsd,
    /// When the hold is released by itself; milliseconds since 1970, at most [`LEASE_MAX_MS`] ahead.
    pub expires_at_ms: i64,
    /// Budgets that the hold and the captures count against, at most [`BUDGETS_MAX`], the same lines as long as the hold
    /// is open. No more is held than each of them leaves; of a capture, what neither the hold nor every budget covers is
    /// written off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetLine>,
}

/// A charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Names the charge, over all holds of the wallet.
    pub id: String,
    /// How much; 0 is allowed, so that a failed request leaves its record.
    pub amount: MicroUsd,
    /// A usage record as JSON text, opaque to the wallet, at most [`RECORD_MAX_BYTES`]. It is stored with the charge in
    /// one transaction and sent to the queue as a [`QueuedRecord`] until it is acknowledged.
    pub record: Option<String>,
    /// For which lines, beside the budgets that it is held under, the charge counts; at most [`COUNTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
    /// When it was first sent; milliseconds since 1970, the same in every repetition. A wallet that has folded what was
    /// sealed by then passes it over, whether it has it or not. 0 is said by senders that do not know it: such a capture
    /// counts as one of now, and its entry stays for ever.
    #[serde(default, skip_serializing_if = "is_no_time")]
    pub sealed_at_ms: i64,
}

/// A usage record on the queue. It may arrive more than once: whoever consumes it files it by wallet and id, then
/// sends [`Command::AckRecords`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRecord {
    /// The name of the wallet that must be told.
    pub wallet: String,
    /// The capture's id.
    pub id: String,
    /// The record, as it was given.
    pub record: String,
    /// What of the capture's amount no money covered: the record may say more than was taken.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub written_off: MicroUsd,
}
