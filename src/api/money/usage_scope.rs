//! Whose usage a caller may see, and which of it they ask for.
//!
//! A session and a key that may look after the account see all of the account, or the key and workspace that they name; one
//! that may look after a workspace sees that workspace. Every other key sees its own calls alone.

use guildhall_domain::time::parse_rfc3339;

use crate::app::Cx;
use crate::auth::{Caller, Sight};
use crate::error::{ApiError, Kind};
use crate::observe::usage::UsageFilter;
use crate::store::money::reports::{list_key_faces, list_workspace_faces};
use crate::store::statement::run_all;

/// The filters of a query.
#[derive(Default)]
pub struct Wanted<'q> {
    /// A key, as Tokaroo names it.
    pub api_key_id: Option<&'q str>,
    /// A key, as `ToolRouter` names it.
    pub key_id: Option<&'q str>,
    /// A workspace.
    pub workspace_id: Option<&'q str>,
    /// A kind of request.
    pub request_type: Option<&'q str>,
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// The longest window that is summed, in days.
pub const DAYS_MAX: u32 = 365;
/// The window where none is named, in days.
const DAYS_DEFAULT: u32 = 30;
/// A day in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// Later than any record; far enough from the end that sums of times do not overflow.
const END_OF_TIME_MS: i64 = i64::MAX >> 10;

/// The filter that the caller may apply.
///
/// # Errors
/// 400 when two keys are named, 403 when a key asks for more than its own, 404 for a key or workspace that is not the
/// account's.
pub async fn read_filter(cx: &Cx, wanted: &Wanted<'_>) -> Result<UsageFilter, ApiError> {
    if wanted.api_key_id.zip(wanted.key_id).is_some_and(|(one, other)| one != other) {
        return Err(ApiError::invalid("key_id", "key_id and api_key_id name different keys"));
    }
    let (key, workspace) = (wanted.api_key_id.or(wanted.key_id), wanted.workspace_id);
    // Whether it may name others than itself.
    let may_name = match &cx.caller {
        Caller::Key(own) => {
            let sight = own.sight();
            let is_anothers = sight == Sight::Own && key.is_some_and(|id| id != own.key_id);
            let is_elsewhere =
                sight != Sight::All && workspace.is_some_and(|id| own.workspace_id.as_deref() != Some(id));
            if is_anothers || is_elsewhere {
                let whose = if sight == Sight::Own { "its own usage" } else { "the usage of its workspace" };
                let text = format!("Session authentication required: this API key sees {whose} only");
                return Err(ApiError::new(Kind::Forbidden, text));
            }
            sight != Sight::Own
        }
        _ => true,
    };
    let widest = widest_filter(cx)?;
    let filter = UsageFilter {
        api_key_id: key.map(str::to_owned).or(widest.api_key_id),
        workspace_id: workspace.map(str::to_owned).or(widest.workspace_id),
        request_type: wanted.request_type.map(str::to_owned),
        ..widest
    };
    if may_name && (key.is_some() || workspace.is_some()) {
        check_theirs(cx, &filter).await?;
    }
    Ok(filter)
}

/// The whole of what the caller may see.
///
/// # Errors
/// 401 without an account.
pub fn widest_filter(cx: &Cx) -> Result<UsageFilter, ApiError> {
    let (api_key_id, workspace_id) = match &cx.caller {
        Caller::Key(own) => match own.sight() {
            Sight::All => (None, None),
            Sight::Workspace(workspace_id) => (None, Some(workspace_id.to_owned())),
            Sight::Own => (Some(own.key_id.clone()), None),
        },
        _ => (None, None),
    };
    Ok(UsageFilter { account_id: cx.caller.account_id()?.to_owned(), api_key_id, workspace_id, request_type: None })
}

/// Whether the key and the workspace of a filter are the account's. Both are looked up in any case.
async fn check_theirs(cx: &Cx, filter: &UsageFilter) -> Result<(), ApiError> {
    let list = |id: &Option<String>| serde_json::to_string(&Vec::from_iter(id.as_deref())).map_err(ApiError::internal);
    let (keys, workspaces) = (list(&filter.api_key_id)?, list(&filter.workspace_id)?);
    let faces = (list_key_faces(&filter.account_id, &keys), list_workspace_faces(&filter.account_id, &workspaces));
    let (keys, workspaces) = run_all(&*cx.ports.db, faces).await?;
    if filter.api_key_id.is_some() && keys.is_empty() {
        return Err(ApiError::not_found("API key"));
    }
    if filter.workspace_id.is_some() && workspaces.is_empty() {
        return Err(ApiError::not_found("Workspace"));
    }
    Ok(())
}

/// Rows of a page: 1 to 1,000, 100 unless said otherwise.
///
/// # Errors
/// 400 otherwise.
pub fn read_limit(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::invalid("limit", format!("limit must be between 1 and {LIMIT_MAX}")));
    }
    Ok(limit)
}

/// The time that a page ends before; milliseconds since 1970.
///
/// # Errors
/// 400 when it is no time.
pub fn read_before(before: Option<&str>) -> Result<i64, ApiError> {
    let Some(text) = before else { return Ok(END_OF_TIME_MS) };
    parse_rfc3339(text).ok_or_else(|| ApiError::invalid("before", "before must be an RFC 3339 time"))
}

/// A window in days: 1 to 365, 30 unless said otherwise; `name` is the parameter's.
///
/// # Errors
/// 400 otherwise.
pub fn read_days(name: &str, days: Option<u32>) -> Result<u32, ApiError> {
    let days = days.unwrap_or(DAYS_DEFAULT);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(ApiError::invalid(name, format!("{name} must be between 1 and {DAYS_MAX}")));
    }
    Ok(days)
}
