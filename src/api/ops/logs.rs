//! The request log.

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
use crate::store::ops::logs::{LogRow, count_logs, list_logs};
use crate::store::statement::run_all;

routes! {
    tag "Observability", dialect TokenHub;
    /// List requests.
    ///
    /// Newest first. A request shows as soon as it has ended.
    Get "/admin/v1/logs" Access::Admin => get_logs;
}

/// A page of the request log.
#[derive(Serialize, JsonSchema)]
pub struct LogPage {
    logs: Vec<LogEntry>,
    total: i64,
    limit: i64,
    offset: i64,
}

/// One request.
#[derive(Serialize, JsonSchema)]
pub struct LogEntry {
    id: i64,
    /// When it ended.
    timestamp: String,
    /// The model that answered, or was tried last.
    model_id: String,
    /// Its provider.
    provider_id: String,
    /// The routing mode that held.
    mode: String,
    /// What its tokens cost, in US dollars.
    estimated_cost_usd: f64,
    latency_ms: i64,
    /// The status that the client got; 502 when a stream broke that had begun with 200.
    status_code: u16,
    /// How it ended; see `docs/MONEY.md`.
    outcome: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error_class: String,
    request_id: String,
    api_key_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_key_name: String,
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    /// The model, mode or alias as the client asked for it.
    requested_model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    alias_from: String,
}

async fn get_logs(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<LogPage>, ApiError> {
    file_pending(&cx.app, &cx.ports).await;
    let (limit, offset) = (page.log_limit(), page.offset());
    let (rows, total) = run_all(&*cx.ports.db, (list_logs(limit, offset), count_logs())).await?;
    let logs = rows.into_iter().map(LogEntry::from).collect();
    Ok(Reply(LogPage { logs, total: total.map_or(0, |t| t.total), limit, offset }))
}

impl From<LogRow> for LogEntry {
    fn from(row: LogRow) -> Self {
        Self {
            id: row.seq,
            timestamp: format_rfc3339(row.created_at_ms.saturating_add(row.latency_ms)),
            model_id: row.routed_model,
            provider_id: row.routed_provider,
            mode: row.mode,
            estimated_cost_usd: MicroUsd(row.cost_micros).to_usd(),
            latency_ms: row.latency_ms,
            status_code: if row.outcome == "stream_broken" { 502 } else { row.status },
            outcome: row.outcome,
            error_class: row.error_class,
            request_id: row.id,
            api_key_id: row.api_key_id,
            api_key_name: row.api_key_name,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            total_tokens: row.input_tokens.saturating_add(row.output_tokens),
            requested_model: row.model,
            alias_from: row.alias_from,
        }
    }
}
