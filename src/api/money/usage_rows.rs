//! A call as its owner sees it.

use std::collections::{BTreeSet, HashMap};

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::Cx;
use crate::error::ApiError;
use crate::store::money::reports::{KeyFace, WorkspaceFace, list_key_faces, list_workspace_faces};
use crate::store::money::usage::{Source, UsageRow};
use crate::store::statement::run_all;

/// One request.
#[derive(Serialize, JsonSchema)]
pub struct Usage {
    /// The request's id.
    pub id: String,
    /// The key that asked.
    pub api_key_id: String,
    /// The key's workspace.
    pub workspace_id: Option<String>,
    /// The workspace's name now.
    pub workspace_name: Option<String>,
    /// The key's metadata now.
    pub metadata: Map<String, Value>,
    /// `auto`, `fast` or `max`.
    pub tier: &'static str,
    /// The model as the client asked for it.
    pub model: String,
    /// `tokaroo`, `byok` or `local`: the upstream is not shown.
    pub provider: &'static str,
    /// The routing mode.
    pub routing_method: String,
    /// `managed`, `cache`, `byok` or `local`.
    pub execution_source: &'static str,
    /// As `execution_source`.
    pub billing_mode: &'static str,
    /// Such as `chat`.
    pub request_type: String,
    /// As reported, or estimated; the receipt says which.
    pub input_tokens: u64,
    /// As `input_tokens`.
    pub output_tokens: u64,
    /// What it cost at the model's rates.
    pub actual_cost_usd: f64,
    /// What was taken from the balance.
    pub charged_usd: f64,
    /// What a managed call would have cost.
    pub baseline_usd: f64,
    /// From the request's arrival to its last byte.
    pub latency_ms: i64,
    /// The HTTP status of the answer.
    pub status: u16,
    /// How it ended; see `docs/MONEY.md`.
    pub outcome: String,
    /// When the request came in.
    pub created_at: String,
}

/// What rows refer to, by id.
#[derive(Default)]
pub struct Faces {
    keys: HashMap<String, KeyFace>,
    workspaces: HashMap<String, WorkspaceFace>,
}

impl Faces {
    /// Reads the names of these keys and workspaces of an account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read<'i>(
        cx: &Cx,
        account_id: &str,
        keys: impl Iterator<Item = &'i str>,
        workspaces: impl Iterator<Item = &'i str>,
    ) -> Result<Self, ApiError> {
        let keys = BTreeSet::from_iter(keys.filter(|id| !id.is_empty()));
        let workspaces = BTreeSet::from_iter(workspaces.filter(|id| !id.is_empty()));
        if keys.is_empty() && workspaces.is_empty() {
            return Ok(Self::default());
        }
        let (keys, workspaces) = (
            serde_json::to_string(&keys).map_err(ApiError::internal)?,
            serde_json::to_string(&workspaces).map_err(ApiError::internal)?,
        );
        let faces = (list_key_faces(account_id, &keys), list_workspace_faces(account_id, &workspaces));
        let (keys, workspaces) = run_all(&*cx.ports.db, faces).await?;
        Ok(Self {
            keys: keys.into_iter().map(|key| (key.id.clone(), key)).collect(),
            workspaces: workspaces.into_iter().map(|face| (face.workspace_id.clone(), face)).collect(),
        })
    }

    /// A key's name.
    #[must_use]
    pub fn key_name(&self, id: &str) -> Option<String> {
        self.keys.get(id).map(|key| key.name.clone())
    }

    /// A workspace's name.
    #[must_use]
    pub fn workspace_name(&self, id: &str) -> Option<String> {
        self.workspaces.get(id).map(|face| face.name.clone())
    }

    fn metadata(&self, key_id: &str) -> Map<String, Value> {
        self.keys.get(key_id).and_then(|key| serde_json::from_str(&key.metadata).ok()).unwrap_or_default()
    }
}

/// Rows as their owner sees them.
///
/// # Errors
/// When the database fails.
pub async fn show_rows(cx: &Cx, account_id: &str, rows: Vec<UsageRow>) -> Result<Vec<Usage>, ApiError> {
    let keys = rows.iter().map(|row| row.api_key_id.as_str());
    let workspaces = rows.iter().map(|row| row.workspace_id.as_str());
    let faces = Faces::read(cx, account_id, keys, workspaces).await?;
    Ok(rows.into_iter().map(|row| to_usage(row, &faces)).collect())
}

/// The tier of a routing mode: every mode of `TokenHub`'s is a kind of `auto`.
#[must_use]
pub fn tier_of(mode: &str) -> &'static str {
    match mode {
        "fast" => "fast",
        "max" => "max",
        _ => "auto",
    }
}

const fn provider_of(source: Source) -> &'static str {
    match source {
        Source::Managed | Source::Cache => "tokaroo",
        Source::Byok => "byok",
        Source::Local => "local",
    }
}

fn to_usage(row: UsageRow, faces: &Faces) -> Usage {
    let cost = MicroUsd(row.cost_micros).to_usd();
    Usage {
        workspace_name: faces.workspace_name(&row.workspace_id),
        metadata: faces.metadata(&row.api_key_id),
        id: row.id,
        api_key_id: row.api_key_id,
        workspace_id: Some(row.workspace_id).filter(|id| !id.is_empty()),
        tier: tier_of(&row.mode),
        model: row.model,
        provider: provider_of(row.source),
        routing_method: row.mode,
        execution_source: row.source.name(),
        billing_mode: row.source.name(),
        request_type: row.request_type,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        actual_cost_usd: cost,
        charged_usd: MicroUsd(row.charged_micros).to_usd(),
        baseline_usd: row.baseline_micros.map_or(cost, |micros| MicroUsd(micros).to_usd()),
        latency_ms: row.latency_ms,
        status: row.status,
        outcome: row.outcome,
        created_at: format_rfc3339(row.created_at_ms),
    }
}
