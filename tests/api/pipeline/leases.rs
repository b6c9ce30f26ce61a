//! Rate limits of busy keys: an isolate leases a part, and the limit holds all the same.

use std::rc::Rc;
use std::time::Duration;

use durable_objects::rate_limiter::protocol::{Command, Lease, Limits, RateLimiter, name_of_key};
use guildhall::app::App;

use crate::support::{Answer, Key, TestApp, join_all, run};

async fn cheap_call(app: &TestApp, key: &Key, isolate: &Rc<App>) -> Answer {
    app.get("/v1/usage/none").bearer(&key.key).to(isolate).send().await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// A key with a model, money and limits that are leased.
async fn leased_key(app: &TestApp, per_minute: u32, concurrent: u32) -> Key {
    let key = app.with_model().await;
    app.answer_hello();
    app.set_limits(&key, per_minute, 100_000, concurrent).await;
    key
}

#[test]
fn two_isolates_never_pass_more_than_the_limit_and_in_the_end_not_less() {
    run(async |app| {
        let key = leased_key(&app, 600, 100).await;
        let isolates = [app.isolate(), app.new_isolate()];
        let (mut passed, mut refused) = (0, 0);
        let began_ms = app.now_ms();
        while app.now_ms() - began_ms < 50_000 {
            for (isolate, burst) in isolates.iter().zip([7, 3]) {
                let answers = join_all((0..burst).map(|_| cheap_call(&app, &key, isolate))).await;
                passed += count(&answers, 404);
                refused += count(&answers, 429);
                assert_eq!(count(&answers, 404) + count(&answers, 429), burst);
            }
            assert!(passed <= 600, "{passed} passed in one minute");
            tokio::time::sleep(Duration::from_millis(if refused > 0 { 500 } else { 5 })).await;
        }
        assert_eq!(passed, 600, "what an idle lease held has come back");
        assert!(refused > 0);
    });
}

#[test]
fn all_at_once_over_two_isolates_pass_no_more_than_the_limit() {
    run(async |app| {
        let key = leased_key(&app, 600, 2_000).await;
        let other = app.new_isolate();
        let here = app.isolate();
        let calls = (0..1_000).map(|at| cheap_call(&app, &key, if at % 2 == 0 { &here } else { &other }));
        let answers = join_all(calls).await;
        let passed = count(&answers, 404);
        assert!((300..=600).contains(&passed), "{passed}");
        assert_eq!(passed + count(&answers, 429), 1_000);
        for refused in answers.iter().filter(|answer| answer.status == 429) {
            assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        }
    });
}

#[test]
fn the_window_of_a_leased_key_opens_again() {
    run(async |app| {
        let key = leased_key(&app, 600, 100).await;
        let here = app.isolate();
        let number = |answer: &Answer, header| answer.header(header).unwrap().parse::<u64>().unwrap();
        // One call runs all the time, and its lease is kept up.
        app.upstream.latency_ms.set(90_000);
        let long = app.hello(&key).send();
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let mut passed = 1;
            let refused = loop {
                let answer = cheap_call(&app, &key, &here).await;
                if answer.status == 429 {
                    break answer;
                }
                passed += 1;
                assert_eq!(answer.header("x-ratelimit-limit"), Some("600"));
                assert_eq!(answer.header("x-ratelimit-remaining"), Some(&*(600 - passed).to_string()));
            };
            assert_eq!(passed, 600);
            let mut wait_s = number(&refused, "retry-after");
            assert!((50..=60).contains(&wait_s), "{wait_s}");
            assert_eq!(number(&refused, "x-ratelimit-reset"), wait_s);
            // Believed, renewed and asked for again, it is the same refusal.
            for _ in 0..12 {
                tokio::time::sleep(Duration::from_millis(250)).await;
                let again = cheap_call(&app, &key, &here).await.expect(429);
                assert_eq!(again.json()["limit"], 600);
                assert_eq!(number(&again, "retry-after"), number(&again, "x-ratelimit-reset"));
                assert!((wait_s - 1..=wait_s).contains(&number(&again, "retry-after")));
                wait_s = number(&again, "retry-after");
            }
            tokio::time::sleep(Duration::from_secs(wait_s)).await;
            assert_eq!(cheap_call(&app, &key, &here).await.status, 404);
        };
        let (long, ()) = tokio::join!(long, meanwhile);
        long.expect(200);
    });
}

