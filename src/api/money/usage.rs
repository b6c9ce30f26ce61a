//! What was used, and what it cost.

use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage_rows::{Usage, show_rows};
use super::usage_scope::{DAY_MS, DAYS_MAX, Wanted, read_before, read_filter, read_limit, widest_filter};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::http::input::{Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::usage::{add_fresh, cut_page, read_record, read_usage};
use crate::routes;
use crate::store::money::reports::{Dimension, UsageSum};

routes! {
    tag "Usage", dialect Shared;
    /// Get usage.
    ///
    /// Tokaroo's rows and `ToolRouter`'s summary together: of the account for its owner, of its own calls for any other key.
    /// A request shows as soon as it has ended.
    Get "/v1/usage" Access::Account(Scope::Own) => get_usage;
    /// Get one request's usage with its receipt.
    ///
    /// The receipt holds everything from which the charge can be recomputed.
    Get "/v1/usage/{id}" Access::Account(Scope::Own) => get_usage_receipt;
}

/// Which usage.
#[derive(Deserialize, JsonSchema)]
pub struct UsageQuery {
    /// Rows at most: 1 to 1,000, 100 when left out. Rows of the page's last millisecond come together, be they more.
    limit: Option<u32>,
    /// Only rows before this time (RFC 3339).
    before: Option<String>,
    /// Only this key of the account; a key that does not look after the account may name itself alone.
    api_key_id: Option<String>,
    /// As `api_key_id`.
    key_id: Option<String>,
    /// Only this kind of request.
    request_type: Option<String>,
    /// Only this workspace; a key that does not look after the account may name its own alone.
    workspace_id: Option<String>,
    /// The summary's window: `day`, `week`, `month` (the default) or `all` (365 days).
    period: Option<String>,
}

/// Usage and its summary.
#[derive(Serialize, JsonSchema)]
pub struct UsagePage {
    object: &'static str,
    data: Vec<Usage>,
    has_more: bool,
    period: String,
    total_calls: i64,
    total_cost: f64,
    by_tool: Vec<ToolUsage>,
}

/// The summary of one kind of request.
#[derive(Serialize, JsonSchema)]
pub struct ToolUsage {
    tool: String,
    calls: i64,
    cost: f64,
    /// The dearest 1,000 of all tools together.
    skills: Vec<SkillUsage>,
}

/// The summary of one model.
#[derive(Serialize, JsonSchema)]
pub struct SkillUsage {
    skill: String,
    calls: i64,
    cost: f64,
}

/// One request with its receipt.
#[derive(Serialize, JsonSchema)]
pub struct UsageReceipt {
    #[serde(flatten)]
    usage: Usage,
    /// Tokens as reported, rates, their version, the hold and what was captured of it.
    receipt: Map<String, Value>,
}

async fn get_usage(cx: Cx, Query(query): Query<UsageQuery>) -> Result<Reply<UsagePage>, ApiError> {
    let limit = read_limit(query.limit)?;
    let before_ms = read_before(query.before.as_deref())?;
    let (period, since_ms) = read_period(query.period.as_deref(), cx.started_ms)?;
    let wanted = Wanted {
        api_key_id: query.api_key_id.as_deref(),
        key_id: query.key_id.as_deref(),
        workspace_id: query.workspace_id.as_deref(),
        request_type: query.request_type.as_deref(),
    };
    let filter = read_filter(&cx, &wanted).await?;
    let (tool, skill, all) = (Dimension::RequestType, Dimension::Model, Dimension::Nothing);
    // Models are as many as clients have names for, and listed up to a bound: what a tool cost in all is a sum of its own.
    let sums = (filter.sum(since_ms, tool, all), filter.sum(since_ms, tool, skill));
    let reads = (filter.list(before_ms, i64::from(limit)), sums.0, sums.1);
    let ((rows, tools, skills), fresh) = read_usage(&cx.app, &cx.ports, &filter, reads).await?;
    let in_period = || fresh.iter().filter(|row| row.created_at_ms >= since_ms);
    let (tools, skills) = (add_fresh(tools, in_period(), tool, all), add_fresh(skills, in_period(), tool, skill));
    let (rows, has_more) = cut_page(rows, fresh, before_ms, limit as usize);
    Ok(Reply(UsagePage {
        object: "list",
        data: show_rows(&cx, &filter.account_id, rows).await?,
        has_more,
        period,
        total_calls: tools.iter().map(|sum| sum.requests).sum(),
        total_cost: MicroUsd(tools.iter().map(|sum| sum.charged_micros).sum()).to_usd(),
        by_tool: by_tool(tools, &skills),
    }))
}

async fn get_usage_receipt(cx: Cx, Path(id): Path) -> Result<Reply<UsageReceipt>, ApiError> {
    let filter = widest_filter(&cx)?;
    let row = read_record(&cx.app, &cx.ports, &filter, &id).await?;
    let row = row.ok_or_else(|| ApiError::not_found("usage record"))?;
    let mut receipt: Map<String, Value> = serde_json::from_str(&row.receipt).map_err(ApiError::internal)?;
    receipt.insert("captured_micros".into(), row.charged_micros.into());
    let usage = show_rows(&cx, &filter.account_id, vec![row]).await?.pop();
    let usage = usage.ok_or_else(|| ApiError::internal("a row is lost"))?;
    Ok(Reply(UsageReceipt { usage, receipt }))
}

fn read_period(period: Option<&str>, now_ms: i64) -> Result<(String, i64), ApiError> {
    let period = period.unwrap_or("month");
    let days = match period {
        "day" => 1,
        "week" => 7,
        "month" => 30,
        "all" => i64::from(DAYS_MAX),
        _ => {
            return Err(ApiError::invalid("period", "period must be day, week, month or all"));
        }
    };
    Ok((period.to_owned(), now_ms - days * DAY_MS))
}

/// Sums by kind with those by kind and model under them, as `ToolRouter` nests them.
fn by_tool(tools: Vec<UsageSum>, skills: &[UsageSum]) -> Vec<ToolUsage> {
    let usd = |sum: &UsageSum| MicroUsd(sum.charged_micros).to_usd();
    let to_skill = |sum: &UsageSum| SkillUsage { skill: sum.part.clone(), calls: sum.requests, cost: usd(sum) };
    let to_tool = |tool: UsageSum| ToolUsage {
        calls: tool.requests,
        cost: usd(&tool),
        skills: skills.iter().filter(|skill| skill.name == tool.name).map(to_skill).collect(),
        tool: tool.name,
    };
    tools.into_iter().map(to_tool).collect()
}
