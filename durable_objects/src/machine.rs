//! The shape of every object: a pure state machine that says what to write and what to hand on.
//!
//! A machine does no I/O. Before a command it names the facts that it needs ([`Machine::needs`]), because a journal of
//! millions of entries is not held in memory; the host reads them and passes them in. Whatever changes is returned as
//! [`Write`]s, which the host makes durable in one transaction before anybody sees the reply.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// A pure, persistent state machine: the whole logic of one kind of object.
///
/// The host may drop a machine at any moment and load another from the rows, so everything that matters is in
/// [`Write`]s. A machine may trust the host that the facts belong to the command and that `now_ms` (milliseconds since
/// 1970) is the time; it may not trust the clock to run forward, and it never panics.
pub trait Machine: Sized {
    /// What its callers see.
    type Protocol: Protocol;
    /// Whether it keeps a journal and an outbox. Without, the object has one table, made when it first writes.
    const HAS_LEDGER: bool;
    /// How long items for the queue wait for others, in milliseconds; shorter than their retry.
    const GATHER_MS: u64 = 0;

    /// Builds the machine of the object `name` from the rows that its writes left.
    ///
    /// # Errors
    /// [`MachineError`] when a row cannot be read; the object then answers nothing rather than something wrong.
    fn load(name: &str, rows: Vec<Row>) -> Result<Self, MachineError>;

    /// What the host must read before [`Machine::apply`]; by default nothing.
    fn needs(&self, _command: &CommandOf<Self>) -> Needs {
        Needs::default()
    }

    /// Obeys a command. What a caller may get wrong is refused by a reply.
    ///
    /// # Errors
    /// [`MachineError`]; the host then drops the machine and writes nothing.
    fn apply(&mut self, command: CommandOf<Self>, facts: Facts, now_ms: i64) -> Step<ReplyOf<Self>>;

    /// Does what time alone requires; called when [`Machine::next_alarm_ms`] or [`Machine::next_save_ms`] has passed,
    /// perhaps late, perhaps early.
    ///
    /// # Errors
    /// As [`Machine::apply`].
    fn alarm(&mut self, _now_ms: i64) -> Step<()> {
        Ok(Outcome::of(()))
    }

    /// Takes the answer of another object to an [`Effect::Deliver`] of the outbox: its reply as JSON. The writes must
    /// strike the effect out, or it is delivered again; the host calls this only while it stands there.
    ///
    /// # Errors
    /// As [`Machine::apply`].
    fn delivered(&mut self, _delivery: &Enlisted, _answer: &[u8], _now_ms: i64) -> Step<()> {
        Ok(Outcome::of(()))
    }

    /// When [`Machine::alarm`] should run, if ever; milliseconds since 1970.
    fn next_alarm_ms(&self) -> Option<i64> {
        None
    }

    /// When [`Machine::alarm`] should run if the object is in memory until then; milliseconds since 1970. Unlike
    /// [`Machine::next_alarm_ms`] it costs no write and wakes nobody: it is for state of which a crash may take the newest
    /// part. The platform evicts no object that was called less than ten seconds ago.
    fn next_save_ms(&self) -> Option<i64> {
        None
    }

    /// Whether nothing is left to keep. The host then wipes the storage, so that the object ceases to exist.
    fn is_vacant(&self) -> bool {
        false
    }
}

/// The commands of a machine.
pub type CommandOf<M> = <<M as Machine>::Protocol as Protocol>::Command;
/// The replies of a machine.
pub type ReplyOf<M> = <<M as Machine>::Protocol as Protocol>::Reply;

/// What a machine answers to a step.
pub type Step<R> = Result<Outcome<R>, MachineError>;

/// What a step of a machine results in.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome<R> {
    /// The answer, given only after the writes are durable.
    pub reply: R,
    /// Made durable together or not at all; at most one for each row, entry and effect, so their order does not matter
    /// (except that entries are numbered in it). Effects are among them, as [`Write::Enlist`]: what must be
    /// handed on is first written down, so that a crash in between loses nothing.
    pub writes: Vec<Write>,
}

impl Write {
    /// Sets a row to a value as JSON.
    ///
    /// # Errors
    /// [`MachineError`] when the value has no JSON, which no type of this crate lacks.
    pub fn put(key: &str, value: &impl Serialize) -> Result<Self, MachineError> {
        Ok(Self::Put(Row { key: key.to_owned(), value: serde_json::to_string(value)? }))
    }
}

impl<R> Outcome<R> {
    /// A reply that changes nothing.
    pub const fn of(reply: R) -> Self {
        Self { reply, writes: Vec::new() }
    }

    /// The same writes with another reply.
    ///
    /// # Errors
    /// Those of `with`.
    pub fn try_map<T, E>(self, with: impl FnOnce(R) -> Result<T, E>) -> Result<Outcome<T>, E> {
        Ok(Outcome { reply: with(self.reply)?, writes: self.writes })
    }
}

