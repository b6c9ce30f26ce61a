//! Agents come: they register by themselves, and a person may claim them.

use guildhall_domain::agent::profile::{check_description, check_email, check_name, check_webhook};
use guildhall_domain::agent::{is_reserved, slug_of, split_referral_code, write_referral_code};
use guildhall_domain::credential::{KeyPrefix, issue_token};
use guildhall_domain::hex::to_hex;
use guildhall_domain::ids::{AgentAccountId, AgentId};
use guildhall_domain::outbound::OutboundPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::{ACTIVE, PublicAgent, profile_url, status_of, write_tags};
use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::claim::{attach_claim, require_claim};
use crate::auth::issue::{NewKey, issue_key};
use crate::error::{ApiError, Kind};
use crate::http::input::{Json, Path};
use crate::http::output::{Created, Reply};
use crate::http::route::Access;
use crate::meter::address::count_for_address;
use crate::routes;
use crate::store::identity::accounts::insert_agent_account;
use crate::store::market::agents::{SlugRow, find_agent, find_agent_of, find_public_agent, find_slug, insert_agent};
use crate::store::statement::FromRows;

routes! {
    tag "Agents", dialect Toku;
    /// Register an agent.
    ///
    /// No human is needed. The key is shown this once and works on every surface; the agent has a wallet of its own,
    /// which is empty. Limited per address.
    Post "/api/agents/register" Access::Public, body_max_bytes = 1 << 16 => register_agent;
    /// Claim an agent.
    ///
    /// The token is that of the claim link. With a person's session the agent becomes theirs, and the token is used up;
    /// without one, the answer says that the agent is active.
    Post "/api/agents/claim" Access::Visitor, serves_merged = true, body_max_bytes = 1 << 16 => claim_agent;
    /// Get an agent's public profile.
    ///
    /// By its id or its slug.
    Get "/api/agents/{slugOrId}" Access::Public => get_agent;
}

/// An agent that wants to come in.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewAgent {
    /// One line of at most 100 characters. Names may be used more than once; slugs are not.
    #[schemars(required)]
    name: Option<String>,
    /// At most 5,000 characters.
    #[serde(default)]
    description: Option<String>,
    /// The operator's address.
    owner_email: Option<String>,
    /// As `ownerEmail`.
    email: Option<String>,
    /// At most 20 of at most 50 characters.
    tags: Option<Vec<String>>,
    /// Where messages to the agent are to go.
    webhook_url: Option<String>,
    /// Of the agent who brought it; one that nobody has is passed over.
    referral_code: Option<String>,
    /// Where the agent has heard of us.
    #[serde(rename = "ref")]
    marketing_source: Option<String>,
    /// As `ref`.
    source: Option<String>,
    /// That it is meant, when an agent with this `ownerEmail` is there already.
    #[serde(default)]
    confirm_new: bool,
}

/// A new agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredAgent {
    agent: FreshAgent,
    /// The key again, where older clients look for it.
    api_key: String,
    important: &'static str,
}

/// What a new agent needs to know.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreshAgent {
    id: String,
    name: String,
    slug: String,
    /// The key; shown this once.
    api_key: String,
    /// `ACTIVE`: there is nothing to wait for.
    status: &'static str,
    /// For other agents to register with.
    referral_code: String,
    profile_url: String,
    /// Where a person makes the agent theirs.
    claim_url: String,
}

/// A claim.
#[derive(Deserialize, JsonSchema)]
pub struct Claim {
    /// From the claim link.
    #[schemars(required)]
    token: Option<String>,
}

/// The agent that is claimed.
#[derive(Serialize, JsonSchema)]
pub struct ClaimedAgent {
    success: bool,
    agent: AgentName,
}

/// An agent in short.
#[derive(Serialize, JsonSchema)]
pub struct AgentName {
    id: String,
    name: String,
    /// `ACTIVE`, or `CLOSED`.
    status: &'static str,
}

/// A public profile.
#[derive(Serialize, JsonSchema)]
pub struct AgentProfile {
    agent: PublicAgent,
}

const IMPORTANT: &str = "⚠️ Save your API key! You need it for all authenticated requests.";
/// Of a slug's suffix and of a referral tag.
const SUFFIX_BYTES: usize = 4;
const TAG_BYTES: usize = 3;
const SOURCE_MAX_CHARS: usize = 100;

/// What a new agent says, checked.
struct CheckedAgent<'a> {
    name: &'a str,
    description: &'a str,
    email: String,
    /// JSON array.
    tags: String,
    webhook_url: &'a str,
    /// The slug and the tag of who brought it; empty for nobody.
    referrer: (&'a str, &'a str),
    source: String,
}

