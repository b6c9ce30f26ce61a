//! The platform ends what a request has begun 30 s after its answer, or after its client has left, without a word.

use std::time::Duration;

use durable_objects::rate_limiter::protocol::Command;

use super::settle;
use crate::support::{HELLO, Key, Reply, TestApp, join_all, run};

/// The most that a `HELLO` to `m1` may cost is held while it runs.
const HELLO_HOLDS: i64 = 85 * 10 + 100 * 30;

/// Calls every so often for a while; gives how many were made.
async fn call_for(app: &TestApp, key: &Key, every_ms: u64, for_ms: u64) -> i64 {
    let until_ms = app.now_ms() + i64::try_from(for_ms).unwrap();
    let mut calls = 0;
    while app.now_ms() < until_ms {
        app.hello(key).send().await.expect(200);
        calls += 1;
        tokio::time::sleep(Duration::from_millis(every_ms)).await;
    }
    calls
}

/// A key whose lease is a large part of its money, so that it does not rest between two calls.
async fn with_small_balance(app: &TestApp) -> Key {
    app.add_provider("p1").await;
    app.add_model("m1", "p1", 5).await;
    let key = app.provision("0.06").await;
    app.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
    app.upstream.always(Reply::chat("x", 1, 1));
    key
}

#[test]
fn the_last_call_is_recorded_whenever_it_comes() {
    // About where a shift ends, and where the platform would have ended the first call's.
    for for_ms in (19_500..21_500).chain(29_500..31_500).step_by(250) {
        run(async |app| {
            let key = with_small_balance(&app).await;
            let calls = call_for(&app, &key, 50, for_ms).await;
            app.pass_ms(20_000).await;
            let books = app.assert_books_balance(&key);
            assert_eq!((books.calls, books.held), (calls, 0), "after {for_ms} ms: {books:?}");
        });
    }
}

#[test]
fn nothing_that_keeps_a_lease_up_is_cut_off() {
    for every_ms in [50, 700, 1_900] {
        run(async |app| {
            let key = app.with_busy_key().await;
            let calls = call_for(&app, &key, every_ms, 95_000).await;
            assert_eq!(settle(&app, &key).await.calls, calls);
            assert_eq!(app.cut_off.get(), 0, "a call every {every_ms} ms");
        });
    }
}

#[test]
fn what_a_long_call_holds_is_kept_up_though_others_began_to() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.add_provider("p2").await;
        app.add_model("m2", "p2", 1).await;
        app.upstream.slow_at("p2", 100_000);
        app.hello(&key).send().await.expect(200);
        let long = app.post("/v1/chat/completions").bearer(&key.key).body(&HELLO.replace("m1", "m2")).send();
        let watch = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            for at in 0..990 {
                let (books, places) = (app.books(&key), app.limiter(&key, &Command::Status));
                assert!(books.held >= HELLO_HOLDS && places.slots >= 1, "after {at}00 ms: {books:?}, {places:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (answer, ()) = tokio::join!(long, watch);
        answer.expect(200);
        assert_eq!((settle(&app, &key).await.calls, app.cut_off.get()), (2, 0));
    });
}

#[test]
fn clients_that_leave_while_their_calls_wait_for_money_leave_their_places() {
    run(async |app| {
        for (id, provider) in [("m1", "p1"), ("m2", "p2")] {
            app.add_provider(provider).await;
            app.add_model(id, provider, 5).await;
        }
        app.upstream.always(Reply::chat("x", 1, 1));
        app.upstream.slow_at("p1", 80_000);
        // One call to m1 and a small one, and not two to m1.
        let key = app.provision("0.0055").await;
        app.set_limits(&key, 1_000_000, 10_000_000, 32).await;
        let small = HELLO.replace("m1", "m2").replace("100", "1");
        let call_small = || app.post("/v1/chat/completions").bearer(&key.key).body(&small).send();
        let waiting = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let begun_ms = app.now_ms();
            for answer in join_all((0..30).map(|_| app.hello(&key).leave_in_ms(1_000).send())).await {
                assert_eq!(answer.status, 502, "they are given up");
            }
            assert!(app.now_ms() - begun_ms < 2_000, "as soon as their clients have left");
        };
        let others = async {
            // Each that ends lets the others wait on.
            for _ in 0..7 {
                tokio::time::sleep(Duration::from_secs(10)).await;
                call_small().await.expect(200);
            }
        };
        let (running, (), ()) = tokio::join!(app.hello(&key).send(), waiting, others);
        running.expect(200);
        tokio::time::sleep(Duration::from_secs(20)).await;
        join_all((0..32).map(|_| call_small())).await.into_iter().for_each(|answer| drop(answer.expect(200)));
        assert_eq!(settle(&app, &key).await.calls, 1 + 7 + 32, "whoever left has paid nothing");
        assert_eq!(app.limiter(&key, &Command::Status).slots, 0);
    });
}

#[test]
fn a_call_that_outlives_its_client_is_settled_before_the_platform_ends_it() {
    run(async |app| {
        let key = with_small_balance(&app).await;
        app.set_limits(&key, 60, 1_000, 5).await;
        app.upstream.always(Reply::chat("x", 1, 1));
        app.upstream.latency_ms.set(100_000);
        let keyed = || app.hello(&key).idempotency_key("k1");
        let answer = keyed().leave_in_ms(1_000).send().await;
        assert_eq!(answer.status, 502, "for nobody, but not without a word");
        app.upstream.latency_ms.set(0);
        assert_eq!(settle(&app, &key).await.calls, 1);
        assert_eq!(app.limiter(&key, &Command::Status).slots, 0);
        let (left, held) = (app.balance_micros(&key).await, app.books(&key).held);
        assert_eq!(held, 0);
        // The input was read, and it is paid once.
        assert!(left < 60_000);
        keyed().send().await.expect(502);
        assert_eq!((app.balance_micros(&key).await, app.upstream.sent.borrow().len()), (left, 1));
        app.hello(&key).send().await.expect(200);
        // One that leaves before anybody is asked has asked nobody, and may run again.
        app.faults.object_extra_ms.set(500);
        app.hello(&key).idempotency_key("k2").leave_in_ms(1).send().await.expect(502);
        app.faults.object_extra_ms.set(0);
        assert_eq!(app.upstream.sent.borrow().len(), 2);
        app.hello(&key).idempotency_key("k2").send().await.expect(200);
    });
}
