//! People who have signed in.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::{Changed, read_flag};

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
    /// Whether the account went up in another.
    #[serde(deserialize_with = "read_flag")]
    pub is_merged: bool,
}

/// A session as its person sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionRecord {
    /// The session.
    pub id: String,
    /// The account that it looks after.
    pub account_id: String,
    /// When it was opened.
    pub created_at_ms: i64,
    /// When it ends by itself.
    pub expires_at_ms: i64,
    /// When it was last used, give or take a minute.
    pub last_used_at_ms: i64,
    /// What the client said that it is.
    pub user_agent: String,
    /// Where it was opened from.
    pub address: String,
}

queries! {
    /// Opens a session for whoever was mailed this link, unless it was used meanwhile.
    global("the link says whose session it is") fn open_session(sign_in_hash: &str, account_id: &str, id: &str, hash: &str, now_ms: i64,
        expires_at_ms: i64, user_agent: &str, address: &str) -> Changed =
        "INSERT INTO sessions (person_id, account_id, id, hash, created_at_ms, expires_at_ms, last_used_at_ms, user_agent, address)
         SELECT p.id, ?2, ?3, ?4, ?5, ?6, ?5, ?7, ?8 FROM sign_ins s JOIN people p ON p.email = s.email
         WHERE s.hash = ?1 AND s.expires_at_ms > ?5";
    /// A person's open sessions, the one used last first.
    tenant("person_id") fn list_sessions(person_id: &str, now_ms: i64, limit: i64) -> Vec<SessionRecord> =
        "SELECT id, account_id, created_at_ms, expires_at_ms, last_used_at_ms, user_agent, address FROM sessions
         WHERE person_id = ?1 AND expires_at_ms > ?2 ORDER BY last_used_at_ms DESC, id LIMIT ?3";
    /// Ends a session.
    tenant("person_id") fn end_session(person_id: &str, id: &str) -> Changed =
        "DELETE FROM sessions WHERE person_id = ?1 AND id = ?2";
    /// Ends all of a person's sessions but one.
    tenant("person_id") fn end_other_sessions(person_id: &str, kept_id: &str) -> Changed =
        "DELETE FROM sessions WHERE person_id = ?1 AND id <> ?2";
    /// Ends a person's oldest sessions beyond so many.
    tenant("person_id") fn end_sessions_beyond(person_id: &str, kept: i64) -> Changed =
        "DELETE FROM sessions WHERE person_id = ?1 AND id NOT IN
           (SELECT id FROM sessions WHERE person_id = ?1 ORDER BY created_at_ms DESC, id LIMIT ?2)";
    /// Has a session look after another account of its person.
    tenant("person_id") fn switch_account(person_id: &str, id: &str, account_id: &str) -> Changed =
        "UPDATE sessions SET account_id = ?3 WHERE person_id = ?1 AND id = ?2
           AND EXISTS (SELECT 1 FROM accounts WHERE id = ?3 AND owner_id = ?1 AND status IN ('active', 'merged'))";
    /// Finds a session that is open at a time, of a person who still owns its account. An account that was merged is read.
    global("the tenant is known only once its session is found") fn find_session(hash: &str, now_ms: i64) -> Option<SessionRow> =
        "SELECT s.id, s.person_id, p.email, s.account_id, s.last_used_at_ms, a.status = 'merged' AS is_merged
         FROM sessions s JOIN people p ON p.id = s.person_id JOIN accounts a ON a.id = s.account_id
         WHERE s.hash = ?1 AND s.expires_at_ms > ?2 AND a.owner_id = s.person_id AND a.status IN ('active', 'merged')";
    /// Notes a use.
    tenant("person_id") fn note_session_use(person_id: &str, id: &str, used_at_ms: i64) -> Changed =
        "UPDATE sessions SET last_used_at_ms = ?3 WHERE person_id = ?1 AND id = ?2";
    /// Deletes sessions that have ended by themselves.
    global("the hour's job looks after the sessions of everybody") fn prune_sessions(now_ms: i64) -> Changed =
        "DELETE FROM sessions WHERE expires_at_ms <= ?1";
}
