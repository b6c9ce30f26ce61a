//! The wallet fails.

use std::time::Duration;

use durable_objects::local::FaultPoint;

use super::{assert_clear, settle};
use crate::support::{Fault, HELLO_MICROS, Reply, join_all, run};

#[test]
fn at_any_step_of_a_first_call() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..4 {
            run(async |app| {
                let key = app.with_busy_key().await;
                app.faults.fail_object_after("WALLET", passing, fault);
                let answer = app.hello(&key).send().await;
                assert_clear(&answer, &[200, 503]);
                let paid = i64::from(answer.status == 200);
                let books = settle(&app, &key).await;
                assert_eq!(books.charged, paid * HELLO_MICROS, "{fault:?} after {passing}");
                assert_eq!(books.calls, paid, "{fault:?} after {passing}");
                app.hello(&key).send().await.expect(200);
            });
        }
    }
}

#[test]
fn at_any_step_of_many_calls() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..12 {
            run(async |app| {
                let key = app.with_busy_key().await;
                app.upstream.latency_ms.set(3);
                app.faults.fail_object_after("WALLET", passing, fault);
                app.faults.fail_object_after("WALLET", passing % 3, fault);
                let mut paid = 0;
                for _ in 0..30 {
                    let answer = app.hello(&key).send().await;
                    assert_clear(&answer, &[200, 503]);
                    paid += i64::from(answer.status == 200);
                    tokio::time::sleep(Duration::from_millis(6)).await;
                }
                assert!(paid >= 28, "two faults fail two calls at most, not {}", 30 - paid);
                let books = settle(&app, &key).await;
                assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS), "{fault:?} after {passing}");
            });
        }
    }
}

#[test]
fn at_once_for_many_calls() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            for passing in [0, 1, 0, 2, 1] {
                app.faults.fail_object_after("WALLET", passing, fault);
            }
            let other = app.new_isolate();
            let calls = (0..100).map(|at| if at % 2 == 0 { app.hello(&key) } else { app.hello(&key).to(&other) });
            let answers = join_all(calls.map(crate::support::Call::send)).await;
            answers.iter().for_each(|answer| assert_clear(answer, &[200, 503]));
            let paid = i64::try_from(answers.iter().filter(|answer| answer.status == 200).count()).unwrap();
            let books = settle(&app, &key).await;
            assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS), "{fault:?}");
        });
    }
}

#[test]
fn while_the_balance_or_the_usage_is_read() {
    for fault in [Fault::Before, Fault::After] {
        for path in ["/v1/balance", "/v1/usage"] {
            for passing in 0..2 {
                run(async |app| {
                    let key = app.with_busy_key().await;
                    app.hello(&key).send().await.expect(200);
                    app.faults.fail_object_after("WALLET", passing, fault);
                    assert_clear(&app.get(path).bearer(&key.key).send().await, &[500, 503]);
                    app.get(path).bearer(&key.key).send().await.expect(200);
                    assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
                    assert_eq!(settle(&app, &key).await.calls, 1);
                });
            }
        }
    }
}

#[test]
fn for_a_while_and_then_recovers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        for _ in 0..40 {
            app.faults.fail_object("WALLET", Fault::Before);
        }
        let mut paid = 1;
        for _ in 0..10 {
            let answer = app.hello(&key).send().await;
            assert_clear(&answer, &[200, 503]);
            paid += i64::from(answer.status == 200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let books = settle(&app, &key).await;
        assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS));
    });
}

#[test]
fn in_the_object_itself() {
    for point in [FaultPoint::BeforePersist, FaultPoint::AfterPersist, FaultPoint::Effect] {
        for delay_ms in [0, 1, 5, 38, 39, 40, 41, 42, 45, 80] {
            run(async |app| {
                let key = app.with_busy_key().await;
                app.hello(&key).send().await.expect(200);
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                app.objects.fail_next("WALLET", point);
                let mut paid = 1;
                for _ in 0..5 {
                    let answer = app.hello(&key).send().await;
                    assert_clear(&answer, &[200, 503]);
                    paid += i64::from(answer.status == 200);
                }
                assert!(paid >= 5, "one fault fails one call at most");
                let books = settle(&app, &key).await;
                assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS), "{point:?} at {delay_ms} ms");
            });
        }
    }
}

