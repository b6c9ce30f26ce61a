//! Counters that no other table holds.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A counter.
#[derive(Debug, Clone, Deserialize)]
pub struct CounterRow {
    /// The series' name.
    pub name: String,
    /// Its labels as Prometheus writes them; may be empty.
    pub labels: String,
    /// How much so far.
    pub value: i64,
}

queries! {
    /// Adds to counters (a JSON array of name, labels and value).
    global("the platform's counters") fn add_counters(counts: &str) -> Changed =
        "INSERT INTO counters (name, labels, value) SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1) WHERE true
         ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value";
    /// All counters.
    global("the whole platform's counters, without a tenant's data") fn list_counters() -> Vec<CounterRow> =
        "SELECT name, labels, value FROM counters ORDER BY name, labels LIMIT 10000";
}
