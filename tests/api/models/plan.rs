//! Orchestrations over HTTP: who is called with what, what comes back, and who pays for it.

use serde_json::{Value, json};

use super::kit::{add_ladder, assert_balanced, micros, rich_key, usage_rows};
use crate::support::{Call, Fault, Key, Reply, TestApp, run};

fn send<'t>(app: &'t TestApp, key: &Key, orchestration: &Value) -> Call<'t> {
    send_with(app, key, orchestration, &json!({}))
}

fn send_with<'t>(app: &'t TestApp, key: &Key, orchestration: &Value, output_format: &Value) -> Call<'t> {
    let body = json!({ "request": { "messages": [{ "role": "system", "content": "Be kind." },
        { "role": "user", "content": "Build a bridge." }], "parameters": { "top_p": 0.5 } },
        "orchestration": orchestration, "output_format": output_format });
    app.post("/v1/plan").bearer(&key.key).json(&body)
}

async fn error(app: &TestApp, key: &Key, orchestration: Value, status: u16) -> String {
    send(app, key, &orchestration).send().await.expect(status).json()["error"].as_str().unwrap().to_owned()
}

/// T22, T23, T25, T26, T30.
#[test]
fn wrong_plans_are_refused() {
    run(async |app| {
        let key = app.with_model().await;
        for (body, text) in [
            ("garbage", "bad json"),
            ("", "bad json"),
            ("{}", "messages required"),
            (r#"{"request":{"messages":[]}}"#, "messages required"),
        ] {
            let answer = app.post("/v1/plan").bearer(&key.key).body(body).send().await.expect(400).json();
            assert_eq!(answer["error"], text, "{body}");
        }
        for mode in ["execute", "random", "PLANNING", "Plan", "invalid_mode"] {
            assert_eq!(error(&app, &key, json!({ "mode": mode }), 400).await, "unknown orchestration mode");
        }
        for iterations in [11, 100, -1] {
            let text = error(&app, &key, json!({ "iterations": iterations }), 400).await;
            assert_eq!(text, "iterations must be between 0 and 10");
        }
        let text = error(&app, &key, json!({ "output_schema": "not json" }), 400).await;
        assert_eq!(text, "invalid output_schema: must be valid JSON");
        assert!(app.upstream.bodies().is_empty());
    });
}

#[test]
fn only_keys_that_may_plan() {
    run(async |app| {
        let key = app.with_model().await;
        app.post("/v1/plan").json(&json!({})).send().await.expect(401);
        app.post("/v1/plan").bearer("gh_wrong").json(&json!({})).send().await.expect(401);
        app.database.text("UPDATE api_keys SET scopes = '[\"chat\"]' RETURNING id");
        app.crash_isolate();
        send(&app, &key, &json!({})).send().await.expect(403);
    });
}

/// T24, T26, T28, T29: one model is enough for every mode.
#[test]
fn every_mode_answers_with_the_envelope() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("```json\n{\"a\":1}\n```", 1, 1));
        let modes = [
            ("", "routed-weight-5", "/choices/0/message/content", 1),
            ("planning", "routed-weight-5", "/choices/0/message/content", 1),
            ("adversarial", "adversarial-orchestration", "/refined_plan", 3),
            ("vote", "vote-single-response", "/responses/0/content", 1),
            ("refine", "refine-orchestration", "/refined_response", 3),
        ];
        for (mode, reason, text, calls) in modes {
            let orchestration = json!({ "mode": mode, "iterations": 0 });
            let answer =
                send_with(&app, &key, &orchestration, &json!({ "type": "json" })).send().await.expect(200).json();
            assert_eq!(answer.as_object().unwrap().len(), 4, "{mode}");
            assert_eq!(
                (&answer["negotiated_model"], &answer["routing_reason"]),
                (&json!("m1"), &json!(reason)),
                "{mode}"
            );
            assert_eq!(answer["response"].pointer(text), Some(&json!("{\"a\":1}")), "{mode}");
            assert_eq!(app.upstream.take_called().len(), calls, "{mode}");
            assert_eq!(micros(&answer["estimated_cost_usd"]), 40 * i64::try_from(calls).unwrap(), "{mode}");
        }
        send(&app, &key, &json!({ "mode": "adversarial", "iterations": 10 })).send().await.expect(200);
        assert_eq!(app.upstream.take_called().len(), 21);
    });
}

