//! An account's keys, as its owner looks after them.

mod credits;
mod life;
mod parts;
mod rights;

use serde_json::{Value, json};

use crate::support::{Answer, Key, TestApp, run};

/// Creates a key with a session's token or a key; gives it and the whole answer.
pub async fn create(app: &TestApp, token: &str, body: Value) -> (Key, Value) {
    let answer = app.post("/v1/keys").bearer(token).json(&body).send().await.expect(200).json();
    let key = answer["key"].as_str().unwrap().to_owned();
    (Key { key, account_id: String::new() }, answer)
}

pub async fn read(app: &TestApp, token: &str, id: &str) -> Answer {
    app.call("GET", &format!("/v1/keys/{id}")).bearer(token).send().await
}

pub async fn patch(app: &TestApp, token: &str, id: &str, body: Value) -> Answer {
    app.call("PATCH", &format!("/v1/keys/{id}")).bearer(token).json(&body).send().await
}

pub async fn delete(app: &TestApp, token: &str, id: &str) -> Answer {
    app.call("DELETE", &format!("/v1/keys/{id}")).bearer(token).send().await
}

pub async fn act(app: &TestApp, token: &str, id: &str, action: &str, body: Value) -> Answer {
    let call = match action {
        "credits" => app.call("POST", &format!("/v1/keys/{id}/credits")),
        "rotate" => app.call("POST", &format!("/v1/keys/{id}/rotate")),
        _ => panic!("nobody can {action} a key"),
    };
    call.bearer(token).json(&body).send().await
}

/// The id of the account's newest key.
pub async fn newest(app: &TestApp, token: &str) -> String {
    let list = app.get("/v1/keys").bearer(token).send().await.expect(200).json();
    list["data"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_person_creates_tokaroos_keys() {
    run(async |app| {
        app.with_model().await;
        app.answer_hello();
        let ada = app.sign_in_activated("ada@example.com").await;
        app.credit_account(&ada.account_id, "1").await;
        let body =
            json!({ "name": " app ", "metadata": { "team": 7 }, "workspace_id": "acme", "workspace_name": "Acme" });
        let (key, answer) = create(&app, &ada.token, body).await;
        assert!(key.key.starts_with("tok_") && key.key.len() == 4 + 64);
        let prefix = format!("{}...{}", &key.key[..12], &key.key[64..]);
        for (name, value) in [
            ("name", json!("app")),
            ("prefix", json!(prefix)),
            ("metadata", json!({ "team": 7 })),
            ("workspace_id", json!("acme")),
            ("workspace_name", json!("Acme")),
            ("credits", json!(null)),
            ("scopes", json!([])),
        ] {
            assert_eq!(answer[name], value, "{name}");
        }
        assert!(!app.database.dump().contains(&key.key), "nowhere in clear");
        app.hello(&key).send().await.expect(200);
        let usage = app.last_usage(&key).await;
        assert_eq!((&usage["api_key_id"], &usage["workspace_id"]), (&answer["id"], &json!("acme")));
        let list = app.get("/v1/keys").bearer(&ada.token).send().await.expect(200).json();
        let item = &list["data"][0];
        assert_eq!((&list["object"], &list["total"], &list["has_more"]), (&json!("list"), &json!(1), &json!(false)));
        for name in ["id", "name", "metadata", "workspace_id", "workspace_name", "createdAt"] {
            assert_eq!(item[name], answer[name], "{name}");
        }
        assert_eq!((&item["keyPrefix"], &item["current_spend_usd"]), (&json!(prefix), &json!(0.000_25)));
        assert!(item["lastUsedAt"].as_str().unwrap().starts_with("2027-01-15"), "{item}");
        assert!(!list.to_string().contains(&key.key), "secrets are never returned");
        let (_, nameless) = create(&app, &ada.token, json!({})).await;
        assert_eq!((&nameless["name"], &nameless["workspace_id"]), (&json!("API key"), &json!(null)));
    });
}

#[test]
fn a_toolrouter_key_creates_its_like() {
    run(async |app| {
        let owner = app.with_busy_key().await;
        let (key, answer) = create(&app, &owner.key, json!({ "name": "My App", "credits": 10 })).await;
        assert!(key.key.starts_with("tr_live_") && key.key.len() == 8 + 64);
        assert_eq!((&answer["name"], &answer["credits"]), (&json!("My App"), &json!(10.0)));
        assert!(answer["key_prefix"].as_str().unwrap().starts_with("tr_live_"));
        assert!(answer["created_at"].as_str().unwrap().starts_with("2027-01-15"));
        app.hello(&key).send().await.expect(200);
        let list = app.get("/v1/keys").bearer(&owner.key).send().await.expect(200).json();
        let keys = list["keys"].as_array().unwrap();
        assert_eq!((keys.len(), keys[1]["name"].as_str()), (2, Some("first key")), "newest first");
        let expected = json!({ "id": answer["id"], "name": "My App", "key_prefix": answer["key_prefix"], "credits": 10.0,
            "credits_used": 0.000_25, "enabled": true, "last_used_at": keys[0]["last_used_at"],
            "created_at": answer["created_at"] });
        assert_eq!(keys[0], expected);
        let one = read(&app, &owner.key, answer["id"].as_str().unwrap()).await.expect(200).json();
        assert_eq!((&one["id"], &one["credits_used"], &one["key"]), (&answer["id"], &json!(0.000_25), &json!(null)));
        let page = app.get("/v1/keys?limit=1&offset=1").bearer(&owner.key).send().await;
        assert_eq!(page.expect(200).json()["keys"][0]["name"], "first key");
        let page = app.get("/v1/keys?limit=1").bearer(&owner.key).send().await.expect(200).json();
        assert_eq!((&page["has_more"], &page["total"]), (&json!(true), &json!(2)));
    });
}

#[test]
fn tokaroos_own_path_does_the_same_in_tokaroos_words() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let new = app.post("/v1/api-keys").bearer(&ada.token).json(&json!({ "name": "a" })).send().await.expect(200);
        let id = new.json()["id"].as_str().unwrap().to_owned();
        let list = app.get("/v1/api-keys").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!(list["data"][0]["id"], *id);
        let revoke = async |id: &str| app.call("DELETE", &format!("/v1/api-keys/{id}")).bearer(&ada.token).send().await;
        assert_eq!(revoke(&id).await.expect(200).json(), json!({ "deleted": true, "revoked": true, "id": id }));
        for missing in [id.as_str(), "key_nobody"] {
            assert_eq!(revoke(missing).await.expect(404).json()["error"], "API key not found");
        }
        let runtime = json!({ "name": "a", "workspace_id": "none" });
        let refused = app.post("/v1/api-keys").bearer(&ada.token).json(&runtime).send().await.expect(404).json();
        assert_eq!(refused["error"], "Workspace not found");
    });
}

