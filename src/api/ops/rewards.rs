//! What attempts at models were worth.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::Query;
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::observe::filing::file_pending;
use crate::routes;
use crate::store::ops::rewards::{RewardRow, count_rewards, list_rewards};
use crate::store::statement::run_all;

routes! {
    tag "Observability", dialect TokenHub;
    /// List attempts at models and what they were worth.
    ///
    /// Newest first, failed attempts included: what routing learns from. Kept for 90 days.
    Get "/admin/v1/rewards" Access::Admin => get_rewards;
}

/// A page of attempts.
#[derive(Serialize, JsonSchema)]
pub struct RewardPage {
    rewards: Vec<Reward>,
    total: i64,
    limit: i64,
    offset: i64,
}

/// One attempt.
#[derive(Serialize, JsonSchema)]
pub struct Reward {
    id: i64,
    /// When its request ended.
    timestamp: String,
    request_id: String,
    model_id: String,
    provider_id: String,
    /// The routing mode that held.
    mode: String,
    /// Input tokens, as estimated before the call.
    estimated_tokens: i64,
    /// `small`, `medium` or `large`.
    token_bucket: String,
    /// The latency that the client allowed; 0 when it did not say.
    latency_budget_ms: i64,
    latency_ms: i64,
    cost_usd: f64,
    success: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    error_class: String,
    /// 0 to 1.
    reward: f64,
}

async fn get_rewards(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<RewardPage>, ApiError> {
    file_pending(&cx.app, &cx.ports).await;
    let (limit, offset) = (page.log_limit(), page.offset());
    let (rows, total) = run_all(&*cx.ports.db, (list_rewards(limit, offset), count_rewards())).await?;
    let rewards = rows.into_iter().map(Reward::from).collect();
    Ok(Reply(RewardPage { rewards, total: total.map_or(0, |t| t.total), limit, offset }))
}

impl From<RewardRow> for Reward {
    fn from(row: RewardRow) -> Self {
        Self {
            id: row.id,
            timestamp: format_rfc3339(row.at_ms),
            request_id: row.request_id,
            model_id: row.model_id,
            provider_id: row.provider_id,
            mode: row.mode,
            estimated_tokens: row.estimated_tokens,
            token_bucket: row.token_bucket,
            latency_budget_ms: row.latency_budget_ms,
            latency_ms: row.latency_ms,
            cost_usd: MicroUsd(row.cost_micros).to_usd(),
            success: row.success,
            error_class: row.error_class,
            reward: row.reward,
        }
    }
}
