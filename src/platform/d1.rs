//! The relational database: D1.

use serde_json::value::RawValue;
use wasm_bindgen::JsValue;

use super::executor::JsCall;
use super::glue;
use crate::bindings;
use crate::ports::{Db, Pending, PortError, RowSet};
use crate::store::sql::Statement;

pub struct D1 {
    pub env: JsValue,
}

impl Db for D1 {
    fn run(&self, statements: Vec<Statement>) -> Pending<'_, Result<Vec<RowSet>, PortError>> {
        Box::pin(async move {
            let list: Vec<_> = statements.iter().map(|statement| (statement.sql, &statement.params)).collect();
            let list = serde_json::to_string(&list).map_err(|e| PortError(e.to_string()))?;
            let answer = JsCall::begin(|id| glue::run_sql(id, &self.env, bindings::DB, &list)).await;
            let answer = answer.map_err(|e| PortError(format!("D1: {}", glue::text_of(&e))))?;
            let answer = answer.as_string().unwrap_or_default();
            let sets: Vec<(Box<RawValue>, u64)> =
                serde_json::from_str(&answer).map_err(|e| PortError(format!("D1: {e}")))?;
            Ok(sets
                .into_iter()
                .map(|(rows, changes)| RowSet { rows_json: String::from(Box::<str>::from(rows)), changes })
                .collect())
        })
    }
}
