//! The relational database: D1.

use js_sys::Array;
use serde_json::value::RawValue;
use wasm_bindgen::JsValue;

use super::executor::JsCall;
use super::glue;
use crate::bindings;
use crate::ports::{Db, Pending, PortError, RowSet};
use crate::store::sql::{Statement, Value};

pub struct D1 {
    pub env: JsValue,
}

impl Db for D1 {
    fn run(&self, statements: Vec<Statement>) -> Pending<'_, Result<Vec<RowSet>, PortError>> {
        Box::pin(async move {
            let list: Array = statements.iter().map(to_array).collect();
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

/// The SQL, then its parameters: `glue.js` binds them as they are.
fn to_array(statement: &Statement) -> Array {
    let params = statement.params.iter().map(|param| match param {
        Value::Null => JsValue::NULL,
        #[expect(clippy::cast_precision_loss, reason = "integers in SQL parameters are below 2^53")]
        Value::Integer(integer) => JsValue::from_f64(*integer as f64),
        Value::Text(text) => JsValue::from_str(text),
    });
    std::iter::once(JsValue::from_str(statement.sql)).chain(params).collect()
}
