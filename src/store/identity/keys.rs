//! API keys: only their hashes are kept.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// What a request needs to know of its key.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyRow {
    /// The key's id.
    pub id: String,
    /// Its owner.
    pub account_id: String,
    /// The product that issued it: `toolrouter`, later others.
    pub product: String,
    /// JSON array of scopes; empty means all.
    pub scopes: String,
    /// `active` or `revoked`.
    pub status: String,
    /// The account's `active` or `closed`.
    pub account_status: String,
    /// The account's limit; `None` means the default.
    pub requests_per_minute: Option<u32>,
    /// The account's limit; `None` means the default.
    pub requests_per_hour: Option<u32>,
    /// The account's limit; `None` means the default.
    pub concurrent: Option<u32>,
}

queries! {
    /// Stores a key.
    tenant("account_id") fn insert_key(account_id: &str, id: &str, hash: &str, product: &str, masked: &str, name: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO api_keys (account_id, id, hash, product, masked, name, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    /// Finds a key by the hash of what the caller sent.
    global("the tenant is known only once its key is found") fn find_key_by_hash(hash: &str) -> Option<KeyRow> =
        "SELECT k.id, k.account_id, k.product, k.scopes, k.status, a.status AS account_status,
           a.requests_per_minute, a.requests_per_hour, a.concurrent
         FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.hash = ?1";
}
