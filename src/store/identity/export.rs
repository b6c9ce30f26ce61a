//! What an account can take with it: one query per kind of thing, each row a line of JSON.
//!
//! A table that is added with something of an account's own gets a query here and a line in [`SECTIONS`];
//! `tests/api/identity/closure.rs` knows every table and asks.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Query;

/// A line of an export.
#[derive(Debug, Clone, Deserialize)]
pub struct ExportRow {
    /// The first half of its place in the order.
    pub at_ms: i64,
    /// The second half.
    pub id: String,
    /// The thing, as a JSON object.
    pub line: String,
}

/// Reads a page: the account, the place of the last row of the page before, and how many rows at most.
pub type ReadPage = fn(&str, i64, &str, i64) -> Query<Vec<ExportRow>>;

/// A kind of thing, and rows of a page, by their size.
pub const SECTIONS: &[(ReadPage, i64)] = &[
    (export_account, 1),
    (export_workspaces, 200),
    (export_keys, 200),
    (export_usage, 500),
    // A turn may have 1.5 MB.
    (export_responses, 5),
];

queries! {
    /// The account itself.
    tenant("id") fn export_account(id: &str, after_ms: i64, after_id: &str, limit: i64) -> Vec<ExportRow> =
        "SELECT created_at_ms AS at_ms, id, json_object('type', 'account', 'id', id, 'name', name, 'status', status,
           'created_at_ms', created_at_ms, 'requests_per_minute', requests_per_minute, 'requests_per_hour', requests_per_hour,
           'concurrent', concurrent, 'monthly_budget_micros', monthly_budget_micros) AS line
         FROM accounts WHERE id = ?1 AND (created_at_ms, id) > (?2, ?3) LIMIT ?4";
    /// Its workspaces.
    tenant("account_id") fn export_workspaces(account_id: &str, after_ms: i64, after_id: &str, limit: i64) -> Vec<ExportRow> =
        "SELECT created_at_ms AS at_ms, id, json_object('type', 'workspace', 'id', id, 'workspace_id', workspace_id, 'name', name,
           'status', status, 'metadata', json(metadata), 'monthly_budget_micros', monthly_budget_micros, 'created_at_ms', created_at_ms,
           'updated_at_ms', updated_at_ms) AS line
         FROM workspaces WHERE account_id = ?1 AND (created_at_ms, id) > (?2, ?3) ORDER BY created_at_ms, id LIMIT ?4";
    /// Its keys, revoked ones included; never their hashes.
    tenant("account_id") fn export_keys(account_id: &str, after_ms: i64, after_id: &str, limit: i64) -> Vec<ExportRow> =
        "SELECT created_at_ms AS at_ms, id, json_object('type', 'key', 'id', id, 'product', product, 'masked', masked, 'name', name,
           'scopes', json(scopes), 'status', status, 'workspace_id', workspace_id, 'metadata', json(metadata),
           'monthly_budget_micros', monthly_budget_micros, 'credits_micros', credits_micros, 'created_at_ms', created_at_ms,
           'expires_at_ms', expires_at_ms, 'rotated_at_ms', rotated_at_ms, 'last_used_at_ms', last_used_at_ms) AS line
         FROM api_keys WHERE account_id = ?1 AND (created_at_ms, id) > (?2, ?3) ORDER BY created_at_ms, id LIMIT ?4";
    /// What it used, with receipts.
    tenant("account_id") fn export_usage(account_id: &str, after_ms: i64, after_id: &str, limit: i64) -> Vec<ExportRow> =
        "SELECT created_at_ms AS at_ms, id, json_object('type', 'usage', 'id', id, 'api_key_id', api_key_id, 'workspace_id', workspace_id,
           'created_at_ms', created_at_ms, 'request_type', request_type, 'mode', mode, 'model', model, 'status', status,
           'outcome', outcome, 'input_tokens', input_tokens, 'output_tokens', output_tokens, 'cost_micros', cost_micros,
           'charged_micros', charged_micros, 'latency_ms', latency_ms, 'source', source, 'receipt', json(receipt)) AS line
         FROM usage WHERE account_id = ?1 AND (created_at_ms, id) > (?2, ?3) ORDER BY created_at_ms, id LIMIT ?4";
    /// Answers of `/v1/responses` that are kept.
    tenant("account_id") fn export_responses(account_id: &str, after_ms: i64, after_id: &str, limit: i64) -> Vec<ExportRow> =
        "SELECT 0 AS at_ms, id, json_object('type', 'response', 'id', id, 'previous_id', previous_id, 'created_at_ms', created_at_ms,
           'turn', json(turn)) AS line
         FROM responses WHERE account_id = ?1 AND (0, id) > (?2, ?3) ORDER BY id LIMIT ?4";
}
