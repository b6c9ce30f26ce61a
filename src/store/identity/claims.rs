//! Claims: accounts that nobody owns yet, and how they come to a person.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// An account that can be claimed.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimRow {
    /// The account.
    pub account_id: String,
    /// When it was opened.
    pub created_at_ms: i64,
    /// `agent` for an agent's.
    pub kind: String,
}

/// What is shown of a key.
#[derive(Debug, Clone, Deserialize)]
pub struct MaskedKeyRow {
    /// Both its ends.
    pub masked: String,
    /// Its name.
    pub name: String,
}

/// A merged account whose wallet is to be looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct DrainRow {
    /// The account.
    pub id: String,
    /// Where its money goes.
    pub merged_into: String,
    /// Since when.
    pub merged_at_ms: i64,
    /// When it was to be looked at.
    pub drain_due_ms: i64,
}

/// An account that went up in another.
#[derive(Debug, Clone, Deserialize)]
pub struct MergedRow {
    /// The account.
    pub id: String,
}

queries! {
    /// Finds what a claim link is about.
    global("whoever has the link may know what it is about") fn find_claim(claim_hash: &str) -> Option<ClaimRow> =
        "SELECT id AS account_id, created_at_ms, kind FROM accounts WHERE claim_hash = ?1 AND owner_id IS NULL AND status = 'active'";
    /// What is shown of an account's keys, oldest first.
    tenant("account_id") fn list_masked_keys(account_id: &str, limit: i64) -> Vec<MaskedKeyRow> =
        "SELECT masked, name FROM api_keys WHERE account_id = ?1 AND status <> 'revoked' ORDER BY created_at_ms, id LIMIT ?2";
    /// Makes a person without an active account the owner of a claimed one.
    tenant("owner_id") fn adopt_account(owner_id: &str, claim_hash: &str) -> Changed =
        "UPDATE accounts SET owner_id = ?1, claim_hash = NULL WHERE claim_hash = ?2 AND owner_id IS NULL AND status = 'active'
           AND NOT EXISTS (SELECT 1 FROM accounts
             WHERE owner_id = ?1 AND status = 'active' AND merged_into IS NULL AND kind <> 'agent')";
    /// Makes a person the owner of an agent, whatever else they own: its wallet stays its own.
    tenant("owner_id") fn adopt_agent(owner_id: &str, claim_hash: &str) -> Changed =
        "UPDATE accounts SET owner_id = ?1, claim_hash = NULL WHERE claim_hash = ?2 AND owner_id IS NULL AND status = 'active' AND kind = 'agent'";
    /// Gives a claimed account to a person in whose active account it goes up. Its keys stay until its wallet has told the
    /// other one what they have spent.
    tenant("owner_id") fn merge_account(owner_id: &str, into_id: &str, claim_hash: &str, now_ms: i64) -> Changed =
        "UPDATE accounts SET owner_id = ?1, claim_hash = NULL, merged_into = ?2, merged_at_ms = ?4, drain_due_ms = ?4
         WHERE claim_hash = ?3 AND owner_id IS NULL AND status = 'active' AND kind <> 'agent'
           AND EXISTS (SELECT 1 FROM accounts WHERE owner_id = ?1 AND id = ?2 AND status = 'active' AND merged_into IS NULL)";
    /// Gives each key of an account that goes up in another what that account might spend in a month as its own limit, unless
    /// its own is smaller. Comes before the keys move, in their transaction.
    tenant("account_id") fn limit_moving_keys(account_id: &str, into_id: &str) -> Changed =
        "UPDATE api_keys SET monthly_budget_micros = (SELECT MIN(a.monthly_budget_micros,
             COALESCE(api_keys.monthly_budget_micros, a.monthly_budget_micros)) FROM accounts a WHERE a.id = ?1)
         WHERE account_id = ?1 AND EXISTS (SELECT 1 FROM accounts
           WHERE id = ?1 AND merged_into = ?2 AND status = 'active' AND monthly_budget_micros IS NOT NULL)";
    /// Moves the keys of an account that goes up in another, once.
    tenant("account_id") fn move_keys(account_id: &str, into_id: &str) -> Changed =
        "UPDATE api_keys SET account_id = ?2 WHERE account_id = ?1
           AND EXISTS (SELECT 1 FROM accounts WHERE id = ?1 AND merged_into = ?2 AND status = 'active')";
    /// Moves the workspaces of an account that goes up in another, once; where both have one of a name, the other's stays.
    tenant("account_id") fn move_workspaces(account_id: &str, into_id: &str) -> Changed =
        "UPDATE OR IGNORE workspaces SET account_id = ?2 WHERE account_id = ?1
           AND EXISTS (SELECT 1 FROM accounts WHERE id = ?1 AND merged_into = ?2 AND status = 'active')";
    /// Moves some of the kept responses of an account that went up in another.
    tenant("account_id") fn move_responses(account_id: &str, into_id: &str, limit: i64) -> Changed =
        "UPDATE OR IGNORE responses SET account_id = ?2 WHERE account_id = ?1
           AND id IN (SELECT id FROM responses WHERE account_id = ?1 ORDER BY id LIMIT ?3)
           AND EXISTS (SELECT 1 FROM accounts WHERE id = ?1 AND merged_into = ?2 AND status = 'merged')";
    /// From here on the merged account lets no key in. Comes after both moves, in their transaction.
    tenant("id") fn end_merge(id: &str, into_id: &str) -> Changed =
        "UPDATE accounts SET status = 'merged' WHERE id = ?1 AND merged_into = ?2 AND status = 'active'";
    /// Merged accounts whose wallets are to be looked at, the longest due first.
    global("the hour's job looks after the accounts of everybody") fn list_drains(now_ms: i64, limit: i64) -> Vec<DrainRow> =
        "SELECT id, merged_into, merged_at_ms, drain_due_ms FROM accounts WHERE drain_due_ms <= ?1 ORDER BY drain_due_ms LIMIT ?2";
    /// Accounts that went up in another since a time, the latest first.
    tenant("merged_into") fn list_merged(into_id: &str, since_ms: i64, limit: i64) -> Vec<MergedRow> =
        "SELECT id FROM accounts WHERE merged_into = ?1 AND merged_at_ms >= ?2 ORDER BY merged_at_ms DESC LIMIT ?3";
    /// Says when a merged account's wallet is looked at again, unless money has come since; NULL for never.
    tenant("id") fn set_drain(id: &str, found_ms: i64, due_ms: Option<i64>) -> Changed =
        "UPDATE accounts SET drain_due_ms = ?3 WHERE id = ?1 AND drain_due_ms = ?2 AND merged_into IS NOT NULL";
    /// Notes that money has moved in the wallet of an account that may be merged or closed: the hour's jobs look at it again.
    tenant("id") fn note_late_money(id: &str, now_ms: i64) -> Changed =
        "UPDATE accounts SET drain_due_ms = CASE WHEN merged_into IS NOT NULL THEN ?2 END, forfeited_at_ms = NULL
         WHERE id = ?1 AND (merged_into IS NOT NULL OR closed_at_ms IS NOT NULL)";
}
