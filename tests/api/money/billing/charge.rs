//! Charges of the saved card: lost answers, double clicks, declines.

use guildhall_domain::billing::sandbox::TestCard;
use serde_json::json;

use super::{assert_books, charge, pass_hours, payments_of, with_card};
use crate::support::{Fault, WITH_STRIPE, join_all, run_with};

#[test]
fn a_saved_card_is_charged_at_once() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let answer = charge(&app, &session, 20).await.expect(200).json();
        assert_eq!((answer["ok"].as_bool(), answer["balance_usd"].as_f64()), (Some(true), Some(20.0)));
        assert!(answer["activated_key"].is_null());
        // Without an amount it is what auto pay charges.
        let answer = app.post("/v1/billing/topup").bearer(&session.token).send().await.expect(200).json();
        assert_eq!(answer["balance_usd"], 40.0);
        assert_eq!(app.stripe.objects("pi_"), 2);
        let sent = app.stripe.sent.borrow();
        let call = sent.iter().find(|call| call.url.ends_with("/v1/payment_intents")).unwrap();
        let body = String::from_utf8(call.body.clone().unwrap()).unwrap();
        assert!(body.contains("off_session=true") && body.contains("confirm=true"), "{body}");
    });
}

#[test]
fn without_a_card_and_with_a_wrong_amount_nothing_is_charged() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let answer = charge(&app, &session, 20).await.expect(402).json();
        assert_eq!(answer["error"], "no_card");
        let session = with_card(&app, TestCard::Pays).await;
        for body in [json!({ "amount_usd": 4 }), json!({ "amount_usd": 5.005 }), json!({ "activate_key_name": " " })] {
            app.post("/v1/billing/charge").bearer(&session.token).json(&body).send().await.expect(400);
        }
        let key = app.provision("0").await;
        app.post("/v1/billing/charge").bearer(&key.key).send().await.expect(403);
        assert_eq!(app.stripe.count("POST", "/v1/payment_intents"), 0);
    });
}

#[test]
fn a_refused_card_is_payment_failed() {
    for (card, code) in [(TestCard::FailsLater, "declined"), (TestCard::AsksHolder, "authentication")] {
        run_with(WITH_STRIPE, async |app| {
            let session = with_card(&app, card).await;
            let answer = charge(&app, &session, 20).await.expect(402).json();
            assert_eq!(answer["error"], "payment_failed");
            assert!(answer["message"].as_str().unwrap().contains(code), "{answer}");
            assert_books(&app, &session.account_id, 0, 0);
            assert_eq!(payments_of(&app, &session.token).await[0]["status"], "failed");
            // It is over: another one may be tried.
            charge(&app, &session, 20).await.expect(402);
        });
    }
}

#[test]
fn a_lost_answer_charges_nobody_twice() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        // Both tries reach Stripe and neither answer reaches us.
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        charge(&app, &session, 20).await.expect(503);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "pending");
        // Its owner tries again, without a key of their own: it is the same payment.
        let answer = charge(&app, &session, 20).await.expect(200).json();
        assert_eq!(answer["balance_usd"], 20.0);
        assert_eq!(app.stripe.objects("ch_"), 1, "the card was charged once");
        assert_eq!(payments_of(&app, &session.token).await.len(), 1);
        // The next one is another.
        charge(&app, &session, 20).await.expect(200);
        assert_books(&app, &session.account_id, 40, 0);
    });
}

#[test]
fn an_owner_who_asks_again_before_the_credit_came_is_charged_once() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.faults.fail_object("WALLET", Fault::Before);
        charge(&app, &session, 20).await.expect(500);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "paid");
        let answer = charge(&app, &session, 20).await.expect(200).json();
        assert_eq!(answer["balance_usd"], 20.0);
        assert_eq!((app.stripe.objects("ch_"), payments_of(&app, &session.token).await.len()), (1, 1));
        // However often the wallet fails, and whoever takes over what was begun meanwhile.
        app.faults.fail_object("WALLET", Fault::Before);
        charge(&app, &session, 25).await.expect(500);
        app.faults.fail_object("WALLET", Fault::Before);
        charge(&app, &session, 25).await.expect(500);
        app.pass_ms(61_000).await;
        charge(&app, &session, 25).await.expect(200);
        assert_eq!((app.stripe.objects("ch_"), payments_of(&app, &session.token).await.len()), (2, 2));
        // Another amount is another charge, and credits both.
        app.faults.fail_object("WALLET", Fault::Before);
        charge(&app, &session, 30).await.expect(500);
        charge(&app, &session, 10).await.expect(200);
        assert_books(&app, &session.account_id, 85, 0);
    });
}

#[test]
fn an_owner_who_asks_for_something_else_after_a_lost_answer_gets_both() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        charge(&app, &session, 20).await.expect(503);
        charge(&app, &session, 30).await.expect(200);
        assert_books(&app, &session.account_id, 50, 0);
        assert_eq!(app.stripe.objects("ch_"), 2);
    });
}