#[test]
fn what_is_not_used_is_given_back() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 100).await;
        let here = app.isolate();
        for _ in 0..10 {
            assert_eq!(cheap_call(&app, &key, &here).await.status, 404);
        }
        let held = app.limiter(&key, &Command::Status);
        assert!(held.minute_count > 10 && held.slots > 0, "leased: {held:?}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.minute_count, status.hour_count, status.slots, status.leases), (10, 10, 0, 0));
        let answer = cheap_call(&app, &key, &app.new_isolate()).await;
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("5989"));
    });
}

#[test]
fn a_call_that_is_dropped_while_it_waits_holds_nothing() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 100).await;
        let here = app.isolate();
        app.faults.slow_object("RATE_LIMITER", 100);
        let first = cheap_call(&app, &key, &here);
        let dropped = tokio::time::timeout(Duration::from_millis(50), cheap_call(&app, &key, &here));
        let (first, dropped) = tokio::join!(first, dropped);
        assert!(first.status == 404 && dropped.is_err());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = app.limiter(&key, &Command::Status);
        assert_eq!((status.minute_count, status.slots, status.leases), (1, 0, 0));
    });
}

#[test]
fn a_client_that_calls_every_few_seconds_pays_for_its_calls_only() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 100).await;
        let here = app.isolate();
        for _ in 0..12 {
            assert_eq!(cheap_call(&app, &key, &here).await.status, 404);
            tokio::time::sleep(Duration::from_millis(4_300)).await;
        }
        assert_eq!(app.limiter(&key, &Command::Status).hour_count, 12);
    });
}

#[test]
fn as_many_calls_run_at_once_as_allowed_and_no_more() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 100).await;
        app.upstream.latency_ms.set(3_000);
        let answers = join_all((0..130).map(|_| app.hello(&key).send())).await;
        assert_eq!((count(&answers, 200), count(&answers, 429)), (100, 30));
        let other = app.new_isolate();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let calls = (0..260).map(|at| if at % 2 == 0 { app.hello(&key) } else { app.hello(&key).to(&other) });
        let answers = join_all(calls.map(crate::support::Call::send)).await;
        let passed = count(&answers, 200);
        assert!((50..=100).contains(&passed), "{passed} over two isolates");
        assert_eq!(passed + count(&answers, 429), 260);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(app.limiter(&key, &Command::Status).slots, 0, "all places are free again");
    });
}

#[test]
fn an_isolate_with_a_call_now_and_then_leaves_the_places_to_the_others() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 32).await;
        app.upstream.latency_ms.set(200);
        let isolates: Vec<_> = (0..10).map(|_| app.new_isolate()).collect();
        for _ in 0..6 {
            let answers = join_all(isolates.iter().map(|isolate| app.hello(&key).to(isolate).send())).await;
            assert_eq!(count(&answers, 200), 10, "ten run, and 32 may");
            let held = app.limiter(&key, &Command::Status).slots;
            assert!(held <= 20, "{held} places for ten calls, one at a time in each isolate");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
}

#[test]
fn a_want_of_places_is_not_remembered_for_long() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 32).await;
        let all = Lease {
            id: "another isolate".into(),
            limits: Limits { per_minute: 6_000, per_hour: 100_000, concurrent: 32, per_second: 0 },
            used: 0,
            want_requests: 1,
            want_slots: 32,
            expires_at_ms: app.now_ms() + 200,
            secret_at_ms: None,
        };
        app.ask::<RateLimiter>(&name_of_key(&app.key_id(&key)), &Command::Lease(all));
        let refused = app.hello(&key).send().await.expect(429);
        assert_eq!((&refused.json()["limit"], refused.header("retry-after")), (&32.into(), Some("1")));
        tokio::time::sleep(Duration::from_millis(200)).await;
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn long_calls_keep_their_places_to_the_end() {
    // Also where the object is far away: a lease is asked for longer than it is believed.
    for away_ms in [0, 400] {
        run(async |app| {
            let key = leased_key(&app, 6_000, 64).await;
            app.faults.slow_object("RATE_LIMITER", away_ms);
            app.upstream.latency_ms.set(100_000);
            let other = app.new_isolate();
            let long = join_all((0..64).map(|_| app.hello(&key).send()));
            let meanwhile = async {
                for second in [1, 10, 18, 25, 60, 95] {
                    for part_ms in [200, 500, 800] {
                        let until_ms = 1_800_000_000_000 + second * 1_000 + part_ms;
                        let left_ms = u64::try_from(until_ms - app.now_ms()).unwrap_or(0);
                        tokio::time::sleep(Duration::from_millis(left_ms)).await;
                        for isolate in [&other, &app.isolate()] {
                            let refused = cheap_call(&app, &key, isolate).await;
                            assert_eq!(refused.status, 429, "64 calls still run after {second} s");
                            assert_eq!(refused.json()["limit"], 64, "which limit it is");
                        }
                    }
                }
            };
            let (answers, ()) = tokio::join!(long, meanwhile);
            assert_eq!(count(&answers, 200), 64);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(cheap_call(&app, &key, &other).await.status, 404);
        });
    }
}

