//! `GET /admin/v1/engine/models`.

use serde_json::{Value, json};

use super::kit::{MODELS, PROVIDERS, add_model};
use crate::support::{ADMIN_TOKEN, TestApp, run};

async fn read(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/engine/models{query}")).send().await.expect(200).json()
}

fn ids(engine: &Value) -> String {
    engine["models"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn an_empty_table_has_empty_lists() {
    run(async |app| {
        let expected =
            json!({ "models": [], "total": 0, "limit": 1000, "offset": 0, "adapters": [], "adapter_info": [] });
        assert_eq!(read(&app, "").await, expected);
    });
}

#[test]
fn the_table_is_told_as_calls_are_routed() {
    run(async |app| {
        app.add_provider("p2").await;
        app.add_provider("p1").await;
        app.admin("POST", PROVIDERS).json(&json!({ "id": "s", "type": "sandbox" })).send().await.expect(200);
        for kind in ["anthropic", "vllm"] {
            let own = json!({ "id": kind, "type": kind, "base_url": "http://127.0.0.1:9" });
            app.admin("POST", PROVIDERS).json(&own).send().await.expect(200);
        }
        add_model(&app, "m2", "p2", json!({ "weight": 7, "max_context_tokens": 4096, "upstream_model": "up" })).await;
        app.admin("POST", MODELS).json(&json!({ "id": "m1", "provider_id": "p1" })).send().await.expect(200);
        let engine = read(&app, "").await;
        let unpriced = json!({ "id": "m1", "provider_id": "p1", "upstream_model": "m1", "weight": 5, "max_context_tokens": 0,
            "max_output_tokens": 0, "input_per_1k": null, "output_per_1k": null, "enabled": false });
        let priced = json!({ "id": "m2", "provider_id": "p2", "upstream_model": "up", "weight": 7, "max_context_tokens": 4096,
            "max_output_tokens": 1000, "input_per_1k": 0.01, "output_per_1k": 0.03, "enabled": true });
        assert_eq!(engine["models"], json!([unpriced, priced]));
        assert_eq!(engine["adapters"], json!(["anthropic", "p1", "p2", "s", "vllm"]));
        let info = json!([{ "id": "anthropic", "health_endpoint": "http://127.0.0.1:9/v1/messages" },
            { "id": "p1", "health_endpoint": "http://127.0.0.1:9/p1/v1/models" },
            { "id": "p2", "health_endpoint": "http://127.0.0.1:9/p2/v1/models" }, { "id": "s" },
            { "id": "vllm", "health_endpoint": "http://127.0.0.1:9/health" }]);
        assert_eq!(engine["adapter_info"], info);
        assert!(!engine.to_string().contains("sk-"), "no key is told");
        // A provider that takes no traffic is no adapter, and its models take none.
        app.admin("PATCH", "/admin/v1/providers/p2").body(r#"{"enabled":false}"#).send().await.expect(200);
        let engine = read(&app, "").await;
        assert_eq!(
            (&engine["adapters"], &engine["models"][1]["enabled"]),
            (&json!(["anthropic", "p1", "s", "vllm"]), &json!(false))
        );
    });
}

#[test]
fn the_table_comes_in_stable_pages() {
    run(async |app| {
        app.add_provider("p1").await;
        for id in ["m5", "m2", "m4", "m1", "m3"] {
            app.add_model(id, "p1", 5).await;
        }
        for (query, expected, limit, offset) in [
            ("", "m1m2m3m4m5", 1000, 0),
            ("?limit=2&offset=1", "m2m3", 2, 1),
            ("?limit=2&offset=4", "m5", 2, 4),
            ("?offset=5", "", 1000, 5),
            ("?limit=x&offset=-3", "m1m2m3m4m5", 1000, 0),
            ("?limit=5000", "m1m2m3m4m5", 1000, 0),
        ] {
            let engine = read(&app, query).await;
            assert_eq!(ids(&engine), expected, "{query}");
            let told = (&engine["total"], &engine["limit"], &engine["offset"]);
            assert_eq!(told, (&json!(5), &json!(limit), &json!(offset)), "{query}");
        }
    });
}

#[test]
fn the_table_is_for_the_administrator() {
    run(async |app| {
        let key = app.provision("0").await;
        app.get("/admin/v1/engine/models").send().await.expect(401);
        app.get("/admin/v1/engine/models").bearer(&key.key).send().await.expect(401);
        app.get("/admin/v1/engine/models").bearer(ADMIN_TOKEN).send().await.expect(200);
    });
}
