//! Workspaces: named parts of an account.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::Changed;

/// A workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: String,
    /// The owner's name for it, which keys and usage refer to.
    pub workspace_id: String,
    /// What people call it.
    pub name: String,
    /// `active` or `archived`.
    pub status: String,
    /// The owner's own, as a JSON object.
    pub metadata: String,
    /// What its keys may spend in a month, in micro-dollars; `None` for no such limit.
    pub monthly_budget_micros: Option<i64>,
    /// When it was created.
    pub created_at_ms: i64,
    /// When it was last changed.
    pub updated_at_ms: i64,
}

queries! {
    /// Creates a workspace, unless it is there.
    tenant("account_id") fn ensure_workspace(account_id: &str, workspace_id: &str, id: &str, name: &str, created_at_ms: i64) -> Changed =
        "INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, 'active', '{}', ?5, ?5) ON CONFLICT (account_id, workspace_id) DO NOTHING";
    /// Sets what is given; NULL leaves a column as it is, a budget of -1 takes it away. Each column by itself, so that
    /// two changes at once do not undo each other.
    tenant("account_id") fn update_workspace(account_id: &str, workspace_id: &str, updated_at_ms: i64, name: Option<&str>,
        status: Option<&str>, metadata: Option<&str>, monthly_budget_micros: Option<i64>) -> Changed =
        "UPDATE workspaces SET updated_at_ms = MAX(updated_at_ms, ?3), name = COALESCE(?4, name), status = COALESCE(?5, status),
           metadata = COALESCE(?6, metadata), monthly_budget_micros = NULLIF(COALESCE(?7, monthly_budget_micros), -1)
         WHERE account_id = ?1 AND workspace_id = ?2";
    /// Finds a workspace.
    tenant("account_id") fn find_workspace(account_id: &str, workspace_id: &str) -> Option<WorkspaceRow> =
        "SELECT id, workspace_id, name, status, metadata, monthly_budget_micros, created_at_ms, updated_at_ms
         FROM workspaces WHERE account_id = ?1 AND workspace_id = ?2";
    /// Finds the first of an account's workspaces that people call so.
    tenant("account_id") fn find_workspace_called(account_id: &str, name: &str) -> Option<WorkspaceRow> =
        "SELECT id, workspace_id, name, status, metadata, monthly_budget_micros, created_at_ms, updated_at_ms
         FROM workspaces WHERE account_id = ?1 AND name = ?2 ORDER BY created_at_ms, workspace_id LIMIT 1";
    /// An account's workspaces, by name.
    tenant("account_id") fn list_workspaces(account_id: &str, limit: i64, offset: i64) -> Vec<WorkspaceRow> =
        "SELECT id, workspace_id, name, status, metadata, monthly_budget_micros, created_at_ms, updated_at_ms
         FROM workspaces WHERE account_id = ?1 ORDER BY workspace_id LIMIT ?2 OFFSET ?3";
    /// How many an account has.
    tenant("account_id") fn count_workspaces(account_id: &str) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM workspaces WHERE account_id = ?1";
}
