//! A key's own limits.

use std::time::Duration;

use durable_objects::rate_limiter::protocol::{Command, RateLimiter, Reply, name_of_key};
use serde_json::json;

use super::{issue, patch};
use crate::support::{Answer, Key, LateBody, TestApp, join_all, run};

async fn call(app: &TestApp, key: &Key) -> Answer {
    app.get("/v1/usage/none").bearer(&key.key).send().await
}

fn passed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 404).count()
}

#[test]
fn one_a_second_lets_two_through_and_refuses_the_third() {
    run(async |app| {
        let (key, _) = issue(&app, json!({ "rate_limit_rps": 1 })).await;
        for left in ["1", "0"] {
            let answer = call(&app, &key).await.expect(404);
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
            assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
        }
        let refused = call(&app, &key).await.expect(429);
        assert_eq!(
            (refused.header("retry-after"), refused.json()["error"]["code"].as_str()),
            (Some("1"), Some("RATE_LIMIT_EXCEEDED"))
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        call(&app, &key).await.expect(404);
        call(&app, &key).await.expect(429);
        let other = app.new_isolate();
        let refused = app.get("/v1/usage/none").bearer(&key.key).to(&other).send().await;
        assert_eq!(refused.status, 429, "one count for all isolates");
    });
}

#[test]
fn a_burst_over_two_isolates_is_twice_the_rate() {
    run(async |app| {
        let (key, _) = issue(&app, json!({ "rate_limit_rps": 50 })).await;
        let (here, there) = (app.isolate(), app.new_isolate());
        let isolates = [&here, &there];
        let calls = (0..300).map(|at| app.get("/v1/usage/none").bearer(&key.key).to(isolates[at % 2]).send());
        assert_eq!(passed(&join_all(calls).await), 100);
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let again = passed(&join_all((0..300).map(|_| call(&app, &key))).await);
        assert!((50..=51).contains(&again), "{again}");
    });
}

#[test]
fn a_rate_a_second_limits_nothing_else() {
    run(async |app| {
        let (key, answer) = issue(&app, json!({ "rate_limit_rps": 400 })).await;
        let long = async |second: u64| {
            tokio::time::sleep(Duration::from_secs(second)).await;
            let body = LateBody { body: "{}", after_ms: 10_000 };
            app.post("/v1/chat/completions").bearer(&key.key).source(body).send().await.status
        };
        let mut statuses = join_all((0..5_u64).flat_map(|second| (0..400).map(move |_| second)).map(long)).await;
        statuses.dedup();
        assert_eq!(statuses, [400], "two thousand at once, none of which asks for anything");
        let id = answer["id"].as_str().unwrap().to_owned();
        let Ok(Reply::Status(status)) =
            app.objects.ask::<RateLimiter>(&name_of_key(&id), &Command::Status, app.now_ms())
        else {
            panic!("no status")
        };
        assert_eq!((status.hour_count, status.slots, status.leases), (2_000, 0, 0));
    });
}

#[test]
fn unlimited_is_never_refused() {
    run(async |app| {
        let (key, _) = issue(&app, json!({ "rate_limit_rps": -1 })).await;
        for _ in 0..3 {
            assert_eq!(passed(&join_all((0..1_000).map(|_| call(&app, &key))).await), 1_000);
        }
    });
}

#[test]
fn a_rate_above_what_is_counted_by_the_second_is_counted_by_the_minute() {
    run(async |app| {
        let (key, _) = issue(&app, json!({ "rate_limit_rps": 600 })).await;
        assert_eq!(call(&app, &key).await.expect(404).header("x-ratelimit-limit"), Some("36000"));
    });
}

#[test]
fn zero_is_the_accounts_limits_and_the_keys_own_come_first() {
    run(async |app| {
        let owner = app.provision("0").await;
        app.set_limits(&owner, 40, 4_000, 4).await;
        let (key, answer) = issue(&app, json!({ "account_id": owner.account_id })).await;
        let limit = async || call(&app, &key).await.header("x-ratelimit-limit").unwrap().to_owned();
        assert_eq!(limit().await, "40");
        let id = answer["id"].as_str().unwrap();
        for (change, expected) in [
            (json!({ "requests_per_minute": 70 }), "70"),
            (json!({ "rate_limit_rps": -1 }), "70"),
            (json!({ "requests_per_minute": 0 }), "4294967295"),
            (json!({ "rate_limit_rps": 3 }), "6"),
            (json!({ "rate_limit_rps": 0 }), "40"),
        ] {
            patch(&app, id, change.clone()).await.expect(200);
            assert_eq!(limit().await, expected, "{change}");
        }
    });
}

#[test]
fn a_key_of_the_deployments_own_account_has_sixty_a_second() {
    run(async |app| {
        let (key, _) = issue(&app, json!({})).await;
        assert_eq!(call(&app, &key).await.header("x-ratelimit-limit"), Some("3600"));
        assert_eq!(passed(&join_all((0..100).map(|_| call(&app, &key))).await), 100);
    });
}
