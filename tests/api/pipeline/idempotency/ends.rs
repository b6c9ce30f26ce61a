//! Which answers are kept, and for how long.

use std::time::Duration;

use serde_json::json;

use super::{is_replay, keyed};
use crate::support::{HELLO_MICROS, Reply, run};

#[test]
fn a_failure_of_ours_or_the_upstreams_is_not_kept() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        keyed(&app, &key, "k1").send().await.expect(502);
        let again = keyed(&app, &key, "k1").send().await.expect(200);
        assert!(!is_replay(&again));
        assert!(is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn a_refusal_that_time_or_money_cures_is_not_kept() {
    run(async |app| {
        let rich = app.with_busy_key().await;
        let key = app.provision("0").await;
        keyed(&app, &key, "k1").send().await.expect(402);
        app.credit(&key, "1").await;
        assert!(!is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));

        app.upstream.then(Reply::Whole(429, "{}".into(), "1"));
        keyed(&app, &rich, "k2").send().await.expect(429);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!is_replay(&keyed(&app, &rich, "k2").send().await.expect(200)));

        app.set_limits(&key, 2, 1_000, 5).await;
        keyed(&app, &key, "k3").send().await.expect(429);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(!is_replay(&keyed(&app, &key, "k3").send().await.expect(200)));
    });
}

#[test]
fn a_mistake_of_the_clients_is_kept() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::error(400, "the model does not like this"));
        let first = keyed(&app, &key, "k1").send().await.expect(400);
        let again = keyed(&app, &key, "k1").send().await.expect(400);
        assert!(is_replay(&again));
        assert_eq!(again.body, first.body);
        assert_eq!(app.upstream.sent.borrow().len(), 1);

        let unknown = r#"{"model":"not-yet","messages":[{"role":"user","content":"x"}]}"#;
        keyed(&app, &key, "k2").body(unknown).send().await.expect(404);
        let again = keyed(&app, &key, "k2").body(unknown).send().await.expect(404);
        assert!(is_replay(&again));
        assert_eq!(again.header("content-type"), Some("application/json"));

        let first = keyed(&app, &key, "k3").body("{").send().await.expect(400);
        let again = keyed(&app, &key, "k3").body("{").send().await.expect(400);
        assert!(is_replay(&again));
        assert_eq!(again.json(), first.json());
    });
}

#[test]
fn an_answer_is_kept_for_a_day() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "k1").send().await.expect(200);
        tokio::time::sleep(Duration::from_secs(24 * 3_600 - 60)).await;
        assert!(is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(!is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
        assert_eq!(app.upstream.sent.borrow().len(), 2);
    });
}

#[test]
fn an_answer_that_expired_leaves_nothing_behind() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "k1").send().await.expect(200);
        let name = durable_objects::idempotency::protocol::name(&key.account_id, "k1");
        assert!(!app.objects.is_vacant("IDEMPOTENCY", &name));
        app.pass_ms(3_000).await;
        tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
        app.deliver().await;
        assert!(app.objects.is_vacant("IDEMPOTENCY", &name));
    });
}

#[test]
fn a_stored_answer_survives_the_object_and_the_isolate() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let first = keyed(&app, &key, "k1").send().await.expect(200);
        app.pass_ms(100).await;
        app.objects.restart();
        app.crash_isolate();
        let again = keyed(&app, &key, "k1").send().await.expect(200);
        assert!(is_replay(&again));
        assert_eq!(again.body, first.body);
    });
}

#[test]
fn an_answer_too_large_to_keep_is_not_run_again() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::chat(&"x".repeat(1_100_000), 10, 5));
        let first = keyed(&app, &key, "k1").send().await.expect(200);
        assert!(first.body.len() > 1_100_000);
        let again = keyed(&app, &key, "k1").send().await.expect(409);
        assert!(again.text().contains("too large to keep"), "{}", again.text());
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn a_replay_is_a_request_like_any_other_to_the_limits() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        let remaining = async || {
            let answer = keyed(&app, &key, "k1").send().await.expect(200);
            (is_replay(&answer), answer.header("x-ratelimit-remaining").unwrap().to_owned())
        };
        let expected = [(false, "59"), (true, "58"), (true, "57")].map(|(replay, left)| (replay, left.to_owned()));
        assert_eq!([remaining().await, remaining().await, remaining().await], expected);
        assert_eq!(app.get("/v1/balance").bearer(&key.key).send().await.json()["balance_usd"], json!(9.99975));
    });
}
