//! Reading the rows of a result.

use super::Value;
use crate::machine::{Effect, Enlisted, Entry, NumberedEntry, Total};
use crate::store::{Due, StoreError};

/// The columns of a row, read from left to right.
pub struct Columns(std::vec::IntoIter<Value>);

impl Columns {
    pub fn of(row: Vec<Value>) -> Self {
        Self(row.into_iter())
    }

    pub fn text(&mut self) -> Result<String, StoreError> {
        self.text_or_null()?.ok_or_else(|| StoreError("a column is null".to_owned()))
    }

    pub fn text_or_null(&mut self) -> Result<Option<String>, StoreError> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            other => Err(StoreError(format!("a column is no text: {other:?}"))),
        }
    }

    pub fn integer(&mut self) -> Result<i64, StoreError> {
        self.integer_or_null()?.ok_or_else(|| StoreError("a column is null".to_owned()))
    }

    pub fn integer_or_null(&mut self) -> Result<Option<i64>, StoreError> {
        match self.0.next() {
            Some(Value::Integer(integer)) => Ok(Some(integer)),
            Some(Value::Null) => Ok(None),
            other => Err(StoreError(format!("a column is no integer: {other:?}"))),
        }
    }

    pub fn entry(&mut self) -> Result<Entry, StoreError> {
        Ok(Entry {
            id: self.text()?,
            at_ms: self.integer()?,
            debit: self.text()?,
            credit: self.text()?,
            amount_usd_micros: self.integer()?,
            note: self.text()?,
        })
    }

    pub fn numbered_entry(&mut self) -> Result<NumberedEntry, StoreError> {
        Ok(NumberedEntry { entry: self.entry()?, seq: self.integer()? })
    }

    pub fn total(&mut self) -> Result<Total, StoreError> {
        Ok(Total {
            debit: self.text()?,
            credit: self.text()?,
            entries: self.integer()?,
            amount_usd_micros: self.integer()?,
            last_seq: self.integer()?,
        })
    }

    pub fn due(&mut self) -> Result<Due, StoreError> {
        let (id, binding, name, body) = (self.text()?, self.text_or_null()?, self.text_or_null()?, self.text()?);
        let effect = match (binding, name) {
            (Some(binding), Some(name)) => Effect::Deliver { binding, name, command: body },
            _ => Effect::Enqueue { item: body },
        };
        let enlisted = Enlisted { id, effect, retry_after_ms: self.integer()? };
        Ok(Due { enlisted, attempts: u32::try_from(self.integer()?).unwrap_or(u32::MAX) })
    }
}