#[test]
fn while_credits_are_added() {
    for point in [FaultPoint::BeforePersist, FaultPoint::AfterPersist] {
        run(async |app| {
            let key = app.provision("1").await;
            let path = format!("/admin/v1/accounts/{}/credits", key.account_id);
            let call = || app.admin("POST", &path).body(r#"{"amount_usd":5}"#).idempotency_key("invoice");
            app.objects.fail_next("WALLET", point);
            assert_clear(&call().send().await, &[500, 503]);
            call().send().await.expect(200);
            assert_eq!(settle(&app, &key).await.credited, 6_000_000, "{point:?}");
        });
    }
}

#[test]
fn that_answers_long_after_it_was_given_up() {
    for slow_ms in [4_000, 5_500, 8_000, 14_000] {
        run(async |app| {
            let key = app.with_busy_key().await;
            app.hello(&key).send().await.expect(200);
            app.faults.slow_object("WALLET", slow_ms);
            let slow = join_all((0..20).map(|at| {
                let call = app.hello(&key);
                async move {
                    tokio::time::sleep(Duration::from_millis(at * 700)).await;
                    call.send().await
                }
            }));
            let recovery = async {
                tokio::time::sleep(Duration::from_millis(9_000)).await;
                app.faults.slow_object("WALLET", 0);
            };
            let (answers, ()) = tokio::join!(slow, recovery);
            answers.iter().for_each(|answer| assert_clear(answer, &[200, 503]));
            let paid = 1 + i64::try_from(answers.iter().filter(|answer| answer.status == 200).count()).unwrap();
            let books = settle(&app, &key).await;
            assert_eq!((books.calls, books.charged), (paid, paid * HELLO_MICROS), "{slow_ms} ms");
        });
    }
}

#[test]
fn a_statement_that_arrives_late_does_not_undo_a_newer_one() {
    run(async |app| {
        let rich = app.with_busy_key().await;
        let key = app.provision("0.02").await;
        app.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
        drop(rich);
        let other = app.new_isolate();
        app.upstream.latency_ms.set(6_000);
        app.upstream.always(Reply::chat("long", 10, 100));
        app.faults.slow_object("WALLET", 6_500);
        // The first asks for itself alone; its question is given up after 5 s, and the next one is for all four.
        let long = join_all((0..4).map(|at| {
            let call = app.hello(&key);
            async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                // Its client does not wait so long.
                let patience_ms = if at == 0 { 6_000 } else { 60_000 };
                tokio::time::timeout(Duration::from_millis(patience_ms), call.send()).await.ok()
            }
        }));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(3_000)).await;
            app.faults.slow_object("WALLET", 0);
            // The first question arrives meanwhile; then somebody else asks for all that is free.
            tokio::time::sleep(Duration::from_millis(3_600)).await;
            app.upstream.latency_ms.set(0);
            app.upstream.always(Reply::chat("short", 10, 30));
            let short = r#"{"model":"m1","messages":[{"role":"user","content":"x"}],"max_tokens":30}"#;
            join_all((0..30).map(|_| app.post("/v1/chat/completions").bearer(&key.key).body(short).to(&other).send()))
                .await
        };
        let (answers, others) = tokio::join!(long, meanwhile);
        answers.iter().flatten().for_each(|answer| assert_clear(answer, &[200, 402]));
        others.iter().for_each(|answer| assert_clear(answer, &[200, 402]));
        settle(&app, &key).await;
    });
}

#[test]
fn a_call_that_outlives_every_lease_still_pays_exactly() {
    for at_s in [20, 70, 130, 200] {
        run(async |app| {
            let rich = app.with_busy_key().await;
            let key = app.provision("0.01").await;
            app.set_limits(&key, 1_000_000, 10_000_000, 10_000).await;
            drop(rich);
            let other = app.new_isolate();
            app.upstream.latency_ms.set(235_000);
            // 10 × $10/M + 100 × $30/M: nearly all that is held for it.
            app.upstream.then(Reply::chat("long", 10, 100));
            let long = app.hello(&key).send();
            let meanwhile = async {
                tokio::time::sleep(Duration::from_secs(at_s)).await;
                // All that the long call does not hold is spent elsewhere, and nothing more.
                app.upstream.latency_ms.set(0);
                app.upstream.always(Reply::chat("short", 10, 30));
                let short = r#"{"model":"m1","messages":[{"role":"user","content":"x"}],"max_tokens":30}"#;
                for _ in 0..20 {
                    let call = app.post("/v1/chat/completions").bearer(&key.key).body(short).to(&other);
                    let answer = call.send().await;
                    assert!(matches!(answer.status, 200 | 402), "{}", answer.text());
                    if answer.status == 402 {
                        return;
                    }
                }
                panic!("20 calls of $0.001 on less than $0.01");
            };
            let (answer, ()) = tokio::join!(long, meanwhile);
            let answer = answer.expect(200);
            assert_eq!(answer.header("x-tokaroo-cost"), Some("0.0031"));
            let books = settle(&app, &key).await;
            assert!(books.calls >= 4 && books.charged == 3_100 + (books.calls - 1) * 1_000, "{at_s}: {books:?}");
        });
    }
}
