//! `/api/agents/me` and `/api/agents/me/setup`.

use serde_json::{Value, json};

use crate::support::{Agent, Answer, TestApp, run};

async fn patch(app: &TestApp, agent: &Agent, body: Value) -> Answer {
    app.call("PATCH", "/api/agents/me").bearer(&agent.key.key).json(&body).send().await
}

#[test]
fn an_agent_sees_itself() {
    run(async |app| {
        let agent = app.agent("My Agent").await;
        let me = app.get("/api/agents/me").bearer(&agent.key.key).send().await.expect(200).json();
        let me = &me["agent"];
        for (field, value) in [
            ("id", json!(agent.id)),
            ("name", json!("My Agent")),
            ("slug", json!("my-agent")),
            ("description", json!("")),
            ("status", json!("ACTIVE")),
            ("rating", Value::Null),
            ("jobsCompleted", json!(0)),
            ("services", json!([])),
            ("avatarUrl", Value::Null),
            ("webhookUrl", Value::Null),
            ("ownerEmail", Value::Null),
            ("tags", json!([])),
        ] {
            assert_eq!(me[field], value, "{field}");
        }
        assert!(me["referralCode"].as_str().unwrap().starts_with("my-agent-"), "{me}");
        let by_header = app.get("/api/agents/me").head(|head| head.api_key = agent.key.key.clone());
        by_header.send().await.expect(200);
    });
}

#[test]
fn only_agents_have_a_profile() {
    run(async |app| {
        let (key, session) = (app.provision("0").await, app.sign_in("ada@example.com").await);
        for token in [&key.key, &session.token] {
            for (method, path) in
                [("GET", "/api/agents/me"), ("PATCH", "/api/agents/me"), ("GET", "/api/agents/me/setup")]
            {
                app.call(method, path).bearer(token).body("{}").send().await.expect(403);
            }
        }
        app.get("/api/agents/me").send().await.expect(401);
    });
}

#[test]
fn a_profile_is_changed_field_by_field() {
    run(async |app| {
        let (agent, other) = (app.agent("Lily").await, app.agent("Other").await);
        let body = json!({ "name": "Updated Name", "description": "New description", "avatarUrl": "/path/to/avatar.png",
            "webhookUrl": "https://my-agent.com/webhook", "tags": ["code-review", "python"], "ownerEmail": "Me@example.com" });
        let changed = patch(&app, &agent, body).await.expect(200).json();
        let me = &changed["agent"];
        for (field, value) in [
            ("name", json!("Updated Name")),
            ("slug", json!("lily")),
            ("description", json!("New description")),
            ("avatarUrl", json!("/path/to/avatar.png")),
            ("webhookUrl", json!("https://my-agent.com/webhook")),
            ("tags", json!(["code-review", "python"])),
            ("ownerEmail", json!("me@example.com")),
        ] {
            assert_eq!(me[field], value, "{field}");
        }
        // What is left out or null stays; an empty text takes away.
        let changed =
            patch(&app, &agent, json!({ "name": null, "webhookUrl": "", "tags": [] })).await.expect(200).json();
        let me = &changed["agent"];
        assert_eq!((&me["name"], &me["webhookUrl"]), (&json!("Updated Name"), &Value::Null));
        assert_eq!((&me["tags"], &me["avatarUrl"]), (&json!([]), &json!("/path/to/avatar.png")));
        let untouched = app.get("/api/agents/me").bearer(&other.key.key).send().await.json();
        assert_eq!(untouched["agent"]["name"], "Other");
    });
}

#[test]
fn a_wrong_change_is_refused_whole() {
    run(async |app| {
        let agent = app.agent("Lily").await;
        for (field, value) in [
            ("name", json!("")),
            ("name", json!("a\nb")),
            ("description", json!("x".repeat(5_001))),
            ("avatarUrl", json!("//evil.example/a.png")),
            ("avatarUrl", json!("javascript:alert(1)")),
            ("webhookUrl", json!("http://10.0.0.1/")),
            ("tags", json!([7])),
            ("ownerEmail", json!("nobody")),
        ] {
            let mut body = json!({ "description": "kept out" });
            body[field] = value;
            let refused = patch(&app, &agent, body).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains(field), "{field}: {refused}");
        }
        let me = app.get("/api/agents/me").bearer(&agent.key.key).send().await.json();
        assert_eq!(me["agent"]["description"], "");
    });
}

#[test]
fn the_checklist_counts_what_is_done() {
    run(async |app| {
        let agent = app.agent("Lily").await;
        let setup = || app.get("/api/agents/me/setup").bearer(&agent.key.key).send();
        let empty = setup().await.expect(200).json();
        assert_eq!((&empty["setupScore"], &empty["ready"]), (&json!("0/5"), &json!(false)));
        let steps: Vec<_> = empty["steps"].as_array().unwrap().iter().map(|s| (&s["id"], &s["priority"])).collect();
        let expected = [
            ("webhook", "high"),
            ("email", "high"),
            ("avatar", "medium"),
            ("description", "medium"),
            ("services", "high"),
        ];
        let expected = expected.map(|(id, priority)| (json!(id), json!(priority)));
        assert_eq!(steps, expected.iter().map(|(id, priority)| (id, priority)).collect::<Vec<_>>());
        // Every fix works as it says, with something in place of the dots.
        for (step, value) in
            empty["steps"].as_array().unwrap().iter().zip(["https://example.com/hook", "me@example.com", "/a.png", "d"])
        {
            let fix = &step["fix"];
            let field = fix["body"].as_object().unwrap().keys().next().unwrap();
            let call = app.call(fix["method"].as_str().unwrap(), fix["url"].as_str().unwrap());
            call.bearer(&agent.key.key).json(&json!({ field: value })).send().await.expect(200);
        }
        let done = setup().await.expect(200).json();
        assert_eq!((&done["setupScore"], &done["ready"]), (&json!("4/5"), &json!(false)), "no service is listed");
        let first = &done["steps"][0];
        assert_eq!((&first["done"], first.get("fix")), (&json!(true), None));
        assert!(done["message"].as_str().unwrap().contains("1 more step"), "{done}");
    });
}
