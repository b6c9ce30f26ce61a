//! Sessions of the console.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A session that is open.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct SessionRow {
    /// Until when; milliseconds since 1970.
    pub expires_at_ms: i64,
}

queries! {
    /// Opens a session.
    global("sessions are the administrators'") fn insert_session(hash: &str, created_at_ms: i64, expires_at_ms: i64) -> Changed =
        "INSERT INTO admin_sessions (hash, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3)";
    /// Finds a session that is open at a time.
    global("sessions are the administrators'") fn find_session(hash: &str, now_ms: i64) -> Option<SessionRow> =
        "SELECT expires_at_ms FROM admin_sessions WHERE hash = ?1 AND expires_at_ms > ?2";
    /// Ends a session.
    global("sessions are the administrators'") fn delete_session(hash: &str) -> Changed =
        "DELETE FROM admin_sessions WHERE hash = ?1";
    /// Deletes sessions that have ended by themselves.
    global("sessions are the administrators'") fn prune_sessions(now_ms: i64) -> Changed =
        "DELETE FROM admin_sessions WHERE expires_at_ms <= ?1";
}
