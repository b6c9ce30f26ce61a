//! What becomes of an account's data when its owner closes it.
//!
//! The books stay, under ids that say nothing of a person: the account's row, the rows of its keys, of its usage and of its
//! payments, its wallet. Everything else goes. A table that is added with something of an account's own gets a statement here and a line
//! in [`erase_account`]; `tests/api/identity/closure.rs` knows every table and asks.

use serde::Deserialize;

use crate::queries;
use crate::store::sql::Statement;
use crate::store::statement::Changed;

/// Something's id.
#[derive(Debug, Clone, Deserialize)]
pub struct Id {
    /// The id.
    pub id: String,
}

/// Closes an account of a person for good and erases what is personal: one transaction, which may be run again.
#[must_use]
pub fn erase_account(account_id: &str, person_id: &str, now_ms: i64) -> Vec<Statement> {
    vec![
        close_account(account_id, now_ms).statement,
        erase_keys(account_id).statement,
        erase_workspaces(account_id).statement,
        erase_responses(account_id).statement,
        erase_billing(account_id).statement,
        erase_provider_keys(account_id).statement,
        erase_local_endpoints(account_id).statement,
        erase_agent(account_id).statement,
        end_account_sessions(person_id, account_id).statement,
        // Only who owns no other account.
        forget_person(person_id).statement,
        end_orphaned_sessions(person_id).statement,
    ]
}

queries! {
    /// Closes an account: none of its keys and sessions is let in any more, and nobody owns it.
    tenant("id") fn close_account(id: &str, closed_at_ms: i64) -> Changed =
        "UPDATE accounts SET status = 'closed', closed_at_ms = COALESCE(closed_at_ms, ?2), owner_id = NULL, name = '', claim_hash = NULL,
           auto_pay_below_micros = NULL
         WHERE id = ?1";
    /// Revokes all keys and forgets what their owner called them and their workspaces.
    tenant("account_id") fn erase_keys(account_id: &str) -> Changed =
        "UPDATE api_keys SET status = 'revoked', name = '', masked = '', metadata = '{}', workspace_id = NULL WHERE account_id = ?1";
    /// Deletes all workspaces.
    tenant("account_id") fn erase_workspaces(account_id: &str) -> Changed =
        "DELETE FROM workspaces WHERE account_id = ?1";
    /// Deletes all kept answers.
    tenant("account_id") fn erase_responses(account_id: &str) -> Changed =
        "DELETE FROM responses WHERE account_id = ?1";
    /// Forgets how the account paid: its card, its name at Stripe.
    tenant("account_id") fn erase_billing(account_id: &str) -> Changed =
        "DELETE FROM billing WHERE account_id = ?1";
    /// Deletes the keys of providers that it brought.
    tenant("account_id") fn erase_provider_keys(account_id: &str) -> Changed =
        "DELETE FROM provider_keys WHERE account_id = ?1";
    /// Deletes its endpoints.
    tenant("account_id") fn erase_local_endpoints(account_id: &str) -> Changed =
        "DELETE FROM local_endpoints WHERE account_id = ?1";
    /// Leaves of its agent what others refer to: the id.
    tenant("account_id") fn erase_agent(account_id: &str) -> Changed =
        "UPDATE agents SET slug = id, name = '', description = '', owner_email = '', tags = '[]', webhook_url = '', avatar_url = '',
           source = '' WHERE account_id = ?1";
    /// Ends a person's sessions that look after the account.
    tenant("person_id") fn end_account_sessions(person_id: &str, account_id: &str) -> Changed =
        "DELETE FROM sessions WHERE person_id = ?1 AND account_id = ?2";
    /// Forgets a person who owns nothing that is still in use.
    tenant("id") fn forget_person(id: &str) -> Changed =
        "DELETE FROM people WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM accounts WHERE owner_id = ?1 AND status = 'active')";
    /// Ends the sessions of a person who is forgotten.
    tenant("person_id") fn end_orphaned_sessions(person_id: &str) -> Changed =
        "DELETE FROM sessions WHERE person_id = ?1 AND NOT EXISTS (SELECT 1 FROM people WHERE id = ?1)";
    /// The account's keys that are not revoked, those in use first.
    tenant("account_id") fn list_live_keys(account_id: &str, limit: i64) -> Vec<Id> =
        "SELECT id FROM api_keys WHERE account_id = ?1 AND status <> 'revoked' ORDER BY COALESCE(last_used_at_ms, 0) DESC, id LIMIT ?2";
    /// Accounts that went up in this one and are not closed yet.
    tenant("merged_into") fn list_left_behind(into_id: &str, limit: i64) -> Vec<Id> =
        "SELECT id FROM accounts WHERE merged_into = ?1 AND status <> 'closed' ORDER BY merged_at_ms DESC LIMIT ?2";
    /// The account, if it is closed.
    tenant("id") fn find_closed(id: &str) -> Option<Id> =
        "SELECT id FROM accounts WHERE id = ?1 AND closed_at_ms IS NOT NULL";
    /// Closed accounts whose money may not be written off yet, the first ones first.
    global("the hour's job looks after the closed accounts of everybody") fn list_unforfeited(limit: i64) -> Vec<Id> =
        "SELECT id FROM accounts WHERE closed_at_ms > 0 AND forfeited_at_ms IS NULL ORDER BY closed_at_ms LIMIT ?1";
    /// Notes that nothing is left in a closed account's wallet.
    tenant("id") fn note_forfeited(id: &str, forfeited_at_ms: i64) -> Changed =
        "UPDATE accounts SET forfeited_at_ms = ?2 WHERE id = ?1 AND closed_at_ms IS NOT NULL";
}