#[test]
fn only_owners_look_after_keys() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (runtime, answer) = create(&app, &ada.token, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        for path in ["/v1/keys", "/v1/api-keys"] {
            for call in [app.post(path).body("{}"), app.get(path)] {
                let refused = call.bearer(&runtime.key).send().await.expect(403).json();
                assert_eq!(refused["message"], "Session authentication required");
            }
        }
        for refused in [
            read(&app, &runtime.key, id).await,
            patch(&app, &runtime.key, id, json!({ "name": "b" })).await,
            delete(&app, &runtime.key, id).await,
            act(&app, &runtime.key, id, "rotate", json!({})).await,
            act(&app, &runtime.key, id, "credits", json!({ "amount": 1 })).await,
        ] {
            refused.expect(403);
        }
    });
}

#[test]
fn somebody_elses_keys_are_missing() {
    run(async |app| {
        let (ada, eve) =
            (app.sign_in_activated("ada@example.com").await, app.sign_in_activated("eve@example.com").await);
        let (_, answer) = create(&app, &ada.token, json!({ "name": "a" })).await;
        let robber = app.provision("0").await;
        for (token, id) in [
            (&eve.token, answer["id"].as_str().unwrap()),
            (&robber.key, answer["id"].as_str().unwrap()),
            (&ada.token, "key_nobody"),
        ] {
            for refused in [
                read(&app, token, id).await,
                patch(&app, token, id, json!({ "name": "b" })).await,
                delete(&app, token, id).await,
                act(&app, token, id, "rotate", json!({})).await,
                act(&app, token, id, "credits", json!({ "amount": 1 })).await,
            ] {
                let refused = refused.expect(404).json();
                let is_session = token.starts_with("sess_");
                assert_eq!(refused["error"]["code"] == "KEY_NOT_FOUND", !is_session, "{refused}");
                assert_eq!(refused["error"] == "API key not found", is_session, "{refused}");
                assert_eq!(refused["message"], "API key not found");
            }
        }
        let list = app.get("/v1/keys").bearer(&eve.token).send().await.expect(200).json();
        assert_eq!((&list["data"], &list["keys"]), (&json!([]), &json!([])));
        assert_eq!(read(&app, &ada.token, answer["id"].as_str().unwrap()).await.expect(200).json()["name"], "a");
    });
}

