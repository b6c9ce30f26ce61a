//! Agents: each has an account of its own.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// An agent.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentRow {
    /// Its id.
    pub id: String,
    /// Its account, whose wallet is the agent's.
    pub account_id: String,
    /// How its profile is found.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// Its operator's address; empty when unknown.
    pub owner_email: String,
    /// JSON array.
    pub tags: String,
    /// Where messages to it go; empty for nowhere.
    pub webhook_url: String,
    /// Its picture; empty for none.
    pub avatar_url: String,
    /// With the slug, its referral code.
    pub referral_tag: String,
    /// Jobs that it has completed.
    pub jobs_completed: i64,
    /// The mean of its ratings, with one decimal; `None` before the first.
    pub rating: Option<f64>,
    /// Where its withdrawals go.
    pub stripe_account_id: Option<String>,
    /// The account's `active` or `closed`.
    pub account_status: String,
    /// When it registered.
    pub created_at_ms: i64,
}

/// The slug that an agent got.
#[derive(Debug, Clone, Deserialize)]
pub struct SlugRow {
    /// How its profile is found.
    pub slug: String,
}

queries! {
    /// Makes an agent. It gets the plain slug unless that is taken, then the other one.
    tenant("account_id") fn insert_agent(account_id: &str, id: &str, plain_slug: &str, other_slug: &str, name: &str, description: &str,
        owner_email: &str, tags: &str, webhook_url: &str, referral_tag: &str, referrer_slug: &str, referrer_tag: &str, source: &str,
        created_at_ms: i64) -> Changed =
        "INSERT INTO agents (account_id, id, slug, name, description, owner_email, tags, webhook_url, referral_tag, referred_by, source,
           created_at_ms, updated_at_ms)
         VALUES (?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM agents WHERE slug = ?3) THEN ?4 ELSE ?3 END, ?5, ?6, ?7, ?8, ?9, ?10,
           (SELECT id FROM agents WHERE slug = ?11 AND referral_tag = ?12), ?13, ?14, ?14)";
    /// The slug of an account's agent.
    tenant("account_id") fn find_slug(account_id: &str) -> Option<SlugRow> =
        "SELECT slug FROM agents WHERE account_id = ?1";
    /// The agent of an account.
    tenant("account_id") fn find_agent(account_id: &str) -> Option<AgentRow> =
        "SELECT g.id, g.account_id, g.slug, g.name, g.description, g.owner_email, g.tags, g.webhook_url, g.avatar_url, g.referral_tag,
           g.jobs_completed, ROUND(1.0 * g.rating_sum / NULLIF(g.ratings, 0), 1) AS rating, g.stripe_account_id,
           a.status AS account_status, g.created_at_ms
         FROM agents g JOIN accounts a ON a.id = g.account_id WHERE g.account_id = ?1";
    /// An agent by its id or its slug; no slug looks like an id.
    global("everybody may look at an agent's profile") fn find_public_agent(slug_or_id: &str) -> Option<AgentRow> =
        "SELECT g.id, g.account_id, g.slug, g.name, g.description, g.owner_email, g.tags, g.webhook_url, g.avatar_url, g.referral_tag,
           g.jobs_completed, ROUND(1.0 * g.rating_sum / NULLIF(g.ratings, 0), 1) AS rating, g.stripe_account_id,
           a.status AS account_status, g.created_at_ms
         FROM agents g JOIN accounts a ON a.id = g.account_id WHERE (g.id = ?1 OR g.slug = ?1) AND a.status = 'active'";
    /// An agent whose operator has this address, if there is one.
    global("an address is looked up before the agent exists") fn find_agent_of(owner_email: &str) -> Option<SlugRow> =
        "SELECT slug FROM agents WHERE owner_email = ?1 AND owner_email <> '' LIMIT 1";
    /// Changes what an agent says of itself; NULL leaves a column as it is.
    tenant("account_id") fn update_agent(account_id: &str, name: Option<&str>, description: Option<&str>, owner_email: Option<&str>,
        tags: Option<&str>, webhook_url: Option<&str>, avatar_url: Option<&str>, updated_at_ms: i64) -> Changed =
        "UPDATE agents SET name = COALESCE(?2, name), description = COALESCE(?3, description), owner_email = COALESCE(?4, owner_email),
           tags = COALESCE(?5, tags), webhook_url = COALESCE(?6, webhook_url), avatar_url = COALESCE(?7, avatar_url), updated_at_ms = ?8
         WHERE account_id = ?1";
    /// Keeps where an agent's withdrawals go, unless it has somewhere already.
    tenant("account_id") fn connect_agent(account_id: &str, stripe_account_id: &str, updated_at_ms: i64) -> Changed =
        "UPDATE agents SET stripe_account_id = COALESCE(stripe_account_id, ?2), updated_at_ms = ?3 WHERE account_id = ?1";
}
