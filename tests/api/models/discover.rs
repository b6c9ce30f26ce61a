//! `GET /admin/v1/providers/{id}/discover`, and `autoload_models`.

use guildhall::ports::{FetchError, ReadMode, StreamEnd};
use guildhall::store::sql::Statement;
use guildhall_domain::sandbox;
use serde_json::{Value, json};

use super::kit::{MODELS, PROVIDERS, add_model, chat, hello, rich_key};
use crate::support::{Reply, TestApp, run, run_with};

async fn discover(app: &TestApp, id: &str) -> (u16, Value) {
    let answer = app.admin("GET", &format!("/admin/v1/providers/{id}/discover")).send().await;
    (answer.status, answer.json())
}

async fn post(app: &TestApp, fields: Value) -> (u16, Value) {
    let answer = app.admin("POST", PROVIDERS).json(&fields).send().await;
    (answer.status, answer.json())
}

/// `p1` with a key at the scripted upstream, whose models are to be registered.
fn autoload() -> Value {
    json!({ "id": "p1", "base_url": "http://127.0.0.1:9/p1", "api_key": "sk-p1", "autoload_models": true })
}

fn list(ids: &[&str]) -> Reply {
    let data: Vec<_> = ids.iter().map(|id| json!({ "id": id, "object": "model", "owned_by": "maker" })).collect();
    Reply::Whole(200, json!({ "object": "list", "data": data }).to_string(), "")
}

async fn stored(app: &TestApp) -> Vec<Value> {
    let page = app.admin("GET", MODELS).send().await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

fn change(app: &TestApp, sql: &'static str) {
    app.database.run(&[Statement { sql, params: Vec::new() }]).unwrap();
}

#[test]
fn a_provider_is_asked_with_its_own_key() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m2", "p1", 5).await;
        add_model(&app, "mine", "p1", json!({ "upstream_model": "org/m3" })).await;
        app.upstream.always_at("p1", list(&["org/m3", "m2", "m1"]));
        let model = |id: &str, registered: bool| json!({ "id": id, "owned_by": "maker", "registered": registered });
        let expected = json!({ "provider_id": "p1", "total": 3,
            "models": [model("m1", false), model("m2", true), model("org/m3", true)] });
        assert_eq!(discover(&app, "p1").await, (200, expected));
        let sent = app.upstream.sent.borrow_mut().pop().unwrap();
        assert_eq!((sent.method, sent.url.as_str(), &sent.body), ("GET", "http://127.0.0.1:9/p1/v1/models", &None));
        assert!(sent.headers.contains(&("authorization", "Bearer sk-p1".to_owned())), "{sent:?}");
        assert_eq!((sent.read, sent.first_byte_ms), (ReadMode::Whole { max_bytes: 1 << 20 }, 10_000));
    });
}

#[test]
fn another_providers_models_are_not_registered_here() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        app.add_model("m1", "p2", 5).await;
        app.upstream.always_at("p1", Reply::Whole(200, r#"[{"id":"m1"}]"#.into(), ""));
        let (_, answer) = discover(&app, "p1").await;
        assert_eq!(answer["models"], json!([{ "id": "m1", "registered": false }]), "a bare list, without its makers");
    });
}

#[test]
fn anthropic_is_asked_in_its_own_way() {
    run(async |app| {
        app.add_provider("p1").await;
        change(&app, "UPDATE providers SET type = 'anthropic' WHERE id = 'p1'");
        let body = r#"{"data":[{"type":"model","id":"claude-x","display_name":"X"}],"has_more":false}"#;
        app.upstream.always_at("p1", Reply::Whole(200, body.into(), ""));
        let (status, answer) = discover(&app, "p1").await;
        assert_eq!((status, &answer["models"]), (200, &json!([{ "id": "claude-x", "registered": false }])));
        let sent = app.upstream.sent.borrow_mut().pop().unwrap();
        assert_eq!(sent.url, "http://127.0.0.1:9/p1/v1/models?limit=1000");
        assert!(sent.headers.contains(&("x-api-key", "sk-p1".to_owned())), "{sent:?}");
        assert!(sent.headers.contains(&("anthropic-version", "2023-06-01".to_owned())), "{sent:?}");
        assert!(sent.headers.iter().all(|(name, _)| *name != "authorization"), "{sent:?}");
    });
}

