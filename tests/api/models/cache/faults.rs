//! The cache fails, forgets or is spoilt: calls are answered all the same.

use super::{Fault, ask, cache_of, hits, question};
use crate::support::run;

#[test]
fn a_cache_that_cannot_be_read_is_a_miss() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
            app.faults.fail_kv(fault);
            let answer = ask(&app, &key, &question("a")).send().await.expect(200);
            assert_eq!(cache_of(&answer), "miss", "{fault:?}");
            assert!(app.log.borrow().iter().any(|line| line.contains("cache: test: failed")), "{:?}", app.log);
            app.pass_ms(20).await;
            assert!(hits(&app, ask(&app, &key, &question("a"))).await);
        });
    }
}

#[test]
fn an_answer_that_cannot_be_kept_is_given() {
    for (fault, is_kept) in [(Fault::Before, false), (Fault::After, true)] {
        run(async |app| {
            let key = app.with_busy_key().await;
            let first = ask(&app, &key, &question("a")).send().await.expect(200);
            assert_eq!(cache_of(&first), "miss");
            // The write comes after the answer.
            app.faults.fail_kv(fault);
            app.pass_ms(20).await;
            assert_eq!(hits(&app, ask(&app, &key, &question("a"))).await, is_kept, "{fault:?}");
        });
    }
}

#[test]
fn what_is_spoilt_is_a_miss_and_is_replaced() {
    run(async |app| {
        let key = app.with_busy_key().await;
        assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
        app.cache.spoil();
        assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
        assert!(hits(&app, ask(&app, &key, &question("a"))).await);
        app.cache.lose();
        assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
    });
}

#[test]
fn an_isolate_that_dies_takes_no_answer_with_it() {
    run(async |app| {
        let key = app.with_busy_key().await;
        assert!(!hits(&app, ask(&app, &key, &question("a"))).await);
        app.crash_isolate();
        assert!(hits(&app, ask(&app, &key, &question("a"))).await, "the cache is everybody's");
    });
}