#[test]
fn a_revoked_key_is_refused_when_its_lease_ends() {
    run(async |app| {
        let key = leased_key(&app, 6_000, 100).await;
        let isolates = [app.isolate(), app.new_isolate()];
        for isolate in &isolates {
            app.hello(&key).to(isolate).send().await.expect(200);
        }
        app.limiter(&key, &Command::Revoke);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        let sent = app.upstream.sent.borrow().len();
        for _ in 0..3 {
            for isolate in &isolates {
                let refused = app.hello(&key).to(isolate).send().await.expect(401);
                assert_eq!(refused.json()["error"], "Invalid or expired credential");
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        assert_eq!(app.upstream.sent.borrow().len(), sent);
        app.limiter(&key, &Command::Restore);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn a_busy_revoked_key_is_refused_within_its_lease() {
    run(async |app| {
        let key = leased_key(&app, 60_000, 100).await;
        let here = app.isolate();
        let mut revoked_ms = None;
        for step in 0..400 {
            if step == 200 {
                app.limiter(&key, &Command::Revoke);
                revoked_ms = Some(app.now_ms());
            }
            let status = cheap_call(&app, &key, &here).await.status;
            let late = revoked_ms.is_some_and(|at| app.now_ms() - at > 1_050);
            assert!(status == 404 && !late || status == 401, "{status} at step {step}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn a_warm_call_asks_nobody_before_the_upstream() {
    run(async |app| {
        let key = leased_key(&app, 60_000, 1_000).await;
        app.upstream.latency_ms.set(2);
        let mut asked = Vec::new();
        for _ in 0..800 {
            let before = (app.faults.db_calls.get(), app.faults.object_calls.get());
            app.hello(&key).send().await.expect(200);
            let (db, objects) = *app.faults.calls_before_upstream.borrow().last().unwrap();
            asked.push((db - before.0, objects - before.1));
        }
        // About 250 a second. The first ones warm it up; after that only a renewal may be in the way, once a second.
        let asking: Vec<_> = (0..asked.len()).filter(|at| asked[*at] != (0, 0)).collect();
        assert!(asking.len() <= 15, "{asking:?}");
        assert!(asking.iter().filter(|at| **at >= 400).count() <= 4, "{asking:?}");
    });
}

#[test]
fn a_key_in_steady_use_hardly_ever_waits() {
    run(async |app| {
        let key = leased_key(&app, 60_000, 1_000).await;
        app.upstream.latency_ms.set(5);
        let mut waited = 0;
        for at in 0..1_000 {
            let (began_ms, before) = (app.now_ms(), (app.faults.db_calls.get(), app.faults.object_calls.get()));
            app.hello(&key).send().await.expect(200);
            let at_upstream = *app.faults.calls_before_upstream.borrow().last().unwrap();
            waited += u32::from(at_upstream != before);
            assert!(at == 0 || app.now_ms() - began_ms <= 12, "call {at} took {} ms", app.now_ms() - began_ms);
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        assert!(waited <= 30, "{waited} of 1000");
    });
}

#[test]
fn a_burst_on_a_cold_isolate_asks_the_limiter_a_few_times_only() {
    run(async |app| {
        let key = leased_key(&app, 60_000, 1_000).await;
        let before = app.faults.calls_of("RATE_LIMITER");
        let answers = join_all((0..300).map(|_| app.hello(&key).send())).await;
        assert_eq!(count(&answers, 200), 300);
        let asked = app.faults.calls_of("RATE_LIMITER") - before;
        assert!(asked <= 20, "{asked} calls of the limiter for 300 requests");
    });
}
