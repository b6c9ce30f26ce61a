//! What was used, and what it cost.

use durable_objects::wallet::protocol::{Command, Reply as WalletReply, Wallet, name};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::{format_rfc3339, parse_rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::Cx;
use crate::auth::KeyCaller;
use crate::auth::scope::Scope;
use crate::http::error::{ApiError, Kind};
use crate::http::input::{Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::ports::ask;
use crate::routes;
use crate::store::money::usage::{
    Source, UsageRow, UsageSum, find_usage, find_usage_ids, list_usage, sum_usage, write_off,
};
use crate::store::statement::run_all;

routes! {
    tag "Usage", dialect ToolRouter;
    /// Get usage.
    ///
    /// Tokaroo's rows and `ToolRouter`'s summary together, of the calling key. A request shows as soon as it has ended.
    Get "/v1/usage" Access::Key(Scope::Own) => get_usage;
    /// Get one request's usage with its receipt.
    ///
    /// The receipt holds everything from which the charge can be recomputed.
    Get "/v1/usage/{id}" Access::Key(Scope::Own) => get_usage_receipt;
}

/// Which usage.
#[derive(Deserialize, JsonSchema)]
pub struct UsageQuery {
    /// Rows at most: 1 to 1,000, 100 when left out.
    limit: Option<u32>,
    /// Only rows before this time (RFC 3339).
    before: Option<String>,
    /// Only this key, which must be the calling one.
    api_key_id: Option<String>,
    /// As `api_key_id`.
    key_id: Option<String>,
    /// Only this kind of request.
    request_type: Option<String>,
    /// Only this workspace; a key sees its own alone.
    workspace_id: Option<String>,
    /// The summary's window: `day`, `week`, `month` or `all`.
    period: Option<String>,
}

/// One request.
#[derive(Serialize, JsonSchema)]
pub struct Usage {
    id: String,
    api_key_id: String,
    workspace_id: Option<String>,
    workspace_name: Option<String>,
    metadata: serde_json::Map<String, serde_json::Value>,
    tier: String,
    model: String,
    /// `tokaroo`; `byok` or `local` where the caller's own key or endpoint served. The upstream is not shown.
    provider: &'static str,
    routing_method: String,
    execution_source: &'static str,
    billing_mode: &'static str,
    request_type: String,
    input_tokens: u64,
    output_tokens: u64,
    actual_cost_usd: f64,
    charged_usd: f64,
    baseline_usd: f64,
    latency_ms: i64,
    /// The HTTP status of the answer.
    status: u16,
    /// How it ended; see `docs/MONEY.md`.
    outcome: String,
    created_at: String,
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
    /// Tokens as reported, rates, their version, the hold and the capture.
    #[schemars(with = "serde_json::Value")]
    receipt: Box<RawValue>,
}

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
const DAY_MS: i64 = 86_400_000;

async fn get_usage(cx: Cx, Query(query): Query<UsageQuery>) -> Result<Reply<UsagePage>, ApiError> {
    let caller = cx.caller.key()?;
    check_scope(caller, &query)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::invalid("limit", format!("limit must be between 1 and {LIMIT_MAX}")));
    }
    let before_ms = match &query.before {
        None => i64::MAX >> 10,
        Some(text) => {
            parse_rfc3339(text).ok_or_else(|| ApiError::invalid("before", "before must be an RFC 3339 time"))?
        }
    };
    let (period, since_ms) = read_period(query.period.as_deref(), cx.started_ms)?;
    // The pending records first: one that is filed meanwhile is then seen twice, never not at all.
    let pending = read_pending(&cx, caller).await?;
    let (account, key, request_type) = (&caller.account_id, &caller.key_id, query.request_type.as_deref());
    let (rows, sums, known) = run_all(
        &*cx.ports.db,
        (
            list_usage(account, key, before_ms, i64::from(limit), request_type),
            sum_usage(account, key, since_ms),
            find_usage_ids(account, &write_ids(&pending)?),
        ),
    )
    .await?;
    let fresh: Vec<_> = pending.into_iter().filter(|row| known.iter().all(|known| known.id != row.id)).collect();
    let summary = summarise(sums, fresh.iter().filter(|row| row.created_at_ms >= since_ms));
    let is_wanted =
        |row: &UsageRow| row.created_at_ms < before_ms && request_type.is_none_or(|t| row.request_type == t);
    let mut rows = merge(rows, fresh.into_iter().filter(is_wanted).collect());
    let has_more = cut_page(&mut rows, limit as usize);
    let total_calls = summary.iter().map(|tool| tool.calls).sum();
    let total = summary.iter().map(|tool| tool.charged.0).sum();
    Ok(Reply(UsagePage {
        object: "list",
        data: rows.into_iter().map(Usage::from).collect(),
        has_more,
        period,
        total_calls,
        total_cost: MicroUsd(total).to_usd(),
        by_tool: summary.into_iter().map(ToolUsage::from).collect(),
    }))
}

async fn get_usage_receipt(cx: Cx, Path(id): Path) -> Result<Reply<UsageReceipt>, ApiError> {
    let caller = cx.caller.key()?;
    let mut row = read_pending(&cx, caller).await?.into_iter().find(|row| row.id == id);
    if row.is_none() {
        row = find_usage(&caller.account_id, &id).run(&*cx.ports.db).await?;
    }
    let row = row.filter(|row| row.api_key_id == caller.key_id).ok_or_else(|| ApiError::not_found("usage record"))?;
    let receipt = RawValue::from_string(row.receipt.clone()).map_err(ApiError::internal)?;
    Ok(Reply(UsageReceipt { usage: row.into(), receipt }))
}

