//! `/v1/local-endpoints`.

use guildhall::ports::FetchError;
use serde_json::{Value, json};

use super::{add_workspace, bring_endpoint, models, only_endpoint, owner};
use crate::support::{Reply, TestApp, run, run_with};

async fn refused(app: &TestApp, session: &str, body: &Value, field: &str) {
    let answer = app.post("/v1/local-endpoints").bearer(session).json(body).send().await.expect(400);
    assert!(answer.json()["error"].as_str().unwrap().contains(field), "{}", answer.text());
}

#[test]
fn an_endpoint_is_examined_when_it_is_registered() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        add_workspace(&app, &key.account_id, "acme");
        app.upstream.always_at("home", models(&["qwen3:8b", "nomic-embed-text"]));
        let body = json!({ "name": "My server", "base_url": "http://127.0.0.1:9/home/v1/", "api_key": "very-secret",
            "runtime": "ollama", "workspace_id": "acme", "priority": 7, "model_map": { "fast": "qwen3:8b" } });
        let made = app.post("/v1/local-endpoints").bearer(&session).json(&body).send().await.expect(200).json();
        let id = made["id"].as_str().unwrap().to_owned();
        assert_eq!(
            made,
            json!({ "id": id, "name": "My server", "base_url": "http://127.0.0.1:9/home", "runtime": "ollama", "status": "healthy",
                "last_error": null, "models": ["nomic-embed-text", "qwen3:8b"], "model_map": { "fast": "qwen3:8b" }, "enabled": true,
                "priority": 7, "has_api_key": true, "workspace_id": "acme", "workspace_name": "Team acme",
                "last_checked_at": made["last_checked_at"], "created_at": made["created_at"] })
        );
        let asked = app.upstream.sent.borrow().last().unwrap().clone();
        assert_eq!((asked.method, asked.url.as_str()), ("GET", "http://127.0.0.1:9/home/v1/models"));
        assert!(asked.headers.contains(&("authorization", "Bearer very-secret".into())));
        let listed = app.get(&format!("/v1/local-endpoints/{id}/models")).bearer(&session).send().await.expect(200);
        assert_eq!(listed.json()["data"][0]["kind"], "embedding");
        assert_eq!(
            listed.json()["data"][1],
            json!({ "id": "qwen3:8b", "object": "model", "created": 0, "owned_by": "local", "kind": "chat" })
        );
        assert_eq!(only_endpoint(&app, &session).await, made);
        let elsewhere = app.get("/v1/local-endpoints?workspace_id=other").bearer(&session).send().await.expect(200);
        assert_eq!(elsewhere.json()["data"], json!([]));
        assert!(!app.database.dump().contains("very-secret"));
        assert!(!app.log.borrow().iter().any(|line| line.contains("very-secret")));
    });
}

#[test]
fn one_that_does_not_answer_is_kept_and_asked_again() {
    run(async |app| {
        let (_, session) = owner(&app).await;
        app.upstream.always_at("home", Reply::Fails(FetchError::Broken("refused".into())));
        let body = json!({ "base_url": "http://127.0.0.1:9/home" });
        let made = app.post("/v1/local-endpoints").bearer(&session).json(&body).send().await.expect(200).json();
        assert_eq!(
            (&made["status"], &made["models"], &made["name"]),
            (&json!("unreachable"), &json!([]), &json!("127.0.0.1:9"))
        );
        assert!(made["last_error"].as_str().unwrap().contains("failed to reach"), "{made}");
        let recheck = format!("/v1/local-endpoints/{}/recheck", made["id"].as_str().unwrap());
        let again = app.post(&recheck).bearer(&session).send().await.expect(200).json();
        assert_eq!(again["status"], "unreachable");
        app.upstream.always_at("home", models(&["a"]));
        let again = app.post(&recheck).bearer(&session).send().await.expect(200).json();
        assert_eq!(
            (&again["status"], &again["models"], &again["last_error"]),
            (&json!("healthy"), &json!(["a"]), &json!(null))
        );
        app.upstream.always_at("home", Reply::error(401, "who are you"));
        let again = app.post(&recheck).bearer(&session).send().await.expect(200).json();
        assert_eq!(
            (&again["status"], &again["models"]),
            (&json!("unreachable"), &json!(["a"])),
            "what it had is remembered"
        );
        assert_eq!(again["last_error"], "provider returned 401 Unauthorized");
    });
}

#[test]
fn parts_of_it_are_changed_and_the_rest_stays() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let made = bring_endpoint(&app, &session, &["a"], json!({ "api_key": "k1", "name": "Home" })).await;
        let path = format!("/v1/local-endpoints/{}", made["id"].as_str().unwrap());
        let patch = async |body: Value| app.call("PATCH", &path).bearer(&session).json(&body).send().await;
        let changed =
            patch(json!({ "enabled": false, "priority": 9, "model_map": { "max": "a" } })).await.expect(200).json();
        assert_eq!(
            (&changed["enabled"], &changed["priority"], &changed["model_map"]),
            (&json!(false), &json!(9), &json!({ "max": "a" }))
        );
        assert_eq!(
            (&changed["name"], &changed["has_api_key"], &changed["models"]),
            (&json!("Home"), &json!(true), &json!(["a"]))
        );
        assert!(app.upstream.take_called().is_empty(), "nothing to ask about");
        app.upstream.always_at("away", models(&["b"]));
        let moved = patch(json!({ "base_url": "http://127.0.0.1:9/away", "api_key": "" })).await.expect(200).json();
        assert_eq!(
            (&moved["models"], &moved["has_api_key"], &moved["priority"]),
            (&json!(["b"]), &json!(false), &json!(9))
        );
        assert_eq!(app.upstream.sent.borrow()[0].headers, [("accept", "application/json".to_owned())]);
        patch(json!({ "base_url": "http://10.0.0.1/" })).await.expect(400);
        patch(json!({ "workspace_id": "nowhere" })).await.expect(404);
        add_workspace(&app, &key.account_id, "acme");
        app.database.execute("UPDATE workspaces SET status = 'archived'");
        let refused = patch(json!({ "workspace_id": "acme" })).await.expect(409);
        assert!(refused.text().contains("archived"), "{}", refused.text());
        let body = json!({ "provider": "groq", "secret": "gsk_1", "workspace_id": "acme" });
        app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(409);
        let id = made["id"].as_str().unwrap();
        let gone = app.call("DELETE", &format!("/v1/local-endpoints/{id}")).bearer(&session).send().await.expect(200);
        assert_eq!(gone.json(), json!({ "deleted": true, "id": id }));
        patch(json!({})).await.expect(404);
        app.call("DELETE", &path).bearer(&session).send().await.expect(404);
    });
}

