//! Storage in SQLite, as a Durable Object has it.
//!
//! Lists cross into SQLite as one JSON text, unfolded there by `json_each`: one statement per table instead of one per row,
//! and integers of 64 bits that JavaScript's numbers would not carry. Only effects, which are few and long, cross one by one.
//!
//! Tables are made by the first write, so that asking an object that was never used costs no write and leaves nothing.

mod columns;
mod lists;

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::Serialize;

use columns::Columns;
use lists::Lists;

use crate::machine::{Enlisted, Entry, Facts, ITEMS_MAX_BYTES, Needs, Row, Write};
use crate::store::{Attempt, Due, Store, StoreError};

/// List elements in one statement: with the longest records, half of the 2 MB that a bound text may have.
const CHUNK_MAX: usize = 32;

const CREATE_STATE: &str = "CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID";
const CREATE_JOURNAL: &str = "CREATE TABLE journal (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, \
     at_ms INTEGER NOT NULL, debit TEXT NOT NULL, credit TEXT NOT NULL, \
     amount_usd_micros INTEGER NOT NULL CHECK (amount_usd_micros >= 0), note TEXT NOT NULL)";
/// Without `binding` and `name`, `body` is an item for the queue; with them, a command for that object.
const CREATE_OUTBOX: &str = "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, binding TEXT, \
     name TEXT, body TEXT NOT NULL, retry_after_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, \
     due_ms INTEGER NOT NULL)";
const CREATE_OUTBOX_DUE: &str = "CREATE INDEX outbox_due ON outbox (due_ms)";

const LOAD: &str = "SELECT key, value FROM state";
const PUT: &str = "INSERT OR REPLACE INTO state (key, value) SELECT value ->> 0, value ->> 1 FROM jsonb_each(?)";
const DELETE: &str = "DELETE FROM state WHERE key IN (SELECT value FROM json_each(?))";
const APPEND: &str = "INSERT INTO journal (id, at_ms, debit, credit, amount_usd_micros, note) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM jsonb_each(?) ORDER BY key";
const REMOVE_FOLDED: &str = "DELETE FROM journal WHERE seq IN (SELECT value FROM json_each(?))";
const PLACE: &str = "INSERT INTO journal (seq, id, at_ms, debit, credit, amount_usd_micros, note) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM jsonb_each(?)";
const ENLIST: &str = "INSERT INTO outbox (id, binding, name, body, retry_after_ms, attempts, due_ms) \
     VALUES (?, ?, ?, ?, ?, 1, ?)";
const STRIKE: &str = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))";
const KNOWN: &str = "SELECT id, at_ms, debit, credit, amount_usd_micros, note FROM journal \
     WHERE id IN (SELECT value FROM json_each(?))";
const WAITING: &str = "SELECT id FROM outbox WHERE id IN (SELECT value FROM json_each(?))";
const PAGE: &str = "SELECT id, at_ms, debit, credit, amount_usd_micros, note, seq FROM journal \
     WHERE seq > ? ORDER BY seq LIMIT ?";
const NEWEST_ENTRIES: &str = "SELECT id, at_ms, debit, credit, amount_usd_micros, note, seq FROM journal \
     WHERE seq < coalesce(?, 9223372036854775807) ORDER BY seq DESC LIMIT ?";
const TOTALS: &str = "SELECT debit, credit, count(*), sum(amount_usd_micros), max(seq) FROM journal \
     WHERE seq > ? GROUP BY debit, credit";
const NEWEST_SIZES: &str =
    "SELECT seq, length(CAST(body AS BLOB)) FROM outbox WHERE binding IS NULL ORDER BY seq DESC LIMIT ?";
const NEWEST_ITEMS: &str = "SELECT body FROM outbox WHERE binding IS NULL AND seq >= ? ORDER BY seq DESC LIMIT ?";
const ENLISTED: &str = "SELECT id, binding, name, body, retry_after_ms, attempts FROM outbox WHERE id = ?";
const DUE: &str = "SELECT id, binding, name, body, retry_after_ms, attempts FROM outbox \
     WHERE due_ms <= ? ORDER BY due_ms, seq LIMIT ?";
const POSTPONE: &str = "UPDATE outbox SET attempts = next.value ->> 1, due_ms = next.value ->> 2 \
     FROM jsonb_each(?) AS next WHERE outbox.id = next.value ->> 0";
const NEXT_DUE: &str = "SELECT min(due_ms) FROM outbox";

/// A value in a statement or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// An integer; in parameters and results below 2^53, or JavaScript would round it.
    Integer(i64),
    /// Text.
    Text(String),
}

/// One SQLite database.
pub trait Connection {
    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// [`StoreError`] with SQLite's message.
    fn run(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, StoreError>;

    /// Runs `work` in a transaction, which is rolled back if it fails.
    ///
    /// # Errors
    /// That of `work`, or of the transaction itself.
    fn transact(&self, work: &dyn Fn() -> Result<(), StoreError>) -> Result<(), StoreError>;
}

/// The storage of one object, in SQLite.
#[derive(Debug)]
pub struct SqlStore<C> {
    connection: C,
    has_ledger: bool,
    /// Whether the tables exist; found out by [`Store::load`].
    has_tables: Cell<bool>,
}

impl<C: Connection> SqlStore<C> {
    /// The storage behind a connection; `has_ledger` as [`crate::machine::Machine::HAS_LEDGER`] says.
    pub const fn new(connection: C, has_ledger: bool) -> Self {
        Self { connection, has_ledger, has_tables: Cell::new(false) }
    }

