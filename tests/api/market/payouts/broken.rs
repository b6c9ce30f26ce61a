//! Withdrawals of which something breaks: nothing is paid twice, nothing is lost.

use std::time::Duration;

use durable_objects::local::FaultPoint;
use serde_json::json;

use crate::support::{Agent, Answer, Fault, TestApp, WITH_STRIPE, join_all, run_with};

/// What may be told of a withdrawal while things break.
#[track_caller]
fn assert_clear(answer: &Answer) {
    assert!([0, 200, 400, 409, 500, 502, 503].contains(&answer.status), "{}: {}", answer.status, answer.text());
    for secret in ["tr_", "acct_", "test:", "WALLET"] {
        assert!(answer.status == 200 || !answer.text().contains(secret), "{}", answer.text());
    }
}

/// Time for leases and for the hour's job, twice: what one hour could not bring to its end, the next does.
async fn settle(app: &TestApp) {
    app.faults.clear();
    app.stripe.heal();
    for _ in 0..2 {
        app.run_hour().await;
    }
}

/// Whoever was told "paid" is paid once; whoever was told "no" is not; the hour's job decides the rest.
async fn assert_decided(app: &TestApp, agent: &Agent, answer: &Answer, deposited: i64) {
    assert_clear(answer);
    settle(app).await;
    app.assert_nothing_lost(agent, deposited);
    let paid = app.paid_out().len();
    match answer.status {
        200 => assert_eq!(paid, 1, "told that it is paid"),
        400 | 502 => assert_eq!(paid, 0, "told that it is not: {}", answer.text()),
        _ => assert!(paid <= 1),
    }
}

