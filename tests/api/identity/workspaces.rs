//! Workspaces: created, listed, changed, archived.

mod budget;

use serde_json::{Value, json};

use super::keys::create;
use crate::support::{Answer, Session, TestApp, run};

pub async fn put(app: &TestApp, who: &Session, body: Value) -> Answer {
    app.post("/v1/workspaces").bearer(&who.token).json(&body).send().await
}

pub async fn get(app: &TestApp, who: &Session, workspace_id: &str) -> Answer {
    app.call("GET", &format!("/v1/workspaces/{workspace_id}")).bearer(&who.token).send().await
}

pub async fn patch(app: &TestApp, who: &Session, workspace_id: &str, body: Value) -> Answer {
    app.call("PATCH", &format!("/v1/workspaces/{workspace_id}")).bearer(&who.token).json(&body).send().await
}

#[test]
fn a_workspace_is_created_and_changed_in_place() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let body = json!({ "workspace_id": "acme", "name": "Acme", "metadata": { "tier": "gold" }, "monthly_budget_usd": 12.5 });
        let created = put(&app, &ada, body).await.expect(200).json();
        let mut expected = json!({ "id": created["id"], "workspace_id": "acme", "name": "Acme", "status": "active",
            "metadata": { "tier": "gold" }, "monthly_budget_usd": 12.5, "current_spend_usd": 0.0,
            "created_at": created["created_at"], "updated_at": created["updated_at"] });
        assert_eq!(created, expected);
        assert!(created["id"].as_str().unwrap().starts_with("ws_"));
        app.pass_ms(10).await;
        // Again: what is left out stays.
        let again = put(&app, &ada, json!({ "workspace_id": "acme", "name": "Acme Ltd" })).await.expect(200).json();
        assert_ne!(again["updated_at"], expected["updated_at"]);
        expected["name"] = json!("Acme Ltd");
        expected["updated_at"] = again["updated_at"].clone();
        assert_eq!(again, expected);
        for change in [
            json!({ "name": "A" }),
            json!({ "metadata": {} }),
            json!({ "monthly_budget_usd": 0.0 }),
            json!({ "monthly_budget_usd": null }),
            json!({ "status": "archived" }),
            json!({ "status": "active" }),
            json!({}),
        ] {
            let shown = patch(&app, &ada, "acme", change.clone()).await.expect(200).json();
            for (name, value) in change.as_object().unwrap() {
                expected[name] = value.clone();
            }
            expected["updated_at"] = shown["updated_at"].clone();
            assert_eq!(shown, expected, "{change}");
        }
        assert_eq!(get(&app, &ada, "acme").await.expect(200).json(), expected);
        put(&app, &ada, json!({ "workspace_id": "beta.1", "name": "B" })).await.expect(200);
        let list = app.get("/v1/workspaces").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!((&list["object"], &list["data"][0], &list["has_more"]), (&json!("list"), &expected, &json!(false)));
        assert_eq!((list["data"].as_array().unwrap().len(), &list["total"]), (2, &json!(2)));
        let page = app.get("/v1/workspaces?limit=1").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (1, &json!(true)));
    });
}

#[test]
fn what_is_wrong_with_a_workspace_is_named() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        for (body, text) in [
            (json!({ "name": "A" }), "workspace_id"),
            (json!({ "workspace_id": "a" }), "name required"),
            (json!({ "workspace_id": "a", "name": " " }), "name must be"),
            (json!({ "workspace_id": "a b", "name": "A" }), "workspace_id must be"),
            (json!({ "workspace_id": "", "name": "A" }), "workspace_id must be"),
            (json!({ "workspace_id": "x".repeat(65), "name": "A" }), "workspace_id must be"),
            (json!({ "workspace_id": "a", "name": "A", "metadata": "m" }), "metadata must be"),
            (json!({ "workspace_id": "a", "name": "A", "monthly_budget_usd": -1 }), "monthly_budget_usd must be"),
            (json!({ "workspace_id": "a", "name": "A", "monthly_budget_usd": "5" }), "monthly_budget_usd must be"),
            (json!({ "workspace_id": "a", "name": "A", "status": "gone" }), "status must be"),
        ] {
            let refused = put(&app, &ada, body.clone()).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains(text), "{body}: {refused}");
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM workspaces"), 0);
        put(&app, &ada, json!({ "workspace_id": "a", "name": "A" })).await.expect(200);
        patch(&app, &ada, "a", json!({ "status": "gone" })).await.expect(400);
    });
}

