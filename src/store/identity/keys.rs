//! API keys: only their hashes are kept.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::{Changed, read_flag};

/// What a request needs to know of its key.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyRow {
    /// The key's id.
    pub id: String,
    /// Its owner.
    pub account_id: String,
    /// The product that issued it: `toolrouter`, `tokenhub`, later others.
    pub product: String,
    /// JSON array of scopes; empty means all.
    pub scopes: String,
    /// `active`, `disabled` or `revoked`.
    pub status: String,
    /// The account's `active` or `closed`.
    pub account_status: String,
    /// The account's limit; `None` means the default.
    pub requests_per_minute: Option<u32>,
    /// The account's limit; `None` means the default.
    pub requests_per_hour: Option<u32>,
    /// The account's limit; `None` means the default.
    pub concurrent: Option<u32>,
    /// The key's own limit, which comes before the account's.
    pub key_requests_per_minute: Option<u32>,
    /// The key's own limit, which comes before the account's.
    pub key_requests_per_hour: Option<u32>,
    /// The key's own limit, which comes before the account's.
    pub key_concurrent: Option<u32>,
    /// Requests a second; 0 for the account's limits, -1 for none.
    pub rate_limit_rps: i64,
    /// What it may spend in a month, in micro-dollars.
    pub monthly_budget_micros: Option<i64>,
    /// When its budget was last reset.
    pub budget_reset_at_ms: Option<i64>,
    /// When it expires.
    pub expires_at_ms: Option<i64>,
    /// Days for which it lives after its last rotation; 0 for ever.
    pub rotation_days: i64,
    /// Its last rotation, else its creation.
    pub rotated_at_ms: i64,
    /// When it was last used, give or take a minute.
    pub last_used_at_ms: Option<i64>,
    /// The workspace that it is bound to.
    pub workspace_id: Option<String>,
    /// The workspace's `active` or `archived`.
    pub workspace_status: Option<String>,
    /// What the workspace may spend in a month, in micro-dollars.
    pub workspace_budget_micros: Option<i64>,
    /// What the account may spend in a month, in micro-dollars.
    pub account_budget_micros: Option<i64>,
    /// The balance below which the account's card is charged, in micro-dollars.
    pub auto_pay_below_micros: Option<i64>,
    /// What the key may spend in all, in micro-dollars.
    pub credits_micros: Option<i64>,
    /// The agent whose key it is.
    pub agent_id: Option<String>,
    /// HMAC of the token of the account's claim link, while nobody has claimed it.
    pub claim_hash: Option<String>,
    /// What the account wants of the response cache; `store::models::cache` reads it.
    pub cache_settings: String,
    /// How often the account has forgotten what was cached.
    pub cache_generation: i64,
    /// Whether the account has upstreams of its own.
    #[serde(deserialize_with = "read_flag")]
    pub has_upstreams: bool,
}

/// A key as those see it who look after it.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyRecord {
    /// The key's id.
    pub id: String,
    /// Its owner.
    pub account_id: String,
    /// The product that issued it.
    pub product: String,
    /// What is shown of the key.
    pub masked: String,
    /// Its name.
    pub name: String,
    /// JSON array of scopes; empty means all.
    pub scopes: String,
    /// `active` or `disabled`.
    pub status: String,
    /// When it was issued.
    pub created_at_ms: i64,
    /// When it last got another secret.
    pub rotated_at_ms: Option<i64>,
    /// When it was last used, give or take a minute.
    pub last_used_at_ms: Option<i64>,
    /// When it expires.
    pub expires_at_ms: Option<i64>,
    /// Days for which it lives after its last rotation; 0 for ever.
    pub rotation_days: i64,
    /// What it may spend in a month, in micro-dollars.
    pub monthly_budget_micros: Option<i64>,
    /// When its budget was last reset.
    pub budget_reset_at_ms: Option<i64>,
    /// Requests a second; 0 for the account's limits, -1 for none.
    pub rate_limit_rps: i64,
    /// The key's own limit.
    pub requests_per_minute: Option<u32>,
    /// The key's own limit.
    pub requests_per_hour: Option<u32>,
    /// The key's own limit.
    pub concurrent: Option<u32>,
    /// The owner's own, as a JSON object.
    pub metadata: String,
    /// What it may spend in all, in micro-dollars.
    pub credits_micros: Option<i64>,
    /// The workspace that it is bound to.
    pub workspace_id: Option<String>,
    /// The workspace's name; the administrator is not told.
    #[serde(default)]
    pub workspace_name: Option<String>,
}

/// Credits that a key was given.
#[derive(Debug, Clone, Deserialize)]
pub struct GrantRow {
    /// How much, in micro-dollars.
    pub amount_micros: i64,
    /// When.
    pub created_at_ms: i64,
}

