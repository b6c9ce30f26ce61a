//! Rate limits of ordinary keys: every request is checked.

use std::time::Duration;

use durable_objects::rate_limiter::protocol::Command;
use serde_json::json;

use crate::support::{Answer, HELLO, LateBody, Reply, join_all, run};

fn number(answer: &Answer, name: &str) -> u32 {
    let values: Vec<_> = answer.headers.iter().filter(|(n, _)| *n == name).collect();
    assert_eq!(values.len(), 1, "{name} in {:?}", answer.headers);
    values[0].1.parse().unwrap()
}

#[test]
fn every_response_says_where_the_limit_stands() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        let wrong = "tr_live_0000000000000000000000000000000000000000000000000000000000000000";
        for call in [
            app.hello(&key),
            app.post("/v1/chat/completions").bearer(&key.key).body("{"),
            app.post("/v1/chat/completions").bearer(&key.key).body(r#"{"model":"none","messages":[]}"#),
            app.get("/v1/usage/none").bearer(&key.key),
            app.get("/v1/balance"),
            app.get("/v1/balance").bearer(wrong),
            app.admin("GET", "/v1/balance"),
            app.admin("GET", "/admin/v1/providers"),
            app.admin("POST", "/admin/v1/accounts/none/credits").body("{}"),
            app.get("/nothing"),
            app.call("DELETE", "/v1/balance"),
            app.call("OPTIONS", "/v1/balance"),
            app.call("HEAD", "/v1/balance").bearer(&key.key),
            app.post("/v1/auth/provision"),
            app.get("/"),
            app.get("/docs"),
            app.get("/healthz"),
            app.get("/metrics"),
            app.get("/openapi.json"),
            app.post("/v1/chat/completions").head(|head| head.content_length = "99999999".into()),
        ] {
            let answer = call.send().await;
            let (limit, remaining) = (number(&answer, "x-ratelimit-limit"), number(&answer, "x-ratelimit-remaining"));
            assert!(remaining <= limit && limit > 0, "{} {:?}", answer.status, answer.headers);
            assert!(number(&answer, "x-ratelimit-reset") <= 3_600);
        }
    });
}

#[test]
fn a_standard_key_has_sixty_requests_a_minute() {
    run(async |app| {
        let key = app.provision("1").await;
        for left in (0..60).rev() {
            let answer = app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
            assert_eq!((number(&answer, "x-ratelimit-limit"), number(&answer, "x-ratelimit-remaining")), (60, left));
            assert!((1..=60).contains(&number(&answer, "x-ratelimit-reset")));
        }
        let refused = app.get("/v1/balance").bearer(&key.key).send().await.expect(429);
        assert_eq!((number(&refused, "x-ratelimit-limit"), number(&refused, "x-ratelimit-remaining")), (60, 0));
        let wait_s = number(&refused, "retry-after");
        assert!((58..=60).contains(&wait_s), "{wait_s}");
        assert_eq!(number(&refused, "x-ratelimit-reset"), wait_s);
        assert_eq!((&refused.json()["error"], &refused.json()["limit"]), (&json!("Rate limit exceeded"), &json!(60)));
        let refused = app.get("/v1/usage").bearer(&key.key).send().await.expect(429);
        assert_eq!(refused.json()["error"]["code"], "RATE_LIMIT_EXCEEDED", "in ToolRouter's words");
        let refused = app.hello(&key).send().await.expect(429);
        assert_eq!(refused.json()["error"], "Rate limit exceeded", "in Tokaroo's words");
        assert!(app.upstream.sent.borrow().is_empty());
        tokio::time::sleep(Duration::from_secs(u64::from(wait_s))).await;
        for left in (0..60).rev() {
            let answer = app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
            assert_eq!(number(&answer, "x-ratelimit-remaining"), left, "the window is open again");
        }
        app.get("/v1/balance").bearer(&key.key).send().await.expect(429);
    });
}

#[test]
fn the_limit_is_one_for_all_isolates_and_all_at_once() {
    run(async |app| {
        let key = app.provision("1").await;
        app.set_limits(&key, 60, 1_000, 100).await;
        let other = app.new_isolate();
        let calls = (0..100).map(|at| {
            let call = app.get("/v1/balance").bearer(&key.key);
            if at % 2 == 0 { call.to(&other).send() } else { call.send() }
        });
        let answers = join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 60);
        assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 40);
    });
}

#[test]
fn what_is_refused_does_not_count_and_errors_do() {
    run(async |app| {
        let key = app.provision("1").await;
        app.set_limits(&key, 3, 1_000, 5).await;
        app.get("/v1/usage/none").bearer(&key.key).send().await.expect(404);
        app.post("/v1/chat/completions").bearer(&key.key).body("{").send().await.expect(400);
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        for _ in 0..10 {
            app.get("/v1/balance").bearer(&key.key).send().await.expect(429);
        }
        assert_eq!(app.limiter(&key, &Command::Status).hour_count, 3);
    });
}