#[test]
fn a_workspace_is_its_owners() {
    run(async |app| {
        let (ada, eve) =
            (app.sign_in_activated("ada@example.com").await, app.sign_in_activated("eve@example.com").await);
        put(&app, &ada, json!({ "workspace_id": "acme", "name": "Acme" })).await.expect(200);
        for refused in [get(&app, &eve, "acme").await, patch(&app, &eve, "acme", json!({ "name": "E" })).await] {
            assert_eq!(refused.expect(404).json()["error"], "Workspace not found");
        }
        assert_eq!(app.get("/v1/workspaces").bearer(&eve.token).send().await.expect(200).json()["data"], json!([]));
        // The same name is another workspace of another account.
        let hers = put(&app, &eve, json!({ "workspace_id": "acme", "name": "Eve's" })).await.expect(200).json();
        assert_ne!(hers["id"], get(&app, &ada, "acme").await.expect(200).json()["id"]);
        assert_eq!(get(&app, &ada, "acme").await.expect(200).json()["name"], "Acme");
        let key = app.provision("0").await;
        let refused = app.get("/v1/workspaces").bearer(&key.key).send().await.expect(403).json();
        assert_eq!(refused["error"], "Session authentication required");
    });
}

#[test]
fn keys_of_an_archived_workspace_are_refused() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let of_acme = json!({ "workspace_id": "acme", "workspace_name": "Acme" });
        let (key, _) = create(&app, &ada.token, of_acme.clone()).await;
        let (other, _) = create(&app, &ada.token, json!({})).await;
        let there = app.new_isolate();
        let status = async |key: &str| app.get("/v1/balance").bearer(key).send().await.status;
        let elsewhere = async || app.get("/v1/balance").bearer(&key.key).to(&there).send().await.status;
        assert_eq!((status(&key.key).await, elsewhere().await), (200, 200));
        patch(&app, &ada, "acme", json!({ "status": "archived" })).await.expect(200);
        assert_eq!((status(&key.key).await, status(&other.key).await), (401, 200));
        app.pass_ms(2_001).await;
        assert_eq!(elsewhere().await, 401);
        for body in [of_acme, json!({ "workspace_id": "acme" })] {
            app.post("/v1/keys").bearer(&ada.token).json(&body).send().await.expect(409);
        }
        // To say its name again does not bring it back; to say that it is active does.
        put(&app, &ada, json!({ "workspace_id": "acme", "name": "Acme" })).await.expect(200);
        assert_eq!(status(&key.key).await, 401);
        patch(&app, &ada, "acme", json!({ "status": "active" })).await.expect(200);
        assert_eq!(status(&key.key).await, 200);
    });
}

#[test]
fn an_account_has_at_most_a_thousand_workspaces() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        put(&app, &ada, json!({ "workspace_id": "first", "name": "A" })).await.expect(200);
        app.database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
             SELECT (SELECT account_id FROM workspaces), 'w' || i, 'ws_' || i, 'n', 'active', '{}', 1, 1 FROM n",
        );
        put(&app, &ada, json!({ "workspace_id": "last", "name": "A" })).await.expect(409);
        put(&app, &ada, json!({ "workspace_id": "first", "name": "B" })).await.expect(200);
        let body = json!({ "workspace_id": "last", "workspace_name": "A" });
        app.post("/v1/keys").bearer(&ada.token).json(&body).send().await.expect(409);
    });
}
