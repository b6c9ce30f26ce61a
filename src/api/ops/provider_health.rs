//! How the providers are doing.

use guildhall_domain::routing::Health;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::report::{ProviderReport, read_provider_health};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::filing::file_pending;
use crate::routes;

routes! {
    tag "Observability", dialect TokenHub;
    /// Get the providers' health.
    ///
    /// Of every registered provider, by id. What only says something about a client (its mistakes, its leaving) is not counted.
    Get "/admin/v1/health" Access::Admin => get_provider_health;
}

/// The providers' health.
#[derive(Serialize, JsonSchema)]
pub struct ProviderHealthList {
    providers: Vec<ProviderState>,
}

/// One provider's health. A time that never was is `0001-01-01T00:00:00Z`.
#[derive(Serialize, JsonSchema)]
pub struct ProviderState {
    provider_id: String,
    /// `healthy`, `degraded` (failed lately), `rate_limited` or `down` (both left alone for a while).
    state: Health,
    /// Attempts so far.
    total_requests: i64,
    /// Those that failed.
    total_errors: i64,
    /// Errors since the last success.
    consec_errors: u32,
    /// Of its answers; 0 before the first.
    avg_latency_ms: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    last_error_time: String,
    last_success_at: String,
    /// Until when it is left alone.
    cooldown_until: String,
}

/// How `TokenHub`'s clients are told "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

async fn get_provider_health(cx: Cx, (): ()) -> Result<Reply<ProviderHealthList>, ApiError> {
    file_pending(&cx.app, &cx.ports).await;
    let reports = read_provider_health(&cx.app, &cx.ports).await?;
    Ok(Reply(ProviderHealthList { providers: reports.into_iter().map(ProviderState::from).collect() }))
}

impl From<ProviderReport> for ProviderState {
    fn from(report: ProviderReport) -> Self {
        let time = |time_ms| if time_ms == 0 { NEVER.to_owned() } else { format_rfc3339(time_ms) };
        Self {
            provider_id: report.provider_id,
            state: report.state,
            total_requests: report.requests,
            total_errors: report.errors,
            consec_errors: report.consecutive_errors,
            avg_latency_ms: report.latency_ms,
            last_error: report.last_error,
            last_error_time: time(report.last_error_ms),
            last_success_at: time(report.last_success_ms),
            cooldown_until: time(report.cooldown_until_ms),
        }
    }
}
