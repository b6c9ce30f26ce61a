//! The routing's defaults, and the simulation: it decides as traffic is decided.

use serde_json::{Value, json};

use super::kit::{add_ladder, add_model, chat, hello, rich_key};
use crate::support::{Reply, TestApp, run};

const CONFIG: &str = "/admin/v1/routing-config";
const SIMULATE: &str = "/admin/v1/routing/simulate";

async fn simulate(app: &TestApp, body: Value) -> Value {
    app.admin("POST", SIMULATE).json(&body).send().await.expect(200).json()
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[test]
fn only_the_administrator_sees_and_sets() {
    run(async |app| {
        let key = app.provision("1").await;
        for (method, path) in [
            ("GET", "/admin/v1/routing-config"),
            ("PUT", "/admin/v1/routing-config"),
            ("POST", "/admin/v1/routing/simulate"),
        ] {
            app.call(method, path).send().await.expect(401);
            app.call(method, path).bearer(&key.key).send().await.expect(401);
        }
    });
}

#[test]
fn defaults_are_kept_and_checked() {
    run(async |app| {
        let got = app.admin("GET", CONFIG).send().await.expect(200).json();
        let fresh =
            json!({ "default_mode": "normal", "default_max_budget_usd": 0.05, "default_max_latency_ms": 120_000 });
        assert_eq!(got, fresh);
        let wanted = json!({ "default_mode": "cheap", "default_max_budget_usd": 10, "default_max_latency_ms": 5000 });
        assert_eq!(app.admin("PUT", CONFIG).json(&wanted).send().await.expect(200).json(), json!({ "ok": true }));
        let got = app.admin("GET", CONFIG).send().await.expect(200).json();
        assert_eq!(
            got,
            json!({ "default_mode": "cheap", "default_max_budget_usd": 10.0, "default_max_latency_ms": 5000 })
        );
        // Empty and 0 change nothing.
        let nothing = json!({ "default_mode": "", "default_max_budget_usd": 0, "default_max_latency_ms": 0 });
        app.admin("PUT", CONFIG).json(&nothing).send().await.expect(200);
        assert_eq!(app.admin("GET", CONFIG).send().await.expect(200).json(), got);
        for mode in ["cheap", "normal", "high_confidence", "planning", "adversarial", "thompson", ""] {
            app.admin("PUT", CONFIG).json(&json!({ "default_mode": mode })).send().await.expect(200);
        }
        for (field, value, text) in [
            ("default_mode", json!("auto"), "unknown default_mode"),
            ("default_mode", json!("quick"), "unknown default_mode"),
            ("default_max_budget_usd", json!(-1), "default_max_budget_usd must be between 0 and 100"),
            ("default_max_budget_usd", json!(200), "default_max_budget_usd must be between 0 and 100"),
            ("default_max_latency_ms", json!(-1), "default_max_latency_ms must be between 0 and 300000"),
            ("default_max_latency_ms", json!(500_000), "default_max_latency_ms must be between 0 and 300000"),
        ] {
            let answer = app.admin("PUT", CONFIG).json(&json!({ field: value })).send().await.expect(400).json();
            assert_eq!(answer["error"], text);
        }
        app.admin("PUT", CONFIG).body("garbage").send().await.expect(400);
    });
}

#[test]
fn the_simulation_tells_what_traffic_gets() {
    run(async |app| {
        add_ladder(&app, 3).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let body = json!({ "mode": "high_confidence", "token_count": 500, "max_budget_usd": 1 });
        let simulated = simulate(&app, body.clone()).await;
        assert_eq!(simulated["decision"]["provider_id"], "p1");
        assert_eq!(simulated["decision"]["reason"], "routed-weight-10");
        assert_eq!(ids(&simulated["eligible"]), ["m1", "m2", "m3"]);
        assert_eq!((&simulated["total"], &simulated["eligible"][0]["selected"]), (&json!(3), &json!(true)));
        assert_eq!(simulated["eligible"][1]["selected"], false);
        // 500 tokens in at $0.01 and 512 out at $0.03 a thousand.
        assert_eq!(simulated["decision"]["estimated_cost_usd"], 0.02036);
        chat(&app, &key, &hello("max")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        // A provider that fails is left out of both.
        app.upstream.always_at("p1", Reply::error(500, "no"));
        for _ in 0..5 {
            chat(&app, &key, &hello("m1")).send().await;
        }
        app.upstream.take_called();
        let simulated = simulate(&app, body).await;
        assert_eq!(simulated["decision"]["provider_id"], "p2");
        assert_eq!(simulated["skipped"], json!([{ "id": "m1", "provider_id": "p1", "reason": "health_down" }]));
        chat(&app, &key, &hello("max")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p2"]);
    });
}

#[test]
fn limits_leave_models_out_and_a_hint_leads() {
    run(async |app| {
        app.add_provider("p1").await;
        let tiny = json!({ "weight": 1, "max_context_tokens": 400, "input_per_1k": 0.001, "output_per_1k": 0.001 });
        add_model(&app, "tiny", "p1", tiny).await;
        add_model(&app, "dear", "p1", json!({ "weight": 9, "input_per_1k": 1, "output_per_1k": 1 })).await;
        add_model(&app, "good", "p1", json!({ "weight": 5 })).await;
        add_model(&app, "off", "p1", json!({ "enabled": false })).await;
        let simulated = simulate(&app, json!({ "token_count": 500, "max_budget_usd": 0.05, "min_weight": 0 })).await;
        assert_eq!(ids(&simulated["eligible"]), ["good"]);
        let mut reasons: Vec<_> =
            simulated["skipped"].as_array().unwrap().iter().map(|s| s["reason"].as_str().unwrap()).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, ["budget_exceeded", "context_overflow", "disabled"]);
        let hinted =
            json!({ "token_count": 100, "mode": "high_confidence", "max_budget_usd": 5, "model_hint": "tiny" });
        let simulated = simulate(&app, hinted).await;
        assert_eq!(simulated["decision"]["model_id"], "tiny");
        assert_eq!(simulated["decision"]["reason"], "routed-hint-exact");
        let simulated = simulate(&app, json!({ "token_count": 100, "max_budget_usd": 0.000001 })).await;
        assert_eq!(
            (&simulated["error"], &simulated["eligible"]),
            (&json!("no eligible models registered"), &json!([]))
        );
        assert_eq!(simulated.get("decision"), None);
    });
}

#[test]
fn what_a_simulation_leaves_out_is_usual() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let usual = simulate(&app, json!({ "token_count": 500, "mode": "normal" })).await;
        for body in [
            json!({}),
            json!({ "token_count": 0 }),
            json!({ "token_count": -5, "mode": "" }),
            json!({ "mode": "vote" }),
            json!({ "mode": "refine" }),
            json!({ "mode": "of another server" }),
        ] {
            assert_eq!(simulate(&app, body.clone()).await, usual, "{body}");
        }
    });
}

