//! SQLite as the Workers runtime offers it.

use wasm_bindgen::prelude::*;
use worker::{SqlStorage, SqlStorageValue, Storage};

use crate::sql::{Connection, Value};
use crate::store::StoreError;

#[wasm_bindgen]
extern "C" {
    /// `DurableObjectStorage`, for the one method that `worker` does not bind.
    type TransactionStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &TransactionStorage,
        work: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;
}

/// The database of one object.
pub struct ObjectConnection {
    storage: Storage,
    sql: SqlStorage,
}

impl ObjectConnection {
    pub fn new(storage: Storage) -> Self {
        let sql = storage.sql();
        Self { storage, sql }
    }
}

impl Connection for ObjectConnection {
    fn run(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>, StoreError> {
        let parameters: Vec<SqlStorageValue> = parameters.iter().map(to_js).collect();
        let cursor = self.sql.exec(sql, parameters).map_err(failed)?;
        let row = |row: worker::Result<Vec<SqlStorageValue>>| row.map_err(failed)?.into_iter().map(from_js).collect();
        cursor.raw().map(row).collect()
    }

    fn transact(&self, work: &dyn Fn() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        // Throwing is what rolls the transaction back; the error itself is kept on this side.
        let mut run = || {
            outcome = work();
            if outcome.is_ok() { Ok(JsValue::UNDEFINED) } else { Err(JsValue::from_str("rolled back")) }
        };
        let storage: &TransactionStorage = self.storage.as_raw().unchecked_ref();
        let transaction = storage.transaction_sync(&mut run);
        outcome?;
        transaction.map(drop).map_err(|error| StoreError(format!("{error:?}")))
    }
}

fn failed(error: worker::Error) -> StoreError {
    StoreError(error.to_string())
}

fn to_js(value: &Value) -> SqlStorageValue {
    match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(integer) => SqlStorageValue::Integer(*integer),
        Value::Text(text) => SqlStorageValue::String(text.clone()),
    }
}

fn from_js(value: SqlStorageValue) -> Result<Value, StoreError> {
    match value {
        SqlStorageValue::Null => Ok(Value::Null),
        SqlStorageValue::Integer(integer) => Ok(Value::Integer(integer)),
        SqlStorageValue::String(text) => Ok(Value::Text(text)),
        other => Err(StoreError(format!("no value of these tables: {other:?}"))),
    }
}
