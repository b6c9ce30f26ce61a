//! Usage as its owners read it: pages of rows, sums over windows, and the names of what the rows refer to.

use serde::Deserialize;

use super::usage::UsageRow;
use crate::queries;

/// A quality of calls by which they are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// All in one.
    Nothing,
    /// The key that asked.
    ApiKey,
    /// The key's workspace; empty where it has none.
    Workspace,
    /// What was asked for.
    RequestType,
    /// The model as the client asked for it.
    Model,
    /// The routing mode.
    Mode,
    /// The UTC day on which the request came in, as days since 1970.
    Day,
}

const DAY_MS: i64 = 86_400_000;

impl Dimension {
    /// As the queries below name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::ApiKey => "api_key",
            Self::Workspace => "workspace",
            Self::RequestType => "request_type",
            Self::Model => "model",
            Self::Mode => "mode",
            Self::Day => "day",
        }
    }

    /// What a row has of it; the same text that the queries below give.
    #[must_use]
    pub fn of(self, row: &UsageRow) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::ApiKey => row.api_key_id.clone(),
            Self::Workspace => row.workspace_id.clone(),
            Self::RequestType => row.request_type.clone(),
            Self::Model => row.model.clone(),
            Self::Mode => row.mode.clone(),
            Self::Day => (row.created_at_ms / DAY_MS).to_string(),
        }
    }
}

/// Calls that are alike, summed.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
pub struct UsageSum {
    /// What they have of the first dimension.
    pub name: String,
    /// What they have of the second.
    pub part: String,
    /// How many.
    pub requests: i64,
    /// Their input tokens.
    pub input_tokens: i64,
    /// Their output tokens.
    pub output_tokens: i64,
    /// What they cost at the models' rates, in micro-dollars.
    pub cost_micros: i64,
    /// What the wallet gave, in micro-dollars.
    pub charged_micros: i64,
    /// The sum of their latencies.
    pub latency_ms: i64,
}

impl UsageSum {
    /// Adds another one's calls.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.requests, other.requests),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cost_micros, other.cost_micros),
            (&mut self.charged_micros, other.charged_micros),
            (&mut self.latency_ms, other.latency_ms),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
}

/// A key, as usage shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyFace {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its owner's own JSON object.
    pub metadata: String,
}

/// A workspace, as usage shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkspaceFace {
    /// The owner's name for it.
    pub workspace_id: String,
    /// Its title.
    pub name: String,
}

