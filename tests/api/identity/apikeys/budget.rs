//! A monthly budget: a hard limit, to the micro-dollar, over all isolates.

use std::time::Duration;

use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::{add_model, issue, item, patch};
use crate::support::{Answer, HELLO_MICROS, Key, Reply, TestApp, join_all, run};

/// What a `HELLO` holds: 85 bytes at $10/M and 100 output tokens at $30/M, at most.
const HELLO_MOST_MICROS: i64 = 4_000;

async fn pay(app: &TestApp, id: &str) {
    let answer = app.admin("POST", &format!("/admin/v1/apikeys/{id}/paid")).send().await.expect(200);
    assert_eq!(answer.json(), json!({ "ok": true }));
}

async fn key_with_budget(app: &TestApp, fields: Value) -> (Key, String) {
    let (key, answer) = issue(app, fields).await;
    (key, answer["id"].as_str().unwrap().to_owned())
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[test]
fn a_spent_budget_refuses_until_it_is_paid() {
    run(async |app| {
        add_model(&app).await;
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.005 })).await;
        for call in 1..=8 {
            app.hello(&key).send().await.expect(200);
            assert_eq!(item(&app, &id).await["current_spend_usd"], json!(f64::from(call * 250) / 1e6));
        }
        let refused = app.hello(&key).send().await.expect(429);
        assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), (None, Some("false")));
        let refused = refused.json();
        assert_eq!(
            (&refused["error"], &refused["code"]),
            (&json!("monthly budget exceeded"), &json!("budget_exceeded"))
        );
        assert_eq!((&refused["budget_usd"], &refused["spent_usd"]), (&json!(0.005), &json!(0.002)));
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        let sent = app.upstream.sent.borrow().len();
        pay(&app, &id).await;
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.0);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.upstream.sent.borrow().len(), sent + 1);
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.000_25);
        let elsewhere = app.new_isolate();
        app.hello(&key).to(&elsewhere).send().await.expect(200);
        app.pass_ms(130_000).await;
        assert_eq!(app.assert_books_rest(&key).charged, 10 * HELLO_MICROS);
    });
}

#[test]
fn a_thousand_calls_over_three_isolates_spend_a_budget_to_the_last() {
    for latency_ms in [0, 40] {
        run(async |app| {
            app.add_provider("p1").await;
            // 10 output tokens at $100/M: a call costs $0.001, and holds no more.
            let model = json!({ "id": "m1", "provider_id": "p1", "max_output_tokens": 1000, "input_per_1k": 0,
                "output_per_1k": 0.1, "enabled": true });
            app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
            app.upstream.latency_ms.set(latency_ms);
            app.upstream.always(Reply::chat("x", 7, 10));
            let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.4, "rate_limit_rps": -1 })).await;
            let isolates = [app.isolate(), app.new_isolate(), app.new_isolate()];
            let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
            let call =
                |at: usize| app.post("/v1/chat/completions").bearer(&key.key).body(body).to(&isolates[at % 3]).send();
            let answers = join_all((0..1_000).map(call)).await;
            assert_eq!((count(&answers, 200), count(&answers, 429)), (400, 600));
            for refused in answers.iter().filter(|answer| answer.status == 429) {
                let refused = refused.json();
                assert_eq!(refused["error"], "monthly budget exceeded", "{refused}");
                assert!(refused["spent_usd"].as_f64().unwrap() <= 0.4, "{refused}");
            }
            assert_eq!(app.upstream.sent.borrow().len(), 400);
            app.pass_ms(130_000).await;
            assert_eq!(item(&app, &id).await["current_spend_usd"], 0.4);
            assert_eq!(app.assert_books_rest(&key).charged, 400_000);
        });
    }
}

#[test]
fn the_last_call_runs_on_what_the_budget_leaves() {
    run(async |app| {
        add_model(&app).await;
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.002 })).await;
        let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello there"}]}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
        let sent: Value =
            serde_json::from_slice(app.upstream.sent.borrow().last().unwrap().body.as_ref().unwrap()).unwrap();
        let tokens = sent["max_tokens"].as_i64().or_else(|| sent["max_completion_tokens"].as_i64()).unwrap();
        assert!((1..67).contains(&tokens), "{sent}: $0.002 pays for 66 tokens at $30/M");
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.000_25);
    });
}