#[test]
fn what_is_wrong_with_a_key_is_named() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let long = "x".repeat(5_000);
        for (body, param) in [
            (json!({ "name": "" }), "name"),
            (json!({ "name": 5 }), "name"),
            (json!({ "metadata": [] }), "metadata"),
            (json!({ "metadata": { "a": long } }), "metadata"),
            (json!({ "scopes": ["everything"] }), "scopes"),
            (json!({ "monthly_budget_usd": -1 }), "monthly_budget_usd"),
            (json!({ "credits": 0 }), "credits"),
            (json!({ "credits": -5 }), "credits"),
            (json!({ "credits": "10" }), "credits"),
            (json!({ "credits": 0.000_000_1 }), "credits"),
            (json!({ "expires_in": "soon" }), "expires_in"),
            (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
            (json!({ "rotation_days": -1 }), "rotation_days"),
            (json!({ "requests_per_minute": 6_001 }), "requests_per_minute"),
            (json!({ "requests_per_hour": 100_001 }), "requests_per_hour"),
            (json!({ "concurrent": 101 }), "concurrent"),
            (json!({ "enabled": "yes" }), "enabled"),
            (json!({ "workspace_name": "" }), "name"),
            (json!({ "workspace_name": 5 }), "name"),
            (json!({ "workspace_id": "a b", "workspace_name": "A" }), "workspace_id"),
            (json!({ "workspace_id": "a", "workspace_name": "" }), "name"),
            (json!({ "workspace_id": 5 }), "workspace_id"),
        ] {
            let refused = app.post("/v1/keys").bearer(&ada.token).json(&body).send().await.expect(400).json();
            assert_eq!(refused["param"], param, "{body}: {refused}");
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM api_keys"), 0);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM workspaces"), 0);
        let (_, answer) = create(&app, &ada.token, json!({ "name": "a" })).await;
        let id = answer["id"].as_str().unwrap();
        for body in [json!({ "name": "" }), json!({ "metadata": 1 }), json!({ "concurrent": 101 })] {
            patch(&app, &ada.token, id, body).await.expect(400);
        }
        assert_eq!(read(&app, &ada.token, id).await.expect(200).json()["name"], "a");
    });
}

#[test]
fn a_workspace_may_be_said_by_its_id_its_name_or_both() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        app.open_workspace(&ada.account_id, "old");
        let place = async |body: Value| {
            let (_, answer) = create(&app, &ada.token, body).await;
            let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            (text("workspace_id"), text("workspace_name"))
        };
        let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        assert_eq!(place(json!({ "workspace_id": "old" })).await, named("old", "The old"));
        assert_eq!(
            place(json!({ "workspace_name": "The old" })).await,
            named("old", "The old"),
            "the one that has the name"
        );
        assert_eq!(place(json!({ "workspace_name": " Acme " })).await, named("Acme", "Acme"), "created");
        let (id, name) = place(json!({ "workspace_name": "Acme Corp" })).await;
        assert!(id.starts_with("acme-corp-") && name == "Acme Corp", "{id}");
        assert_eq!(place(json!({ "workspace_name": "Acme Corp" })).await, (id, name), "the same again");
        assert_eq!(place(json!({ "workspace_id": "a", "workspace_name": "Acme" })).await, named("a", "Acme"));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM workspaces"), 4);
        let other = app.sign_in_activated("eve@example.com").await;
        let (_, answer) = create(&app, &other.token, json!({ "workspace_name": "The old" })).await;
        assert_ne!(answer["workspace_id"], "old", "another account's is no name here");
    });
}

#[test]
fn an_account_has_at_most_a_thousand_keys() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (_, first) = create(&app, &ada.token, json!({})).await;
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
            INSERT INTO api_keys (id, account_id, hash, product, masked, name, created_at_ms)
            SELECT 'key_' || i, (SELECT account_id FROM api_keys), 'h' || i, 'tokaroo', 'm', 'n', 1 FROM n";
        app.database.execute(fill);
        let refused = app.post("/v1/keys").bearer(&ada.token).body("{}").send().await.expect(409).json();
        assert_eq!(refused["message"], "An account has at most 1000 keys; revoke one first");
        let list = app.get("/v1/keys").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (1_000, &json!(false)));
        delete(&app, &ada.token, first["id"].as_str().unwrap()).await.expect(200);
        create(&app, &ada.token, json!({})).await;
    });
}
