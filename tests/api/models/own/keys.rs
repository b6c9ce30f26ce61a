//! `/v1/provider-keys`.

use serde_json::{Value, json};

use super::{add_workspace, only_key, own, owner};
use crate::support::{TestApp, run};

async fn refused(app: &TestApp, session: &str, body: &Value, field: &str) {
    let answer = app.post("/v1/provider-keys").bearer(session).json(body).send().await.expect(400);
    assert!(answer.json()["error"].as_str().unwrap().contains(field), "{}", answer.text());
}

#[test]
fn a_key_is_brought_listed_and_deleted_and_never_told() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        add_workspace(&app, &key.account_id, "acme");
        let body = json!({ "provider": "groq", "secret": "gsk_very_secret" });
        let created = app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(200).json();
        assert_eq!(created, json!({ "created": true, "provider": "groq", "label": "groq", "workspace_id": null }));
        let row = only_key(&app, &session).await;
        let id = row["id"].as_str().unwrap().to_owned();
        assert_eq!(
            row,
            json!({ "id": id, "provider": "groq", "label": "groq", "workspace_id": null, "workspace_name": null, "status": "active",
                "last_success_at": null, "last_failure_at": null, "last_failure_code": null, "estimated_reset_at": null })
        );
        let body = json!({ "provider": "openai", "secret": "sk-other", "label": "Acme's", "workspace_id": "acme" });
        let created = app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(200).json();
        assert_eq!(created["workspace_id"], "acme");
        let of_acme = app.get("/v1/provider-keys?workspace_id=acme").bearer(&session).send().await.expect(200);
        assert_eq!(of_acme.json()["data"][0]["workspace_name"], "Team acme");
        assert_eq!(of_acme.json()["data"].as_array().unwrap().len(), 1);
        let all = app.get("/v1/provider-keys").bearer(&session).send().await.expect(200).text();
        assert!(!all.contains("secret") && !app.database.dump().contains("gsk_very_secret"));
        let deleted = app.call("DELETE", &format!("/v1/provider-keys/{id}")).bearer(&session).send().await.expect(200);
        assert_eq!(deleted.json(), json!({ "deleted": true, "id": id }));
        app.call("DELETE", &format!("/v1/provider-keys/{id}")).bearer(&session).send().await.expect(404);
        assert_eq!(only_key(&app, &session).await["label"], "Acme's");
        assert!(!app.log.borrow().iter().any(|line| line.contains("secret")));
    });
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    run(async |app| {
        let (_, session) = owner(&app).await;
        for (body, field) in [
            (json!({ "provider": "mistral", "secret": "x" }), "provider"),
            (json!({ "secret": "x" }), "provider"),
            (json!({ "provider": "groq" }), "secret"),
            (json!({ "provider": "groq", "secret": "" }), "secret"),
            (json!({ "provider": "groq", "secret": "with space" }), "secret"),
            (json!({ "provider": "groq", "secret": "x".repeat(4_097) }), "secret"),
            (json!({ "provider": "groq", "secret": "x", "label": "y".repeat(101) }), "label"),
            (json!({ "provider": "groq", "secret": "x", "label": "a\nb" }), "label"),
        ] {
            refused(&app, &session, &body, field).await;
        }
        let body = json!({ "provider": "groq", "secret": "x", "workspace_id": "nowhere" });
        let answer = app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(404);
        assert_eq!(answer.json()["error"], "Workspace not found");
    });
}

#[test]
fn keys_and_strangers_see_nothing_of_them() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        let body = json!({ "provider": "groq", "secret": "gsk_1" });
        app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(200);
        let id = only_key(&app, &session).await["id"].as_str().unwrap().to_owned();
        let answer = app.get("/v1/provider-keys").bearer(&key.key).send().await.expect(403);
        assert_eq!(answer.json()["error"], "Session authentication required");
        let stranger = app.sign_in("eve@example.com").await.token;
        app.call("DELETE", &format!("/v1/provider-keys/{id}")).bearer(&stranger).send().await.expect(404);
        let list = app.get("/v1/provider-keys").bearer(&stranger).send().await.expect(200).json();
        assert_eq!(list["data"], json!([]));
        // Another account's workspace is nowhere.
        add_workspace(&app, &key.account_id, "acme");
        let body = json!({ "provider": "groq", "secret": "gsk_1", "workspace_id": "acme" });
        app.post("/v1/provider-keys").bearer(&stranger).json(&body).send().await.expect(404);
    });
}

#[test]
fn an_account_has_a_bounded_number_of_them() {
    run(async |app| {
        let key = app.provision("0").await;
        let session = own(&app, &key).await;
        let body = json!({ "provider": "groq", "secret": "gsk_1" });
        app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(200);
        let account = &key.account_id;
        app.database.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 49)
             INSERT INTO provider_keys (account_id, id, provider, label, sealed_secret, created_at_ms)
             SELECT '{account}', 'pkey_' || i, 'groq', 'x', 'x', 0 FROM n"
        ));
        let answer = app.post("/v1/provider-keys").bearer(&session).json(&body).send().await.expect(409);
        assert!(answer.json()["error"].as_str().unwrap().contains("50"), "{}", answer.text());
    });
}
