//! Usage: one row per request, projected from the wallets' outboxes.

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use crate::queries;
use crate::store::statement::Changed;

/// One request's usage. This is also the record that travels through the wallet's outbox and the queue (`record.rs`): its
/// fields are written in this order, so a new one comes last and has a default.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct UsageRow {
    /// The request's id.
    pub id: String,
    /// Who pays.
    pub account_id: String,
    /// The key that asked.
    pub api_key_id: String,
    /// When the request came in.
    pub created_at_ms: i64,
    /// `chat`, later others.
    pub request_type: String,
    /// The routing mode: `auto`, `fast`, `max`.
    pub mode: String,
    /// The model as the client asked for it; the mode, where it asked for one that nobody here has named.
    pub model: String,
    /// The model that answered; empty when none did.
    pub routed_model: String,
    /// The provider that answered; `cache` when that did, empty when none did.
    pub routed_provider: String,
    /// The HTTP status that the client got.
    pub status: u16,
    /// How it ended; the words of `docs/MONEY.md`.
    pub outcome: String,
    /// As the upstream reported, or estimated (the receipt says which).
    pub input_tokens: u64,
    /// As `input_tokens`.
    pub output_tokens: u64,
    /// What the tokens cost at the model's rates, in micro-dollars.
    pub cost_micros: i64,
    /// What the wallet gave, in micro-dollars.
    pub charged_micros: i64,
    /// From the request's arrival to its last byte.
    pub latency_ms: i64,
    /// What the charge can be recomputed from, as JSON text.
    #[serde(deserialize_with = "super::record::read_receipt")]
    pub receipt: String,
    /// The alias that the client named; empty when it named a model or a mode.
    #[serde(default)]
    pub alias_from: String,
    /// What went wrong, such as `routing_failure`; empty when nothing did.
    #[serde(default)]
    pub error_class: String,
    /// Why the model was chosen, such as `routed-weight-5`. Travels to the event feed; the table does not keep it.
    #[serde(default)]
    pub routing_reason: String,
    /// The workspace of the key; empty when it has none.
    #[serde(default)]
    pub workspace_id: String,
    /// Who answered, and so how it was charged.
    #[serde(default)]
    pub source: Source,
    /// What a managed call would have cost, in micro-dollars; `None` where that is `cost_micros`.
    #[serde(default)]
    pub baseline_micros: Option<i64>,
    /// Every attempt at a provider, in order. Filed apart, as rewards; the table does not keep them.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
}

/// Who answered a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The platform's own providers.
    #[default]
    Managed,
    /// The cache.
    Cache,
    /// A provider, with the caller's own key for it.
    Byok,
    /// The caller's own endpoint.
    Local,
}

impl Source {
    /// As usage rows say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Cache => "cache",
            Self::Byok => "byok",
            Self::Local => "local",
        }
    }
}

/// One attempt at a model of a provider. A client's own mistake and a client that left are not evidence about either, and
/// leave none. Written as [`UsageRow`] is.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The model.
    pub model_id: String,
    /// Its provider.
    pub provider_id: String,
    /// How long it took.
    pub latency_ms: i64,
    /// What its tokens cost, in micro-dollars.
    pub cost_micros: i64,
    /// Whether the client got an answer from it.
    pub success: bool,
    /// What went wrong; empty when nothing did.
    #[serde(default)]
    pub error_class: String,
    /// Input tokens, as estimated before the call.
    pub estimated_tokens: u64,
    /// The latency that the client allowed; 0 when it did not say.
    #[serde(default)]
    pub latency_budget_ms: i64,
}

impl UsageRow {
    /// When the call ended; milliseconds since 1970.
    #[must_use]
    pub const fn ended_at_ms(&self) -> i64 {
        self.created_at_ms.saturating_add(self.latency_ms)
    }

    /// Whether the client did not get what it asked for.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.outcome != "completed"
    }

    /// What an answer of the cache would have cost, less what it was charged, in micro-dollars; 0 for any other call.
    #[must_use]
    pub fn saved_micros(&self) -> i64 {
        match self.baseline_micros {
            Some(baseline) if self.source == Source::Cache && !self.is_error() => {
                baseline.saturating_sub(self.charged_micros)
            }
            _ => 0,
        }
    }
}

