//! Recent calls, in `ToolRouter`'s form and in Tokaroo's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::usage_rows::{Usage, show_rows};
use super::usage_scope::{Wanted, read_before, read_filter, read_limit};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::http::input::Query;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::usage::{cut_page, read_usage};
use crate::routes;

routes! {
    tag "Usage", dialect Shared;
    /// Get recent calls with their costs.
    ///
    /// `ToolRouter`'s `calls`, and the same calls as Tokaroo's rows in `data`; pages and filters as those of `/v1/usage`.
    Get "/v1/usage/history" Access::Account(Scope::Own) => get_history;
}

/// Which calls.
#[derive(Deserialize, JsonSchema)]
pub struct HistoryQuery {
    /// Calls at most: 1 to 1,000, 100 when left out.
    limit: Option<u32>,
    /// Only calls before this time (RFC 3339).
    before: Option<String>,
    /// Only this key of the account.
    key_id: Option<String>,
    /// As `key_id`.
    api_key_id: Option<String>,
    /// Only this kind of request.
    request_type: Option<String>,
    /// Only this workspace.
    workspace_id: Option<String>,
}

/// Calls, newest first.
#[derive(Serialize, JsonSchema)]
pub struct History {
    object: &'static str,
    calls: Vec<HistoryCall>,
    data: Vec<Usage>,
    has_more: bool,
}

/// One call.
#[derive(Serialize, JsonSchema)]
pub struct HistoryCall {
    id: String,
    /// The kind of request.
    tool: String,
    /// The model as the client asked for it.
    skill: String,
    /// `success` or `error`.
    status: &'static str,
    /// US dollars charged.
    cost: f64,
    latency_ms: i64,
    created_at: String,
    key_id: String,
}

impl HistoryCall {
    fn of(usage: &Usage) -> Self {
        Self {
            id: usage.id.clone(),
            tool: usage.request_type.clone(),
            skill: usage.model.clone(),
            status: if usage.outcome == "completed" { "success" } else { "error" },
            cost: usage.charged_usd,
            latency_ms: usage.latency_ms,
            created_at: usage.created_at.clone(),
            key_id: usage.api_key_id.clone(),
        }
    }
}

async fn get_history(cx: Cx, Query(query): Query<HistoryQuery>) -> Result<Reply<History>, ApiError> {
    let limit = read_limit(query.limit)?;
    let before_ms = read_before(query.before.as_deref())?;
    let wanted = Wanted {
        api_key_id: query.api_key_id.as_deref(),
        key_id: query.key_id.as_deref(),
        workspace_id: query.workspace_id.as_deref(),
        request_type: query.request_type.as_deref(),
    };
    let filter = read_filter(&cx, &wanted).await?;
    let reads = (filter.list(before_ms, i64::from(limit)),);
    let ((rows,), fresh) = read_usage(&cx.app, &cx.ports, &filter, reads).await?;
    let (rows, has_more) = cut_page(rows, fresh, before_ms, limit as usize);
    let data = show_rows(&cx, &filter.account_id, rows).await?;
    Ok(Reply(History { object: "list", calls: data.iter().map(HistoryCall::of).collect(), data, has_more }))
}
