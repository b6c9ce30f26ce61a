//! The admin token that was set by API.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// The token, as hashes.
#[derive(Debug, Clone, Deserialize)]
pub struct AdminTokenRow {
    /// HMAC of the token.
    pub hash: String,
    /// HMAC of the deployment's secret when it was set.
    pub secret_hash: String,
}

queries! {
    /// Finds it.
    global("the deployment has one admin token") fn find_admin_token() -> Option<AdminTokenRow> =
        "SELECT hash, secret_hash FROM admin_token WHERE id = 1";
    /// Sets it.
    global("the deployment has one admin token") fn set_admin_token(hash: &str, secret_hash: &str, rotated_at_ms: i64) -> Changed =
        "INSERT INTO admin_token (id, hash, secret_hash, rotated_at_ms) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, secret_hash = excluded.secret_hash, rotated_at_ms = excluded.rotated_at_ms";
    /// Forgets one that another secret has made void.
    global("the deployment has one admin token") fn forget_admin_token(secret_hash: &str) -> Changed =
        "DELETE FROM admin_token WHERE id = 1 AND secret_hash = ?1";
}
