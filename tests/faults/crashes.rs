//! Isolates and objects die.

use std::time::Duration;

use durable_objects::rate_limiter::protocol::Command;

use super::settle;
use crate::support::{Call, HELLO_MICROS, join_all, run};

#[test]
fn an_isolate_that_dies_with_calls_unreported_leaves_balanced_books() {
    for alive_ms in [0, 5, 20, 39, 40, 41, 60, 200] {
        run(async |app| {
            let key = app.with_busy_key().await;
            for _ in 0..5 {
                app.hello(&key).send().await.expect(200);
            }
            tokio::time::sleep(Duration::from_millis(alive_ms)).await;
            app.crash_isolate();
            let books = settle(&app, &key).await;
            assert!(books.calls <= 5 && books.charged == books.calls * HELLO_MICROS, "{books:?}");
            assert!(alive_ms < 60 || books.calls == 5, "reported within the flush: {books:?} after {alive_ms} ms");
        });
    }
}

#[test]
fn what_it_held_is_free_again_and_another_isolate_can_spend_it() {
    run(async |app| {
        let key = app.with_model().await;
        app.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
        app.answer_hello();
        app.upstream.latency_ms.set(20_000);
        let crash = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            app.crash_isolate();
        };
        let (lost, ()) = tokio::join!(join_all((0..50).map(|_| app.hello(&key).send())), crash);
        assert!(lost.iter().all(|answer| answer.status == 0));
        assert!(app.books(&key).held > 0);
        app.upstream.latency_ms.set(0);
        let books = settle(&app, &key).await;
        assert_eq!((books.calls, books.balance), (0, 10_000_000));
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn places_of_dead_calls_are_free_within_a_minute_and_those_of_living_calls_are_not() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        app.upstream.latency_ms.set(120_000);
        let death = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            app.crash_isolate();
        };
        let (lost, ()) = tokio::join!(join_all((0..5).map(|_| app.hello(&key).send())), death);
        assert!(lost.iter().all(|answer| answer.status == 0));
        app.upstream.latency_ms.set(0);
        app.hello(&key).send().await.expect(429);
        tokio::time::sleep(Duration::from_secs(46)).await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.upstream.latency_ms.set(200_000);
        let sixth = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(45)).await;
                app.hello(&key).send().await.expect(429);
            }
        };
        let (answers, ()) = tokio::join!(join_all((0..5).map(|_| app.hello(&key).send())), sixth);
        assert!(answers.iter().all(|answer| answer.status == 200));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.slots, status.hour_count), (0, 5 + 1 + 5), "a call counts once, however long it runs");
    });
}

#[test]
fn a_request_that_is_dropped_gives_its_money_and_its_place_back() {
    for (per_minute, per_hour, concurrent) in [(60, 1_000, 5), (6_000, 100_000, 100)] {
        run(async |app| {
            let key = app.with_model().await;
            app.set_limits(&key, per_minute, per_hour, concurrent).await;
            app.answer_hello();
            app.upstream.latency_ms.set(5_000);
            // The client is gone, and the platform drops what was being done for it.
            let dropped = tokio::time::timeout(Duration::from_millis(500), app.hello(&key).send()).await;
            assert!(dropped.is_err());
            assert_eq!(app.upstream.sent.borrow().len(), 1, "it had reached the upstream");
            app.pass_ms(5_000).await;
            assert_eq!(app.books(&key).held, 0, "the money is free within seconds");
            assert_eq!(app.limiter(&key, &Command::Status).slots, 0, "and so is the place");
            app.upstream.latency_ms.set(0);
            app.hello(&key).send().await.expect(200);
            let books = settle(&app, &key).await;
            assert!(books.charged >= HELLO_MICROS, "{books:?}");
        });
    }
}

#[test]
fn a_dead_isolates_places_in_the_limit_come_back() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.set_limits(&key, 6_000, 100_000, 50).await;
        app.upstream.latency_ms.set(20_000);
        let crash = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            app.crash_isolate();
        };
        tokio::join!(join_all((0..50).map(|_| app.hello(&key).send())), crash);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        app.upstream.latency_ms.set(0);
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn objects_that_restart_in_the_middle_lose_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(7);
        let calls = join_all((0..40).map(|at| {
            let app = &app;
            let key = &key;
            async move {
                tokio::time::sleep(Duration::from_millis(at * 5)).await;
                app.hello(key).send().await
            }
        }));
        let restarts = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(11)).await;
                app.objects.restart();
            }
        };
        let (answers, ()) = tokio::join!(calls, restarts);
        answers.into_iter().for_each(|answer| drop(answer.expect(200)));
        let books = settle(&app, &key).await;
        assert_eq!((books.calls, books.charged), (40, 40 * HELLO_MICROS));
    });
}

#[test]
fn everything_dies_at_once_and_the_books_still_balance() {
    for at_ms in [3, 11, 29, 42, 55, 83] {
        run(async |app| {
            let key = app.with_busy_key().await;
            let other = app.new_isolate();
            app.upstream.latency_ms.set(9);
            let calls = (0..60).map(|at| {
                let call = if at % 2 == 0 { app.hello(&key) } else { app.hello(&key).to(&other) };
                async move {
                    tokio::time::sleep(Duration::from_millis(at)).await;
                    call.send().await
                }
            });
            let crash = async {
                tokio::time::sleep(Duration::from_millis(at_ms)).await;
                app.crash_isolate();
                app.crash(&other);
                app.objects.restart();
            };
            let (answers, ()) = tokio::join!(join_all(calls), crash);
            let answered = i64::try_from(answers.iter().filter(|answer| answer.status == 200).count()).unwrap();
            let books = settle(&app, &key).await;
            assert!(books.calls <= answered, "{books:?}");
            assert_eq!(books.charged, books.calls * HELLO_MICROS, "at {at_ms} ms");
            join_all((0..5).map(|_| app.hello(&key)).map(Call::send)).await;
            assert_eq!(settle(&app, &key).await.calls, books.calls + 5);
        });
    }
}

#[test]
fn one_isolate_dies_and_the_other_serves_on() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.new_isolate();
        app.hello(&key).to(&other).send().await.expect(200);
        app.hello(&key).send().await.expect(200);
        app.crash(&other);
        for _ in 0..20 {
            app.hello(&key).send().await.expect(200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let books = settle(&app, &key).await;
        assert!((21..=22).contains(&books.calls), "{books:?}");
    });
}