#[test]
fn the_sandbox_lists_its_own_models() {
    run(async |app| {
        assert_eq!(post(&app, json!({ "id": "s", "type": "sandbox" })).await.0, 200);
        let (status, answer) = discover(&app, "s").await;
        assert_eq!((status, &answer["total"]), (200, &json!(7)));
        assert_eq!(answer["models"][2], json!({ "id": "sandbox-large", "owned_by": "sandbox", "registered": false }));
        assert!(app.upstream.sent.borrow().is_empty());
        // They are those that a fresh sandbox is given.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/sandbox-models.json");
        let given: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for model in given {
            assert!(sandbox::MODELS.contains(&model["id"].as_str().unwrap()), "{model}");
        }
    });
}

#[test]
fn what_has_no_address_cannot_be_asked() {
    run(async |app| {
        app.add_provider("p1").await;
        change(&app, "UPDATE providers SET base_url = '' WHERE id = 'p1'");
        let expected = (404, json!({ "error": "provider not found or has no base URL" }));
        assert_eq!(discover(&app, "p1").await, expected);
        assert_eq!(discover(&app, "nobody").await, expected);
    });
}

#[test]
fn an_address_that_leads_inside_is_not_asked() {
    run(async |app| {
        app.add_provider("p1").await;
        // Stored before the guard knew it.
        change(&app, "UPDATE providers SET base_url = 'http://169.254.169.254' WHERE id = 'p1'");
        let (status, answer) = discover(&app, "p1").await;
        assert_eq!(status, 400, "{answer}");
        assert!(app.upstream.sent.borrow().is_empty());
    });
    run_with(&[("MODE", "live")], async |app| {
        let fields = json!({ "id": "p1", "base_url": "http://127.0.0.1:9/p1", "autoload_models": true });
        assert_eq!(post(&app, fields).await.0, 400);
        assert!(app.upstream.sent.borrow().is_empty());
    });
}

#[test]
fn a_failure_of_the_provider_is_not_ours() {
    run(async |app| {
        app.add_provider("p1").await;
        let large = FetchError::TooLarge;
        for (reply, text) in [
            (Reply::error(401, "bad key sk-p1"), "provider returned 401 Unauthorized"),
            (Reply::error(403, "no"), "provider returned 403 Forbidden"),
            (Reply::error(404, "no"), "provider returned 404 Not Found"),
            (Reply::error(429, "slow"), "provider returned 429 Too Many Requests"),
            (Reply::error(500, "broken"), "provider returned 500 Internal Server Error"),
            (Reply::Whole(302, String::new(), ""), "provider returned 302"),
            (Reply::Fails(FetchError::TimedOut), "failed to reach provider: timed out"),
            (Reply::Fails(FetchError::Broken("refused".into())), "failed to reach provider: refused"),
            (Reply::Fails(large), "failed to parse models response: more than 1 MiB"),
            (Reply::Whole(200, "<html>".into(), ""), "failed to parse models response"),
            (Reply::Whole(200, "{}".into(), ""), "failed to parse models response"),
            (Reply::Bytes(200, vec![0xff, 0xfe]), "failed to parse models response"),
            (Reply::Stream(Vec::new(), StreamEnd::Eof), "provider returned 500 Internal Server Error"),
        ] {
            app.upstream.always_at("p1", reply);
            assert_eq!(discover(&app, "p1").await, (502, json!({ "error": text })));
        }
    });
}

