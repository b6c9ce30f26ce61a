//! The rate limiter fails.

use durable_objects::local::FaultPoint;
use durable_objects::rate_limiter::protocol::Command;

use super::{assert_clear, settle};
use crate::support::{Fault, HELLO_MICROS, join_all, run};

#[test]
fn an_ordinary_key_is_answered_503_and_pays_nothing() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_model().await;
            app.answer_hello();
            app.faults.fail_object("RATE_LIMITER", fault);
            assert_clear(&app.hello(&key).send().await, &[503]);
            assert!(app.upstream.sent.borrow().is_empty(), "unlimited is not the answer to a failing limiter");
            app.hello(&key).send().await.expect(200);
            assert_eq!(settle(&app, &key).await.charged, HELLO_MICROS);
        });
    }
}

#[test]
fn lost_answers_do_not_lock_an_ordinary_key() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        for _ in 0..5 {
            app.faults.fail_object("RATE_LIMITER", Fault::After);
            assert_clear(&app.hello(&key).send().await, &[503]);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        app.hello(&key).send().await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(app.limiter(&key, &Command::Status).slots, 0);
    });
}

#[test]
fn a_release_that_is_lost_does_not_lock_an_ordinary_key_for_long() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_model().await;
            app.answer_hello();
            for _ in 0..5 {
                app.faults.fail_object_after("RATE_LIMITER", 1, fault);
                app.hello(&key).send().await.expect(200);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            app.hello(&key).send().await.expect(200);
        });
    }
}

#[test]
fn a_busy_key_fails_at_most_as_often_as_its_limiter() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..6 {
            run(async |app| {
                let key = app.with_busy_key().await;
                app.set_limits(&key, 6_000, 100_000, 100).await;
                app.faults.fail_object_after("RATE_LIMITER", passing, fault);
                let mut paid = 0;
                for _ in 0..60 {
                    let answer = app.hello(&key).send().await;
                    assert_clear(&answer, &[200, 503]);
                    paid += i64::from(answer.status == 200);
                    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
                }
                assert!(paid >= 59, "{paid} of 60 with one fault");
                assert_eq!(settle(&app, &key).await.calls, paid);
                let status = app.limiter(&key, &Command::Status);
                assert_eq!(status.slots, 0, "{fault:?} after {passing}");
                let counted = i64::from(status.hour_count);
                assert!(
                    (paid..=paid + 40).contains(&counted),
                    "{counted} counted for {paid}, {fault:?} after {passing}"
                );
            });
        }
    }
}

#[test]
fn a_burst_on_a_busy_key_survives_a_lost_answer() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.with_busy_key().await;
            app.set_limits(&key, 6_000, 100_000, 100).await;
            app.faults.fail_object("RATE_LIMITER", fault);
            let answers = join_all((0..50).map(|_| app.hello(&key).send())).await;
            answers.iter().for_each(|answer| assert_clear(answer, &[200, 503]));
            let paid = answers.iter().filter(|answer| answer.status == 200).count();
            assert!(paid >= 49, "one fault fails one call, not {}", 50 - paid);
            assert_eq!(settle(&app, &key).await.calls, i64::try_from(paid).unwrap());
        });
    }
}

#[test]
fn a_limiter_that_forgets_everything_limits_on() {
    run(async |app| {
        let key = app.with_model().await;
        app.objects.fail_next("RATE_LIMITER", FaultPoint::BeforePersist);
        assert_clear(&app.get("/v1/balance").bearer(&key.key).send().await, &[503]);
        app.set_limits(&key, 3, 1_000, 5).await;
        app.objects.restart();
        for _ in 0..3 {
            app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        }
        app.get("/v1/balance").bearer(&key.key).send().await.expect(429);
    });
}

#[test]
fn a_failing_limiter_gives_no_free_keys() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..2 {
            run(async |app| {
                app.faults.fail_object_after("RATE_LIMITER", passing, fault);
                let refused = app.post("/v1/auth/provision").send().await;
                assert_clear(&refused, &[503]);
                assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 0);
                app.post("/v1/auth/provision").send().await.expect(200);
            });
        }
    }
}

#[test]
fn a_slow_limiter_is_waited_for_or_503_and_never_a_limit() {
    for (per_minute, per_hour, concurrent) in [(60, 1_000, 50), (6_000, 100_000, 100)] {
        for slow_ms in [800, 1_500, 4_000] {
            run(async |app| {
                let key = app.with_model().await;
                app.set_limits(&key, per_minute, per_hour, concurrent).await;
                app.answer_hello();
                app.faults.slow_object("RATE_LIMITER", slow_ms);
                let answers = join_all((0..20).map(|_| app.hello(&key).send())).await;
                answers.iter().for_each(|answer| assert_clear(answer, &[200, 503]));
                app.faults.clear();
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                app.hello(&key).send().await.expect(200);
            });
        }
    }
}
