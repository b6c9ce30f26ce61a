//! People who have signed in.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// What a request needs to know of its session.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionRow {
    /// The session.
    pub id: String,
    /// The person.
    pub person_id: String,
    /// Their address.
    pub email: String,
    /// The account that it looks after.
    pub account_id: String,
    /// When it was last used, give or take a minute.
    pub last_used_at_ms: i64,
}

queries! {
    /// Opens a session.
    tenant("person_id") fn insert_session(person_id: &str, account_id: &str, id: &str, hash: &str, created_at_ms: i64, expires_at_ms: i64,
        user_agent: &str, address: &str) -> Changed =
        "INSERT INTO sessions (person_id, account_id, id, hash, created_at_ms, expires_at_ms, last_used_at_ms, user_agent, address)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?7, ?8)";
    /// Finds a session that is open at a time, of a person who still owns its account.
    global("the tenant is known only once its session is found") fn find_session(hash: &str, now_ms: i64) -> Option<SessionRow> =
        "SELECT s.id, s.person_id, p.email, s.account_id, s.last_used_at_ms
         FROM sessions s JOIN people p ON p.id = s.person_id JOIN accounts a ON a.id = s.account_id
         WHERE s.hash = ?1 AND s.expires_at_ms > ?2 AND a.owner_id = s.person_id AND a.status = 'active'";
    /// Notes a use.
    tenant("person_id") fn note_session_use(person_id: &str, id: &str, used_at_ms: i64) -> Changed =
        "UPDATE sessions SET last_used_at_ms = ?3 WHERE person_id = ?1 AND id = ?2";
    /// Deletes sessions that have ended by themselves.
    global("the hour's job looks after the sessions of everybody") fn prune_sessions(now_ms: i64) -> Changed =
        "DELETE FROM sessions WHERE expires_at_ms <= ?1";
}
