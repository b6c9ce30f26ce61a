//! What callers bring along: keys of providers, endpoints of their own, and how calls go there first.

mod endpoints;
mod fallback;
mod keys;
mod money;
mod routes;
mod videos;

use serde_json::{Value, json};

use super::kit::rich_key;
use crate::support::{Key, Reply, TestApp};

const KEYS: &str = "/v1/provider-keys";
const ENDPOINTS: &str = "/v1/local-endpoints";
/// Has the scripted upstream stand for the providers of callers' keys: each is called by its own name.
const STAND_IN: &[(&str, &str)] = &[("BYOK_BASE_URL", "http://127.0.0.1:9")];

/// A session that looks after a key's account.
async fn own(app: &TestApp, key: &Key) -> String {
    let session = app.sign_in(&format!("{}@example.com", key.account_id)).await;
    let account = &key.account_id;
    app.database.execute(&format!(
        "UPDATE accounts SET owner_id = (SELECT id FROM people WHERE email = '{account}@example.com') WHERE id = '{account}';
         UPDATE sessions SET account_id = '{account}' WHERE account_id = '{}'",
        session.account_id
    ));
    session.token
}

/// A key with $10 and the session of its owner; `m1` at `p1` is the platform's only model.
async fn owner(app: &TestApp) -> (Key, String) {
    app.add_provider("p1").await;
    app.add_model("m1", "p1", 5).await;
    let key = rich_key(app, "10").await;
    let session = own(app, &key).await;
    (key, session)
}

async fn bring_key(app: &TestApp, session: &str, fields: Value) {
    app.post(KEYS).bearer(session).json(&fields).send().await.expect(200);
}

/// A list of models as servers give it.
fn models(names: &[&str]) -> Reply {
    let data: Vec<_> = names.iter().map(|name| json!({ "id": name, "object": "model" })).collect();
    Reply::Whole(200, json!({ "object": "list", "data": data }).to_string(), "")
}

/// Registers an endpoint at `home`, with these models; from then on it answers chats as `HELLO` is answered.
async fn bring_endpoint(app: &TestApp, session: &str, names: &[&str], fields: Value) -> Value {
    app.upstream.always_at("home", models(names));
    let mut body = json!({ "base_url": "http://127.0.0.1:9/home/v1/" });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let endpoint = app.post(ENDPOINTS).bearer(session).json(&body).send().await.expect(200).json();
    app.upstream.always_at("home", Reply::chat("from home", 10, 5));
    app.upstream.take_called();
    endpoint
}

/// The account's only provider key.
async fn only_key(app: &TestApp, session: &str) -> Value {
    let list = app.get(KEYS).bearer(session).send().await.expect(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    list["data"][0].clone()
}

/// The account's only endpoint.
async fn only_endpoint(app: &TestApp, session: &str) -> Value {
    let list = app.get(ENDPOINTS).bearer(session).send().await.expect(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
    list["data"][0].clone()
}

fn add_workspace(app: &TestApp, account: &str, name: &str) {
    app.database.execute(&format!(
        "INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
         VALUES ('{account}', '{name}', 'ws_{account}_{name}', 'Team {name}', 'active', '{{}}', 0, 0)"
    ));
}
