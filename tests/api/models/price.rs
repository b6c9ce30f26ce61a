//! Where a model's price comes from: the administrator, or the reference catalogue.

use serde_json::{Value, json};

use super::kit::{MODELS, chat, hello, rich_key};
use crate::support::{Reply, TestApp, run};

async fn post(app: &TestApp, fields: Value) -> (u16, Value) {
    let answer = app.admin("POST", MODELS).json(&fields).send().await;
    (answer.status, answer.json())
}

async fn patch(app: &TestApp, id: &str, fields: Value) -> (u16, Value) {
    let answer = app.admin("PATCH", &format!("/admin/v1/models/{id}")).json(&fields).send().await;
    (answer.status, answer.json())
}

/// The stored model: its rates, where they come from, and whether it takes traffic.
async fn price(app: &TestApp, id: &str) -> Value {
    let page = app.admin("GET", "/admin/v1/models").send().await.expect(200).json();
    let model = page["items"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap().clone();
    json!([model["input_per_1k"], model["output_per_1k"], model["cache_read_per_1k"], model["pricing_source"]])
}

#[test]
fn a_model_of_the_catalogue_needs_no_price() {
    run(async |app| {
        app.add_provider("p1").await;
        let fields = json!({ "id": "gpt-4o", "provider_id": "p1", "enabled": true });
        assert_eq!(post(&app, fields).await.0, 200);
        assert_eq!(price(&app, "gpt-4o").await, json!([0.0025, 0.01, 0.00125, "catalog"]));
        let page = app.admin("GET", MODELS).send().await.expect(200).json();
        let stored = &page["items"][0];
        assert_eq!((&stored["max_context_tokens"], &stored["max_output_tokens"]), (&json!(128_000), &json!(16_384)));
        // Its calls are charged by it.
        let key = rich_key(&app, "1").await;
        app.upstream.always(Reply::chat("hi", 10, 100));
        let answer = chat(&app, &key, &hello("gpt-4o")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0.001025"));
    });
}

#[test]
fn the_name_upstream_counts_with_or_without_its_maker() {
    run(async |app| {
        app.add_provider("p1").await;
        for (id, upstream_model, expected) in [
            ("mine", "gpt-4o-mini", json!([0.00015, 0.0006, 0.000075, "catalog"])),
            ("openai/gpt-4.1", "openai/gpt-4.1", json!([0.002, 0.008, 0.0005, "catalog"])),
            ("gpt-4o", "something-else", json!([null, null, null, "manual"])),
            ("claude", "claude-3-haiku-20240307", json!([null, null, null, "manual"])),
            ("whisper-1", "whisper-1", json!([null, null, null, "manual"])),
            ("gpt-5.4", "gpt-5.4", json!([null, null, null, "manual"])),
        ] {
            let fields = json!({ "id": id, "provider_id": "p1", "upstream_model": upstream_model });
            assert_eq!(post(&app, fields).await.0, 200, "{id}");
            assert_eq!(price(&app, id).await, expected, "{id}");
            let enabled = patch(&app, id, json!({ "enabled": true })).await.0;
            assert_eq!(enabled, if expected[0].is_null() { 400 } else { 200 }, "{id}");
        }
    });
}

#[test]
fn only_a_type_of_the_catalogue_has_its_prices() {
    run(async |app| {
        for (id, kind) in [("v", "vllm"), ("s", "sandbox")] {
            let fields = json!({ "id": id, "type": kind, "base_url": "http://127.0.0.1:9" });
            app.admin("POST", "/admin/v1/providers").json(&fields).send().await.expect(200);
            let (status, answer) = post(&app, json!({ "id": "gpt-4o", "provider_id": id, "enabled": true })).await;
            assert_eq!(status, 400, "{answer}");
            assert!(answer["error"].as_str().unwrap().contains("free"), "{answer}");
        }
    });
}

#[test]
fn a_manual_price_is_never_replaced() {
    run(async |app| {
        app.add_provider("p1").await;
        let fields = json!({ "id": "gpt-4o", "provider_id": "p1", "input_per_1k": 0.5, "output_per_1k": 0.7 });
        assert_eq!(post(&app, fields).await.0, 200);
        let manual = json!([0.5, 0.7, null, "manual"]);
        assert_eq!(price(&app, "gpt-4o").await, manual);
        for fields in [json!({ "weight": 9, "enabled": true }), json!({ "upstream_model": "gpt-4o-mini" })] {
            assert_eq!(patch(&app, "gpt-4o", fields).await.0, 200);
            assert_eq!(post(&app, json!({ "id": "gpt-4o", "provider_id": "p1" })).await.0, 200);
            assert_eq!(price(&app, "gpt-4o").await, manual);
        }
        // Half a manual price is not completed from elsewhere.
        let fields = json!({ "id": "gpt-4.1", "provider_id": "p1", "input_per_1k": 0.5 });
        assert_eq!(post(&app, fields).await.0, 200);
        assert_eq!(price(&app, "gpt-4.1").await, json!([0.5, null, null, "manual"]));
    });
}

#[test]
fn a_price_of_the_catalogue_gives_way_to_a_manual_one() {
    run(async |app| {
        app.add_provider("p1").await;
        assert_eq!(post(&app, json!({ "id": "gpt-4o", "provider_id": "p1", "enabled": true })).await.0, 200);
        let (_, answer) = patch(&app, "gpt-4o", json!({ "weight": 3 })).await;
        assert_eq!(
            (&answer["model"]["pricing_source"], &answer["model"]["price_version"]),
            (&json!("catalog"), &json!(1))
        );
        // The catalogue's price for cached input does not outlive its price for input.
        let (_, answer) = patch(&app, "gpt-4o", json!({ "input_per_1k": 0.001 })).await;
        assert_eq!(answer["model"]["price_version"], 2);
        assert_eq!(price(&app, "gpt-4o").await, json!([0.001, 0.01, null, "manual"]));
    });
}

#[test]
fn another_model_upstream_has_another_price() {
    run(async |app| {
        app.add_provider("p1").await;
        let fields = json!({ "id": "mine", "provider_id": "p1", "upstream_model": "gpt-4o", "enabled": true });
        assert_eq!(post(&app, fields).await.0, 200);
        assert_eq!(patch(&app, "mine", json!({ "upstream_model": "gpt-4.1" })).await.0, 200);
        assert_eq!(price(&app, "mine").await, json!([0.002, 0.008, 0.0005, "catalog"]));
        // The old price is not kept for a model that nobody knows: enabled it is refused, disabled it has none.
        assert_eq!(patch(&app, "mine", json!({ "upstream_model": "unknown" })).await.0, 400);
        assert_eq!(price(&app, "mine").await, json!([0.002, 0.008, 0.0005, "catalog"]));
        assert_eq!(patch(&app, "mine", json!({ "upstream_model": "unknown", "enabled": false })).await.0, 200);
        assert_eq!(price(&app, "mine").await, json!([null, null, null, "manual"]));
    });
}

#[test]
fn free_is_said_not_guessed() {
    run(async |app| {
        app.add_provider("p1").await;
        for id in ["m1", "gpt-4o"] {
            let (status, answer) =
                post(&app, json!({ "id": id, "provider_id": "p1", "free": true, "enabled": true })).await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(price(&app, id).await, json!([0.0, 0.0, null, "manual"]), "{id}");
        }
        let key = app.provision("0").await;
        app.upstream.always(Reply::chat("hi", 10, 100));
        let answer = chat(&app, &key, &hello("m1")).send().await.expect(200);
        assert_eq!(answer.header("x-tokaroo-cost"), Some("0"));
        // A priced model becomes free by a change, its cache included.
        let fields =
            json!({ "id": "m2", "provider_id": "p1", "input_per_1k": 1, "output_per_1k": 1, "cache_read_per_1k": 0.5 });
        assert_eq!(post(&app, fields).await.0, 200);
        assert_eq!(patch(&app, "m2", json!({ "free": true })).await.0, 200);
        assert_eq!(price(&app, "m2").await, json!([0.0, 0.0, null, "manual"]));
        // "Not free" is not a price.
        let (status, _) = post(&app, json!({ "id": "m3", "provider_id": "p1", "free": false, "enabled": true })).await;
        assert_eq!(status, 400);
        for (fields, text) in [
            (json!({ "free": true, "input_per_1k": 0.01 }), "free"),
            (json!({ "free": true, "cache_read_per_1k": 0.01 }), "free"),
            (json!({ "free": "yes" }), "free"),
        ] {
            let (status, answer) = patch(&app, "m1", fields.clone()).await;
            assert_eq!(status, 400, "{fields}: {answer}");
            assert!(answer["error"].as_str().unwrap().contains(text), "{fields}: {answer}");
        }
        assert_eq!(patch(&app, "m1", json!({ "free": true, "input_per_1k": 0, "output_per_1k": 0.0 })).await.0, 200);
    });
}
