//! Usage, summed: by key, workspace, kind of request, model or day, and the account's summary.

use std::collections::BTreeMap;

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::usage_rows::{Faces, tier_of};
use super::usage_scope::{DAY_MS, Wanted, read_days, read_filter};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::http::input::Query;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::usage::{add_fresh, read_usage};
use crate::routes;
use crate::store::money::reports::{Dimension, UsageSum};

routes! {
    tag "Usage", dialect Tokaroo;
    /// Get usage in groups.
    ///
    /// By key, workspace, kind of request, model, tier or day; the dearest group first, days in their order.
    Get "/v1/usage/breakdown" Access::Account(Scope::Own) => get_breakdown;
    /// Get usage in groups: another name of `/v1/usage/breakdown`.
    Get "/v1/usage/grouped" Access::Account(Scope::Own) => get_breakdown;
    /// Get the summary of usage.
    ///
    /// Sums of the last `days`, and of each of the last `daily_days` UTC days.
    Get "/v1/stats" Access::Account(Scope::Own) => get_stats;
}

/// Which usage, and by what.
#[derive(Deserialize, JsonSchema)]
pub struct BreakdownQuery {
    /// `api_key` (the default), `workspace`, `request_type`, `model`, `tier` or `day`.
    group_by: Option<String>,
    /// The window in days: 1 to 365, 30 when left out.
    days: Option<u32>,
    /// Only this key of the account.
    api_key_id: Option<String>,
    /// As `api_key_id`.
    key_id: Option<String>,
    /// Only this workspace.
    workspace_id: Option<String>,
    /// Only this kind of request.
    request_type: Option<String>,
}

/// Usage in groups; 1,000 at most.
#[derive(Serialize, JsonSchema)]
pub struct Breakdown {
    object: &'static str,
    group_by: &'static str,
    window_days: u32,
    data: Vec<Group>,
}

/// A group: what its calls have in common, and their sums.
#[derive(Serialize, JsonSchema)]
pub struct Group {
    #[serde(flatten)]
    common: Common,
    requests: i64,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    avg_latency_ms: i64,
    charged_usd: f64,
    actual_cost_usd: f64,
}

/// What the calls of a group have in common.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Common {
    /// The key.
    ApiKey { api_key_id: String, name: Option<String> },
    /// The workspace; `null` for calls of keys without one.
    Workspace { workspace_id: Option<String>, workspace_name: Option<String> },
    /// The kind of request.
    RequestType { request_type: String },
    /// The model as asked for.
    Model { model: String },
    /// The tier.
    Tier { tier: &'static str },
    /// The UTC day.
    Day { date: String },
}

/// Which usage.
#[derive(Deserialize, JsonSchema)]
pub struct StatsQuery {
    /// The window of the sums in days: 1 to 365, 30 when left out.
    days: Option<u32>,
    /// Days that are listed one by one, today included: 1 to 365, 30 when left out.
    daily_days: Option<u32>,
    /// Only this key of the account.
    api_key_id: Option<String>,
    /// As `api_key_id`.
    key_id: Option<String>,
    /// Only this workspace.
    workspace_id: Option<String>,
    /// Only this kind of request.
    request_type: Option<String>,
}

/// The summary.
#[derive(Serialize, JsonSchema)]
pub struct Stats {
    window_days: u32,
    daily_window_days: u32,
    api_key_id: Option<String>,
    workspace_id: Option<String>,
    requests: i64,
    total_tokens: i64,
    avg_latency_ms: i64,
    charged_usd: f64,
    actual_cost_usd: f64,
    /// Requests by tier.
    tier_breakdown: BTreeMap<&'static str, i64>,
    /// Requests by kind.
    request_type_breakdown: BTreeMap<String, i64>,
    /// Oldest first; days without a request included.
    daily: Vec<Day>,
}

/// One UTC day.
#[derive(Serialize, JsonSchema)]
pub struct Day {
    /// `YYYY-MM-DD`.
    date: String,
    requests: i64,
    tokens: i64,
    charged_usd: f64,
    actual_cost_usd: f64,
}

async fn get_breakdown(cx: Cx, Query(query): Query<BreakdownQuery>) -> Result<Reply<Breakdown>, ApiError> {
    let days = read_days("days", query.days)?;
    let (group_by, by) = read_group(query.group_by.as_deref())?;
    let wanted = Wanted {
        api_key_id: query.api_key_id.as_deref(),
        key_id: query.key_id.as_deref(),
        workspace_id: query.workspace_id.as_deref(),
        request_type: query.request_type.as_deref(),
    };
    let filter = read_filter(&cx, &wanted).await?;
    let since_ms = cx.started_ms - i64::from(days) * DAY_MS;
    let reads = (filter.sum(since_ms, by, Dimension::Nothing),);
    let ((sums,), fresh) = read_usage(&cx.app, &cx.ports, &filter, reads).await?;
    let in_window = fresh.iter().filter(|row| row.created_at_ms >= since_ms);
    let mut sums = add_fresh(sums, in_window, by, Dimension::Nothing);
    if by == Dimension::Mode {
        sums = by_tier(sums);
    }
    if by == Dimension::Day {
        sums.sort_by_key(day_of);
    } else {
        // By name among equals, as they came.
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.charged_micros));
    }
    let names = |of: Dimension| sums.iter().filter(move |_| of == by).map(|sum| sum.name.as_str());
    let faces = Faces::read(&cx, &filter.account_id, names(Dimension::ApiKey), names(Dimension::Workspace)).await?;
    let data = sums.iter().map(|sum| to_group(sum, by, &faces)).collect();
    Ok(Reply(Breakdown { object: "list", group_by, window_days: days, data }))
}