/// A key sees its own usage alone.
fn check_scope(caller: &KeyCaller, query: &UsageQuery) -> Result<(), ApiError> {
    let other_key = [&query.api_key_id, &query.key_id].into_iter().flatten().any(|id| *id != caller.key_id);
    if other_key || query.workspace_id.is_some() {
        return Err(ApiError::new(Kind::Forbidden, "An API key sees its own usage only"));
    }
    Ok(())
}

fn read_period(period: Option<&str>, now_ms: i64) -> Result<(String, i64), ApiError> {
    let period = period.unwrap_or("month");
    let days = match period {
        "day" => 1,
        "week" => 7,
        "month" => 30,
        "all" => return Ok((period.to_owned(), 0)),
        _ => {
            return Err(ApiError::invalid("period", "period must be day, week, month or all"));
        }
    };
    Ok((period.to_owned(), now_ms - days * DAY_MS))
}

/// Records that the database may not have yet, so that a request shows as soon as it has ended.
async fn read_pending(cx: &Cx, caller: &KeyCaller) -> Result<Vec<UsageRow>, ApiError> {
    flush(&cx.app, &cx.ports, &caller.account_id).await?;
    let command = Command::PendingRecords { limit: LIMIT_MAX };
    match ask::<Wallet>(&*cx.ports.objects, &name(&caller.account_id), &command).await? {
        WalletReply::Records { records } => {
            let mut rows = Vec::new();
            for batch in records {
                let mut records: Vec<UsageRow> = serde_json::from_str(&batch.record).map_err(ApiError::internal)?;
                write_off(&mut records, batch.written_off);
                rows.extend(records.into_iter().filter(|row| row.api_key_id == caller.key_id));
            }
            Ok(rows)
        }
        other => Err(ApiError::internal(format!("pending usage: {other:?}"))),
    }
}

fn write_ids(rows: &[UsageRow]) -> Result<String, ApiError> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    serde_json::to_string(&ids).map_err(ApiError::internal)
}

fn merge(mut rows: Vec<UsageRow>, mut fresh: Vec<UsageRow>) -> Vec<UsageRow> {
    rows.append(&mut fresh);
    rows.sort_by(|a, b| b.created_at_ms.cmp(&a.created_at_ms).then_with(|| b.id.cmp(&a.id)));
    rows
}

/// Cuts the rows to a page; tells whether there are more. The cursor is a time, so a page ends between two
/// milliseconds: it is a little longer where the last one has several rows.
fn cut_page(rows: &mut Vec<UsageRow>, limit: usize) -> bool {
    let Some(last_ms) = limit.checked_sub(1).and_then(|at| rows.get(at)).map(|row| row.created_at_ms) else {
        return false;
    };
    let end = rows.iter().position(|row| row.created_at_ms < last_ms).unwrap_or(rows.len());
    let has_more = end < rows.len();
    rows.truncate(end);
    has_more
}

struct ToolSum {
    tool: String,
    calls: i64,
    charged: MicroUsd,
    skills: Vec<(String, i64, MicroUsd)>,
}

fn summarise<'a>(sums: Vec<UsageSum>, fresh: impl Iterator<Item = &'a UsageRow>) -> Vec<ToolSum> {
    let mut tools: Vec<ToolSum> = Vec::new();
    let mut add = |tool: &str, skill: &str, calls: i64, charged: i64| {
        let at = tools.iter().position(|sum| sum.tool == tool).unwrap_or_else(|| {
            tools.push(ToolSum { tool: tool.to_owned(), calls: 0, charged: MicroUsd::ZERO, skills: Vec::new() });
            tools.len() - 1
        });
        let Some(sum) = tools.get_mut(at) else { return };
        sum.calls += calls;
        sum.charged = MicroUsd(sum.charged.0.saturating_add(charged));
        match sum.skills.iter_mut().find(|(name, ..)| name == skill) {
            Some((_, known, cost)) => {
                *known += calls;
                *cost = MicroUsd(cost.0.saturating_add(charged));
            }
            None => sum.skills.push((skill.to_owned(), calls, MicroUsd(charged))),
        }
    };
    for sum in sums {
        add(&sum.request_type, &sum.model, sum.calls, sum.charged_micros);
    }
    for row in fresh {
        add(&row.request_type, &row.model, 1, row.charged_micros);
    }
    tools
}

impl From<ToolSum> for ToolUsage {
    fn from(sum: ToolSum) -> Self {
        let skill = |(skill, calls, cost): (String, i64, MicroUsd)| SkillUsage { skill, calls, cost: cost.to_usd() };
        Self {
            tool: sum.tool,
            calls: sum.calls,
            cost: sum.charged.to_usd(),
            skills: sum.skills.into_iter().map(skill).collect(),
        }
    }
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        let cost = MicroUsd(row.cost_micros).to_usd();
        Self {
            id: row.id,
            api_key_id: row.api_key_id,
            workspace_id: Some(row.workspace_id).filter(|id| !id.is_empty()),
            workspace_name: None,
            metadata: serde_json::Map::new(),
            tier: row.mode.clone(),
            model: row.model,
            provider: match row.source {
                Source::Byok | Source::Local => row.source.name(),
                Source::Managed | Source::Cache => "tokaroo",
            },
            routing_method: row.mode,
            execution_source: row.source.name(),
            billing_mode: row.source.name(),
            request_type: row.request_type,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            actual_cost_usd: cost,
            charged_usd: MicroUsd(row.charged_micros).to_usd(),
            baseline_usd: row.baseline_micros.map_or(cost, |micros| MicroUsd(micros).to_usd()),
            latency_ms: row.latency_ms,
            status: row.status,
            outcome: row.outcome,
            created_at: format_rfc3339(row.created_at_ms),
        }
    }
}
