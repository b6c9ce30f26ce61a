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
    /// What all its keys may spend in a month, in micro-dollars; `None` for no such limit.
    pub monthly_budget_micros: Option<i64>,
    /// The account that took its keys and its money over.
    pub merged_into: Option<String>,
    /// `active`, `merged` or `closed`.
    pub status: String,
}

queries! {
    /// Creates an account that nobody has claimed yet.
    tenant("id") fn insert_account(id: &str, created_at_ms: i64, claim_hash: &str) -> Changed =
        "INSERT INTO accounts (id, created_at_ms, claim_hash) VALUES (?1, ?2, ?3)";
    /// Creates the account of an agent that nobody has claimed yet.
    tenant("id") fn insert_agent_account(id: &str, created_at_ms: i64, claim_hash: &str) -> Changed =
        "INSERT INTO accounts (id, created_at_ms, claim_hash, kind) VALUES (?1, ?2, ?3, 'agent')";
    /// Creates an account that nobody can claim, with limits of its own, unless it is there already.
    tenant("id") fn ensure_account(id: &str, created_at_ms: i64, per_minute: i64, per_hour: i64, concurrent: i64) -> Changed =
        "INSERT INTO accounts (id, created_at_ms, requests_per_minute, requests_per_hour, concurrent) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO NOTHING";
    /// Finds an account.
    tenant("id") fn find_account(id: &str) -> Option<AccountRow> =
        "SELECT id, requests_per_minute, requests_per_hour, concurrent, monthly_budget_micros, merged_into, status FROM accounts WHERE id = ?1";
    /// Sets the limits; NULL leaves one as it is.
    tenant("id") fn update_limits(id: &str, per_minute: Option<i64>, per_hour: Option<i64>, concurrent: Option<i64>) -> Changed =
        "UPDATE accounts SET requests_per_minute = COALESCE(?2, requests_per_minute),
           requests_per_hour = COALESCE(?3, requests_per_hour), concurrent = COALESCE(?4, concurrent) WHERE id = ?1";
    /// Sets what all keys of an account may spend in a month; `None` for no such limit. What the month has spent already
    /// counts. The isolate then forgets the account's keys, so that it holds here at once, and flushes its records, so that
    /// what it has just spent is in the wallet.
    tenant("id") fn set_account_limit(id: &str, monthly_budget_micros: Option<i64>) -> Changed =
        "UPDATE accounts SET monthly_budget_micros = ?2 WHERE id = ?1";
}