queries! {
    /// Stores a key.
    tenant("account_id") fn insert_key(account_id: &str, id: &str, hash: &str, product: &str, masked: &str, name: &str, created_at_ms: i64,
        scopes: &str, workspace_id: Option<&str>, agent_id: Option<&str>, metadata: &str, credits_micros: Option<i64>) -> Changed =
        "INSERT INTO api_keys (account_id, id, hash, product, masked, name, created_at_ms, scopes, workspace_id, agent_id, metadata, credits_micros)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    /// Sets what a key may do; NULL leaves a column as it is, 0 empties one that may be empty. Each column by itself, so
    /// that two changes at once do not undo each other.
    tenant("account_id") fn update_key(account_id: &str, id: &str, name: Option<&str>, scopes: Option<&str>, status: Option<&str>,
        expires_at_ms: Option<i64>, rotation_days: Option<i64>, monthly_budget_micros: Option<i64>, rate_limit_rps: Option<i64>,
        requests_per_minute: Option<i64>, requests_per_hour: Option<i64>, concurrent: Option<i64>, metadata: Option<&str>) -> Changed =
        "UPDATE api_keys SET name = COALESCE(?3, name), scopes = COALESCE(?4, scopes), status = COALESCE(?5, status),
           expires_at_ms = NULLIF(COALESCE(?6, expires_at_ms), 0), rotation_days = COALESCE(?7, rotation_days),
           monthly_budget_micros = NULLIF(COALESCE(?8, monthly_budget_micros), 0), rate_limit_rps = COALESCE(?9, rate_limit_rps),
           requests_per_minute = NULLIF(COALESCE(?10, requests_per_minute), 0),
           requests_per_hour = NULLIF(COALESCE(?11, requests_per_hour), 0), concurrent = NULLIF(COALESCE(?12, concurrent), 0),
           metadata = COALESCE(?13, metadata)
         WHERE account_id = ?1 AND id = ?2 AND status <> 'revoked'";
    /// Gives a key another secret, unless it has got one since the one that was made then.
    tenant("account_id") fn rotate_key(account_id: &str, id: &str, hash: &str, masked: &str, rotated_at_ms: i64, known_at_ms: i64) -> Changed =
        "UPDATE api_keys SET hash = ?3, masked = ?4, rotated_at_ms = ?5
         WHERE account_id = ?1 AND id = ?2 AND status <> 'revoked' AND COALESCE(rotated_at_ms, created_at_ms) = ?6";
    /// Has a key's budget begin anew.
    tenant("account_id") fn reset_budget(account_id: &str, id: &str, reset_at_ms: i64) -> Changed =
        "UPDATE api_keys SET budget_reset_at_ms = MAX(COALESCE(budget_reset_at_ms, 0), ?3) WHERE account_id = ?1 AND id = ?2";
    /// Revokes a key for good.
    tenant("account_id") fn revoke_key(account_id: &str, id: &str) -> Changed =
        "UPDATE api_keys SET status = 'revoked' WHERE account_id = ?1 AND id = ?2";
    /// Notes a use; of several isolates' notes within a minute only the first writes.
    tenant("account_id") fn note_use(account_id: &str, id: &str, used_at_ms: i64, unless_after_ms: i64) -> Changed =
        "UPDATE api_keys SET last_used_at_ms = ?3 WHERE account_id = ?1 AND id = ?2 AND COALESCE(last_used_at_ms, 0) <= ?4";
    /// Finds a key by the hash of what the caller sent.
    global("the tenant is known only once its key is found") fn find_key_by_hash(hash: &str) -> Option<KeyRow> =
        "SELECT k.id, k.account_id, k.product, k.scopes, k.status, a.status AS account_status,
           a.requests_per_minute, a.requests_per_hour, a.concurrent, k.requests_per_minute AS key_requests_per_minute,
           k.requests_per_hour AS key_requests_per_hour, k.concurrent AS key_concurrent, k.rate_limit_rps,
           k.monthly_budget_micros, k.budget_reset_at_ms, k.expires_at_ms, k.rotation_days,
           COALESCE(k.rotated_at_ms, k.created_at_ms) AS rotated_at_ms, k.last_used_at_ms, k.workspace_id, k.credits_micros, k.agent_id,
           w.status AS workspace_status, w.monthly_budget_micros AS workspace_budget_micros, a.monthly_budget_micros AS account_budget_micros,
           a.cache_settings, a.cache_generation, a.auto_pay_below_micros, a.claim_hash,
           EXISTS (SELECT 1 FROM local_endpoints o WHERE o.account_id = k.account_id)
             OR EXISTS (SELECT 1 FROM provider_keys o WHERE o.account_id = k.account_id) AS has_upstreams
         FROM api_keys k JOIN accounts a ON a.id = k.account_id
           LEFT JOIN workspaces w ON w.account_id = k.account_id AND w.workspace_id = k.workspace_id WHERE k.hash = ?1";
    /// Finds a key for the administrator.
    global("an administrator names a key by its id alone") fn find_key(id: &str) -> Option<KeyRecord> =
        "SELECT id, account_id, product, masked, name, scopes, status, created_at_ms, rotated_at_ms, last_used_at_ms, expires_at_ms, rotation_days,
           monthly_budget_micros, budget_reset_at_ms, rate_limit_rps, requests_per_minute, requests_per_hour, concurrent, metadata,
           credits_micros, workspace_id
         FROM api_keys WHERE id = ?1 AND status <> 'revoked'";
    /// A page of all keys, newest first.
    global("an administrator sees the keys of every account") fn list_keys(limit: i64, offset: i64) -> Vec<KeyRecord> =
        "SELECT id, account_id, product, masked, name, scopes, status, created_at_ms, rotated_at_ms, last_used_at_ms, expires_at_ms, rotation_days,
           monthly_budget_micros, budget_reset_at_ms, rate_limit_rps, requests_per_minute, requests_per_hour, concurrent, metadata,
           credits_micros, workspace_id
         FROM api_keys WHERE status <> 'revoked' ORDER BY created_at_ms DESC, id DESC LIMIT ?1 OFFSET ?2";
    /// How many there are.
    global("an administrator sees the keys of every account") fn count_keys() -> Option<Total> =
        "SELECT COUNT(*) AS total FROM api_keys WHERE status <> 'revoked'";
    /// Finds a key for its owner.
    tenant("account_id") fn find_own_key(account_id: &str, id: &str) -> Option<KeyRecord> =
        "SELECT k.id, k.account_id, k.product, k.masked, k.name, k.scopes, k.status, k.created_at_ms, k.rotated_at_ms, k.last_used_at_ms,
           k.expires_at_ms, k.rotation_days, k.monthly_budget_micros, k.budget_reset_at_ms, k.rate_limit_rps, k.requests_per_minute,
           k.requests_per_hour, k.concurrent, k.metadata, k.credits_micros, k.workspace_id, w.name AS workspace_name
         FROM api_keys k LEFT JOIN workspaces w ON w.account_id = k.account_id AND w.workspace_id = k.workspace_id
         WHERE k.account_id = ?1 AND k.id = ?2 AND k.status <> 'revoked'";
    /// A page of an account's keys, or of those of one workspace or id, newest first.
    tenant("account_id") fn list_own_keys(account_id: &str, workspace_id: Option<&str>, id: Option<&str>, limit: i64, offset: i64) -> Vec<KeyRecord> =
        "SELECT k.id, k.account_id, k.product, k.masked, k.name, k.scopes, k.status, k.created_at_ms, k.rotated_at_ms, k.last_used_at_ms,
           k.expires_at_ms, k.rotation_days, k.monthly_budget_micros, k.budget_reset_at_ms, k.rate_limit_rps, k.requests_per_minute,
           k.requests_per_hour, k.concurrent, k.metadata, k.credits_micros, k.workspace_id, w.name AS workspace_name
         FROM api_keys k LEFT JOIN workspaces w ON w.account_id = k.account_id AND w.workspace_id = k.workspace_id
         WHERE k.account_id = ?1 AND k.status <> 'revoked' AND (?2 IS NULL OR k.workspace_id = ?2) AND (?3 IS NULL OR k.id = ?3)
         ORDER BY k.created_at_ms DESC, k.id DESC LIMIT ?4 OFFSET ?5";
    /// How many an account has, or one of its workspaces.
    tenant("account_id") fn count_own_keys(account_id: &str, workspace_id: Option<&str>, id: Option<&str>) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM api_keys
         WHERE account_id = ?1 AND status <> 'revoked' AND (?2 IS NULL OR workspace_id = ?2) AND (?3 IS NULL OR id = ?3)";
    /// Lets a key spend so much more, up to a most, once under each name; one without such a limit has it from now on.
    tenant("account_id") fn grant_credits(account_id: &str, id: &str, name: &str, amount_micros: i64, most_micros: i64, now_ms: i64) -> Changed =
        "INSERT INTO key_grants (account_id, key_id, name, amount_micros, created_at_ms)
         SELECT ?1, id, ?3, ?4, ?6 FROM api_keys
         WHERE account_id = ?1 AND id = ?2 AND status <> 'revoked' AND COALESCE(credits_micros, 0) + ?4 <= ?5
         ON CONFLICT DO NOTHING";
    /// What was given under this name.
    tenant("account_id") fn find_grant(account_id: &str, id: &str, name: &str) -> Option<GrantRow> =
        "SELECT amount_micros, created_at_ms FROM key_grants WHERE account_id = ?1 AND key_id = ?2 AND name = ?3";
    /// Forgets grants whose requests cannot come again.
    global("the hour's job looks after the keys of everybody") fn prune_grants(before_ms: i64) -> Changed =
        "DELETE FROM key_grants WHERE created_at_ms < ?1";
}
