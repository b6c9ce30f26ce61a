//! People: who signs in, and what is theirs.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A person.
#[derive(Debug, Clone, Deserialize)]
pub struct PersonRow {
    /// Their id.
    pub id: String,
    /// Their address, in lower case.
    pub email: String,
}

queries! {
    /// Makes a person known, unless they are.
    global("an address is known before the person is") fn ensure_person(id: &str, email: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO people (id, email, created_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (email) DO NOTHING";
    /// Finds a person by their address.
    global("an address is known before the person is") fn find_person(email: &str) -> Option<PersonRow> =
        "SELECT id, email FROM people WHERE email = ?1";
    /// Opens an account for a person.
    tenant("owner_id") fn insert_own_account(owner_id: &str, id: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO accounts (owner_id, id, created_at_ms) VALUES (?1, ?2, ?3)";
}
