//! Links that were mailed and not used yet.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// What a link is for.
#[derive(Debug, Clone, Deserialize)]
pub struct SignInRow {
    /// Whom it was mailed to.
    pub email: String,
    /// HMAC of the claim's token that it attaches.
    pub claim_hash: Option<String>,
}

queries! {
    /// Stores a link.
    global("whoever asks for a link is nobody yet") fn insert_sign_in(hash: &str, email: &str, claim_hash: Option<&str>, created_at_ms: i64,
        expires_at_ms: i64) -> Changed =
        "INSERT INTO sign_ins (hash, email, claim_hash, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    /// Finds a link that may be used at a time.
    global("the link says whose it is") fn find_sign_in(hash: &str, now_ms: i64) -> Option<SignInRow> =
        "SELECT email, claim_hash FROM sign_ins WHERE hash = ?1 AND expires_at_ms > ?2";
    /// Uses a link up.
    global("the link says whose it is") fn use_sign_in(hash: &str) -> Changed =
        "DELETE FROM sign_ins WHERE hash = ?1";
    /// Deletes links that nobody has used.
    global("the hour's job looks after the links of everybody") fn prune_sign_ins(now_ms: i64) -> Changed =
        "DELETE FROM sign_ins WHERE expires_at_ms <= ?1";
}