/// A change of what an object keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put(Row),
    /// Removes a row, if there is one.
    Delete {
        /// Its key.
        key: String,
    },
    /// Appends to the journal, which refuses an id that it has: the whole transaction fails.
    Append(Entry),
    /// Puts one entry of the journal in the place of several, at the number of the last of them. Its id may be that of one
    /// of them. Those of an outcome share no entry.
    Fold {
        /// The numbers of the entries that it stands for.
        seqs: Vec<i64>,
        /// The entry.
        into: NumberedEntry,
    },
    /// Enters an effect into the outbox. It is performed once the transaction is durable, and again by the alarm,
    /// until a [`Write::Strike`] removes it.
    Enlist(Enlisted),
    /// Removes an effect from the outbox, if it is there.
    Strike {
        /// Its id.
        id: String,
    },
}

/// Before the key of a row that can be done without: a release that does not know it, to which one goes back, passes it
/// over. Any other row that a machine does not know makes its object answer nothing.
pub const EXTRA_PREFIX: &str = "x:";

/// Queue items that are read at once, in bytes: an isolate holds them several times over. The last one may go beyond.
pub const ITEMS_MAX_BYTES: usize = 4 << 20;

/// A row of an object's state, all of which is in memory while the object is awake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Unique in the object.
    pub key: String,
    /// JSON text.
    pub value: String,
}

/// An entry of the journal, in double entry: `amount_usd_micros` moves from the account `debit` to `credit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the object.
    pub id: String,
    /// When; milliseconds since 1970.
    pub at_ms: i64,
    /// The account that gives.
    pub debit: String,
    /// The account that takes.
    pub credit: String,
    /// How much, in micro-dollars; never negative.
    pub amount_usd_micros: i64,
    /// For readers.
    pub note: String,
}

/// An entry with the number that the journal gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEntry {
    /// Rising from 1; where entries were folded, numbers are missing.
    pub seq: i64,
    /// The entry.
    pub entry: Entry,
}

/// An effect in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enlisted {
    /// Unique in the object.
    pub id: String,
    /// What to do.
    pub effect: Effect,
    /// How long after the first attempt the second comes, in milliseconds; from then on the delay doubles.
    pub retry_after_ms: i64,
}

/// Something to do outside the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send an item to the queue. The outbox keeps it until its receiver has it struck out, because a queue's taking it
    /// does not mean that it was processed.
    Enqueue {
        /// JSON text: one item of the array that a message is.
        item: String,
    },
    /// Send a command to another object and hand its reply to [`Machine::delivered`].
    Deliver {
        /// The other object's namespace.
        binding: String,
        /// The other object.
        name: String,
        /// The command as JSON text.
        command: String,
    },
}

/// What a machine must know of the stored past before it can obey a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Journal entries to look up by id.
    pub ids: Vec<String>,
    /// Effects to look for in the outbox, by id.
    pub enlisted: Vec<String>,
    /// A page of the journal.
    pub page: Option<Page>,
    /// The newest entries of the journal.
    pub newest_entries: Option<Newest>,
    /// So many of the newest queue items of the outbox, as long as those before have fewer than [`ITEMS_MAX_BYTES`].
    pub newest_items: Option<u32>,
    /// The sums of the journal's entries with a greater number.
    pub totals_after: Option<i64>,
}

impl Needs {
    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let reads_entries = !self.ids.is_empty() || self.page.is_some() || self.newest_entries.is_some();
        let reads_outbox = !self.enlisted.is_empty() || self.newest_items.is_some();
        !reads_entries && !reads_outbox && self.totals_after.is_none()
    }
}

/// Which entries of the journal to read, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries with a greater number.
    pub after: i64,
    /// At most so many.
    pub limit: u32,
}

/// Which of the newest entries to read, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Entries with a smaller number; without, all.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// What the host read for [`Needs`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of the ids asked for, those that the journal has.
    pub known: BTreeMap<String, Entry>,
    /// Of the effects asked for, those that the outbox has.
    pub enlisted: BTreeSet<String>,
    /// The page asked for.
    pub page: Vec<NumberedEntry>,
    /// The entries asked for, newest first.
    pub newest_entries: Vec<NumberedEntry>,
    /// The queue items asked for, newest first.
    pub newest_items: Vec<String>,
    /// The sums asked for, one per pair of accounts.
    pub totals: Vec<Total>,
}

/// The sum of entries between two accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The account that gave.
    pub debit: String,
    /// The account that took.
    pub credit: String,
    /// How many entries.
    pub entries: i64,
    /// Their sum, in micro-dollars.
    pub amount_usd_micros: i64,
    /// The number of the last of them.
    pub last_seq: i64,
}

/// A fault of the programme, never of a caller: what is stored cannot be read, or cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineError(pub String);

impl MachineError {
    /// A row that cannot be read.
    pub fn unreadable(key: &str, cause: &impl fmt::Display) -> Self {
        Self(format!("row {key:?} cannot be read: {cause}"))
    }
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MachineError {}

impl From<serde_json::Error> for MachineError {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("not to be written as JSON: {error}"))
    }
}