#[test]
fn autoload_registers_what_the_provider_lists() {
    run(async |app| {
        app.upstream.always_at(
            "p1",
            list(&["gpt-4o-mini", "text-embedding-3-small", "own-model", "whisper-1", "auto", "o1-pro"]),
        );
        let (status, answer) = post(&app, autoload()).await;
        let ids = ["gpt-4o-mini", "o1-pro", "own-model", "text-embedding-3-small", "whisper-1"];
        assert_eq!((status, answer), (200, json!({ "ok": true, "cred_store": "vault", "models_registered": ids })));
        let models = stored(&app).await;
        assert_eq!(models.iter().map(|model| &model["id"]).collect::<Vec<_>>(), ids);
        assert_eq!(
            models[0],
            json!({ "id": "gpt-4o-mini", "provider_id": "p1", "upstream_model": "gpt-4o-mini", "weight": 5,
            "max_context_tokens": 128_000, "max_output_tokens": 16_384, "input_per_1k": 0.00015, "output_per_1k": 0.0006,
            "cache_read_per_1k": 0.000075, "enabled": true, "pricing_source": "catalog", "price_version": 1, "kind": "chat" })
        );
        let told: Vec<_> =
            models.iter().map(|m| json!([m["input_per_1k"], m["pricing_source"], m["enabled"]])).collect();
        // Priced but not for chat; unknown; priced by the minute.
        assert_eq!(told[1], json!([0.15, "catalog", false]));
        assert_eq!(told[2], json!([null, "manual", false]));
        assert_eq!(told[3], json!([0.00002, "catalog", false]));
        assert_eq!(told[4], json!([null, "manual", false]));
        // It takes traffic at once.
        let key = rich_key(&app, "1").await;
        app.upstream.always_at("p1", Reply::chat("hi", 10, 100));
        let answer = chat(&app, &key, &hello("gpt-4o-mini")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.000062"));
    });
}

#[test]
fn autoload_leaves_what_is_there() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        add_model(&app, "gpt-4o", "p1", json!({ "weight": 9, "enabled": false })).await;
        add_model(&app, "shared", "p2", json!({ "weight": 1 })).await;
        let before = stored(&app).await;
        app.upstream.always_at("p1", list(&["gpt-4o", "shared", "new"]));
        for expected in [json!(["new"]), json!([])] {
            let (status, answer) = post(&app, autoload()).await;
            assert_eq!((status, &answer["models_registered"]), (200, &expected));
            let after = stored(&app).await;
            assert_eq!((&after[0], &after[2]), (&before[0], &before[1]));
            assert_eq!(after.len(), 3);
        }
        // What the provider lists no more stays too; somebody may have priced it.
        app.upstream.always_at("p1", list(&["other"]));
        let answer =
            app.admin("PATCH", "/admin/v1/providers/p1").json(&json!({ "autoload_models": true })).send().await;
        assert_eq!(answer.expect(200).json()["models_registered"], json!(["other"]));
        assert_eq!(stored(&app).await.len(), 4);
    });
}

#[test]
fn autoload_from_a_provider_that_fails_stores_nothing() {
    run(async |app| {
        app.upstream.always_at("p1", Reply::error(401, "bad key"));
        let (status, answer) = post(&app, autoload()).await;
        assert_eq!((status, answer), (502, json!({ "error": "provider returned 401 Unauthorized" })));
        let page = app.admin("GET", PROVIDERS).send().await.expect(200).json();
        assert_eq!(page["total"], 0);
        // Without being asked for, nobody is called.
        app.upstream.take_called();
        let (_, answer) =
            post(&app, json!({ "id": "p1", "base_url": "http://127.0.0.1:9/p1", "autoload_models": false })).await;
        assert_eq!(answer, json!({ "ok": true, "cred_store": "none" }));
        assert!(app.upstream.take_called().is_empty());
        let (status, answer) = post(&app, json!({ "id": "p1", "autoload_models": "yes" })).await;
        assert_eq!(status, 400, "{answer}");
    });
}

#[test]
fn discovery_is_for_the_administrator() {
    run(async |app| {
        app.add_provider("p1").await;
        let key = app.provision("0").await;
        app.get("/admin/v1/providers/p1/discover").send().await.expect(401);
        app.get("/admin/v1/providers/p1/discover").bearer(&key.key).send().await.expect(401);
        assert!(app.upstream.sent.borrow().is_empty());
    });
}