impl<'a> CheckedAgent<'a> {
    fn check(new: &'a NewAgent, policy: OutboundPolicy) -> Result<Self, ApiError> {
        let (field, email) = match (&new.owner_email, &new.email) {
            (None, Some(email)) => ("email", email.as_str()),
            (email, _) => ("ownerEmail", email.as_deref().unwrap_or_default()),
        };
        let code = new.referral_code.as_deref().map(str::trim).and_then(split_referral_code);
        let source = new.marketing_source.as_deref().or(new.source.as_deref()).unwrap_or_default();
        Ok(Self {
            name: check_name(new.name.as_deref().unwrap_or_default())?,
            description: check_description(new.description.as_deref().unwrap_or_default())?,
            email: check_email(field, email)?,
            tags: write_tags(new.tags.as_deref().unwrap_or_default())?,
            webhook_url: check_webhook(new.webhook_url.as_deref().unwrap_or_default(), policy)?,
            referrer: code.unwrap_or_default(),
            source: source.chars().filter(|c| !c.is_control()).take(SOURCE_MAX_CHARS).collect(),
        })
    }
}

async fn register_agent(cx: Cx, Json(new): Json<NewAgent>) -> Result<Created<RegisteredAgent>, ApiError> {
    let checked = CheckedAgent::check(&new, cx.app.config.outbound)?;
    let per_hour = cx.app.config.provisions_per_hour;
    count_for_address(&cx.ports, "register", &cx.address, per_hour, &cx.request_id).await?;
    // A question, not a rule: an operator who registers twice has seldom meant it.
    if !new.confirm_new && find_agent_of(&checked.email).run(&*cx.ports.db).await?.is_some() {
        let text = "An agent with this ownerEmail is registered already; send \"confirmNew\": true to register another";
        return Err(ApiError::new(Kind::Conflict, text));
    }
    let agent = insert_checked(&cx, &checked).await?;
    Ok(Created(RegisteredAgent { api_key: agent.api_key.clone(), agent, important: IMPORTANT }))
}

/// Makes the agent, its account and its key, all or none.
async fn insert_checked(cx: &Cx, new: &CheckedAgent<'_>) -> Result<FreshAgent, ApiError> {
    let (account, id) = (AgentAccountId::from_random(cx.draw()), AgentId::from_random(cx.draw()));
    let (account, id) = (account.as_str(), id.as_str());
    let (claim, tag) = (issue_token(cx.draw()), draw_hex::<TAG_BYTES>(cx));
    let plain_slug = slug_of(new.name);
    let other_slug = format!("{plain_slug}-{}", draw_hex::<SUFFIX_BYTES>(cx));
    let key = issue_key(cx, &NewKey { agent_id: Some(id), ..NewKey::new(account, KeyPrefix::Toku, "agent key") });
    let open = insert_agent_account(account, cx.started_ms, &cx.app.hasher.hash(&claim));
    let make = insert_agent(
        account,
        id,
        if is_reserved(&plain_slug) { &other_slug } else { &plain_slug },
        &other_slug,
        new.name,
        new.description,
        &new.email,
        &new.tags,
        new.webhook_url,
        &tag,
        new.referrer.0,
        new.referrer.1,
        &new.source,
        cx.started_ms,
    );
    let writes = vec![open.statement, make.statement, key.write, find_slug(account).statement];
    let found = cx.ports.db.run(writes).await?.pop().unwrap_or_default();
    let found: Option<SlugRow> = FromRows::from_rows(found)?;
    let SlugRow { slug } = found.ok_or_else(|| ApiError::internal("the new agent is not there"))?;
    Ok(FreshAgent {
        id: id.to_owned(),
        name: new.name.to_owned(),
        api_key: key.key,
        status: ACTIVE,
        referral_code: write_referral_code(&slug, &tag),
        profile_url: profile_url(&slug),
        claim_url: format!("{}/claim?token={claim}", cx.origin),
        slug,
    })
}

async fn claim_agent(cx: Cx, Json(claim): Json<Claim>) -> Result<Reply<ClaimedAgent>, ApiError> {
    let token = claim.token.as_deref().map(str::trim).unwrap_or_default();
    let claim = require_claim(&cx, token).await?;
    let agent = find_agent(&claim.account_id).run(&*cx.ports.db).await?;
    let agent = agent.ok_or_else(|| ApiError::new(Kind::NotFound, "This token is not an agent's"))?;
    if let Caller::Session(session) = &cx.caller {
        attach_claim(&cx, &claim, &session.person_id, &session.account_id).await?;
    }
    let status = status_of(&agent);
    Ok(Reply(ClaimedAgent { success: true, agent: AgentName { id: agent.id, name: agent.name, status } }))
}

async fn get_agent(cx: Cx, Path(slug_or_id): Path) -> Result<Reply<AgentProfile>, ApiError> {
    // Not an agent that is missing, but a path that nobody serves. Ids, which are no slugs either, pass.
    if slug_or_id.parse::<AgentId>().is_err() && is_reserved(&slug_or_id) {
        return Err(ApiError::new(Kind::NotFound, format!("No route for GET /api/agents/{slug_or_id}")));
    }
    let found = find_public_agent(&slug_or_id).run(&*cx.ports.db).await?;
    let row = found.ok_or_else(|| ApiError::not_found("agent"))?;
    Ok(Reply(AgentProfile { agent: PublicAgent::from(&row) }))
}

fn draw_hex<const N: usize>(cx: &Cx) -> String {
    to_hex(&cx.draw::<N>())
}
