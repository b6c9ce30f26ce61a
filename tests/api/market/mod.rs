//! `/api/agents/*`.

mod agents;
mod me;
mod payouts;
mod wallet;

use serde_json::{Value, json};

use crate::support::{Answer, Key, TestApp};

/// An agent that has registered.
pub struct Agent {
    /// Its key, and its account.
    pub key: Key,
    pub id: String,
    pub slug: String,
    /// From its claim link.
    pub claim: String,
}

impl TestApp {
    pub async fn register(&self, body: &Value) -> Answer {
        self.post("/api/agents/register").json(body).send().await
    }

    /// An agent of this name, without limits that a test would meet.
    pub async fn agent(&self, name: &str) -> Agent {
        let answer = self.register(&json!({ "name": name })).await.expect(201).json();
        let text = |field: &str| answer["agent"][field].as_str().unwrap().to_owned();
        let account = format!("SELECT account_id FROM agents WHERE id = '{}'", text("id"));
        let key = Key { key: text("apiKey"), account_id: self.database.text(&account) };
        self.set_limits(&key, 100_000, 1_000_000, 1_000).await;
        let claim = text("claimUrl").split_once("token=").unwrap().1.to_owned();
        Agent { key, id: text("id"), slug: text("slug"), claim }
    }

    /// The agent's wallet, as it sees it.
    pub async fn wallet(&self, agent: &Agent) -> Value {
        self.get("/api/agents/wallet").bearer(&agent.key.key).send().await.expect(200).json()
    }

    pub async fn deposit(&self, agent: &Agent, cents: i64) -> Answer {
        let body = json!({ "amountCents": cents });
        self.post("/api/agents/wallet/deposit").bearer(&agent.key.key).json(&body).send().await
    }
}
