//! The writes of one step, gathered while it runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::machine::{MachineError, Write};

/// The writes of one step. Of several writes to one row only the last is made: a report of many captures changes the
/// same hold many times.
#[derive(Debug)]
pub struct Draft {
    /// The time of the step; milliseconds since 1970.
    pub now_ms: i64,
    rows: BTreeMap<String, Write>,
    others: Vec<Write>,
}

impl Draft {
    pub const fn new(now_ms: i64) -> Self {
        Self { now_ms, rows: BTreeMap::new(), others: Vec::new() }
    }

    pub fn put(&mut self, key: String, value: &impl Serialize) -> Result<(), MachineError> {
        let write = Write::put(&key, value)?;
        self.rows.insert(key, write);
        Ok(())
    }

    pub fn delete(&mut self, key: String) {
        self.rows.insert(key.clone(), Write::Delete { key });
    }

    /// Adds a write that is not one of a row.
    pub fn push(&mut self, write: Write) {
        self.others.push(write);
    }

    pub fn into_writes(self) -> Vec<Write> {
        self.rows.into_values().chain(self.others).collect()
    }
}
