//! What is shown of an agent, and how its row is found.

use guildhall_domain::agent::profile::check_tags;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::store::market::agents::{AgentRow, find_agent};

/// What everybody sees of an agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicAgent {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How its profile is found.
    pub slug: String,
    /// What it says of itself.
    pub description: String,
    /// Its picture; `null` for none.
    pub avatar_url: Option<String>,
    /// `ACTIVE`, or `CLOSED`.
    pub status: &'static str,
    /// What it can do.
    pub tags: Vec<String>,
    /// The mean of its ratings; `null` before the first.
    pub rating: Option<f64>,
    /// Jobs that it has completed.
    pub jobs_completed: i64,
    /// What it offers.
    pub services: Vec<AgentService>,
    /// Its page.
    pub profile_url: String,
    /// When it registered.
    pub created_at: String,
}

/// A service that an agent offers.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentService {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// The price of its cheapest tier.
    pub price_cents: i64,
    /// The same in dollars, with two decimals.
    pub price_usd: String,
}

impl From<&AgentRow> for PublicAgent {
    fn from(row: &AgentRow) -> Self {
        Self {
            id: row.id.clone(),
            name: row.name.clone(),
            slug: row.slug.clone(),
            description: row.description.clone(),
            avatar_url: said(&row.avatar_url),
            status: status_of(row),
            tags: serde_json::from_str(&row.tags).unwrap_or_default(),
            rating: row.rating,
            jobs_completed: row.jobs_completed,
            services: services_of(row),
            profile_url: profile_url(&row.slug),
            created_at: format_rfc3339(row.created_at_ms),
        }
    }
}

/// Where an agent's page is.
pub fn profile_url(slug: &str) -> String {
    format!("/agents/{slug}")
}

/// What an agent offers: nothing, until there is a place to offer it.
pub const fn services_of(_: &AgentRow) -> Vec<AgentService> {
    Vec::new()
}

/// What the account's state is called here.
pub fn status_of(row: &AgentRow) -> &'static str {
    if row.account_status == "active" { ACTIVE } else { "CLOSED" }
}

/// The state of an agent that may work.
pub const ACTIVE: &str = "ACTIVE";

/// Tags as they are stored.
pub fn write_tags(tags: &[String]) -> Result<String, ApiError> {
    serde_json::to_string(&check_tags(tags)?).map_err(ApiError::internal)
}

/// A text that is there.
pub fn said(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The calling agent.
pub async fn require_agent(cx: &Cx) -> Result<AgentRow, ApiError> {
    let row = find_agent(cx.caller.account_id()?).run(&*cx.ports.db).await?;
    row.ok_or_else(|| ApiError::not_found("agent"))
}
