//! Changes that administrators made.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::Changed;

/// One change.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// When.
    pub at_ms: i64,
    /// What was done, such as `model.upsert`.
    pub action: String,
    /// To what.
    pub resource: String,
    /// More of it; may be empty.
    pub detail: String,
    /// By which request.
    pub request_id: String,
}

queries! {
    /// Writes a change down, once per request.
    global("the log of the whole platform's administrators") fn insert_audit(at_ms: i64, action: &str, resource: &str, detail: &str, request_id: &str) -> Changed =
        "INSERT INTO audit_log (at_ms, action, resource, detail, request_id) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (request_id) DO NOTHING";
    /// Lists changes, newest first.
    global("the log of the whole platform's administrators") fn list_audit(limit: i64, offset: i64) -> Vec<AuditRow> =
        "SELECT id, at_ms, action, resource, detail, request_id FROM audit_log ORDER BY id DESC LIMIT ?1 OFFSET ?2";
    /// How many there are: their numbers have no gaps.
    global("the log of the whole platform's administrators") fn count_audit() -> Option<Total> =
        "SELECT COALESCE((SELECT MAX(id) FROM audit_log) - (SELECT MIN(id) FROM audit_log) + 1, 0) AS total";
    /// Deletes what is older than a time, a part at once.
    global("retention is the platform's") fn prune_audit(before_ms: i64) -> Changed =
        "DELETE FROM audit_log WHERE id < (SELECT MIN(id) FROM audit_log) + 5000 AND at_ms < ?1";
}
