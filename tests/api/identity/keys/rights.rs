//! No key gives more than it has.

use serde_json::{Value, json};

use super::{act, create, delete, newest, patch, read};
use crate::support::{Session, TestApp, run};

/// A key that may look after keys, with these fields.
async fn manager(app: &TestApp, ada: &Session, fields: Value) -> (String, String) {
    let mut body = json!({ "scopes": ["chat", "manage"] });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (key, answer) = create(app, &ada.token, body).await;
    (key.key, answer["id"].as_str().unwrap().to_owned())
}

async fn try_create(app: &TestApp, token: &str, body: Value) -> (u16, Value) {
    let answer = app.post("/v1/keys").bearer(token).json(&body).send().await;
    (answer.status, answer.json())
}

#[test]
fn scopes_are_handed_down_and_never_widened() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (key, id) = manager(&app, &ada, json!({})).await;
        let (status, given) = try_create(&app, &key, json!({})).await;
        assert_eq!((status, &given["scopes"]), (200, &json!(["chat", "manage"])), "its own, when nothing is said");
        assert!(given["key"].as_str().unwrap().starts_with("tok_"), "and of its kind");
        assert_eq!(try_create(&app, &key, json!({ "scopes": ["chat"] })).await.0, 200);
        for scopes in [json!([]), json!(""), json!(["media"]), json!(["chat", "plan"])] {
            let (status, refused) = try_create(&app, &key, json!({ "scopes": scopes })).await;
            assert_eq!(status, 403, "{scopes}: {refused}");
        }
        patch(&app, &key, &id, json!({ "scopes": [] })).await.expect(403);
        patch(&app, &key, &id, json!({ "scopes": ["manage"] })).await.expect(200);
        // What may more than the key is not the key's to change, or to have in hand.
        let (_, more) = create(&app, &ada.token, json!({ "scopes": ["media"] })).await;
        let more = more["id"].as_str().unwrap();
        patch(&app, &key, more, json!({ "name": "b" })).await.expect(403);
        act(&app, &key, more, "rotate", json!({})).await.expect(403);
        act(&app, &key, more, "credits", json!({ "amount": 1 })).await.expect(403);
        delete(&app, &key, more).await.expect(403);
    });
}

#[test]
fn a_key_of_a_workspace_looks_after_that_workspace_only() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let of = |name: &str| json!({ "workspace_id": name, "workspace_name": name });
        let (key, _) = manager(&app, &ada, of("acme")).await;
        let (_, other) = create(&app, &ada.token, of("umbrella")).await;
        let (_, free) = create(&app, &ada.token, json!({})).await;
        let (status, given) = try_create(&app, &key, json!({})).await;
        assert_eq!((status, &given["workspace_id"]), (200, &json!("acme")));
        assert_eq!(try_create(&app, &key, json!({ "workspace_id": "acme" })).await.0, 200);
        assert_eq!(try_create(&app, &key, json!({ "workspace_id": "umbrella" })).await.0, 403);
        for id in [&other["id"], &free["id"]] {
            let id = id.as_str().unwrap();
            read(&app, &key, id).await.expect(404);
            delete(&app, &key, id).await.expect(404);
            act(&app, &key, id, "rotate", json!({})).await.expect(404);
        }
        let list = app.get("/v1/keys").bearer(&key).send().await.expect(200).json();
        assert_eq!(list["total"], 3);
        assert!(list["data"].as_array().unwrap().iter().all(|item| item["workspace_id"] == "acme"), "{list}");
        app.get("/v1/keys?workspace_id=umbrella").bearer(&key).send().await.expect(404);
        let list = app.get("/v1/keys?workspace_id=umbrella").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!(list["total"], 1);
    });
}

#[test]
fn a_key_that_may_spend_so_much_gives_nobody_more() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        for limit in [json!({ "credits": 1 }), json!({ "monthly_budget_usd": 1 })] {
            let (key, id) = manager(&app, &ada, limit).await;
            let (_, other) = create(&app, &ada.token, json!({ "scopes": ["chat"] })).await;
            let other = other["id"].as_str().unwrap();
            assert_eq!(try_create(&app, &key, json!({ "credits": 1 })).await.0, 403);
            patch(&app, &key, &id, json!({ "monthly_budget_usd": 0 })).await.expect(403);
            act(&app, &key, &id, "credits", json!({ "amount": 1 })).await.expect(403);
            // It sees itself alone.
            act(&app, &key, other, "rotate", json!({})).await.expect(404);
            read(&app, &key, other).await.expect(404);
            delete(&app, &key, other).await.expect(404);
            read(&app, &key, &id).await.expect(200);
        }
        let owner = app.provision("0").await;
        let (capped, _) = create(&app, &owner.key, json!({ "credits": 1 })).await;
        let none = app.get("/v1/keys?offset=9223372036854775807").bearer(&owner.key).send().await.expect(200).json();
        assert_eq!(none["data"], json!([]));
        let first = app.get("/v1/keys?offset=1").bearer(&owner.key).send().await.expect(200).json();
        let first = first["keys"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(try_create(&app, &capped.key, json!({})).await.0, 403);
        act(&app, &capped.key, &first, "rotate", json!({})).await.expect(404);
    });
}

#[test]
fn a_key_of_a_workspace_that_may_spend_so_much_sees_itself_alone() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let of = json!({ "workspace_id": "acme", "workspace_name": "Acme", "monthly_budget_usd": 1 });
        let (key, id) = manager(&app, &ada, of).await;
        let (_, other) = create(&app, &ada.token, json!({ "workspace_id": "acme" })).await;
        let other = other["id"].as_str().unwrap();
        read(&app, &key, other).await.expect(404);
        read(&app, &key, &id).await.expect(200);
        let list = app.get("/v1/keys").bearer(&key).send().await.expect(200).json();
        assert_eq!((&list["total"], &list["data"][0]["id"]), (&json!(1), &json!(id)));
        app.get(&format!("/v1/usage?key_id={other}")).bearer(&key).send().await.expect(403);
        act(&app, &key, &id, "rotate", json!({})).await.expect(200);
    });
}

#[test]
fn a_key_that_ends_gives_none_that_outlives_it() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (key, id) = manager(&app, &ada, json!({ "expires_in": "10h" })).await;
        let (status, given) = try_create(&app, &key, json!({})).await;
        let own = read(&app, &ada.token, &id).await.expect(200).json();
        assert_eq!((status, &given["expires_at"]), (200, &own["expires_at"]));
        assert_eq!(try_create(&app, &key, json!({ "expires_in": "9h" })).await.0, 200);
        for longer in [json!({ "expires_in": "11h" }), json!({ "expires_in": "" })] {
            assert_eq!(try_create(&app, &key, longer.clone()).await.0, 403, "{longer}");
            patch(&app, &key, &id, longer).await.expect(403);
        }
        let (_, _) = create(&app, &ada.token, json!({ "scopes": ["chat"] })).await;
        let immortal = newest(&app, &ada.token).await;
        act(&app, &key, &immortal, "rotate", json!({})).await.expect(403);
    });
}