/// Every call is paid and recorded, and together they are what the answer says.
#[test]
fn the_cost_is_that_of_all_calls() {
    run(async |app| {
        add_ladder(&app, 3).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always_at("p1", Reply::chat("plan", 100, 10));
        app.upstream.always_at("p2", Reply::chat("critique", 200, 20));
        let orchestration =
            json!({ "mode": "adversarial", "iterations": 2, "primary_model_id": "m1", "review_model_id": "m2" });
        let answer = send(&app, &key, &orchestration).send().await.expect(200).json();
        assert_eq!(
            answer["response"],
            json!({ "initial_plan": "plan", "critique": "critique", "refined_plan": "plan" })
        );
        let bodies = app.upstream.bodies();
        assert_eq!(app.upstream.take_called(), ["p1", "p2", "p1", "p2", "p1"]);
        for body in &bodies {
            assert!(body["messages"][0]["content"].as_str().unwrap().starts_with("Be kind."));
            assert_eq!(body["top_p"], 0.5);
        }
        let rows = usage_rows(&app, &key).await;
        let charged: i64 = rows.iter().map(|row| micros(&row["charged_usd"])).sum();
        assert_eq!((rows.len(), charged), (5, 3 * 1_300 + 2 * 2_600));
        assert_eq!(micros(&answer["estimated_cost_usd"]), charged);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn voters_run_at_once_and_a_judge_takes_one() {
    run(async |app| {
        add_ladder(&app, 3).await;
        let key = rich_key(&app, "10").await;
        for (provider, text) in [("p1", "2"), ("p2", "two"), ("p3", "three")] {
            app.upstream.always_at(provider, Reply::chat(text, 1, 1));
        }
        app.upstream.latency_ms.set(500);
        let before_ms = app.now_ms();
        let orchestration = json!({ "mode": "vote", "review_model_id": "m1" });
        let answer = send(&app, &key, &orchestration).send().await.expect(200).json();
        assert!(app.now_ms() - before_ms < 1_500, "voters at once, then the judge");
        let mut voted: Vec<_> =
            answer["response"]["responses"].as_array().unwrap().iter().map(|vote| vote["model"].clone()).collect();
        assert_eq!(answer["negotiated_model"], voted[1]);
        voted.sort_by_key(ToString::to_string);
        assert_eq!(voted, ["m2", "m3"]);
        assert_eq!((&answer["response"]["selected"], &answer["response"]["judge"]), (&json!(1), &json!("m1")));
        assert_eq!(answer["routing_reason"], "vote-orchestration");
        let judged = app.upstream.bodies()[2].to_string();
        assert!(!judged.contains("m2") && !judged.contains("m3") && judged.contains("two"), "{judged}");
    });
}

/// An explicit model that fails leaves the choice to the router; the one that refines does not.
#[test]
fn models_that_fail() {
    run(async |app| {
        add_ladder(&app, 2).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always_at("p1", Reply::error(500, "no"));
        app.upstream.always_at("p2", Reply::chat("text", 1, 1));
        let orchestration = json!({ "mode": "refine", "primary_model_id": "m1", "iterations": 1 });
        let answer = send(&app, &key, &orchestration).send().await.expect(200).json();
        assert_eq!(answer["response"], json!({ "refined_response": "text", "iterations": 1, "model": "m2" }));
        app.upstream.always_at("p2", Reply::error(500, "no"));
        for (mode, text) in [
            ("", "all providers failed"),
            ("adversarial", "adversarial plan phase: all providers failed"),
            ("refine", "refine initial phase: all providers failed"),
            ("vote", "all voters failed"),
        ] {
            assert_eq!(error(&app, &key, json!({ "mode": mode }), 502).await, text);
        }
    });
}

/// T27.
#[test]
fn nobody_to_ask() {
    run(async |app| {
        let key = app.provision("1").await;
        for (mode, text) in [
            ("planning", "no eligible models registered"),
            ("adversarial", "adversarial plan phase: no eligible models registered"),
            ("vote", "no eligible models for vote"),
        ] {
            assert_eq!(error(&app, &key, json!({ "mode": mode }), 502).await, text);
        }
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let poor = app.provision("0").await;
        error(&app, &poor, json!({ "mode": "adversarial" }), 402).await;
    });
}

/// What refuses a call of a plan says as much as it does to a call alone.
#[test]
fn refusals_keep_their_fields() {
    run(async |app| {
        app.with_model().await;
        app.upstream.always(Reply::chat("text", 10, 5));
        let poor = app.provision("0").await;
        let rich = rich_key(&app, "10").await;
        let refused =
            async |key: &Key, mode: &str, status| send(&app, key, &json!({ "mode": mode })).send().await.expect(status);
        for mode in ["planning", "adversarial", "vote", "refine"] {
            let told = refused(&poor, mode, 402).await.json();
            for field in ["balance_usd", "required_usd", "payment_url", "claim_url"] {
                assert!(!told[field].is_null(), "{mode}: {field} of {told}");
            }
            app.upstream.then(Reply::Whole(429, "{}".into(), "7"));
            assert_eq!(refused(&rich, mode, 429).await.header("retry-after"), Some("7"), "{mode}");
            app.pass_ms(8_000).await;
        }
        let told = refused(&poor, "adversarial", 402).await.json();
        assert!(told["error"].as_str().unwrap().starts_with("adversarial plan phase: The balance"), "{told}");
        let limited = json!({ "name": "limited", "monthly_budget_usd": 0.000_1 });
        let issued = app.admin("POST", "/admin/v1/apikeys").json(&limited).send().await.expect(200).json();
        let limited = Key { key: issued["key"].as_str().unwrap().to_owned(), account_id: String::new() };
        for mode in ["planning", "adversarial", "vote", "refine"] {
            let answer = refused(&limited, mode, 429).await;
            assert_eq!(
                (answer.header("retry-after"), answer.header("x-should-retry")),
                (None, Some("false")),
                "{mode}"
            );
            assert_eq!(
                (&answer.json()["budget_usd"], &answer.json()["spent_usd"]),
                (&json!(0.0001), &json!(0.0)),
                "{mode}"
            );
        }
    });
}

/// T30.
#[test]
fn results_are_held_against_their_schema() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("{\"name\":\"A\"}", 1, 1));
        for mode in ["", "planning", "adversarial", "vote", "refine"] {
            let with = |required: &str| json!({ "mode": mode, "output_schema": format!("{{\"type\":\"object\",\"required\":[\"{required}\"]}}") });
            send(&app, &key, &with("name")).send().await.expect(200);
            assert_eq!(error(&app, &key, with("age"), 502).await, "missing required field \"age\"", "{mode}");
        }
    });
}

