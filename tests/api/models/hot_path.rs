//! A busy key's call reaches its upstream without a hop to any storage.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::kit::{assert_balanced, chat, hello, hello_stream, rich_key, usage_rows};
use crate::support::{Key, Reply, TestApp, run};

/// Hops to storage so far.
fn hops(app: &TestApp) -> usize {
    app.faults.db_calls.get() + app.faults.object_calls.get()
}

/// Sends a call; gives how many hops to storage were made before the upstream heard of it.
async fn hops_before_upstream(app: &TestApp, key: &Key, body: &str) -> usize {
    let (before, seen) = (hops(app), Rc::new(Cell::new(0)));
    let (faults, at_arrival) = (Rc::clone(&app.faults), Rc::clone(&seen));
    app.upstream.on_arrival(move || at_arrival.set(faults.db_calls.get() + faults.object_calls.get()));
    chat(app, key, body).send().await.expect(200);
    seen.get() - before
}

async fn with_warm_key(app: &TestApp) -> Key {
    app.with_model().await;
    let key = rich_key(app, "100").await;
    app.upstream.latency_ms.set(3);
    app.upstream.always(Reply::chat("hi", 10, 5));
    for _ in 0..10 {
        chat(app, &key, &hello("m1")).send().await.expect(200);
    }
    key
}

#[test]
fn a_warm_leased_key_makes_no_hop_before_the_upstream_is_called() {
    run(async |app| {
        let key = with_warm_key(&app).await;
        let (mut total, mut worst) = (0, 0);
        let calls = 300;
        for _ in 0..calls {
            let hops = hops_before_upstream(&app, &key, &hello("m1")).await;
            total += hops;
            worst = worst.max(hops);
        }
        // Now and then a lease is renewed on the way; hardly ever, and never more than the two of them.
        assert!(total * 20 <= calls, "{total} hops in {calls} calls");
        assert!(worst <= 2, "{worst} hops in one call");
        assert_eq!(usage_rows(&app, &key).await.len(), calls + 10);
        assert_balanced(&app, &key, 100_000_000).await;
    });
}

#[test]
fn streams_are_as_quick() {
    run(async |app| {
        let key = with_warm_key(&app).await;
        app.upstream.always(Reply::stream(&["hi"], Some((10, 5))));
        let mut total = 0;
        for _ in 0..100 {
            total += hops_before_upstream(&app, &key, &hello_stream("m1")).await;
        }
        assert!(total <= 5, "{total} hops in 100 streams");
        assert_balanced(&app, &key, 100_000_000).await;
    });
}

#[test]
fn what_a_call_costs_afterwards_is_shared_by_many() {
    run(async |app| {
        let key = with_warm_key(&app).await;
        let before = hops(&app);
        for _ in 0..900 {
            chat(&app, &key, &hello("m1")).send().await.expect(200);
        }
        app.pass_ms(1_000).await;
        let spent = hops(&app) - before;
        assert!(spent < 250, "{spent} hops for 900 calls, before and after the answers");
        assert_balanced(&app, &key, 100_000_000).await;
    });
}

#[test]
fn an_idle_isolate_comes_to_rest() {
    run(async |app| {
        let key = with_warm_key(&app).await;
        app.pass_ms(60_000).await;
        let before = hops(&app);
        app.pass_ms(600_000).await;
        assert_eq!(hops(&app), before, "nobody calls, and storage is still asked");
        assert_balanced(&app, &key, 100_000_000).await;
    });
}

#[test]
fn calls_that_take_seconds_are_not_limited_for_it() {
    run(async |app| {
        let key = with_warm_key(&app).await;
        for latency_ms in [700, 1_000, 1_500, 3_000, 20_000] {
            app.upstream.latency_ms.set(latency_ms);
            for _ in 0..4 {
                chat(&app, &key, &hello("m1")).send().await.expect(200);
            }
        }
        assert_balanced(&app, &key, 100_000_000).await;
    });
}

#[test]
fn forty_calls_at_once_on_a_cold_isolate_all_pass() {
    run(async |app| {
        app.with_model().await;
        let key = rich_key(&app, "100").await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        app.upstream.latency_ms.set(20);
        let statuses = RefCell::new(Vec::new());
        super::kit::join_all((0..40).map(async |_| {
            let status = chat(&app, &key, &hello("m1")).send().await.status;
            statuses.borrow_mut().push(status);
        }))
        .await;
        assert_eq!(statuses.into_inner(), [200; 40]);
        assert_balanced(&app, &key, 100_000_000).await;
    });
}
