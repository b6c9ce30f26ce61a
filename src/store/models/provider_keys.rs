//! Keys of providers that callers bring along.

use guildhall_domain::own::KeyProvider;
use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::Changed;

/// A key as stored.
#[derive(Debug, Clone, Deserialize)]
pub struct ProviderKeyRow {
    /// Its id.
    pub id: String,
    /// Whose key it is.
    pub provider: KeyProvider,
    /// What its owner calls it.
    pub label: String,
    /// The workspace whose calls may use it; `None` for all of the account's.
    pub workspace_id: Option<String>,
    /// That workspace's name.
    pub workspace_name: Option<String>,
    /// The key, sealed.
    pub sealed_secret: String,
    /// When it last served; milliseconds since 1970, give or take a minute.
    pub last_success_at_ms: Option<i64>,
    /// When it last failed.
    pub last_failure_at_ms: Option<i64>,
    /// How: the provider's status, or a word.
    pub last_failure_code: Option<String>,
    /// Until when it is left alone; 0 when it never failed.
    pub rests_until_ms: i64,
}

queries! {
    /// Stores a key.
    tenant("account_id") fn insert_provider_key(account_id: &str, id: &str, provider: &str, label: &str, workspace_id: Option<&str>,
        sealed_secret: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO provider_keys (account_id, id, provider, label, workspace_id, sealed_secret, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    /// An account's keys, oldest first; of one workspace where it is said.
    tenant("account_id") fn list_provider_keys(account_id: &str, workspace_id: Option<&str>, limit: i64) -> Vec<ProviderKeyRow> =
        "SELECT k.id, k.provider, k.label, k.workspace_id, w.name AS workspace_name, k.sealed_secret, k.last_success_at_ms,
           k.last_failure_at_ms, k.last_failure_code, k.rests_until_ms
         FROM provider_keys k LEFT JOIN workspaces w ON w.account_id = k.account_id AND w.workspace_id = k.workspace_id
         WHERE k.account_id = ?1 AND (?2 IS NULL OR k.workspace_id = ?2) ORDER BY k.created_at_ms, k.id LIMIT ?3";
    /// How many an account has.
    tenant("account_id") fn count_provider_keys(account_id: &str) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM provider_keys WHERE account_id = ?1";
    /// Forgets a key.
    tenant("account_id") fn delete_provider_key(account_id: &str, id: &str) -> Changed =
        "DELETE FROM provider_keys WHERE account_id = ?1 AND id = ?2";
    /// Notes that it served; nothing is written where that is known well enough.
    tenant("account_id") fn note_key_success(account_id: &str, id: &str, at_ms: i64, unless_after_ms: i64) -> Changed =
        "UPDATE provider_keys SET last_success_at_ms = ?3, rests_until_ms = 0 WHERE account_id = ?1 AND id = ?2
           AND (COALESCE(last_success_at_ms, 0) <= ?4 OR COALESCE(last_failure_at_ms, 0) >= COALESCE(last_success_at_ms, 0))";
    /// Notes that it failed, and for how long it is left alone.
    tenant("account_id") fn note_key_failure(account_id: &str, id: &str, at_ms: i64, code: &str, rests_until_ms: i64) -> Changed =
        "UPDATE provider_keys SET last_failure_at_ms = ?3, last_failure_code = ?4, rests_until_ms = ?5 WHERE account_id = ?1 AND id = ?2";
}