#[test]
fn the_budget_of_one_key_is_not_anothers() {
    run(async |app| {
        add_model(&app).await;
        let owner = app.provision("10").await;
        let account = json!({ "account_id": owner.account_id, "monthly_budget_usd": 0.000_3 });
        let (poor, _) = key_with_budget(&app, account).await;
        let account = json!({ "account_id": owner.account_id, "monthly_budget_usd": 5 });
        let (rich, rich_id) = key_with_budget(&app, account).await;
        app.hello(&poor).send().await.expect(429);
        for key in [&rich, &owner, &rich] {
            app.hello(key).send().await.expect(200);
        }
        app.hello(&poor).send().await.expect(429);
        assert_eq!(item(&app, &rich_id).await["current_spend_usd"], 0.000_5);
        assert_eq!(app.balance_micros(&owner).await, 10_000_000 - 3 * HELLO_MICROS);
    });
}

#[test]
fn the_balance_still_counts_and_what_is_free_runs_on() {
    run(async |app| {
        add_model(&app).await;
        let owner = app.provision("0").await;
        let account = json!({ "account_id": owner.account_id, "monthly_budget_usd": 5 });
        let (key, _) = key_with_budget(&app, account).await;
        assert_eq!(app.hello(&key).send().await.expect(402).json()["error"], "billing_required");
        app.credit(&owner, "1").await;
        app.hello(&key).send().await.expect(200);
        let free = json!({ "id": "free", "provider_id": "p1", "input_per_1k": 0, "output_per_1k": 0, "enabled": true });
        app.admin("POST", "/admin/v1/models").json(&free).send().await.expect(200);
        let (spent, _) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.000_001 })).await;
        let body = r#"{"model":"free","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        app.post("/v1/chat/completions").bearer(&spent.key).body(body).send().await.expect(200);
        app.hello(&spent).send().await.expect(429);
    });
}

#[test]
fn a_changed_budget_holds_here_at_once_and_elsewhere_within_two_seconds() {
    run(async |app| {
        add_model(&app).await;
        let there = app.new_isolate();
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.000_3 })).await;
        for isolate in [&app.isolate(), &there] {
            app.hello(&key).to(isolate).send().await.expect(429);
        }
        patch(&app, &id, json!({ "monthly_budget_usd": 1 })).await.expect(200);
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        app.hello(&key).to(&there).send().await.expect(200);
        patch(&app, &id, json!({ "monthly_budget_usd": 0.000_5 })).await.expect(200);
        app.pass_ms(2_001).await;
        for isolate in [&app.isolate(), &there] {
            assert_eq!(app.hello(&key).to(isolate).send().await.expect(429).json()["spent_usd"], 0.000_5);
        }
        patch(&app, &id, json!({ "monthly_budget_usd": 0 })).await.expect(200);
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn a_new_month_begins_at_nothing() {
    run(async |app| {
        add_model(&app).await;
        // Now is January 15th.
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 0.004 })).await;
        for _ in 0..4 {
            app.hello(&key).send().await.expect(200);
        }
        app.hello(&key).send().await.expect(429);
        tokio::time::sleep(Duration::from_secs(16 * 86_400)).await;
        app.hello(&key).send().await.expect(429);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.0);
        app.hello(&key).send().await.expect(200);
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.000_25);
    });
}

#[test]
fn a_warm_key_with_a_budget_makes_no_hop_before_the_upstream() {
    run(async |app| {
        add_model(&app).await;
        app.upstream.latency_ms.set(2);
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": 100, "rate_limit_rps": -1 })).await;
        let mut hops = 0;
        for call in 0..500 {
            let before = app.faults.db_calls.get() + app.faults.object_calls.get();
            app.hello(&key).send().await.expect(200);
            let (db, objects) = *app.faults.calls_before_upstream.borrow().last().unwrap();
            hops += if call < 50 { 0 } else { db + objects - before };
        }
        assert!(hops <= 10, "{hops} hops in 450 calls");
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.125);
    });
}

#[test]
fn streams_count_and_what_they_hold_is_held() {
    run(async |app| {
        add_model(&app).await;
        let budget = MicroUsd(HELLO_MOST_MICROS + 1_000).to_usd();
        let (key, id) = key_with_budget(&app, json!({ "monthly_budget_usd": budget })).await;
        app.upstream.always(Reply::stream(&["hi ", "there"], Some((10, 5))));
        let body =
            r#"{"model":"m1","messages":[{"role":"user","content":"hello there"}],"max_tokens":100,"stream":true}"#;
        let answers =
            join_all((0..3).map(|_| app.post("/v1/chat/completions").bearer(&key.key).body(body).send())).await;
        assert_eq!(count(&answers, 200), 3, "each waits for what the others hold");
        assert_eq!(item(&app, &id).await["current_spend_usd"], 0.000_75);
    });
}