#[test]
fn addresses_and_fields_are_checked() {
    run(async |app| {
        let (_, session) = owner(&app).await;
        let base = "http://127.0.0.1:9/home";
        for (body, field) in [
            (json!({}), "base_url"),
            (json!({ "base_url": "" }), "base_url"),
            (json!({ "base_url": "http://192.168.1.2/" }), "base_url"),
            (json!({ "base_url": "http://169.254.169.254/" }), "base_url"),
            (json!({ "base_url": "http://u:p@example.com/" }), "base_url"),
            (json!({ "base_url": "file:///etc/passwd" }), "base_url"),
            (json!({ "base_url": "https://example.com/?x=1" }), "base_url"),
            (json!({ "base_url": base, "runtime": "mainframe" }), "runtime"),
            (json!({ "base_url": base, "priority": 11 }), "priority"),
            (json!({ "base_url": base, "priority": -1 }), "priority"),
            (json!({ "base_url": base, "name": "x".repeat(101) }), "name"),
            (json!({ "base_url": base, "api_key": "with space" }), "api_key"),
            (json!({ "base_url": base, "model_map": { "a b": "c" } }), "model_map"),
            (json!({ "base_url": base, "model_map": [1] }), "model_map"),
        ] {
            refused(&app, &session, &body, field).await;
        }
        let many: Value = (0..51).map(|n| (format!("n{n}"), json!("m"))).collect::<serde_json::Map<_, _>>().into();
        refused(&app, &session, &json!({ "base_url": base, "model_map": many }), "model_map").await;
        assert!(app.upstream.take_called().is_empty(), "nothing is asked before it is checked");
    });
}

#[test]
fn loopback_is_for_the_sandbox() {
    run_with(&[("ALLOW_LOOPBACK", "false")], async |app| {
        let session = app.sign_in("ada@example.com").await.token;
        for url in ["http://127.0.0.1:11434", "http://localhost:11434/v1", "http://ollama/"] {
            refused(&app, &session, &json!({ "base_url": url }), "base_url").await;
        }
    });
}

#[test]
fn strangers_and_keys_find_nothing() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let made = bring_endpoint(&app, &session, &["a"], json!({})).await;
        let id = made["id"].as_str().unwrap();
        let stranger = app.sign_in("eve@example.com").await.token;
        let path = format!("/v1/local-endpoints/{id}");
        app.call("PATCH", &format!("/v1/local-endpoints/{id}")).bearer(&stranger).body("{}").send().await.expect(404);
        app.call("DELETE", &path).bearer(&stranger).send().await.expect(404);
        app.post(&format!("/v1/local-endpoints/{id}/recheck")).bearer(&stranger).send().await.expect(404);
        app.get(&format!("/v1/local-endpoints/{id}/models")).bearer(&stranger).send().await.expect(404);
        assert_eq!(app.get("/v1/local-endpoints").bearer(&stranger).send().await.expect(200).json()["data"], json!([]));
        let answer = app.get("/v1/local-endpoints").bearer(&key.key).send().await.expect(403);
        assert_eq!(answer.json()["error"], "Session authentication required");
    });
}

#[test]
fn an_account_has_a_bounded_number_of_them() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        bring_endpoint(&app, &session, &["a"], json!({})).await;
        let account = &key.account_id;
        app.database.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19)
             INSERT INTO local_endpoints (account_id, id, name, base_url, runtime, enabled, priority, model_map, status, models,
               last_checked_at_ms, created_at_ms, updated_at_ms)
             SELECT '{account}', 'local_' || i, 'x', 'x', 'other', 0, 5, '{{}}', 'healthy', '[]', 0, 0, 0 FROM n"
        ));
        let body = json!({ "base_url": "http://127.0.0.1:9/home" });
        app.post("/v1/local-endpoints").bearer(&session).json(&body).send().await.expect(409);
    });
}

#[test]
fn the_hours_check_brings_an_endpoint_back() {
    run(async |app| {
        let (_, session) = owner(&app).await;
        let made = bring_endpoint(&app, &session, &["a"], json!({})).await;
        app.upstream.always_at("home", models(&["a", "b"]));
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert!(app.upstream.take_called().is_empty(), "it was asked a moment ago");
        app.pass_ms(3_600_000).await;
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(app.upstream.take_called(), ["home"]);
        let now = only_endpoint(&app, &session).await;
        assert_eq!(now["models"], json!(["a", "b"]));
        assert_ne!(now["last_checked_at"], made["last_checked_at"]);
    });
}
