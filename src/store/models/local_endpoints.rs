//! Endpoints of callers' own.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::{Changed, read_flag};

/// An endpoint as stored.
#[derive(Debug, Clone, Deserialize)]
pub struct LocalEndpointRow {
    /// Its owner.
    pub account_id: String,
    /// Its id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Where it answers, without `/v1`.
    pub base_url: String,
    /// What serves there, as its owner says.
    pub runtime: String,
    /// The workspace whose calls it serves; `None` for all of the account's.
    pub workspace_id: Option<String>,
    /// That workspace's name.
    pub workspace_name: Option<String>,
    /// Its key, sealed.
    pub sealed_key: Option<String>,
    /// Whether it takes traffic.
    #[serde(deserialize_with = "read_flag")]
    pub enabled: bool,
    /// Preference among the account's endpoints, 0 to 10.
    pub priority: i64,
    /// JSON: names that callers ask for, and the models that serve them.
    pub model_map: String,
    /// `healthy` or `unreachable`.
    pub status: String,
    /// Why it is unreachable.
    pub last_error: Option<String>,
    /// JSON: its models, as `gateway::own` keeps them.
    pub models: String,
    /// When it was last asked; milliseconds since 1970.
    pub last_checked_at_ms: i64,
    /// When it was registered.
    pub created_at_ms: i64,
}

impl LocalEndpointRow {
    /// Whether it answered when it was last asked.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == "healthy"
    }
}

queries! {
    /// Stores an endpoint.
    tenant("account_id") fn insert_local_endpoint(account_id: &str, id: &str, name: &str, base_url: &str, runtime: &str, workspace_id: Option<&str>,
        sealed_key: Option<&str>, enabled: bool, priority: i64, model_map: &str, status: &str, last_error: Option<&str>, models: &str,
        now_ms: i64) -> Changed =
        "INSERT INTO local_endpoints (account_id, id, name, base_url, runtime, workspace_id, sealed_key, enabled, priority, model_map,
           status, last_error, models, last_checked_at_ms, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14, ?14)";
    /// Changes what its owner sets; NULL leaves a column as it is, an empty text empties one that may be empty. Each column
    /// by itself, so that two changes at once do not undo each other.
    tenant("account_id") fn update_local_endpoint(account_id: &str, id: &str, name: Option<&str>, base_url: Option<&str>, runtime: Option<&str>,
        workspace_id: Option<&str>, sealed_key: Option<&str>, enabled: Option<bool>, priority: Option<i64>, model_map: Option<&str>,
        now_ms: i64) -> Changed =
        "UPDATE local_endpoints SET name = COALESCE(?3, name), base_url = COALESCE(?4, base_url), runtime = COALESCE(?5, runtime),
           workspace_id = NULLIF(COALESCE(?6, workspace_id), ''), sealed_key = NULLIF(COALESCE(?7, sealed_key), ''),
           enabled = COALESCE(?8, enabled), priority = COALESCE(?9, priority), model_map = COALESCE(?10, model_map), updated_at_ms = ?11
         WHERE account_id = ?1 AND id = ?2";
    /// Finds an endpoint.
    tenant("account_id") fn find_local_endpoint(account_id: &str, id: &str) -> Option<LocalEndpointRow> =
        "SELECT e.account_id, e.id, e.name, e.base_url, e.runtime, e.workspace_id, w.name AS workspace_name, e.sealed_key, e.enabled,
           e.priority, e.model_map, e.status, e.last_error, e.models, e.last_checked_at_ms, e.created_at_ms
         FROM local_endpoints e LEFT JOIN workspaces w ON w.account_id = e.account_id AND w.workspace_id = e.workspace_id
         WHERE e.account_id = ?1 AND e.id = ?2";
    /// An account's endpoints, oldest first; of one workspace where it is said.
    tenant("account_id") fn list_local_endpoints(account_id: &str, workspace_id: Option<&str>, limit: i64) -> Vec<LocalEndpointRow> =
        "SELECT e.account_id, e.id, e.name, e.base_url, e.runtime, e.workspace_id, w.name AS workspace_name, e.sealed_key, e.enabled,
           e.priority, e.model_map, e.status, e.last_error, e.models, e.last_checked_at_ms, e.created_at_ms
         FROM local_endpoints e LEFT JOIN workspaces w ON w.account_id = e.account_id AND w.workspace_id = e.workspace_id
         WHERE e.account_id = ?1 AND (?2 IS NULL OR e.workspace_id = ?2) ORDER BY e.created_at_ms, e.id LIMIT ?3";
    /// How many an account has.
    tenant("account_id") fn count_local_endpoints(account_id: &str) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM local_endpoints WHERE account_id = ?1";
    /// Forgets an endpoint.
    tenant("account_id") fn delete_local_endpoint(account_id: &str, id: &str) -> Changed =
        "DELETE FROM local_endpoints WHERE account_id = ?1 AND id = ?2";
    /// Takes a check upon oneself; changes nothing when somebody else has since `unless_after_ms`.
    tenant("account_id") fn claim_check(account_id: &str, id: &str, now_ms: i64, unless_after_ms: i64) -> Changed =
        "UPDATE local_endpoints SET last_checked_at_ms = ?3 WHERE account_id = ?1 AND id = ?2 AND last_checked_at_ms <= ?4";
    /// Notes that it answered, with its models.
    tenant("account_id") fn note_reachable(account_id: &str, id: &str, models: &str, checked_at_ms: i64) -> Changed =
        "UPDATE local_endpoints SET status = 'healthy', last_error = NULL, models = ?3, last_checked_at_ms = ?4 WHERE account_id = ?1 AND id = ?2";
    /// Notes that it did not.
    tenant("account_id") fn note_unreachable(account_id: &str, id: &str, error: &str, checked_at_ms: i64) -> Changed =
        "UPDATE local_endpoints SET status = 'unreachable', last_error = ?3, last_checked_at_ms = ?4 WHERE account_id = ?1 AND id = ?2";
    /// Endpoints of all accounts that were not asked since a time, those first that wait longest.
    global("the hour's check looks after every account's endpoints") fn list_unchecked(before_ms: i64, limit: i64) -> Vec<LocalEndpointRow> =
        "SELECT account_id, id, name, base_url, runtime, workspace_id, NULL AS workspace_name, sealed_key, enabled,
           priority, model_map, status, last_error, models, last_checked_at_ms, created_at_ms
         FROM local_endpoints WHERE last_checked_at_ms < ?1 AND enabled = 1 ORDER BY last_checked_at_ms LIMIT ?2";
}