/// Corrects a batch of records of which the wallet could not take all: the last ones were charged less.
pub fn write_off(rows: &mut [UsageRow], written_off: MicroUsd) {
    let mut left = written_off.0;
    for row in rows.iter_mut().rev() {
        let part = left.min(row.charged_micros).max(0);
        row.charged_micros -= part;
        left -= part;
    }
}

/// A record's id.
#[derive(Debug, Clone, Deserialize)]
pub struct UsageId {
    /// The request's id.
    pub id: String,
}

/// One series of `/metrics`.
#[derive(Debug, Clone, Deserialize)]
pub struct UsageTotal {
    /// The routing mode.
    pub mode: String,
    /// The model that answered.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// How the requests ended.
    pub outcome: String,
    /// The HTTP status.
    pub status: i64,
    /// How many.
    pub requests: i64,
    /// Input tokens.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Charged, in micro-dollars.
    pub charged_micros: i64,
    /// Sum of latencies.
    pub latency_ms: i64,
}

queries! {
    /// Stores a batch of records (a JSON array of `UsageColumns`); fails if one of them is there already. Their sums are
    /// [`add_days`]'.
    global("one batch of the queue holds records of many accounts") fn insert_usage(rows: &str) -> Changed =
        "INSERT INTO usage (id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider,
           status, outcome, input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, alias_from, error_class,
           workspace_id, source, baseline_micros, is_summed)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
           value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15, value ->> 16,
           value ->> 17, value ->> 18, value ->> 19, value ->> 20, value ->> 21, 1
         FROM jsonb_each(?1)";
    /// Adds sums (a JSON array of `observe::sums::DaySum`) to those of their days.
    global("one batch of the queue holds records of many accounts") fn add_days(sums: &str) -> Changed =
        "INSERT INTO usage_days (account_id, day, api_key_id, workspace_id, request_type, mode, model, source, requests, completed,
           input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, saved_micros)
         SELECT value ->> 'account_id', value ->> 'day', value ->> 'api_key_id', value ->> 'workspace_id', value ->> 'request_type',
           value ->> 'mode', value ->> 'model', value ->> 'source', value ->> 'requests', value ->> 'completed',
           value ->> 'input_tokens', value ->> 'output_tokens', value ->> 'cost_micros', value ->> 'charged_micros',
           value ->> 'latency_ms', value ->> 'saved_micros'
         FROM jsonb_each(?1) WHERE true
         ON CONFLICT (account_id, day, api_key_id, workspace_id, request_type, mode, model, source) DO UPDATE SET
           requests = requests + excluded.requests, completed = completed + excluded.completed,
           input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
           cost_micros = cost_micros + excluded.cost_micros, charged_micros = charged_micros + excluded.charged_micros,
           latency_ms = latency_ms + excluded.latency_ms, saved_micros = saved_micros + excluded.saved_micros";
    /// Deletes the oldest rows from before a time, but for the latest so many, a part at once. Their days' sums stay.
    global("retention is the platform's") fn prune_usage(before_ms: i64, kept: i64) -> Changed =
        "DELETE FROM usage WHERE rowid <= (SELECT MAX(rowid) FROM usage) - ?2 AND rowid < (SELECT MIN(rowid) FROM usage) + 5000
           AND created_at_ms < ?1";
    /// Which of these ids (a JSON array) are stored already.
    global("one batch of the queue holds records of many accounts") fn list_filed(ids: &str) -> Vec<UsageId> =
        "SELECT id FROM usage WHERE id IN (SELECT value FROM json_each(?1))";
    /// Which of these ids (a JSON array) are stored.
    tenant("account_id") fn find_usage_ids(account_id: &str, ids: &str) -> Vec<UsageId> =
        "SELECT id FROM usage WHERE account_id = ?1 AND id IN (SELECT value FROM json_each(?2))";
    /// One record.
    tenant("account_id") fn find_usage(account_id: &str, id: &str) -> Option<UsageRow> =
        "SELECT id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider, status, outcome,
           input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, workspace_id, source, baseline_micros
         FROM usage WHERE account_id = ?1 AND id = ?2";
    /// The counters behind `/metrics`.
    global("the whole platform's counters, without a tenant's data") fn list_totals() -> Vec<UsageTotal> =
        "SELECT mode, model, provider, outcome, status, requests, input_tokens, output_tokens, charged_micros, latency_ms
         FROM usage_totals ORDER BY mode, model, provider, outcome, status LIMIT 10000";
}