#[test]
fn a_charge_that_never_arrived_is_not_made_for_whoever_asks_for_another() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.set_down(true);
        charge(&app, &session, 500).await.expect(503);
        app.stripe.set_down(false);
        charge(&app, &session, 10).await.expect(409);
        app.pass_ms(91_000).await;
        charge(&app, &session, 10).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        assert_eq!(app.stripe.objects("ch_"), 1);
        let payments = payments_of(&app, &session.token).await;
        assert_eq!((&payments[0]["status"], &payments[1]["status"]), (&json!("paid"), &json!("failed")));
    });
}

#[test]
fn a_refusal_that_says_nothing_of_the_card_is_no_decline() {
    let refusals = [
        (302, ""),
        (400, "idempotency_error"),
        (401, "invalid_request_error"),
        (403, "invalid_request_error"),
        (408, ""),
        (409, "invalid_request_error"),
        (413, ""),
        (429, "rate_limit_error"),
    ];
    for (status, kind) in refusals {
        run_with(WITH_STRIPE, async |app| {
            let session = with_card(&app, TestCard::Pays).await;
            app.stripe.say_after(0, status, kind);
            app.stripe.say_after(0, status, kind);
            charge(&app, &session, 20).await.expect(503);
            assert_eq!(payments_of(&app, &session.token).await[0]["status"], "pending", "{status} {kind}");
            charge(&app, &session, 20).await.expect(200);
            assert_books(&app, &session.account_id, 20, 0);
        });
    }
}

#[test]
fn after_a_decline_the_same_key_tries_the_card_again() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::FailsLater).await;
        let call = |amount: u32| {
            let call = app.post("/v1/billing/charge").bearer(&session.token).idempotency_key("mine");
            call.json(&json!({ "amount_usd": amount })).send()
        };
        call(20).await.expect(402);
        call(20).await.expect(402);
        assert_eq!(app.stripe.objects("pi_"), 2);
        for (id, object) in app.stripe.shelf.borrow_mut().iter_mut() {
            if id.starts_with("pm_") {
                object["number"] = TestCard::Pays.number().into();
            }
        }
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        call(20).await.expect(503);
        call(30).await.expect(422);
        call(20).await.expect(422);
        app.pass_ms(25 * 3_600_000).await;
        call(30).await.expect(422);
        assert_eq!(app.stripe.objects("ch_"), 1);
    });
}

#[test]
fn the_same_request_by_its_own_key_is_the_same_payment() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let call = || {
            let call = app.post("/v1/billing/charge").bearer(&session.token).idempotency_key("mine");
            call.json(&json!({ "amount_usd": 20 })).send()
        };
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        call().await.expect(503);
        call().await.expect(200);
        call().await.expect(200);
        assert_books(&app, &session.account_id, 20, 0);
        assert_eq!(app.stripe.objects("ch_"), 1);
    });
}

#[test]
fn a_double_click_charges_once() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.latency_ms.set(500);
        let answers = join_all((0..5).map(|_| charge(&app, &session, 20))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409]);
        assert_books(&app, &session.account_id, 20, 0);
        assert_eq!(app.stripe.objects("ch_"), 1);
    });
}

#[test]
fn an_isolate_that_dies_while_it_charges_loses_no_money() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.latency_ms.set(1_000);
        tokio::select! {
            answer = charge(&app, &session, 20) => panic!("{answer:?}"),
            () = app.pass_ms(500) => app.crash_isolate(),
        }
        assert_eq!(app.stripe.objects("ch_"), 1);
        // Stripe had charged; the lease of the dead isolate keeps the next one waiting for a minute.
        app.stripe.latency_ms.set(0);
        // The dead isolate's lease of the session's limits ends first.
        app.pass_ms(2_000).await;
        charge(&app, &session, 20).await.expect(409);
        app.pass_ms(61_000).await;
        charge(&app, &session, 20).await.expect(200);
        assert_books(&app, &session.account_id, 20, 0);
        assert_eq!(app.stripe.objects("ch_"), 1);
    });
}

#[test]
fn whatever_write_fails_the_books_are_right_in_the_end() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..9 {
            run_with(WITH_STRIPE, async |app| {
                let session = with_card(&app, TestCard::Pays).await;
                app.faults.fail_db_after(passing, fault);
                charge(&app, &session, 20).await;
                app.faults.clear();
                app.pass_ms(61_000).await;
                // The hour's job comes before anybody asks again.
                guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
                pass_hours(&app, 1).await;
                guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
                let charged = app.stripe.objects("ch_");
                assert_books(&app, &session.account_id, 20 * i64::try_from(charged).unwrap(), 0);
                let open = app.database.number("SELECT COUNT(*) FROM payments WHERE is_open = 1");
                assert_eq!(open, 0, "{passing} {fault:?}");
            });
        }
    }
}
