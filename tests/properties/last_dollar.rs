//! A thousand calls at once on a balance for four hundred.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Key, Reply, TestApp, join_all, run};

const CALLS: usize = 1_000;
const COVERED: usize = 400;

/// A key with exactly this much, whose limits no test meets, and a model with these prices.
async fn prepare(app: &TestApp, input_per_1k: &str, output_per_1k: &str, usd: &str) -> Key {
    app.add_provider("p1").await;
    let body = format!(
        r#"{{"id":"m1","provider_id":"p1","weight":5,"max_context_tokens":0,"max_output_tokens":1000,
            "input_per_1k":{input_per_1k},"output_per_1k":{output_per_1k},"enabled":true}}"#
    );
    app.admin("POST", "/admin/v1/models").body(&body).send().await.expect(200);
    let key = app.provision(usd).await;
    app.set_limits(&key, 1_000_000, 10_000_000, 100_000).await;
    key
}

fn counts(answers: &[Answer]) -> (usize, usize) {
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    (count(200), count(402))
}

/// Sends all at once, over so many isolates.
async fn send_all(app: &TestApp, key: &Key, isolates: usize, body: &str) -> Vec<Answer> {
    let isolates: Vec<_> = (0..isolates).map(|at| if at == 0 { app.isolate() } else { app.new_isolate() }).collect();
    let call = |at: usize| {
        let call = app.post("/v1/chat/completions").bearer(&key.key).body(body);
        call.to(&isolates[at % isolates.len()]).send()
    };
    join_all((0..CALLS).map(call)).await
}

async fn assert_spent_to_the_last(app: &TestApp, key: &Key, answers: &[Answer]) {
    assert_eq!(counts(answers), (COVERED, CALLS - COVERED));
    for refused in answers.iter().filter(|answer| answer.status == 402) {
        let body = refused.json();
        assert_eq!(body["error"], "billing_required");
        let (balance, required) = (body["balance_usd"].as_f64().unwrap(), body["required_usd"].as_f64().unwrap());
        assert!(balance >= 0.0 && required > 0.0, "{body}");
        assert!(body["payment_url"].is_string() && body["message"].is_string(), "{body}");
    }
    assert_eq!(app.balance_micros(key).await, 0);
    app.pass_ms(130_000).await;
    let books = app.assert_books_rest(key);
    assert_eq!(
        (books.calls, books.balance),
        (i64::try_from(COVERED).unwrap(), 0),
        "a call that never ran left no record"
    );
    assert_eq!(app.upstream.sent.borrow().len(), COVERED, "and no call ran without money");
}

#[test]
fn exactly_those_are_served_whose_cost_is_known_beforehand() {
    for (isolates, latency_ms) in [(1, 0), (1, 50), (3, 50)] {
        run(async |app| {
            // 10 output tokens at $100/M are $0.001 a call.
            let key = prepare(&app, "0", "0.1", "0.4").await;
            app.upstream.latency_ms.set(latency_ms);
            app.upstream.always(Reply::chat("x", 7, 10));
            let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
            let answers = send_all(&app, &key, isolates, body).await;
            assert_spent_to_the_last(&app, &key, &answers).await;
        });
    }
}

#[test]
fn exactly_those_are_served_that_hold_more_than_they_use() {
    for (isolates, latency_ms) in [(1, 0), (1, 50), (2, 20)] {
        run(async |app| {
            // What is held is the model's maximum, a hundred times what is used: 40 × $10/M + 20 × $30/M = $0.001.
            let key = prepare(&app, "0.01", "0.03", "0.4").await;
            app.upstream.latency_ms.set(latency_ms);
            app.upstream.always(Reply::chat("x", 40, 20));
            let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}]}"#;
            let answers = send_all(&app, &key, isolates, body).await;
            assert_spent_to_the_last(&app, &key, &answers).await;
        });
    }
}

#[test]
fn one_after_the_other_the_balance_goes_down_to_nothing() {
    run(async |app| {
        let key = prepare(&app, "0", "0.1", "0.04").await;
        app.upstream.always(Reply::chat("x", 7, 10));
        let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        for left in (0..40).rev() {
            app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
            assert_eq!(app.balance_micros(&key).await, left * 1_000);
        }
        let began_ms = app.now_ms();
        let refused = app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(402);
        assert_eq!((&refused.json()["balance_usd"], &refused.json()["required_usd"]), (&json!(0.0), &json!(0.001)));
        assert!(app.now_ms() - began_ms < 100, "nobody holds anything, so nobody waits");
    });
}

#[test]
fn one_micro_dollar_short_is_short() {
    run(async |app| {
        let key = prepare(&app, "0", "0.1", "0.000999").await;
        app.upstream.always(Reply::chat("x", 7, 10));
        let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        let refused = app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(402).json();
        assert_eq!((&refused["balance_usd"], &refused["required_usd"]), (&json!(0.000999), &json!(0.001)));
        app.credit(&key, "0.000001").await;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 0);
    });
}

#[test]
fn money_that_another_isolate_holds_idle_is_waited_for() {
    run(async |app| {
        let key = prepare(&app, "0", "0.1", "0.002").await;
        let other = app.new_isolate();
        app.upstream.always(Reply::chat("x", 7, 10));
        let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        let call = || app.post("/v1/chat/completions").bearer(&key.key).body(body);
        call().to(&other).send().await.expect(200);
        call().send().await.expect(200);
        call().send().await.expect(402);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(app.balance_micros(&key).await, 0);
    });
}

#[test]
fn credits_in_the_middle_are_spent_at_once() {
    run(async |app| {
        let key = prepare(&app, "0", "0.1", "0.1").await;
        app.upstream.latency_ms.set(30);
        app.upstream.always(Reply::chat("x", 7, 10));
        let body = r#"{"model":"m1","messages":[{"role":"user","content":"hello"}],"max_tokens":10}"#;
        let call = |at: u64| {
            let call = app.post("/v1/chat/completions").bearer(&key.key).body(body);
            async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                call.send().await
            }
        };
        let credits = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            app.credit(&key, "0.1").await;
        };
        let (answers, ()) = tokio::join!(join_all((0..500).map(call)), credits);
        assert_eq!(counts(&answers), (200, 300));
        assert_eq!(app.balance_micros(&key).await, 0);
    });
}
