//! Two tenants. The one has something of everything, the other every kind of credential.

use guildhall_domain::credential::KeyPrefix;
use serde_json::json;

use crate::support::{Key, Reply, Session, TestApp};

/// A tenant.
pub struct Tenant {
    session: Session,
    keys: Vec<Key>,
    /// What is theirs.
    pub things: Vec<Thing>,
}

/// Something that has an id.
pub struct Thing {
    pub kind: &'static str,
    pub id: String,
    /// Its owner reads it by this id.
    pub is_live: bool,
}

impl Tenant {
    /// Every credential of theirs.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.key.as_str()).chain([self.session.token.as_str()])
    }
}

/// Somebody with an account, and a key of every kind that begins with `name`.
async fn open_tenant(app: &TestApp, name: &str) -> Tenant {
    let session = app.sign_in(&format!("{name}@example.com")).await;
    let account = &session.account_id;
    app.credit_account(account, "10").await;
    app.open_workspace(account, &format!("{name}-acme"));
    let prefixes = [
        (KeyPrefix::ToolRouter, "manager"),
        (KeyPrefix::Tokaroo, "tok"),
        (KeyPrefix::TokenHub, "hub"),
        (KeyPrefix::Toku, "agent"),
    ];
    let issue = |(prefix, kind): (KeyPrefix, &str)| {
        app.issue(account, prefix, &format!("key_{name}{kind}"), (kind == "tok").then_some(&*format!("{name}-acme")))
    };
    let keys: Vec<_> = prefixes.into_iter().map(issue).collect();
    app.database.execute(&format!("UPDATE api_keys SET agent_id = 'agent_{name}' WHERE id = 'key_{name}agent'"));
    app.set_limits(&keys[0], 1_000_000, 10_000_000, 10_000).await;
    let mut things = Vec::new();
    for (_, kind) in prefixes {
        things.push(Thing { kind: "key", id: format!("key_{name}{kind}"), is_live: true });
    }
    things.push(Thing { kind: "workspace", id: format!("{name}-acme"), is_live: true });
    things.push(Thing { kind: "account", id: account.clone(), is_live: true });
    for (kind, column) in [("session", "id"), ("person", "person_id")] {
        let id = app.database.text(&format!("SELECT {column} FROM sessions WHERE account_id = '{account}'"));
        things.push(Thing { kind, id, is_live: true });
    }
    Tenant { session, keys, things }
}

/// The one who has everything, and the one who wants it.
pub async fn open(app: &TestApp) -> (Tenant, Tenant) {
    app.with_busy_key().await;
    app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
    let film = json!({ "id": "film", "provider_id": "s", "kind": "video", "enabled": true, "unit_price_usd": 0.1 });
    app.admin("POST", "/admin/v1/models").json(&film).send().await.expect(200);
    let (mut ada, eve) = (open_tenant(app, "ada").await, open_tenant(app, "eve").await);
    app.upstream.always(Reply::chat("Hi!", 10, 5));
    let key = &ada.keys[0].key;
    let call = app.post("/v1/responses").bearer(key).json(&json!({ "model": "m1", "input": "Hello" }));
    let response = call.send().await.expect(200);
    let call = app.post("/v1/videos").bearer(key).json(&json!({ "prompt": "a sea", "model": "film", "duration": 1 }));
    let video = call.send().await.expect(200).json();
    app.pass_ms(10_000).await;
    let made = [
        ("usage", response.header("x-request-id").unwrap().to_owned()),
        ("response", response.json()["id"].as_str().unwrap().to_owned()),
        ("video", video["id"].as_str().unwrap().to_owned()),
    ];
    ada.things.extend(made.map(|(kind, id)| Thing { kind, id, is_live: true }));
    (ada, eve)
}