async fn get_stats(cx: Cx, Query(query): Query<StatsQuery>) -> Result<Reply<Stats>, ApiError> {
    let days = read_days("days", query.days)?;
    let daily_days = read_days("daily_days", query.daily_days)?;
    let wanted = Wanted {
        api_key_id: query.api_key_id.as_deref(),
        key_id: query.key_id.as_deref(),
        workspace_id: query.workspace_id.as_deref(),
        request_type: query.request_type.as_deref(),
    };
    let filter = read_filter(&cx, &wanted).await?;
    let since_ms = cx.started_ms - i64::from(days) * DAY_MS;
    let today = cx.started_ms / DAY_MS;
    let first_day = today - i64::from(daily_days) + 1;
    let (by, then_by) = (Dimension::Mode, Dimension::RequestType);
    let reads = (filter.sum(since_ms, by, then_by), filter.sum(first_day * DAY_MS, Dimension::Day, Dimension::Nothing));
    let ((sums, daily), fresh) = read_usage(&cx.app, &cx.ports, &filter, reads).await?;
    let in_window = fresh.iter().filter(|row| row.created_at_ms >= since_ms);
    let sums = add_fresh(sums, in_window, by, then_by);
    let on_days = fresh.iter().filter(|row| row.created_at_ms >= first_day * DAY_MS);
    let daily = add_fresh(daily, on_days, Dimension::Day, Dimension::Nothing);
    let daily: BTreeMap<i64, UsageSum> = daily.into_iter().map(|sum| (day_of(&sum), sum)).collect();
    let mut total = UsageSum::default();
    let mut tiers = BTreeMap::from(["auto", "fast", "max"].map(|tier| (tier, 0)));
    let mut types: BTreeMap<String, i64> = BTreeMap::new();
    for sum in &sums {
        total.add(sum);
        *tiers.entry(tier_of(&sum.name)).or_default() += sum.requests;
        *types.entry(sum.part.clone()).or_default() += sum.requests;
    }
    Ok(Reply(Stats {
        window_days: days,
        daily_window_days: daily_days,
        api_key_id: filter.api_key_id,
        workspace_id: filter.workspace_id,
        requests: total.requests,
        total_tokens: tokens_of(&total),
        avg_latency_ms: latency_of(&total),
        charged_usd: MicroUsd(total.charged_micros).to_usd(),
        actual_cost_usd: MicroUsd(total.cost_micros).to_usd(),
        tier_breakdown: tiers,
        request_type_breakdown: types,
        daily: (first_day..=today).map(|day| to_day(day, daily.get(&day))).collect(),
    }))
}

fn read_group(group_by: Option<&str>) -> Result<(&'static str, Dimension), ApiError> {
    Ok(match group_by.unwrap_or("api_key") {
        "api_key" => ("api_key", Dimension::ApiKey),
        "workspace" => ("workspace", Dimension::Workspace),
        "request_type" => ("request_type", Dimension::RequestType),
        "model" => ("model", Dimension::Model),
        "tier" => ("tier", Dimension::Mode),
        "day" => ("day", Dimension::Day),
        _ => {
            let text = "group_by must be api_key, workspace, request_type, model, tier or day";
            return Err(ApiError::invalid("group_by", text));
        }
    })
}

fn by_tier(sums: Vec<UsageSum>) -> Vec<UsageSum> {
    let mut tiers: BTreeMap<&'static str, UsageSum> = BTreeMap::new();
    for sum in sums {
        let tier = tier_of(&sum.name);
        tiers.entry(tier).or_insert_with(|| UsageSum { name: tier.to_owned(), ..UsageSum::default() }).add(&sum);
    }
    tiers.into_values().collect()
}

fn to_group(sum: &UsageSum, by: Dimension, faces: &Faces) -> Group {
    let name = sum.name.clone();
    let common = match by {
        Dimension::ApiKey => Common::ApiKey { name: faces.key_name(&name), api_key_id: name },
        Dimension::Workspace => Common::Workspace {
            workspace_name: faces.workspace_name(&name),
            workspace_id: Some(name).filter(|id| !id.is_empty()),
        },
        Dimension::Model => Common::Model { model: name },
        Dimension::Mode => Common::Tier { tier: tier_of(&name) },
        Dimension::Day => Common::Day { date: date_of(day_of(sum)) },
        Dimension::RequestType | Dimension::Nothing => Common::RequestType { request_type: name },
    };
    Group {
        common,
        requests: sum.requests,
        input_tokens: sum.input_tokens,
        output_tokens: sum.output_tokens,
        total_tokens: tokens_of(sum),
        avg_latency_ms: latency_of(sum),
        charged_usd: MicroUsd(sum.charged_micros).to_usd(),
        actual_cost_usd: MicroUsd(sum.cost_micros).to_usd(),
    }
}

fn to_day(day: i64, sum: Option<&UsageSum>) -> Day {
    let nothing = UsageSum::default();
    let sum = sum.unwrap_or(&nothing);
    Day {
        date: date_of(day),
        requests: sum.requests,
        tokens: tokens_of(sum),
        charged_usd: MicroUsd(sum.charged_micros).to_usd(),
        actual_cost_usd: MicroUsd(sum.cost_micros).to_usd(),
    }
}

fn day_of(sum: &UsageSum) -> i64 {
    sum.name.parse().unwrap_or_default()
}

fn date_of(day: i64) -> String {
    format_rfc3339(day * DAY_MS).chars().take(10).collect()
}

const fn tokens_of(sum: &UsageSum) -> i64 {
    sum.input_tokens.saturating_add(sum.output_tokens)
}

fn latency_of(sum: &UsageSum) -> i64 {
    sum.latency_ms.checked_div(sum.requests).unwrap_or(0)
}
