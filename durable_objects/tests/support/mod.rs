//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod vault;

use std::fmt::Debug;

use durable_objects::machine::{CommandOf, Machine, ReplyOf};
use durable_objects::sql::{Connection, Value};
use durable_objects::store::{Store, StoreError};
use guildhall_domain::money::MicroUsd;

/// SQLite in memory, as a Durable Object's.
pub struct SqliteConnection(pub rusqlite::Connection);

impl SqliteConnection {
    pub fn open() -> Self {
        Self(rusqlite::Connection::open_in_memory().unwrap())
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError(error.to_string())
}

impl Connection for SqliteConnection {
    fn run(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
        let parameters = parameters.iter().map(|value| match value {
            Value::Null => rusqlite::types::Value::Null,
            Value::Integer(integer) => rusqlite::types::Value::Integer(*integer),
            Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
        });
        let mut statement = self.0.prepare(sql).map_err(failed)?;
        let width = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..width).map(|column| row.get(column)).collect();
        let rows = statement.query_map(rusqlite::params_from_iter(parameters), read).map_err(failed)?;
        let rows: Vec<Vec<rusqlite::types::Value>> = rows.collect::<Result<_, _>>().map_err(failed)?;
        let value = |value| match value {
            rusqlite::types::Value::Null => Value::Null,
            rusqlite::types::Value::Integer(integer) => Value::Integer(integer),
            rusqlite::types::Value::Text(text) => Value::Text(text),
            other => panic!("no value of these tables: {other:?}"),
        };
        Ok(rows.into_iter().map(|row| row.into_iter().map(value).collect()).collect())
    }

    fn transact(&self, work: &dyn Fn() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.0.execute_batch("BEGIN").map_err(failed)?;
        let outcome = work();
        self.0.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).map_err(failed)?;
        outcome
    }
}

/// A machine and a store without a host, so that the machine can be looked at.
pub struct Bench<M, S> {
    pub name: &'static str,
    pub machine: M,
    pub store: S,
}

impl<M: Machine + Debug + PartialEq, S: Store> Bench<M, S> {
    pub fn new(name: &'static str, store: S) -> Self {
        let machine = M::load(name, store.load().unwrap()).unwrap();
        Self { name, machine, store }
    }

    /// Obeys a command; what is stored must then be all that the machine knows.
    pub fn ask(&mut self, command: CommandOf<M>, now_ms: i64) -> ReplyOf<M> {
        let facts = self.store.read(&self.machine.needs(&command)).unwrap();
        let outcome = self.machine.apply(command, facts, now_ms).unwrap();
        self.store.commit(&outcome.writes, now_ms).unwrap();
        self.assert_durable();
        outcome.reply
    }

    pub fn alarm(&mut self, now_ms: i64) {
        let outcome = self.machine.alarm(now_ms).unwrap();
        self.store.commit(&outcome.writes, now_ms).unwrap();
        self.assert_durable();
    }

    fn assert_durable(&self) {
        let reloaded = M::load(self.name, self.store.load().unwrap()).unwrap();
        assert_eq!(self.machine, reloaded, "what is stored is not what is known");
    }
}

/// Micro-dollars.
pub const fn usd(micros: i64) -> MicroUsd {
    MicroUsd(micros)
}
