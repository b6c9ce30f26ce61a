//! Comparisons of usage with the wallets' ledgers.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A comparison of all accounts.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub id: i64,
    /// `cron` or `admin`.
    pub origin: String,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended; `None` while accounts are left.
    pub finished_at_ms: Option<i64>,
    /// The last account that was compared.
    pub cursor: String,
    /// Accounts compared so far.
    pub accounts: i64,
    /// Of those, how many were charged meanwhile.
    pub moving: i64,
    /// Accounts that differ.
    pub differences: i64,
    /// By how much, in micro-dollars, whatever the sign.
    pub difference_micros: i64,
}

/// An account to compare.
#[derive(Debug, Clone, Deserialize)]
pub struct ActiveAccount {
    /// Its id.
    pub id: String,
}

/// An account whose usage is not what its ledger says.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct DifferenceRow {
    /// The account.
    pub account_id: String,
    /// Charged by the wallet's journal, less what nothing covered, in micro-dollars.
    pub ledger_micros: i64,
    /// Charged by usage, in micro-dollars.
    pub usage_micros: i64,
    /// What is wrong beside the sums.
    pub fault: String,
    /// When it was found.
    pub found_at_ms: i64,
}

/// A sum of charges.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Charged {
    /// In micro-dollars.
    pub charged_micros: i64,
}

queries! {
    /// The newest comparison.
    global("the platform's own books") fn find_last_run() -> Option<RunRow> =
        "SELECT r.id, r.origin, r.started_at_ms, r.finished_at_ms, r.cursor, r.accounts, r.moving,
           (SELECT COUNT(*) FROM ledger_differences d WHERE d.reconciliation_id = r.id) AS differences,
           (SELECT COALESCE(SUM(ABS(d.ledger_micros - d.usage_micros)), 0) FROM ledger_differences d WHERE d.reconciliation_id = r.id)
             AS difference_micros
         FROM reconciliations r WHERE r.id = (SELECT MAX(id) FROM reconciliations)";
    /// The newest comparison that has come to its end.
    global("the platform's own books") fn find_finished_run() -> Option<RunRow> =
        "SELECT r.id, r.origin, r.started_at_ms, r.finished_at_ms, r.cursor, r.accounts, r.moving,
           (SELECT COUNT(*) FROM ledger_differences d WHERE d.reconciliation_id = r.id) AS differences,
           (SELECT COALESCE(SUM(ABS(d.ledger_micros - d.usage_micros)), 0) FROM ledger_differences d WHERE d.reconciliation_id = r.id)
             AS difference_micros
         FROM reconciliations r WHERE r.id > 0 AND r.finished_at_ms IS NOT NULL ORDER BY r.id DESC LIMIT 1";
    /// Begins a comparison, unless one is under way.
    global("the platform's own books") fn begin_run(origin: &str, started_at_ms: i64) -> Changed =
        "INSERT INTO reconciliations (origin, started_at_ms, cursor, accounts, moving) SELECT ?1, ?2, '', 0, 0 WHERE NOT EXISTS
           (SELECT 1 FROM reconciliations WHERE id = (SELECT MAX(id) FROM reconciliations) AND finished_at_ms IS NULL)";
    /// Notes how far a comparison has come, unless somebody else has taken it further.
    global("the platform's own books") fn advance_run(id: i64, from: &str, cursor: &str, accounts: i64, moving: i64,
        finished_at_ms: Option<i64>) -> Changed =
        "UPDATE reconciliations SET cursor = ?3, accounts = accounts + ?4, moving = moving + ?5, finished_at_ms = ?6
         WHERE id = ?1 AND cursor = ?2 AND finished_at_ms IS NULL";
    /// Accounts that have ever used anything, in the order of their ids.
    global("the platform compares the books of everybody") fn list_active_accounts(after: &str, limit: i64) -> Vec<ActiveAccount> =
        "SELECT a.id FROM accounts a WHERE a.id > ?1 AND (EXISTS (SELECT 1 FROM usage_days u WHERE u.account_id = a.id)
           OR EXISTS (SELECT 1 FROM api_keys k WHERE k.account_id = a.id AND k.last_used_at_ms IS NOT NULL))
         ORDER BY a.id LIMIT ?2";
    /// What an account was charged for requests.
    tenant("account_id") fn sum_charged(account_id: &str) -> Option<Charged> =
        "SELECT COALESCE(SUM(charged_micros), 0) AS charged_micros FROM usage_days WHERE account_id = ?1";
    /// Notes a difference, unless somebody else has taken the comparison further.
    tenant("account_id") fn insert_difference(account_id: &str, reconciliation_id: i64, from: &str, ledger_micros: i64,
        usage_micros: i64, fault: &str, found_at_ms: i64) -> Changed =
        "INSERT INTO ledger_differences (account_id, reconciliation_id, ledger_micros, usage_micros, fault, found_at_ms)
         SELECT ?1, ?2, ?4, ?5, ?6, ?7 WHERE EXISTS
           (SELECT 1 FROM reconciliations WHERE id = ?2 AND cursor = ?3 AND finished_at_ms IS NULL) ON CONFLICT DO NOTHING";
    /// The differences that a comparison found; the first hundred.
    global("the platform's own books") fn list_differences(reconciliation_id: i64) -> Vec<DifferenceRow> =
        "SELECT account_id, ledger_micros, usage_micros, fault, found_at_ms FROM ledger_differences WHERE reconciliation_id = ?1
         ORDER BY account_id LIMIT 100";
    /// Deletes comparisons from before a time, but for the newest one; their differences go with them.
    global("retention is the platform's") fn prune_runs(before_ms: i64) -> Changed =
        "DELETE FROM reconciliations WHERE id IN (SELECT id FROM reconciliations WHERE id > 0 AND id < (SELECT MAX(id) FROM reconciliations)
           AND started_at_ms < ?1 ORDER BY id LIMIT 500)";
}
