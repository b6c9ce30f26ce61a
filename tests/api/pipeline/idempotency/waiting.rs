//! The same request while the first one still runs.

use std::time::Duration;

use super::{is_replay, keyed};
use crate::support::{HELLO_MICROS, Reply, join_all, run};

#[test]
fn ten_at_once_are_one_call_and_ten_equal_answers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(2_000);
        let other = app.new_isolate();
        let calls = (0..10).map(|at| {
            let call = keyed(&app, &key, "k1");
            if at % 2 == 0 { call.to(&other).send() } else { call.send() }
        });
        let answers = join_all(calls).await;
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        assert_eq!(answers.iter().filter(|answer| is_replay(answer)).count(), 9);
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
        }
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn when_the_first_fails_the_next_one_runs() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(1_000);
        // A failure that may pass is tried three times.
        for _ in 0..3 {
            app.upstream.then(Reply::error(500, "no"));
        }
        let answers = join_all((0..4).map(|_| keyed(&app, &key, "k1").send())).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
        assert_eq!(app.upstream.sent.borrow().len(), 4);
        assert_eq!(answers.iter().filter(|answer| is_replay(answer)).count(), 2);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn another_body_does_not_wait() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(5_000);
        let first = keyed(&app, &key, "k1").send();
        let second = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let began_ms = app.now_ms();
            let body = crate::support::HELLO.replace("hello", "goodbye");
            keyed(&app, &key, "k1").body(&body).send().await.expect(422);
            assert!(app.now_ms() - began_ms < 100);
        };
        let (first, ()) = tokio::join!(first, second);
        first.expect(200);
    });
}

#[test]
fn waiting_ends_with_409_and_the_answer_comes_later() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(60_000);
        let second = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let began_ms = app.now_ms();
            let refused = keyed(&app, &key, "k1").send().await.expect(409);
            let waited_ms = app.now_ms() - began_ms;
            assert!((20_000..29_000).contains(&waited_ms), "within any client's patience: {waited_ms} ms");
            assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        };
        let (first, ()) = tokio::join!(keyed(&app, &key, "k1").send(), second);
        let first = first.expect(200);
        let again = keyed(&app, &key, "k1").send().await.expect(200);
        assert!(is_replay(&again));
        assert_eq!(again.body, first.body);
        assert_eq!(app.upstream.sent.borrow().len(), 1);
    });
}

#[test]
fn a_run_that_died_with_its_isolate_frees_the_key_in_time() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(10_000);
        let crash = async {
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            app.crash_isolate();
        };
        let (lost, ()) = tokio::join!(keyed(&app, &key, "k1").send(), crash);
        assert_eq!(lost.status, 0);
        app.upstream.latency_ms.set(10);
        keyed(&app, &key, "k1").send().await.expect(409);
        tokio::time::sleep(Duration::from_secs(15 * 60)).await;
        assert!(!is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
        assert!(is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
    });
}

#[test]
fn nothing_is_kept_up_once_the_answer_is_there() {
    run(async |app| {
        let key = app.with_busy_key().await;
        keyed(&app, &key, "whole").send().await.expect(200);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        keyed(&app, &key, "given up").send().await.expect(502);
        app.upstream.then(Reply::stream(&["a", "b"], Some((10, 5))));
        let streamed = crate::support::HELLO.replace("}],", r#"}],"stream":true,"#);
        keyed(&app, &key, "streamed").body(&streamed).send().await.expect(200);
        // What leases are kept up for ends within this time.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(app.background_tasks(), 0);
    });
}

#[test]
fn a_run_that_was_given_up_is_not_begun_again_by_what_it_said_before() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(15_200);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        let delay = async {
            tokio::time::sleep(Duration::from_millis(14_500)).await;
            let asked = app.faults.calls_of("IDEMPOTENCY");
            app.faults.slow_object("IDEMPOTENCY", 600);
            tokio::time::sleep(Duration::from_millis(650)).await;
            assert_eq!(app.faults.calls_of("IDEMPOTENCY"), asked + 1, "that it lives is on its way");
            app.faults.clear();
        };
        let (failed, ()) = tokio::join!(keyed(&app, &key, "k1").send(), delay);
        failed.expect(502);
        tokio::time::sleep(Duration::from_secs(1)).await;
        app.upstream.latency_ms.set(10);
        let began_ms = app.now_ms();
        assert!(!is_replay(&keyed(&app, &key, "k1").send().await.expect(200)));
        assert!(app.now_ms() - began_ms < 1_000, "nobody waits for a run that is over");
    });
}
