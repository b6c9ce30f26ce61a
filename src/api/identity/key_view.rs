//! Keys as their owner sees them: Tokaroo's fields and `ToolRouter`'s together, so that the clients of both find theirs.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::show_metadata;
use crate::app::Cx;
use crate::auth::scope::Scopes;
use crate::error::ApiError;
use crate::meter::money::read_spent;
use crate::meter::payer::Tally;
use crate::store::identity::keys::KeyRecord;

/// A key; never its secret.
#[derive(Serialize, JsonSchema)]
pub struct OwnKey {
    pub(super) id: String,
    name: String,
    /// How it begins and ends.
    prefix: String,
    /// As `prefix`.
    key_prefix: String,
    /// As `prefix`.
    #[serde(rename = "keyPrefix")]
    key_prefix_camel: String,
    metadata: Map<String, Value>,
    workspace_id: Option<String>,
    workspace_name: Option<String>,
    /// What it may do; empty for everything.
    scopes: Vec<String>,
    /// Whether it is let in.
    enabled: bool,
    /// US dollars that it may spend in all; null for no such limit.
    credits: Option<f64>,
    /// US dollars spent of them; null without such a limit.
    credits_used: Option<f64>,
    /// US dollars that it may spend in a UTC month; null for no limit.
    monthly_budget_usd: Option<f64>,
    /// US dollars spent this month, by the wallet's books.
    current_spend_usd: f64,
    /// Its own limit; null for the account's.
    requests_per_minute: Option<u32>,
    /// Its own limit; null for the account's.
    requests_per_hour: Option<u32>,
    /// Its own limit of calls at once; null for the account's.
    concurrent: Option<u32>,
    expires_at: Option<String>,
    /// Days after its last rotation from which it is refused; 0 for never.
    rotation_days: i64,
    rotated_at: Option<String>,
    /// Give or take a minute.
    last_used_at: Option<String>,
    /// As `last_used_at`.
    #[serde(rename = "lastUsedAt")]
    last_used_at_camel: Option<String>,
    created_at: String,
    /// As `created_at`.
    #[serde(rename = "createdAt")]
    created_at_camel: String,
}

/// A key with its secret.
#[derive(Serialize, JsonSchema)]
pub struct OwnKeyWithSecret {
    /// The key itself; shown this once.
    pub key: String,
    #[serde(flatten)]
    pub shown: OwnKey,
}

/// A key as `ToolRouter` lists it.
#[derive(Serialize, JsonSchema)]
pub struct ToolRouterKey {
    id: String,
    name: String,
    key_prefix: String,
    /// US dollars that it may spend in all; null for no such limit.
    credits: Option<f64>,
    /// US dollars spent of them; null without such a limit.
    credits_used: Option<f64>,
    enabled: bool,
    last_used_at: Option<String>,
    created_at: String,
}

impl From<&OwnKey> for ToolRouterKey {
    fn from(key: &OwnKey) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            key_prefix: key.key_prefix.clone(),
            credits: key.credits,
            credits_used: key.credits_used,
            enabled: key.enabled,
            last_used_at: key.last_used_at.clone(),
            created_at: key.created_at.clone(),
        }
    }
}

/// Keys of one account with what they have spent.
///
/// # Errors
/// When the wallet does not answer.
pub async fn show_keys(cx: &Cx, account_id: &str, records: Vec<KeyRecord>) -> Result<Vec<OwnKey>, ApiError> {
    let of_key = |key: &KeyRecord| Tally::of_key(&key.id, key.budget_reset_at_ms.unwrap_or(0));
    let tallies: Vec<_> = records.iter().map(of_key).collect();
    let of_month = read_spent(&cx.app, &cx.ports, account_id, &tallies).await?;
    let with_credits = records.iter().filter(|key| key.credits_micros.is_some());
    let tallies: Vec<_> = with_credits.map(|key| Tally::of_key_credits(&key.id)).collect();
    let mut of_credits = read_spent(&cx.app, &cx.ports, account_id, &tallies).await?.into_iter();
    let mut shown = Vec::with_capacity(records.len());
    for (record, spent) in records.into_iter().zip(of_month) {
        let used = record.credits_micros.and_then(|_| of_credits.next());
        shown.push(show(record, spent, used));
    }
    Ok(shown)
}

fn show(record: KeyRecord, spent: MicroUsd, used: Option<MicroUsd>) -> OwnKey {
    let in_usd = |micros: Option<i64>| micros.map(|micros| MicroUsd(micros).to_usd());
    let (last_used_at, created_at) = (record.last_used_at_ms.map(format_rfc3339), format_rfc3339(record.created_at_ms));
    let scopes = match Scopes::read(&record.scopes) {
        Scopes::Only(names) => names,
        Scopes::All | Scopes::Nothing => Vec::new(),
    };
    OwnKey {
        id: record.id,
        name: record.name,
        prefix: record.masked.clone(),
        key_prefix: record.masked.clone(),
        key_prefix_camel: record.masked,
        metadata: show_metadata(&record.metadata),
        workspace_id: record.workspace_id,
        workspace_name: record.workspace_name,
        scopes,
        enabled: record.status == "active",
        credits: in_usd(record.credits_micros),
        credits_used: used.map(MicroUsd::to_usd),
        monthly_budget_usd: in_usd(record.monthly_budget_micros),
        current_spend_usd: spent.to_usd(),
        requests_per_minute: record.requests_per_minute,
        requests_per_hour: record.requests_per_hour,
        concurrent: record.concurrent,
        expires_at: record.expires_at_ms.map(format_rfc3339),
        rotation_days: record.rotation_days,
        rotated_at: record.rotated_at_ms.map(format_rfc3339),
        last_used_at_camel: last_used_at.clone(),
        last_used_at,
        created_at_camel: created_at.clone(),
        created_at,
    }
}
