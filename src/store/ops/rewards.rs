//! Attempts at providers, what they were worth, and their sums.
//!
//! They count once because they are written in one transaction with their call's usage row.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::{Changed, read_flag};

/// One attempt.
#[derive(Debug, Clone, Deserialize)]
pub struct RewardRow {
    /// Its number.
    pub id: i64,
    /// When its call ended.
    pub at_ms: i64,
    /// The call.
    pub request_id: String,
    /// The routing mode.
    pub mode: String,
    /// The model.
    pub model_id: String,
    /// Its provider.
    pub provider_id: String,
    /// Input tokens, as estimated before the call.
    pub estimated_tokens: i64,
    /// `small`, `medium` or `large`.
    pub token_bucket: String,
    /// The latency that the client allowed; 0 when it did not say.
    pub latency_budget_ms: i64,
    /// How long it took.
    pub latency_ms: i64,
    /// What it cost, in micro-dollars.
    pub cost_micros: i64,
    /// Whether the client got an answer from it.
    #[serde(deserialize_with = "read_flag")]
    pub success: bool,
    /// What went wrong; empty when nothing did.
    pub error_class: String,
    /// What it was worth, 0 to 1.
    pub reward: f64,
}

/// One arm of the bandit: a model and a size of requests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RewardArm {
    /// The model.
    pub model_id: String,
    /// `small`, `medium` or `large`.
    pub bucket: String,
    /// Attempts.
    pub count: i64,
    /// What they were worth together.
    pub reward_sum: f64,
}

/// How a provider has done so far.
#[derive(Debug, Clone, Deserialize)]
pub struct ProviderAttempts {
    /// The provider.
    pub provider_id: String,
    /// Attempts.
    pub requests: i64,
    /// Attempts that failed.
    pub errors: i64,
    /// The successful ones' latencies together.
    pub latency_ms: i64,
    /// When it last answered; 0 when never.
    pub last_success_ms: i64,
    /// When it last failed; 0 when never.
    pub last_error_ms: i64,
    /// How; empty when never.
    pub last_error: String,
}

queries! {
    /// Stores attempts (a JSON array of arrays, in the order of the columns), each once.
    global("what routing learns from, of the whole platform") fn insert_rewards(attempts: &str) -> Changed =
        "INSERT INTO reward_logs (at_ms, request_id, attempt, mode, model_id, provider_id, estimated_tokens, token_bucket,
           latency_budget_ms, latency_ms, cost_micros, success, error_class, reward)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
           value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13
         FROM jsonb_each(?1) WHERE true ON CONFLICT (request_id, attempt) DO NOTHING";
    /// Adds sums of attempts (a JSON array) to the arms.
    global("what routing learns from, of the whole platform") fn add_arms(sums: &str) -> Changed =
        "INSERT INTO reward_arms (day, model_id, token_bucket, attempts, reward)
         SELECT value ->> 'day', value ->> 'model_id', value ->> 'token_bucket', value ->> 'attempts', value ->> 'reward'
         FROM jsonb_each(?1) WHERE true
         ON CONFLICT (day, model_id, token_bucket) DO UPDATE SET attempts = attempts + excluded.attempts, reward = reward + excluded.reward";
    /// Adds sums of attempts (a JSON array) to the providers' records.
    global("providers belong to the platform") fn add_provider_attempts(sums: &str) -> Changed =
        "INSERT INTO provider_attempts (provider_id, requests, errors, latency_ms, last_success_ms, last_error_ms, last_error)
         SELECT value ->> 'provider_id', value ->> 'requests', value ->> 'errors', value ->> 'latency_ms',
           value ->> 'last_success_ms', value ->> 'last_error_ms', value ->> 'last_error'
         FROM jsonb_each(?1) WHERE true
         ON CONFLICT (provider_id) DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
           latency_ms = latency_ms + excluded.latency_ms, last_success_ms = MAX(last_success_ms, excluded.last_success_ms),
           last_error = CASE WHEN excluded.last_error_ms > last_error_ms THEN excluded.last_error ELSE last_error END,
           last_error_ms = MAX(last_error_ms, excluded.last_error_ms)";
    /// Lists attempts, newest first.
    global("what routing learns from, of the whole platform") fn list_rewards(limit: i64, offset: i64) -> Vec<RewardRow> =
        "SELECT id, at_ms, request_id, mode, model_id, provider_id, estimated_tokens, token_bucket, latency_budget_ms, latency_ms,
           cost_micros, success, error_class, reward FROM reward_logs ORDER BY id DESC LIMIT ?1 OFFSET ?2";
    /// How many there are: their numbers have no gaps.
    global("what routing learns from, of the whole platform") fn count_rewards() -> Option<Total> =
        "SELECT COALESCE((SELECT MAX(id) FROM reward_logs) - (SELECT MIN(id) FROM reward_logs) + 1, 0) AS total";
    /// The arms of the bandit, summed over the days (since 1970) from `since_day` on: old days are forgotten.
    global("what routing learns from, of the whole platform") fn list_reward_arms(since_day: i64) -> Vec<RewardArm> =
        "SELECT model_id, token_bucket AS bucket, SUM(attempts) AS count, SUM(reward) AS reward_sum
         FROM reward_arms WHERE day >= ?1 GROUP BY model_id, token_bucket LIMIT 30000";
    /// How every provider has done.
    global("providers belong to the platform") fn list_provider_attempts() -> Vec<ProviderAttempts> =
        "SELECT provider_id, requests, errors, latency_ms, last_success_ms, last_error_ms, last_error FROM provider_attempts LIMIT 10000";
    /// Deletes attempts that are older than a time, or not among the latest so many, a part at once.
    global("retention is the platform's") fn prune_rewards(before_ms: i64, kept: i64) -> Changed =
        "DELETE FROM reward_logs WHERE id < (SELECT MIN(id) FROM reward_logs) + 5000
           AND (at_ms < ?1 OR id <= (SELECT MAX(id) FROM reward_logs) - ?2)";
    /// Deletes the sums of days that nobody asks for any more.
    global("retention is the platform's") fn prune_arms(before_day: i64) -> Changed =
        "DELETE FROM reward_arms WHERE day < ?1";
}
