//! Usage as JSON: the record that travels, and the row that is stored.
//!
//! Both are arrays, without names. A record passes through half a dozen texts on its way into the database, so its length is
//! most of what it costs; and SQLite would search each name. What is read may have names, as records once had.

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize as _, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::usage::{AttemptRecord, UsageRow};

/// A record: the fields in their order. The receipt is not quoted, or its quotes would be escaped once more in each text.
impl Serialize for UsageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let receipt: &RawValue = serde_json::from_str(&self.receipt).map_err(S::Error::custom)?;
        let mut fields = serializer.serialize_tuple(24)?;
        write_call(&mut fields, self)?;
        fields.serialize_element(receipt)?;
        for text in [&self.alias_from, &self.error_class, &self.routing_reason, &self.workspace_id] {
            fields.serialize_element(text)?;
        }
        fields.serialize_element(&self.source)?;
        fields.serialize_element(&self.baseline_micros)?;
        fields.serialize_element(&self.attempts)?;
        fields.end()
    }
}

impl Serialize for AttemptRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (
            &self.model_id,
            &self.provider_id,
            self.latency_ms,
            self.cost_micros,
            self.success,
            &self.error_class,
            self.estimated_tokens,
            self.latency_budget_ms,
        )
            .serialize(serializer)
    }
}

/// What the table keeps of a record, in the order of its columns.
pub struct UsageColumns<'r>(pub &'r UsageRow);

impl Serialize for UsageColumns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.0;
        let mut columns = serializer.serialize_tuple(22)?;
        write_call(&mut columns, row)?;
        for text in [&row.receipt, &row.alias_from, &row.error_class, &row.workspace_id] {
            columns.serialize_element(text)?;
        }
        columns.serialize_element(&row.source)?;
        columns.serialize_element(&row.baseline_micros)?;
        columns.end()
    }
}

/// Writes what stands before the receipt.
fn write_call<T: SerializeTuple>(fields: &mut T, row: &UsageRow) -> Result<(), T::Error> {
    for text in [&row.id, &row.account_id, &row.api_key_id] {
        fields.serialize_element(text)?;
    }
    fields.serialize_element(&row.created_at_ms)?;
    for text in [&row.request_type, &row.mode, &row.model, &row.routed_model, &row.routed_provider] {
        fields.serialize_element(text)?;
    }
    fields.serialize_element(&row.status)?;
    fields.serialize_element(&row.outcome)?;
    for tokens in [row.input_tokens, row.output_tokens] {
        fields.serialize_element(&tokens)?;
    }
    for number in [row.cost_micros, row.charged_micros, row.latency_ms] {
        fields.serialize_element(&number)?;
    }
    Ok(())
}

/// Reads a receipt, quoted or not.
pub fn read_receipt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = Box::<RawValue>::deserialize(deserializer)?;
    if value.get().starts_with('"') {
        return serde_json::from_str(value.get()).map_err(D::Error::custom);
    }
    Ok(String::from(Box::<str>::from(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::money::usage::Source;

    /// A record as an earlier version wrote it.
    const NAMED: &str = r#"{"id":"req_1","account_id":"a","api_key_id":"k","created_at_ms":5,"request_type":"chat","mode":"auto","model":"m","routed_model":"r","routed_provider":"p","status":200,"outcome":"completed","input_tokens":1,"output_tokens":2,"cost_micros":3,"charged_micros":4,"latency_ms":6,"receipt":"{\"rule\":\"reported\"}","error_class":"e","routing_reason":"why","source":"byok","attempts":[{"model_id":"r","provider_id":"p","latency_ms":6,"cost_micros":3,"success":true,"estimated_tokens":9}]}"#;
    const LISTED: &str = r#"["req_1","a","k",5,"chat","auto","m","r","p",200,"completed",1,2,3,4,6,{"rule":"reported"},"","e","why","","byok",null,[["r","p",6,3,true,"",9,0]]]"#;

    #[test]
    fn records_of_every_version_are_read() {
        let row: UsageRow = serde_json::from_str(NAMED).unwrap();
        assert_eq!(row.receipt, r#"{"rule":"reported"}"#);
        assert_eq!((row.source, row.attempts[0].estimated_tokens), (Source::Byok, 9));
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            LISTED,
            "this text outlives a deployment: add fields at its end"
        );
        assert_eq!(serde_json::from_str::<UsageRow>(LISTED).unwrap(), row);
        let shorter = LISTED.replace(r#","why","","byok",null,[["r","p",6,3,true,"",9,0]]"#, "");
        assert_eq!(serde_json::from_str::<UsageRow>(&shorter).unwrap().error_class, "e");
    }

    #[test]
    fn the_table_gets_its_columns() {
        let row: UsageRow = serde_json::from_str(NAMED).unwrap();
        let columns = json!(UsageColumns(&row));
        assert_eq!(columns.as_array().unwrap().len(), 22);
        assert_eq!(columns[16], json!(r#"{"rule":"reported"}"#));
        assert_eq!(columns[21], Value::Null);
    }
}
