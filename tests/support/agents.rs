//! Agents with wallets and bank accounts.

use guildhall::jobs::hourly::run_hourly;
use serde_json::{Value, json};

use super::{Answer, Key, TestApp};

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

    /// An agent with so many cents and a bank account.
    pub async fn banked_agent(&self, name: &str, cents: i64) -> Agent {
        let agent = self.agent(name).await;
        if cents > 0 {
            self.deposit(&agent, cents).await.expect(200);
        }
        let call = self.post("/api/agents/connect").bearer(&agent.key.key).body("{}");
        let account = call.send().await.expect(200).json();
        self.open_bank(account["stripeAccountId"].as_str().unwrap());
        agent
    }

    /// The operator answers Stripe's questions.
    pub fn open_bank(&self, account: &str) {
        let mut shelf = self.stripe.shelf.borrow_mut();
        let account = shelf.get_mut(account).unwrap();
        for field in ["details_submitted", "charges_enabled", "payouts_enabled"] {
            account[field] = true.into();
        }
    }

    pub async fn withdraw(&self, agent: &Agent, cents: i64, key: &str) -> Answer {
        let call = self.post("/api/agents/wallet/withdraw").bearer(&agent.key.key).idempotency_key(key);
        call.json(&json!({ "amountCents": cents })).send().await
    }

    /// What Stripe was given, in cents, one per transfer.
    pub fn paid_out(&self) -> Vec<i64> {
        let shelf = self.stripe.shelf.borrow();
        let transfers = shelf.iter().filter(|(id, object)| id.starts_with("tr_") && !object.is_null());
        transfers.map(|(_, transfer)| transfer["amount"].as_i64().unwrap()).collect()
    }

    /// An hour goes by, or enough of it for whoever was working to be done or dead.
    pub async fn run_hour(&self) {
        self.pass_ms(300_000).await;
        run_hourly(&self.isolate(), &self.ports()).await;
    }

    /// Every cent that came in is in the wallet or went to the bank, and nothing is left half done.
    #[track_caller]
    pub fn assert_nothing_lost(&self, agent: &Agent, deposited_cents: i64) {
        let audit = self.audit(&agent.key);
        assert!(audit.consistent, "{audit:?}");
        let paid: i64 = self.paid_out().iter().sum();
        assert_eq!(audit.balance.0 + audit.charged.0, (deposited_cents - paid) * 10_000, "{audit:?}, paid {paid}");
        let open = "SELECT COUNT(*) FROM withdrawals WHERE state IN ('open', 'returning')";
        assert_eq!(self.database.number(open), 0, "nothing is left half done");
        let marked = "SELECT COALESCE(SUM(amount_micros), 0) FROM withdrawals WHERE state = 'paid'";
        assert_eq!(self.database.number(marked), paid * 10_000, "what is marked paid is what was paid");
    }
}