/// T12: what ran is there for operators, with its steps; a phase that fails ends it, and what was done before is paid.
#[test]
fn a_plan_leaves_its_history() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.then(Reply::chat("plan", 100, 10));
        app.upstream.then(Reply::chat("critique", 100, 10));
        app.upstream.then(Reply::chat("better", 100, 10));
        let answer = send(&app, &key, &json!({ "mode": "adversarial" })).send().await.expect(200);
        let id = format!("plan-{}", answer.header("x-request-id").unwrap());
        app.pass_ms(1_000).await;
        let workflow =
            async |path: &str| app.admin("GET", &format!("/admin/v1/workflows{path}")).send().await.expect(200).json();
        let listed = workflow("?limit=10").await["workflows"][0].clone();
        assert_eq!(
            (&listed["workflow_id"], &listed["type"], &listed["status"]),
            (&json!(id), &json!("OrchestrationWorkflow"), &json!("Completed"))
        );
        let history = workflow(&format!("/{id}/history")).await;
        let events = history["events"].as_array().unwrap();
        assert_eq!(events.len(), 8, "{history}");
        assert_eq!(events[2]["event_type"], "ActivityTaskCompleted");
        assert_eq!((&events[2]["detail"]["model"], &events[2]["detail"]["cost_micros"]), (&json!("m1"), &json!(1_300)));
        assert_eq!(events[7]["event_type"], "WorkflowExecutionCompleted");

        app.upstream.then(Reply::chat("plan", 100, 10));
        app.upstream.always(Reply::error(500, "no"));
        let text = error(&app, &key, json!({ "mode": "adversarial" }), 502).await;
        assert_eq!(text, "adversarial critique phase: all providers failed");
        app.pass_ms(1_000).await;
        assert_eq!(workflow("?status=FAILED").await["workflows"].as_array().unwrap().len(), 1);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 4 * 1_300);
        assert_balanced(&app, &key, 10_000_000).await;
        // Operators lose a history, and nobody an answer, when the database is gone.
        app.upstream.always(Reply::chat("plan", 100, 10));
        send(&app, &key, &json!({})).send().await.expect(200);
        app.pass_ms(100).await;
        app.faults.fail_db(Fault::Before);
        send(&app, &key, &json!({})).send().await.expect(200);
        app.pass_ms(500).await;
        app.faults.clear();
    });
}