queries! {
    /// An account's latest records before a time, of one type or all: `limit` of them, all others of the last one's
    /// millisecond, and at least one older one if there is.
    tenant("account_id") fn list_account_usage(account_id: &str, before_ms: i64, limit: i64, request_type: Option<&str>) -> Vec<UsageRow> =
        "SELECT id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider, status, outcome,
           input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, workspace_id, source, baseline_micros
         FROM usage WHERE account_id = ?1 AND created_at_ms < ?2 AND (?4 IS NULL OR request_type = ?4)
           AND created_at_ms >= COALESCE((SELECT MAX(created_at_ms) FROM usage WHERE account_id = ?1 AND (?4 IS NULL OR request_type = ?4)
             AND created_at_ms < (SELECT created_at_ms FROM usage WHERE account_id = ?1 AND created_at_ms < ?2
               AND (?4 IS NULL OR request_type = ?4) ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?3 - 1)), 0)
         ORDER BY created_at_ms DESC, id DESC";
    /// As [`list_account_usage`], of one key, in one workspace or wherever it was.
    tenant("account_id") fn list_key_usage(account_id: &str, before_ms: i64, limit: i64, request_type: Option<&str>, api_key_id: &str,
        workspace_id: Option<&str>) -> Vec<UsageRow> =
        "SELECT id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider, status, outcome,
           input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, workspace_id, source, baseline_micros
         FROM usage WHERE account_id = ?1 AND api_key_id = ?5 AND created_at_ms < ?2 AND (?4 IS NULL OR request_type = ?4)
           AND (?6 IS NULL OR workspace_id = ?6) AND created_at_ms >= COALESCE((SELECT MAX(created_at_ms) FROM usage
             WHERE account_id = ?1 AND api_key_id = ?5 AND (?4 IS NULL OR request_type = ?4) AND (?6 IS NULL OR workspace_id = ?6)
             AND created_at_ms < (SELECT created_at_ms FROM usage WHERE account_id = ?1 AND api_key_id = ?5 AND created_at_ms < ?2
               AND (?4 IS NULL OR request_type = ?4) AND (?6 IS NULL OR workspace_id = ?6)
               ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?3 - 1)), 0)
         ORDER BY created_at_ms DESC, id DESC";
    /// As [`list_account_usage`], of one workspace.
    tenant("account_id") fn list_workspace_usage(account_id: &str, before_ms: i64, limit: i64, request_type: Option<&str>,
        workspace_id: &str) -> Vec<UsageRow> =
        "SELECT id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider, status, outcome,
           input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, workspace_id, source, baseline_micros
         FROM usage WHERE account_id = ?1 AND workspace_id = ?5 AND workspace_id <> '' AND created_at_ms < ?2
           AND (?4 IS NULL OR request_type = ?4) AND created_at_ms >= COALESCE((SELECT MAX(created_at_ms) FROM usage
             WHERE account_id = ?1 AND workspace_id = ?5 AND workspace_id <> '' AND (?4 IS NULL OR request_type = ?4)
             AND created_at_ms < (SELECT created_at_ms FROM usage WHERE account_id = ?1 AND workspace_id = ?5 AND workspace_id <> ''
               AND created_at_ms < ?2 AND (?4 IS NULL OR request_type = ?4) ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?3 - 1)), 0)
         ORDER BY created_at_ms DESC, id DESC";
    /// An account's sums since a time, by two dimensions, of one workspace, type and key or all; the dearest 1,000. Whole days
    /// are read as such; the beginning of the first one, by its rows.
    tenant("account_id") fn sum_usage(account_id: &str, since_ms: i64, by: &str, then_by: &str, request_type: Option<&str>,
        workspace_id: Option<&str>, api_key_id: Option<&str>) -> Vec<UsageSum> =
        "SELECT CASE ?3 WHEN 'api_key' THEN api_key_id WHEN 'workspace' THEN workspace_id WHEN 'request_type' THEN request_type
             WHEN 'model' THEN model WHEN 'mode' THEN mode WHEN 'day' THEN CAST(day AS TEXT) ELSE '' END AS name,
           CASE ?4 WHEN 'request_type' THEN request_type WHEN 'model' THEN model ELSE '' END AS part,
           SUM(requests) AS requests, SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens,
           SUM(cost_micros) AS cost_micros, SUM(charged_micros) AS charged_micros, SUM(latency_ms) AS latency_ms
         FROM (SELECT day, api_key_id, workspace_id, request_type, mode, model, requests, input_tokens, output_tokens, cost_micros,
             charged_micros, latency_ms
           FROM usage_days WHERE account_id = ?1 AND day >= (CAST(?2 AS INTEGER) + 86399999) / 86400000
           UNION ALL
           SELECT created_at_ms / 86400000, api_key_id, workspace_id, request_type, mode, model, 1, input_tokens, output_tokens,
             cost_micros, charged_micros, latency_ms
           FROM usage WHERE account_id = ?1 AND created_at_ms >= ?2 AND created_at_ms < (CAST(?2 AS INTEGER) + 86399999) / 86400000 * 86400000)
         WHERE (?5 IS NULL OR request_type = ?5) AND (?6 IS NULL OR workspace_id = ?6) AND (?7 IS NULL OR api_key_id = ?7)
         GROUP BY 1, 2 ORDER BY SUM(charged_micros) DESC, 1, 2 LIMIT 1000";
    /// Which of these keys (a JSON array of ids) are the account's, revoked ones included.
    tenant("account_id") fn list_key_faces(account_id: &str, ids: &str) -> Vec<KeyFace> =
        "SELECT id, name, metadata FROM api_keys WHERE account_id = ?1 AND id IN (SELECT value FROM json_each(?2))";
    /// Which of these workspaces (a JSON array of the owner's names) are the account's.
    tenant("account_id") fn list_workspace_faces(account_id: &str, ids: &str) -> Vec<WorkspaceFace> =
        "SELECT workspace_id, name FROM workspaces WHERE account_id = ?1 AND workspace_id IN (SELECT value FROM json_each(?2))";
}
