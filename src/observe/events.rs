//! What happens, as the live feed tells it. The feed is for those who watch: what must not be lost is in the logs.

use durable_objects::events::protocol::{ADMINS, Command, Events, NewEvent};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use serde::Serialize;

use crate::ports::{Ports, ask};
use crate::store::money::usage::UsageRow;

/// Events of one publication that are kept; of more, the last ones.
pub const PUBLISH_MAX: usize = durable_objects::events::protocol::BATCH_MAX;

/// Something that happened. Fields that do not apply are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Event {
    /// Such as `route_success`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When, RFC 3339.
    pub timestamp: String,
    /// The model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// The provider.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub provider_id: String,
    /// How long the call took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<i64>,
    /// What its tokens cost, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Its input tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Its output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// What kind of error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_class: String,
    /// The error in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_msg: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The state before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_state: String,
    /// The state now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_state: String,
    /// The request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account_id: String,
    /// The name of the key that asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_key_name: String,
    /// The routing mode.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

impl Event {
    /// An event of a kind, at a time.
    #[must_use]
    pub fn new(kind: &'static str, at_ms: i64) -> Self {
        Self { kind, timestamp: format_rfc3339(at_ms), ..Self::default() }
    }

    /// The end of a call: `route_success` or `route_error`.
    #[must_use]
    pub fn of_call(row: &UsageRow, key_name: &str) -> Self {
        let is_error = row.is_error();
        Self {
            model_id: row.routed_model.clone(),
            provider_id: row.routed_provider.clone(),
            latency_ms: Some(row.latency_ms),
            cost_usd: Some(MicroUsd(row.cost_micros).to_usd()),
            input_tokens: Some(row.input_tokens),
            output_tokens: Some(row.output_tokens),
            total_tokens: Some(row.input_tokens.saturating_add(row.output_tokens)),
            error_class: row.error_class.clone(),
            error_msg: if is_error { say_outcome(&row.outcome).to_owned() } else { String::new() },
            reason: row.routing_reason.clone(),
            request_id: row.id.clone(),
            api_key_name: key_name.to_owned(),
            mode: row.mode.clone(),
            ..Self::new(if is_error { "route_error" } else { "route_success" }, row.ended_at_ms())
        }
    }

    /// A provider's state has changed: `health_change`.
    #[must_use]
    pub fn of_health(provider: &str, old_state: &str, new_state: &str, at_ms: i64) -> Self {
        Self {
            provider_id: provider.to_owned(),
            old_state: old_state.to_owned(),
            new_state: new_state.to_owned(),
            ..Self::new("health_change", at_ms)
        }
    }

    /// An administrator has changed something: `config_change`.
    #[must_use]
    pub fn of_change(action: &str, resource: &str, request_id: &str, at_ms: i64) -> Self {
        Self {
            reason: format!("{action} {resource}").trim_end().to_owned(),
            request_id: request_id.to_owned(),
            ..Self::new("config_change", at_ms)
        }
    }
}

/// The outcome of a call in words.
fn say_outcome(outcome: &str) -> &'static str {
    match outcome {
        "rejected" => "the provider refused the request",
        "upstream_failed" => "all providers failed",
        "stream_broken" => "the provider's stream broke",
        "client_gone" => "the client left",
        _ => "the call did not complete",
    }
}

/// Tells the administrators' feed. Nobody's work fails because it can't be told: a failure is logged.
pub async fn publish(ports: &Ports, mut events: Vec<Event>) {
    events.drain(..events.len().saturating_sub(PUBLISH_MAX));
    let told = events.iter().filter_map(|event| {
        let data = serde_json::to_string(event).ok()?;
        Some(NewEvent { kind: event.kind.to_owned(), data })
    });
    let command = Command::Publish { events: told.collect() };
    if events.is_empty() {
        return;
    }
    if let Err(error) = ask::<Events>(&*ports.objects, ADMINS, &command).await {
        ports.background.log(&format!("events: {error}"));
    }
}