#[test]
fn a_standard_key_has_a_thousand_requests_an_hour() {
    run(async |app| {
        let key = app.provision("1").await;
        let mut made = 0;
        let refused = loop {
            let answer = app.get("/nothing-of-it").bearer(&key.key).send().await;
            assert_eq!(answer.status, 404, "routes that are none cost nothing");
            let answer = app.get("/v1/usage/none").bearer(&key.key).send().await;
            if answer.status == 404 {
                made += 1;
                continue;
            }
            if number(&answer, "x-ratelimit-limit") == 1_000 {
                break answer;
            }
            tokio::time::sleep(Duration::from_secs(u64::from(number(&answer, "retry-after")))).await;
        };
        assert_eq!(made, 1_000);
        let wait_s = number(&refused, "retry-after");
        assert!((3_600 - 17 * 60..=3_600 - 15 * 60).contains(&wait_s), "{wait_s}");
        assert_eq!(number(&refused, "x-ratelimit-reset"), wait_s);
        tokio::time::sleep(Duration::from_secs(u64::from(wait_s))).await;
        app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
    });
}

#[test]
fn of_many_calls_at_once_five_run_and_the_rest_is_refused() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        app.upstream.latency_ms.set(500);
        for round in 1..=2 {
            let answers = join_all((0..8).map(|_| app.hello(&key).send())).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
            for refused in answers.iter().filter(|answer| answer.status != 200) {
                assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
                let told = refused.json();
                assert_eq!((&told["error"], &told["limit"]), (&json!("Rate limit exceeded"), &json!(5)));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(app.upstream.sent.borrow().len(), 5 * round, "the places are free again");
        }
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.slots, status.leases, status.minute_count), (0, 0, 10));
    });
}

#[test]
fn a_place_comes_back_however_the_call_ended() {
    run(async |app| {
        let key = app.with_model().await;
        app.set_limits(&key, 60, 1_000, 1).await;
        let stream = r#"{"model":"m1","messages":[{"role":"user","content":"x"}],"max_tokens":9,"stream":true}"#;
        app.upstream.then(Reply::chat("hi", 10, 5));
        app.hello(&key).send().await.expect(200);
        app.upstream.then(Reply::error(400, "no"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::error(500, "no"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        app.hello(&key).send().await.expect(502);
        for leave_after in [None, Some(1)] {
            tokio::time::sleep(Duration::from_millis(10)).await;
            app.upstream.then(Reply::stream(&["a", "b", "c"], Some((10, 5))));
            let call = app.post("/v1/chat/completions").bearer(&key.key).body(stream);
            match leave_after {
                Some(chunks) => call.leave_after(chunks),
                None => call,
            }
            .send()
            .await
            .expect(200);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        app.get("/v1/usage/none").bearer(&key.key).send().await.expect(404);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.slots, status.minute_count), (0, 6));
    });
}

#[test]
fn a_call_whose_body_was_long_in_coming_has_its_place_or_is_refused() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        app.set_limits(&key, 60, 1_000, 2).await;
        app.upstream.latency_ms.set(30_000);
        let late = |after_ms| {
            app.post("/v1/chat/completions").bearer(&key.key).source(LateBody { body: HELLO, after_ms }).send()
        };
        let second_ones = async {
            // The platform gives up the places of those of which nothing was heard for so long.
            tokio::time::sleep(Duration::from_secs(46)).await;
            join_all([late(4_000), late(4_000)]).await
        };
        let (first_ones, second_ones) = tokio::join!(join_all([late(50_000), late(50_000)]), second_ones);
        for answer in &second_ones {
            assert_eq!(answer.status, 200);
        }
        for refused in &first_ones {
            assert_eq!((refused.status, refused.json()["limit"].as_u64()), (429, Some(2)));
        }
        assert_eq!(app.upstream.sent.borrow().len(), 2, "never more than two at once");
        // Where nobody else came, the place is still theirs.
        let answers = join_all([late(50_000), late(20_000)]).await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200]);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.slots, status.leases, status.hour_count), (0, 0, 6));
    });
}

#[test]
fn a_revoked_key_is_refused_at_once_everywhere_until_it_is_restored() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        let other = app.new_isolate();
        app.hello(&key).send().await.expect(200);
        app.hello(&key).to(&other).send().await.expect(200);
        assert!(app.limiter(&key, &Command::Revoke).revoked);
        let refused = app.hello(&key).send().await.expect(401);
        assert_eq!(refused.json()["error"], "Invalid or expired credential");
        app.hello(&key).to(&other).send().await.expect(401);
        app.objects.restart();
        let refused = app.get("/v1/usage").bearer(&key.key).send().await.expect(401).json();
        assert_eq!(refused["error"]["code"], json!("AUTH_FAILED"), "a revocation survives the object");
        assert_eq!(app.upstream.sent.borrow().len(), 2);
        app.limiter(&key, &Command::Restore);
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn callers_without_a_key_are_limited_by_address() {
    run(async |app| {
        let index = |address: &str| {
            let address = address.to_owned();
            app.get("/").head(|head| head.address = address)
        };
        for left in (0..1_200).rev() {
            let answer = index("203.0.113.7").send().await.expect(200);
            assert_eq!(number(&answer, "x-ratelimit-remaining"), left);
        }
        let refused = index("203.0.113.7").send().await.expect(429);
        assert!((1..=60).contains(&number(&refused, "retry-after")));
        index("203.0.113.8").send().await.expect(200);
        app.post("/v1/chat/completions")
            .body(HELLO)
            .head(|head| head.address = "203.0.113.8".into())
            .send()
            .await
            .expect(401);
        tokio::time::sleep(Duration::from_secs(60)).await;
        index("203.0.113.7").send().await.expect(200);
    });
}
