//! Calls, summed per step of time.
//!
//! A call is in one row of each step: 10 s, a minute, an hour, and 0, which is for ever. It counts once because its sums
//! are written in one transaction with its usage row.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// The finest step, in milliseconds; kept for two hours.
pub const STEP_FINE_MS: i64 = 10_000;
/// A minute: the step of time series.
pub const STEP_MINUTE_MS: i64 = 60_000;
/// An hour.
pub const STEP_HOUR_MS: i64 = 3_600_000;

/// What is summed of calls that are alike.
#[derive(Debug, Clone, Deserialize)]
pub struct Sums {
    /// Whether they did not complete: 0 or 1.
    pub is_error: u8,
    /// The step of their latencies; see `domain::latency`.
    pub bucket: u8,
    /// How many.
    pub requests: i64,
    /// Their latencies together.
    pub latency_ms: i64,
    /// What they were charged together, in micro-dollars.
    pub charged_micros: i64,
    /// Their input tokens.
    pub input_tokens: i64,
    /// Their output tokens.
    pub output_tokens: i64,
}

/// Sums by what was asked and who answered.
#[derive(Debug, Clone, Deserialize)]
pub struct CallSum {
    /// The routing mode.
    pub mode: String,
    /// The model that answered.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// Sums of one key's calls.
#[derive(Debug, Clone, Deserialize)]
pub struct KeySum {
    /// The key.
    pub api_key_id: String,
    /// Its name; empty when it has none or is gone.
    pub api_key_name: String,
    /// The sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// One point of one model's time series.
#[derive(Debug, Clone, Deserialize)]
pub struct PointRow {
    /// When its step begins.
    pub at_ms: i64,
    /// The model.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// Calls.
    pub requests: i64,
    /// Calls that did not complete.
    pub errors: i64,
    /// Their latencies together.
    pub latency_ms: i64,
    /// Charged, in micro-dollars.
    pub charged_micros: i64,
    /// Tokens of both directions.
    pub tokens: i64,
}

queries! {
    /// Adds sums of calls by mode, model and provider (a JSON array, by the finest step) to every step.
    global("the platform's counters") fn add_call_sums(sums: &str) -> Changed =
        "INSERT INTO call_rollups (step_ms, at_ms, mode, model, provider, is_error, bucket, requests, latency_ms, charged_micros,
           input_tokens, output_tokens)
         SELECT step.value, CASE step.value WHEN 0 THEN 0 ELSE (s.value ->> 'at_ms') / step.value * step.value END,
           s.value ->> 'mode', s.value ->> 'model', s.value ->> 'provider', s.value ->> 'is_error', s.value ->> 'bucket',
           SUM(s.value ->> 'requests'), SUM(s.value ->> 'latency_ms'), SUM(s.value ->> 'charged_micros'),
           SUM(s.value ->> 'input_tokens'), SUM(s.value ->> 'output_tokens')
         FROM jsonb_each(?1) AS s JOIN json_each('[0,10000,60000,3600000]') AS step WHERE true
         GROUP BY 1, 2, 3, 4, 5, 6, 7
         ON CONFLICT (step_ms, at_ms, mode, model, provider, is_error, bucket) DO UPDATE SET requests = requests + excluded.requests,
           latency_ms = latency_ms + excluded.latency_ms, charged_micros = charged_micros + excluded.charged_micros,
           input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens";
    /// Adds sums of calls by key (a JSON array, by the finest step) to every step.
    global("one batch of the queue holds calls of many accounts") fn add_key_sums(sums: &str) -> Changed =
        "INSERT INTO key_rollups (step_ms, at_ms, api_key_id, is_error, bucket, requests, latency_ms, charged_micros, input_tokens, output_tokens)
         SELECT step.value, (s.value ->> 'at_ms') / step.value * step.value, s.value ->> 'api_key_id', s.value ->> 'is_error',
           s.value ->> 'bucket', SUM(s.value ->> 'requests'), SUM(s.value ->> 'latency_ms'), SUM(s.value ->> 'charged_micros'),
           SUM(s.value ->> 'input_tokens'), SUM(s.value ->> 'output_tokens')
         FROM jsonb_each(?1) AS s JOIN json_each('[10000,60000,3600000]') AS step WHERE true
         GROUP BY 1, 2, 3, 4, 5
         ON CONFLICT (step_ms, at_ms, api_key_id, is_error, bucket) DO UPDATE SET requests = requests + excluded.requests,
           latency_ms = latency_ms + excluded.latency_ms, charged_micros = charged_micros + excluded.charged_micros,
           input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens";
    /// Sums of a window: fine steps up to where the first coarse one begins, coarse ones from there on.
    global("the platform's statistics") fn sum_calls(fine_ms: i64, coarse_ms: i64, since_ms: i64, coarse_since_ms: i64) -> Vec<CallSum> =
        "SELECT mode, model, provider, is_error, bucket, SUM(requests) AS requests, SUM(latency_ms) AS latency_ms,
           SUM(charged_micros) AS charged_micros, SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens
         FROM call_rollups WHERE (step_ms = ?1 AND at_ms >= ?3 AND at_ms < ?4) OR (step_ms = ?2 AND at_ms >= ?4)
         GROUP BY mode, model, provider, is_error, bucket LIMIT 100000";
    /// As `sum_calls`, by key.
    global("the platform's statistics") fn sum_keys(fine_ms: i64, coarse_ms: i64, since_ms: i64, coarse_since_ms: i64) -> Vec<KeySum> =
        "SELECT k.api_key_id, COALESCE(n.name, '') AS api_key_name, is_error, bucket, SUM(requests) AS requests, SUM(latency_ms) AS latency_ms,
           SUM(charged_micros) AS charged_micros, SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens
         FROM key_rollups AS k LEFT JOIN api_keys AS n ON n.id = k.api_key_id
         WHERE (step_ms = ?1 AND at_ms >= ?3 AND at_ms < ?4) OR (step_ms = ?2 AND at_ms >= ?4)
         GROUP BY k.api_key_id, is_error, bucket LIMIT 100000";
    /// All calls ever.
    global("the whole platform's counters, without a tenant's data") fn sum_all_calls() -> Vec<CallSum> =
        "SELECT mode, model, provider, is_error, bucket, requests, latency_ms, charged_micros, input_tokens, output_tokens
         FROM call_rollups WHERE step_ms = 0 AND at_ms = 0 ORDER BY mode, model, provider, is_error, bucket LIMIT 100000";
    /// Points of time series, `every_ms` apart; `step_ms` is a stored step that divides it.
    global("the platform's time series") fn list_points(step_ms: i64, since_ms: i64, until_ms: i64, every_ms: i64, model: Option<&str>, provider: Option<&str>, limit: i64) -> Vec<PointRow> =
        "SELECT at_ms / CAST(?4 AS INTEGER) * CAST(?4 AS INTEGER) AS at_ms, model, provider, SUM(requests) AS requests, SUM(CASE is_error WHEN 1 THEN requests ELSE 0 END) AS errors,
           SUM(latency_ms) AS latency_ms, SUM(charged_micros) AS charged_micros, SUM(input_tokens + output_tokens) AS tokens
         FROM call_rollups WHERE step_ms = ?1 AND at_ms >= ?2 AND at_ms < ?3 AND (?5 IS NULL OR model = ?5) AND (?6 IS NULL OR provider = ?6)
         GROUP BY model, provider, call_rollups.at_ms / CAST(?4 AS INTEGER) ORDER BY model, provider, 1 LIMIT ?7";
    /// Deletes the oldest six hours of a step, as far as they are before a time.
    global("retention is the platform's") fn prune_call_rollups(step_ms: i64, before_ms: i64) -> Changed =
        "DELETE FROM call_rollups WHERE step_ms = ?1
           AND at_ms < MIN(?2, (SELECT at_ms FROM call_rollups WHERE step_ms = ?1 ORDER BY at_ms LIMIT 1) + 21600000)";
    /// As `prune_call_rollups`, of keys.
    global("retention is the platform's") fn prune_key_rollups(step_ms: i64, before_ms: i64) -> Changed =
        "DELETE FROM key_rollups WHERE step_ms = ?1
           AND at_ms < MIN(?2, (SELECT at_ms FROM key_rollups WHERE step_ms = ?1 ORDER BY at_ms LIMIT 1) + 21600000)";
}
