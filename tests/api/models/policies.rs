//! What a client's policy and the administrator's defaults decide, and what they don't.

use guildhall::ports::FetchError;
use serde_json::json;

use super::kit::{add_model, assert_balanced, chat, hello, rich_key};
use super::native::{ask, error, send};
use crate::support::{Reply, run};

/// What a reward is held against is the client's own patience, on every surface.
#[test]
fn the_administrators_patience_is_no_clients() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        for (policy, budget_ms) in [(json!({}), 0), (json!({ "max_latency_ms": 5_000 }), 5_000)] {
            send(&app, &key, &ask("Hello", json!({ "policy": policy }))).send().await.expect(200);
            let rewards = app.admin("GET", "/admin/v1/rewards?limit=1").send().await.expect(200).json();
            assert_eq!(rewards["rewards"][0]["latency_budget_ms"], budget_ms);
        }
        // A provider that is usually slower is asked; the call is given up all the same.
        app.admin("PUT", "/admin/v1/routing-config")
            .json(&json!({ "default_max_latency_ms": 5 }))
            .send()
            .await
            .expect(200);
        app.upstream.latency_ms.set(20_000);
        chat(&app, &key, &hello("m1")).send().await.expect(200);
        app.upstream.always(Reply::Fails(FetchError::TimedOut));
        let late = error(&app, &key, &ask("Hello", json!({})), 502).await;
        assert_eq!(late, "max_latency_ms passed before a model answered");
    });
}

/// What other calls hold is waited for as long as the client is.
#[test]
fn who_waits_for_money_waits_no_longer_than_its_patience() {
    run(async |app| {
        app.with_model().await;
        // One call at a time.
        let key = app.provision("0.0055").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        app.upstream.slow_at("p1", 20_000);
        let hasty = async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let begun_ms = app.now_ms();
            let late = error(&app, &key, &ask("Hello", json!({ "policy": { "max_latency_ms": 1_000 } })), 502).await;
            assert_eq!(late, "max_latency_ms passed before a model answered");
            assert!((1_000..1_600).contains(&(app.now_ms() - begun_ms)), "after {} ms", app.now_ms() - begun_ms);
        };
        let (running, ()) = tokio::join!(app.hello(&key).send(), hasty);
        running.expect(200);
        assert_eq!(app.upstream.sent.borrow().len(), 1, "nobody was asked for the other");
    });
}

/// T82: it routes, and what is charged is counted here.
#[test]
fn a_clients_own_estimate_chooses_and_charges_nothing() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_provider("p2").await;
        add_model(&app, "small", "p1", json!({ "weight": 10, "max_context_tokens": 4_000 })).await;
        add_model(&app, "large", "p2", json!({ "weight": 1, "max_context_tokens": 0 })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat_without_usage("four"));
        let mut body = ask("Hello", json!({ "policy": { "mode": "high_confidence", "max_budget_usd": 1 } }));
        let mut costs = Vec::new();
        for (estimate, provider) in [(0, "p1"), (1, "p1"), (4_000, "p2")] {
            body["request"]["estimated_input_tokens"] = json!(estimate);
            let answer = send(&app, &key, &body).send().await.expect(200).json();
            assert_eq!(app.upstream.take_called(), [provider], "{estimate}");
            costs.push(answer["estimated_cost_usd"].clone());
        }
        assert_eq!((&costs[1], &costs[2]), (&costs[0], &costs[0]));
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

/// A budget is held against what is sent, not against what its client says of it.
#[test]
fn a_clients_own_estimate_buys_no_long_prompt() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({ "input_per_1k": 0.003, "output_per_1k": 0.015 })).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("a", 150_000, 1));
        let policy = json!({ "policy": { "max_budget_usd": 0.000_02 } });
        let mut body = ask(&"word ".repeat(120_000), policy);
        body["request"]["estimated_input_tokens"] = json!(1);
        body["request"]["parameters"] = json!({ "max_tokens": 1 });
        let refused = send(&app, &key, &body).send().await;
        assert_ne!(refused.status, 200, "{}", refused.text());
        assert!(app.upstream.bodies().is_empty());
    });
}

/// The budget that a client names is a limit; the administrator's default only leaves out what is dear by nature.
#[test]
fn a_budget_that_nobody_named_refuses_and_cuts_no_long_answer() {
    run(async |app| {
        app.add_provider("p1").await;
        let fields = json!({ "input_per_1k": 0.003, "output_per_1k": 0.015, "max_output_tokens": 8_000 });
        add_model(&app, "m1", "p1", fields).await;
        let key = rich_key(&app, "10").await;
        app.upstream.always(Reply::chat("Hi!", 1, 1));
        let mut body = ask("Hello", json!({}));
        body["request"]["parameters"] = json!({ "max_tokens": 4_096 });
        send(&app, &key, &body).send().await.expect(200);
        assert_eq!(app.upstream.bodies()[0]["max_tokens"], 4_096);
        for mode in ["planning", "vote"] {
            let plan = json!({ "request": body["request"], "orchestration": { "mode": mode } });
            app.post("/v1/plan").bearer(&key.key).json(&plan).send().await.expect(200);
        }
        body["policy"] = json!({ "max_budget_usd": 0.05 });
        let refused = error(&app, &key, &body, 502).await;
        assert_eq!(refused, "no eligible models registered: all are dearer than max_budget_usd");
        // Whose usual answer is dearer is left out by both.
        app.admin("PUT", "/admin/v1/routing-config")
            .json(&json!({ "default_max_budget_usd": 0.005 }))
            .send()
            .await
            .expect(200);
        body["policy"] = json!({});
        assert_eq!(error(&app, &key, &body, 502).await, refused);
        let plan = json!({ "request": body["request"], "orchestration": { "mode": "vote" } });
        let none = app.post("/v1/plan").bearer(&key.key).json(&plan).send().await.expect(502).json();
        assert_eq!(none["error"], "no eligible models for vote");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}
