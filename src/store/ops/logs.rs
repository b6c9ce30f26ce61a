//! The request log: the usage rows, as they were filed.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;

/// One request.
#[derive(Debug, Clone, Deserialize)]
pub struct LogRow {
    /// Its number.
    pub seq: i64,
    /// The request's id.
    pub id: String,
    /// The key that asked.
    pub api_key_id: String,
    /// The key's name; empty when it has none or is gone.
    pub api_key_name: String,
    /// When the request came in.
    pub created_at_ms: i64,
    /// From then to its last byte.
    pub latency_ms: i64,
    /// The routing mode.
    pub mode: String,
    /// The model as the client asked for it.
    pub model: String,
    /// The model that answered; empty when none did.
    pub routed_model: String,
    /// The provider that answered; empty when none did.
    pub routed_provider: String,
    /// The alias that the client named.
    pub alias_from: String,
    /// The HTTP status that the client got.
    pub status: u16,
    /// How it ended.
    pub outcome: String,
    /// What went wrong; empty when nothing did.
    pub error_class: String,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// What the tokens cost, in micro-dollars.
    pub cost_micros: i64,
}

/// What a key is called.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyName {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
}

queries! {
    /// Lists requests, the last filed first.
    global("the log of the whole platform, for its administrators") fn list_logs(limit: i64, offset: i64) -> Vec<LogRow> =
        "SELECT u.rowid AS seq, u.id, u.api_key_id, COALESCE(k.name, '') AS api_key_name, u.created_at_ms, u.latency_ms, u.mode, u.model,
           u.routed_model, u.routed_provider, u.alias_from, u.status, u.outcome, u.error_class, u.input_tokens, u.output_tokens, u.cost_micros
         FROM usage AS u LEFT JOIN api_keys AS k ON k.id = u.api_key_id ORDER BY u.rowid DESC LIMIT ?1 OFFSET ?2";
    /// The names of these keys (a JSON array of ids).
    global("one batch of the queue holds calls of many accounts") fn list_key_names(ids: &str) -> Vec<KeyName> =
        "SELECT id, name FROM api_keys WHERE id IN (SELECT value FROM json_each(?1))";
    /// How many there are: rows are only ever added, so their numbers have no gaps.
    global("the log of the whole platform, for its administrators") fn count_logs() -> Option<Total> =
        "SELECT COALESCE((SELECT MAX(rowid) FROM usage) - (SELECT MIN(rowid) FROM usage) + 1, 0) AS total";
}
