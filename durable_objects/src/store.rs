//! What the host needs of storage. All of it is synchronous, as SQLite in a Durable Object is.

use std::fmt;

use crate::machine::{Enlisted, Facts, Needs, Row, Write};

/// An effect of the outbox whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The effect.
    pub enlisted: Enlisted,
    /// Attempts made so far, the one after it was enlisted included.
    pub attempts: u32,
}

/// The next time to perform an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The effect.
    pub id: String,
    /// Attempts made, the coming one included.
    pub attempts: u32,
    /// When to try again unless it is struck out before; milliseconds since 1970.
    pub due_ms: i64,
}

/// The storage of one object.
pub trait Store {
    /// Reads all rows, in no particular order. The host calls it before anything else.
    ///
    /// # Errors
    /// [`StoreError`] when storage fails.
    fn load(&self) -> Result<Vec<Row>, StoreError>;

    /// Reads what a command needs.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn read(&self, needs: &Needs) -> Result<Facts, StoreError>;

    /// Makes all writes durable, or none. Effects that are enlisted become due `retry_after_ms` after `now_ms`: the
    /// host performs them at once, and the outbox only speaks up if that was not enough.
    ///
    /// # Errors
    /// As [`Store::load`]; then nothing was written.
    fn commit(&self, writes: &[Write], now_ms: i64) -> Result<(), StoreError>;

    /// Reads an effect of the outbox, if it is there.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn enlisted(&self, id: &str) -> Result<Option<Enlisted>, StoreError>;

    /// Reads at most `limit` effects that are due, the longest due first.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Due>, StoreError>;

    /// Moves effects to their next attempts, all or none.
    ///
    /// # Errors
    /// As [`Store::load`]; then nothing was written.
    fn postpone(&self, attempts: &[Attempt]) -> Result<(), StoreError>;

    /// When the first effect is due, if there is any; milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Store::load`].
    fn next_due_ms(&self) -> Result<Option<i64>, StoreError>;
}

/// Storage failed; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage failed: {}", self.0)
    }
}

impl std::error::Error for StoreError {}