#[test]
fn a_lost_answer_of_stripe_is_found_again() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        // The account, the search, and the transfer whose first answer is lost.
        app.stripe.fail_after(2, Fault::After);
        app.withdraw(&agent, 300, "w").await.expect(200);
        assert_eq!(app.paid_out(), [300]);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn when_stripe_says_nothing_the_money_waits_and_the_hour_decides() {
    for (fault, asks_again) in
        [(Fault::Before, false), (Fault::After, false), (Fault::Before, true), (Fault::After, true)]
    {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.stripe.fail_after(2, fault);
            app.stripe.fail(fault);
            let answer = app.withdraw(&agent, 300, "w").await.expect(503);
            assert!(answer.json()["error"].as_str().unwrap().contains("not made twice"), "{}", answer.text());
            assert!(answer.header("retry-after").is_some());
            assert_eq!(app.wallet(&agent).await["balanceCents"], 700, "it is not there to be spent meanwhile");
            if asks_again {
                app.withdraw(&agent, 300, "w").await.expect(200);
            } else {
                app.run_hour().await;
                app.withdraw(&agent, 300, "w").await.expect(200);
            }
            assert_eq!(app.paid_out(), [300], "{fault:?}");
            settle(&app).await;
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn after_a_day_the_transfer_is_searched_for_and_not_sent_again() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        app.stripe.fail_after(2, Fault::After);
        app.stripe.fail(Fault::After);
        app.withdraw(&agent, 300, "w").await.expect(503);
        assert_eq!(app.paid_out(), [300], "it was made, and nobody heard of it");
        // Stripe forgets the names of calls.
        app.stripe.shelf.borrow_mut().retain(|id, _| !id.starts_with("idem:"));
        app.pass_ms(30 * 3_600_000).await;
        settle(&app).await;
        assert_eq!(app.paid_out(), [300]);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn what_stripe_refuses_comes_back() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        // The account and the search, then the transfer.
        app.stripe.say_after(2, 400, "invalid_request_error");
        let answer = app.withdraw(&agent, 300, "w").await.expect(502);
        assert!(answer.json()["error"].as_str().unwrap().contains("back in your wallet"), "{}", answer.text());
        let wallet = app.wallet(&agent).await;
        assert_eq!(wallet["balanceCents"], 1_000);
        let kinds: Vec<_> = wallet["transactions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (&line["type"], &line["description"]))
            .collect();
        assert_eq!(kinds[0], (&json!("DEPOSIT"), &json!("Withdrawal returned")));
        assert_eq!(kinds[1].0, "WITHDRAWAL");
        app.withdraw(&agent, 300, "w").await.expect(502);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 1_000, "given back once");
        app.assert_nothing_lost(&agent, 1_000);
        app.withdraw(&agent, 300, "another").await.expect(200);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn a_refusal_that_says_nothing_of_the_transfer_gives_nothing_back() {
    for (status, kind) in [(401, ""), (403, "invalid_request_error"), (409, "api_error"), (400, "idempotency_error")] {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.stripe.say_after(2, status, kind);
            app.stripe.say_after(0, status, kind);
            app.withdraw(&agent, 300, "w").await.expect(503);
            assert_eq!(app.wallet(&agent).await["balanceCents"], 700, "{status} {kind}");
            settle(&app).await;
            assert_eq!(app.paid_out(), [300]);
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn whoever_asks_again_is_told_though_the_bank_account_is_closed() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        app.stripe.fail_after(2, Fault::After);
        app.stripe.fail(Fault::After);
        app.withdraw(&agent, 300, "w").await.expect(503);
        for (id, object) in app.stripe.shelf.borrow_mut().iter_mut() {
            if id.starts_with("acct_") {
                object["payouts_enabled"] = false.into();
            }
        }
        app.withdraw(&agent, 300, "w").await.expect(200);
        app.withdraw(&agent, 300, "another").await.expect(400);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn while_stripe_is_down_nothing_is_taken() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        app.stripe.set_down(true);
        app.withdraw(&agent, 300, "w").await.expect(503);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 1_000);
        app.stripe.set_down(false);
        app.withdraw(&agent, 300, "w").await.expect(200);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn the_wallet_fails_at_any_step() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..4 {
            run_with(WITH_STRIPE, async |app| {
                let agent = app.banked_agent("Lily", 1_000).await;
                app.faults.fail_object_after("WALLET", passing, fault);
                let answer = app.withdraw(&agent, 300, "w").await;
                assert_decided(&app, &agent, &answer, 1_000).await;
            });
        }
    }
}

#[test]
fn the_wallet_fails_while_money_comes_back() {
    for fault in [Fault::Before, Fault::After] {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.stripe.say_after(2, 400, "invalid_request_error");
            app.faults.fail_object_after("WALLET", 1, fault);
            app.withdraw(&agent, 300, "w").await.expect(503);
            settle(&app).await;
            assert_eq!(app.wallet(&agent).await["balanceCents"], 1_000);
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn the_database_fails_at_any_step() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..8 {
            run_with(WITH_STRIPE, async |app| {
                let agent = app.banked_agent("Lily", 1_000).await;
                app.faults.fail_db_after(passing, fault);
                let answer = app.withdraw(&agent, 300, "w").await;
                assert_decided(&app, &agent, &answer, 1_000).await;
            });
        }
    }
}

#[test]
fn a_refusal_that_could_not_be_written_down_is_not_paid_later() {
    for passing in 0..8 {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 100).await;
            app.faults.fail_db_after(passing, Fault::Before);
            let answer = app.withdraw(&agent, 300, "w").await;
            assert_clear(&answer);
            app.faults.clear();
            app.deposit(&agent, 900).await.expect(200);
            settle(&app).await;
            assert!(app.paid_out().is_empty(), "{passing}: nobody was told that it would be");
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn an_isolate_dies_at_any_moment() {
    for at_ms in (0..60).step_by(3) {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.stripe.latency_ms.set(9);
            let crash = async {
                tokio::time::sleep(Duration::from_millis(at_ms)).await;
                app.crash_isolate();
            };
            let (answer, ()) = tokio::join!(app.withdraw(&agent, 300, "w"), crash);
            assert_decided(&app, &agent, &answer, 1_000).await;
            // And whoever asks again is told the truth.
            let again = app.withdraw(&agent, 300, "w").await;
            assert!(again.status == 200 || again.status == 400, "{}", again.text());
            assert_eq!(app.paid_out().len(), usize::from(again.status == 200));
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn the_hours_job_dies_or_runs_twice() {
    for at_ms in (0..50).step_by(5) {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.stripe.fail_after(2, Fault::Before);
            app.stripe.fail(Fault::Before);
            app.withdraw(&agent, 300, "w").await.expect(503);
            app.stripe.latency_ms.set(9);
            app.pass_ms(300_000).await;
            let job = || async { guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await };
            // One is cut off where it is; two others run beside each other; and the request is sent again.
            _ = tokio::time::timeout(Duration::from_millis(at_ms), job()).await;
            tokio::join!(job(), job(), async { drop(app.withdraw(&agent, 300, "w").await) });
            settle(&app).await;
            assert_eq!(app.paid_out(), [300], "at {at_ms} ms");
            app.assert_nothing_lost(&agent, 1_000);
        });
    }
}

#[test]
fn objects_that_fail_inside_keep_their_word() {
    for point in [FaultPoint::BeforePersist, FaultPoint::AfterPersist] {
        run_with(WITH_STRIPE, async |app| {
            let agent = app.banked_agent("Lily", 1_000).await;
            app.objects.fail_next("WALLET", point);
            let calls = ["w0", "w1", "w2"].map(|key| app.withdraw(&agent, 400, key));
            let answers = join_all(calls).await;
            answers.iter().for_each(assert_clear);
            settle(&app).await;
            app.assert_nothing_lost(&agent, 1_000);
            assert!(app.paid_out().len() <= 2);
        });
    }
}
