//! `/admin/v1/health`.

use guildhall::ports::FetchError;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, run};

const NEVER: &str = "0001-01-01T00:00:00Z";

async fn health(app: &TestApp) -> Value {
    app.admin("GET", "/admin/v1/health").send().await.expect(200).json()["providers"].clone()
}

#[test]
fn without_providers_it_is_a_list() {
    run(async |app| {
        app.get("/admin/v1/health").send().await.expect(401);
        assert_eq!(app.admin("GET", "/admin/v1/health").send().await.expect(200).json(), json!({ "providers": [] }));
    });
}

#[test]
fn a_provider_that_was_never_called_is_healthy() {
    run(async |app| {
        app.with_model().await;
        let expected = json!([{
            "provider_id": "p1", "state": "healthy", "total_requests": 0, "total_errors": 0, "consec_errors": 0,
            "avg_latency_ms": 0.0, "last_error_time": NEVER, "last_success_at": NEVER, "cooldown_until": NEVER,
        }]);
        assert_eq!(health(&app).await, expected);
    });
}

#[test]
fn successes_and_errors_are_counted_and_five_errors_take_it_down() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(100);
        app.hello(&key).send().await.expect(200);
        let told = health(&app).await[0].clone();
        assert_eq!((&told["total_requests"], &told["total_errors"]), (&json!(1), &json!(0)));
        assert!((100.0..120.0).contains(&told["avg_latency_ms"].as_f64().unwrap()), "{told}");
        assert_ne!(told["last_success_at"], NEVER);
        for (errors, state) in [(1, "healthy"), (2, "degraded"), (5, "down")] {
            while app.database.number("SELECT errors FROM provider_attempts") < errors {
                app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
                app.hello(&key).send().await.expect(502);
                health(&app).await;
            }
            let told = health(&app).await[0].clone();
            assert_eq!((&told["state"], &told["consec_errors"]), (&json!(state), &json!(errors)), "{told}");
            assert_eq!(told["cooldown_until"] == NEVER, state != "down", "{told}");
        }
        let told = health(&app).await[0].clone();
        assert_eq!((&told["total_requests"], &told["last_error"]), (&json!(6), &json!("transient")));
        assert!(told["last_error_time"].as_str().unwrap() > told["last_success_at"].as_str().unwrap());
    });
}

#[test]
fn a_clients_mistake_says_nothing_about_a_provider() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::Fails(FetchError::ClientGone { was_asked: true }));
        app.hello(&key).send().await;
        assert_eq!(health(&app).await[0]["total_requests"], 0);
    });
}

/// G7: a provider that limits us is set aside, and another answers.
#[test]
fn a_limit_counts_as_one_error_and_takes_nothing_down() {
    run(async |app| {
        for (id, weight) in [("p1", 10), ("p2", 5)] {
            app.add_provider(id).await;
            app.add_model(&id.replace('p', "m"), id, weight).await;
        }
        let key = app.provision("10").await;
        app.upstream.always_at("p1", Reply::Whole(429, "{}".into(), "3"));
        app.upstream.always_at("p2", Reply::chat("hi", 1, 1));
        let body = r#"{"model":"max","messages":[{"role":"user","content":"hi"}]}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1", "p2"]);
        let told = health(&app).await;
        let of = |at: usize| [&told[at]["total_requests"], &told[at]["total_errors"], &told[at]["consec_errors"]];
        assert_eq!((of(0), of(1)), ([&json!(1), &json!(1), &json!(0)], [&json!(1), &json!(0), &json!(0)]));
        assert_eq!((&told[0]["state"], &told[1]["state"]), (&json!("rate_limited"), &json!("healthy")));
    });
}