#[test]
fn a_simulated_name_means_what_it_means_to_a_request() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 1, 1));
        let alias = json!({ "variants": [{ "model_id": "m2", "weight": 1 }] });
        app.admin("PUT", "/admin/v1/aliases/smart").json(&alias).send().await.expect(200);
        for (hint, model) in
            [("m2", "m2"), ("acme/m2", "m2"), ("smart", "m2"), ("acme/smart", "m2"), ("nobody", "m1"), ("max", "m1")]
        {
            let simulated = simulate(&app, json!({ "model_hint": hint, "mode": "high_confidence" })).await;
            assert_eq!(simulated["decision"]["model_id"], model, "{hint}");
            let request = json!({ "messages": [{ "role": "user", "content": "hi" }], "model_hint": hint });
            let body = json!({ "request": request, "policy": { "mode": "high_confidence" } });
            let answer = app.post("/v1/chat").bearer(&key.key).json(&body).send().await.expect(200).json();
            assert_eq!(answer["negotiated_model"], model, "{hint}");
            let answer = app
                .post("/v1/plan")
                .bearer(&key.key)
                .json(&json!({ "request": request }))
                .send()
                .await
                .expect(200)
                .json();
            assert_eq!(answer["negotiated_model"], model, "{hint}");
        }
    });
}

#[test]
fn a_simulation_that_means_nothing_is_refused() {
    run(async |app| {
        for (body, param) in [
            (json!({ "token_count": 100_000_001 }), "token_count"),
            (json!({ "token_count": 5, "max_budget_usd": -1 }), "max_budget_usd"),
            (json!({ "token_count": 5, "max_latency_ms": 300_001 }), "max_latency_ms"),
            (json!({ "token_count": 5, "min_weight": 11 }), "min_weight"),
        ] {
            let answer = app.admin("POST", SIMULATE).json(&body).send().await.expect(400).json();
            assert!(answer["error"].as_str().unwrap().contains(param), "{answer}");
        }
        app.admin("POST", SIMULATE).body("{").send().await.expect(400);
    });
}
