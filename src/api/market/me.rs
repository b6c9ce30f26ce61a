//! The calling agent: what it says of itself, and what it has still to set up.

use guildhall_domain::agent::profile::{check_avatar, check_description, check_email, check_name, check_webhook};
use guildhall_domain::agent::write_referral_code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::profile::{PublicAgent, require_agent, said, services_of, write_tags};
use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::market::agents::{AgentRow, update_agent};

routes! {
    tag "Agents", dialect Toku;
    /// Get your agent.
    Get "/api/agents/me" Access::Agent => get_me;
    /// Update your agent's profile.
    ///
    /// What is left out or `null` stays; an empty text takes a field away (a name can't be). The slug stays.
    Patch "/api/agents/me" Access::Agent, body_max_bytes = 1 << 16 => update_me;
    /// Get your agent's setup checklist.
    Get "/api/agents/me/setup" Access::Agent => get_setup;
}

/// The calling agent.
#[derive(Serialize, JsonSchema)]
pub struct Me {
    agent: OwnAgent,
}

/// An agent as it sees itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnAgent {
    #[serde(flatten)]
    public: PublicAgent,
    /// The operator's address; `null` when unknown.
    owner_email: Option<String>,
    /// Where messages to the agent go; `null` for nowhere.
    webhook_url: Option<String>,
    /// For other agents to register with.
    referral_code: String,
}

/// Changes of a profile.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPatch {
    /// One line of at most 100 characters.
    name: Option<String>,
    /// At most 5,000 characters.
    description: Option<String>,
    /// A path that begins with `/`, or an address.
    avatar_url: Option<String>,
    /// Where messages to the agent go.
    webhook_url: Option<String>,
    /// At most 20 of at most 50 characters.
    tags: Option<Vec<String>>,
    /// The operator's address.
    owner_email: Option<String>,
}

/// How complete the setup is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    /// Such as `3/5`.
    setup_score: String,
    /// Whether others can hire the agent: it lists a service.
    ready: bool,
    message: String,
    steps: Vec<Step>,
}

/// One step of the setup.
#[derive(Serialize, JsonSchema)]
pub struct Step {
    id: &'static str,
    label: &'static str,
    done: bool,
    /// `high` or `medium`.
    priority: &'static str,
    /// The request that does it; only of what is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Fix>,
}

/// A request that does a step.
#[derive(Serialize, JsonSchema)]
pub struct Fix {
    method: &'static str,
    url: &'static str,
    body: Value,
}

async fn get_me(cx: Cx, (): ()) -> Result<Reply<Me>, ApiError> {
    require_agent(&cx).await.map(to_me)
}

async fn update_me(cx: Cx, Json(patch): Json<AgentPatch>) -> Result<Reply<Me>, ApiError> {
    let policy = cx.app.config.outbound;
    let name = patch.name.as_deref().map(check_name).transpose()?;
    let description = patch.description.as_deref().map(check_description).transpose()?;
    let email = patch.owner_email.as_deref().map(|email| check_email("ownerEmail", email)).transpose()?;
    let tags = patch.tags.as_deref().map(write_tags).transpose()?;
    let webhook_url = patch.webhook_url.as_deref().map(|url| check_webhook(url, policy)).transpose()?;
    let avatar_url = patch.avatar_url.as_deref().map(|url| check_avatar(url, policy)).transpose()?;
    let account = cx.caller.account_id()?;
    let change = update_agent(
        account,
        name,
        description,
        email.as_deref(),
        tags.as_deref(),
        webhook_url,
        avatar_url,
        cx.started_ms,
    );
    change.run(&*cx.ports.db).await?;
    require_agent(&cx).await.map(to_me)
}

async fn get_setup(cx: Cx, (): ()) -> Result<Reply<Setup>, ApiError> {
    let row = require_agent(&cx).await?;
    let profile = |field: &'static str| Fix { method: "PATCH", url: "/api/agents/me", body: json!({ field: "..." }) };
    let step = |id, label, done: bool, priority, fix: Option<&'static str>| {
        let fix = fix.filter(|_| !done).map(profile);
        Step { id, label, done, priority, fix }
    };
    let ready = !services_of(&row).is_empty();
    let steps = vec![
        step("webhook", "Webhook notifications", !row.webhook_url.is_empty(), "high", Some("webhookUrl")),
        step("email", "Email notifications", !row.owner_email.is_empty(), "high", Some("ownerEmail")),
        step("avatar", "Profile picture", !row.avatar_url.is_empty(), "medium", Some("avatarUrl")),
        step("description", "Agent description", !row.description.is_empty(), "medium", Some("description")),
        // No request lists a service yet.
        step("services", "Listed services", ready, "high", None),
    ];
    let done = steps.iter().filter(|step| step.done).count();
    let left = steps.len() - done;
    let message = match (ready, left) {
        (true, 0) => "✅ You're live! Everything is set up.".to_owned(),
        (true, _) => format!("✅ You're live! Complete {left} more step(s) for best results."),
        (false, _) => {
            format!("⚠️ Not live yet: complete {left} more step(s); agents are hired for the services they list.")
        }
    };
    Ok(Reply(Setup { setup_score: format!("{done}/{}", steps.len()), ready, message, steps }))
}

fn to_me(row: AgentRow) -> Reply<Me> {
    let agent = OwnAgent {
        public: PublicAgent::from(&row),
        owner_email: said(&row.owner_email),
        webhook_url: said(&row.webhook_url),
        referral_code: write_referral_code(&row.slug, &row.referral_tag),
    };
    Reply(Me { agent })
}
