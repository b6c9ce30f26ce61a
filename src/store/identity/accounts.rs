//! Accounts: the owners of everything.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// An account's own limits; `None` means the default.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountRow {
    /// Its id.
    pub id: String,
    /// Requests a minute for each of its keys.
    pub requests_per_minute: Option<u32>,
    /// Requests an hour for each of its keys.
    pub requests_per_hour: Option<u32>,
    /// Calls at once for each of its keys.
    pub concurrent: Option<u32>,
    /// The account that took its keys and its money over.
    pub merged_into: Option<String>,
}

queries! {
    /// Creates an account that nobody has claimed yet.
    tenant("id") fn insert_account(id: &str, created_at_ms: i64, claim_hash: &str) -> Changed =
        "INSERT INTO accounts (id, created_at_ms, claim_hash) VALUES (?1, ?2, ?3)";
    /// Creates an account that nobody can claim, with limits of its own, unless it is there already.
    tenant("id") fn ensure_account(id: &str, created_at_ms: i64, per_minute: i64, per_hour: i64, concurrent: i64) -> Changed =
        "INSERT INTO accounts (id, created_at_ms, requests_per_minute, requests_per_hour, concurrent) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO NOTHING";
    /// Finds an account.
    tenant("id") fn find_account(id: &str) -> Option<AccountRow> =
        "SELECT id, requests_per_minute, requests_per_hour, concurrent, merged_into FROM accounts WHERE id = ?1";
    /// Sets the limits; NULL leaves one as it is.
    tenant("id") fn update_limits(id: &str, per_minute: Option<i64>, per_hour: Option<i64>, concurrent: Option<i64>) -> Changed =
        "UPDATE accounts SET requests_per_minute = COALESCE(?2, requests_per_minute),
           requests_per_hour = COALESCE(?3, requests_per_hour), concurrent = COALESCE(?4, concurrent) WHERE id = ?1";
}