    fn write(&self, writes: &[Write], now_ms: i64) -> Result<(), StoreError> {
        if !self.has_tables.get() {
            self.connection.run(CREATE_STATE, &[])?;
            if self.has_ledger {
                self.connection.run(CREATE_JOURNAL, &[])?;
                self.connection.run(CREATE_OUTBOX, &[])?;
                self.connection.run(CREATE_OUTBOX_DUE, &[])?;
            }
        }
        let lists = Lists::of(writes, now_ms);
        self.run_list(PUT, &lists.puts)?;
        self.run_list(DELETE, &lists.deletes)?;
        self.run_list(REMOVE_FOLDED, &lists.folded)?;
        self.run_list(PLACE, &lists.placings)?;
        self.run_list(APPEND, &lists.appends)?;
        lists.enlists.iter().try_for_each(|effect| self.connection.run(ENLIST, effect).map(drop))?;
        self.run_list(STRIKE, &lists.strikes)
    }

    fn run_list(&self, sql: &str, list: &[impl Serialize]) -> Result<(), StoreError> {
        list.chunks(CHUNK_MAX).try_for_each(|chunk| self.connection.run(sql, &[json_of(chunk)?]).map(drop))
    }

    fn read_known(&self, ids: &[String]) -> Result<BTreeMap<String, Entry>, StoreError> {
        let mut known = BTreeMap::new();
        for chunk in ids.chunks(CHUNK_MAX) {
            for row in self.connection.run(KNOWN, &[json_of(chunk)?])? {
                let entry = Columns::of(row).entry()?;
                known.insert(entry.id.clone(), entry);
            }
        }
        Ok(known)
    }

    /// Runs a query and reads its rows.
    fn select<T>(
        &self,
        sql: &str,
        parameters: &[Value],
        read: impl Fn(&mut Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.connection.run(sql, parameters)?;
        rows.into_iter().map(|row| read(&mut Columns::of(row))).collect()
    }
}

/// The number of the oldest item that still fits, of items with their bytes, the newest first.
fn oldest_that_fits(sizes: &[(i64, i64)]) -> Option<i64> {
    let mut bytes = 0;
    let fits = |(_, size): &&(i64, i64)| {
        let has_room = bytes < ITEMS_MAX_BYTES;
        bytes = usize::try_from(*size).unwrap_or(usize::MAX).saturating_add(bytes);
        has_room
    };
    sizes.iter().take_while(fits).last().map(|(seq, _)| *seq)
}

impl<C: Connection> Store for SqlStore<C> {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        let loaded = self.select(LOAD, &[], |columns| Ok(Row { key: columns.text()?, value: columns.text()? }));
        match loaded {
            Err(StoreError(message)) if message.contains("no such table") => {
                self.has_tables.set(false);
                Ok(Vec::new())
            }
            loaded => {
                self.has_tables.set(loaded.is_ok());
                loaded
            }
        }
    }

    fn read(&self, needs: &Needs) -> Result<Facts, StoreError> {
        if !self.has_tables.get() {
            return Ok(Facts::default());
        }
        let mut facts = Facts { known: self.read_known(&needs.ids)?, ..Facts::default() };
        for chunk in needs.enlisted.chunks(CHUNK_MAX) {
            facts.enlisted.extend(self.select(WAITING, &[json_of(chunk)?], Columns::text)?);
        }
        if let Some(page) = needs.page {
            let range = [Value::Integer(page.after), Value::Integer(page.limit.into())];
            facts.page = self.select(PAGE, &range, Columns::numbered_entry)?;
        }
        if let Some(newest) = needs.newest_entries {
            let range = [newest.before.map_or(Value::Null, Value::Integer), Value::Integer(newest.limit.into())];
            facts.newest_entries = self.select(NEWEST_ENTRIES, &range, Columns::numbered_entry)?;
        }
        if let Some(limit) = needs.newest_items {
            let limit = [Value::Integer(limit.into())];
            let sizes = self.select(NEWEST_SIZES, &limit, |row| Ok((row.integer()?, row.integer()?)))?;
            if let Some(oldest) = oldest_that_fits(&sizes) {
                let [limit] = limit;
                facts.newest_items = self.select(NEWEST_ITEMS, &[Value::Integer(oldest), limit], Columns::text)?;
            }
        }
        if let Some(after) = needs.totals_after {
            facts.totals = self.select(TOTALS, &[Value::Integer(after)], Columns::total)?;
        }
        Ok(facts)
    }

    fn commit(&self, writes: &[Write], now_ms: i64) -> Result<(), StoreError> {
        self.connection.transact(&|| self.write(writes, now_ms))?;
        self.has_tables.set(true);
        Ok(())
    }

    fn enlisted(&self, id: &str) -> Result<Option<Enlisted>, StoreError> {
        if !self.has_tables.get() {
            return Ok(None);
        }
        let found = self.select(ENLISTED, &[Value::Text(id.to_owned())], Columns::due)?;
        Ok(found.into_iter().next().map(|due| due.enlisted))
    }

    fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Due>, StoreError> {
        if !self.has_tables.get() {
            return Ok(Vec::new());
        }
        self.select(DUE, &[Value::Integer(now_ms), Value::Integer(limit.into())], Columns::due)
    }

    fn postpone(&self, attempts: &[Attempt]) -> Result<(), StoreError> {
        let list: Vec<_> = attempts.iter().map(|next| (&next.id, next.attempts, next.due_ms)).collect();
        self.connection.transact(&|| self.run_list(POSTPONE, &list))
    }

    fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        if !self.has_tables.get() {
            return Ok(None);
        }
        let first = self.select(NEXT_DUE, &[], Columns::integer_or_null)?;
        Ok(first.into_iter().next().flatten())
    }
}

fn json_of<T: Serialize>(list: &[T]) -> Result<Value, StoreError> {
    serde_json::to_string(list).map(Value::Text).map_err(|error| StoreError(error.to_string()))
}
