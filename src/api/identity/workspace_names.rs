//! What keys and workspaces share: how a workspace is named, and how one begins.

use guildhall_domain::ids::WorkspaceId;
use guildhall_domain::workspace::{WORKSPACE_ID_MAX_CHARS, is_workspace_id, workspace_id_of};

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::store::identity::workspaces::{count_workspaces, ensure_workspace, find_workspace_called};
use crate::store::sql::Statement;

/// Workspaces of one account.
pub const WORKSPACES_MAX: i64 = 1_000;

/// The write that creates a workspace, unless it is there when the write runs.
///
/// # Errors
/// 400 for a name that none can have, 409 when there are too many.
pub async fn begin_workspace(cx: &Cx, account_id: &str, workspace_id: &str, name: &str) -> Result<Statement, ApiError> {
    if !is_workspace_id(workspace_id) {
        let text = format!("workspace_id must be 1 to {WORKSPACE_ID_MAX_CHARS} letters, digits, '.', '_', ':' or '-'");
        return Err(ApiError::invalid("workspace_id", text));
    }
    let known = count_workspaces(account_id).run(&*cx.ports.db).await?.map_or(0, |count| count.total);
    if known >= WORKSPACES_MAX {
        return Err(ApiError::new(Kind::Conflict, format!("An account has at most {WORKSPACES_MAX} workspaces")));
    }
    let id = WorkspaceId::from_random(cx.draw());
    Ok(ensure_workspace(account_id, workspace_id, id.as_str(), name, cx.started_ms).statement)
}

/// The id of the workspace that people call so: one that the account has, else the one that it would begin with.
///
/// # Errors
/// When the database fails.
pub async fn id_of_workspace_called(cx: &Cx, account_id: &str, name: &str) -> Result<String, ApiError> {
    let known = find_workspace_called(account_id, name).run(&*cx.ports.db).await?;
    Ok(known.map_or_else(|| workspace_id_of(name), |workspace| workspace.workspace_id))
}

/// A workspace that is none of the account's.
#[must_use]
pub fn workspace_not_found() -> ApiError {
    ApiError::not_found("Workspace").code("WORKSPACE_NOT_FOUND")
}
