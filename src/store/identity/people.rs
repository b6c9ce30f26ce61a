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
    /// When they first signed in.
    pub created_at_ms: i64,
}

/// An account as its owner sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct OwnAccountRow {
    /// Its id.
    pub id: String,
    /// Its name; empty when nobody has given it one.
    pub name: String,
    /// `active`, `closed` or `merged`.
    pub status: String,
    /// When it was opened.
    pub created_at_ms: i64,
    /// The account that took its keys and its money over.
    pub merged_into: Option<String>,
}

/// An account's id.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountId {
    /// The id.
    pub id: String,
}

queries! {
    /// Makes a person known, unless they are.
    global("an address is known before the person is") fn ensure_person(id: &str, email: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO people (id, email, created_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (email) DO NOTHING";
    /// Finds a person by their address.
    global("an address is known before the person is") fn find_person(email: &str) -> Option<PersonRow> =
        "SELECT id, email, created_at_ms FROM people WHERE email = ?1";
    /// Opens an account for a person who has none that is active.
    global("whether an account is needed is asked of the person's others") fn ensure_own_account(owner_id: &str, id: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO accounts (owner_id, id, created_at_ms) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE owner_id = ?1 AND status = 'active' AND merged_into IS NULL AND kind <> 'agent')";
    /// The account that a person acts for: this one where it is theirs and active, else their first that is; never an agent's.
    tenant("owner_id") fn find_home(owner_id: &str, preferred: &str) -> Option<AccountId> =
        "SELECT id FROM accounts WHERE owner_id = ?1 AND status = 'active' AND merged_into IS NULL AND kind <> 'agent' ORDER BY id = ?2 DESC, created_at_ms, id LIMIT 1";
    /// One of a person's accounts.
    tenant("owner_id") fn find_own_account(owner_id: &str, id: &str) -> Option<OwnAccountRow> =
        "SELECT id, name, status, created_at_ms, merged_into FROM accounts WHERE owner_id = ?1 AND id = ?2";
    /// A page of a person's accounts, those in use first, of these the oldest first.
    tenant("owner_id") fn list_own_accounts(owner_id: &str, limit: i64, offset: i64) -> Vec<OwnAccountRow> =
        "SELECT id, name, status, created_at_ms, merged_into FROM accounts WHERE owner_id = ?1
         ORDER BY status <> 'active' OR merged_into IS NOT NULL, created_at_ms, id LIMIT ?2 OFFSET ?3";
}
