//! What Stripe tells: who is believed, and that order and repetition change nothing.

use guildhall_domain::billing::signature::sign;
use serde_json::json;

use super::{assert_books, balance_of, buy, open_checkout, pay, payments_of, session_of};
use crate::support::{Fault, WEBHOOK_SECRET, WITH_STRIPE, event, run, run_with};

#[test]
fn only_fresh_events_of_a_known_secret_are_believed() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let paid = pay(&app, &open_checkout(&app, &session.token, 10).await);
        let now_s = app.now_ms() / 1_000;
        for (secret, signed_s) in
            [("whsec_somebody_elses", now_s), (WEBHOOK_SECRET, now_s - 301), (WEBHOOK_SECRET, now_s + 301)]
        {
            app.tell_signed(&paid, secret, signed_s).await.expect(401);
        }
        app.post("/webhooks/stripe").json(&paid).send().await.expect(401);
        // Signed for another body.
        let signature = sign(b"{}", WEBHOOK_SECRET, now_s);
        let forged = app.post("/webhooks/stripe").rare(|head| head.stripe_signature = signature).json(&paid);
        forged.send().await.expect(401);
        assert_eq!(balance_of(&app, &session.token).await, 0.0);
        // The secret that is being rolled out, on the other path, with the oldest time that is taken.
        let body = paid.to_string();
        let signature = sign(body.as_bytes(), "whsec_fedcba9876543210", now_s - 299);
        let call = app.post("/api/webhooks/stripe").rare(|head| head.stripe_signature = signature).body(&body);
        assert_eq!(call.send().await.expect(200).json(), json!({ "received": true }));
        assert_eq!(balance_of(&app, &session.token).await, 10.0);
    });
}

#[test]
fn without_secrets_nobody_is_believed() {
    run(async |app| {
        let event = event("evt_1", "invoice.paid", app.now_ms(), json!({}));
        app.tell_signed(&event, "", app.now_ms() / 1_000).await.expect(401);
    });
}

#[test]
fn what_is_of_no_interest_is_acknowledged_and_nonsense_is_not() {
    run_with(WITH_STRIPE, async |app| {
        let now_ms = app.now_ms();
        app.tell(&event("evt_1", "invoice.paid", now_ms, json!({ "id": "in_1" }))).await.expect(200);
        // Somebody else's payment on the same Stripe account.
        let other = json!({ "id": "pi_other", "status": "succeeded", "amount": 500, "amount_received": 500 });
        app.tell(&event("evt_2", "payment_intent.succeeded", now_ms, other)).await.expect(200);
        app.tell(&event("evt_3", "charge.refunded", now_ms, json!({ "no": "id" }))).await.expect(400);
        app.tell(&json!({ "no": "event" })).await.expect(400);
    });
}

/// Cards of Stripe's test mode are play money: a secret of its left in a live deployment brings nobody any.
#[test]
fn live_mode_applies_no_event_of_stripes_test_mode() {
    for (mode, balance_usd) in [("sandbox", 10), ("live", 0)] {
        let settings = [&[("MODE", mode)], WITH_STRIPE].concat();
        run_with(&settings, async |app| {
            let session = app.sign_in("ada@example.com").await;
            let mut paid = pay(&app, &open_checkout(&app, &session.token, 10).await);
            paid["livemode"] = json!(false);
            app.tell(&paid).await.expect(200);
            assert_books(&app, &session.account_id, balance_usd, 0);
            paid["livemode"] = json!(true);
            paid["id"] = json!("evt_live");
            app.tell(&paid).await.expect(200);
            assert_books(&app, &session.account_id, 10, 0);
        });
    }
}

#[test]
fn events_are_not_limited_per_address() {
    run_with(WITH_STRIPE, async |app| {
        for number in 0..200 {
            let event = event(&format!("evt_{number}"), "invoice.paid", app.now_ms(), json!({}));
            app.tell(&event).await.expect(200);
        }
    });
}

#[test]
fn a_payment_is_credited_once_whatever_tells_of_it() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let completed = pay(&app, &checkout);
        let intent_id = completed["data"]["object"]["payment_intent"].as_str().unwrap();
        let intent = app.stripe.shelf.borrow()[intent_id].clone();
        let succeeded = event("evt_pi", "payment_intent.succeeded", app.now_ms(), intent);
        for event in [&succeeded, &completed, &completed, &succeeded] {
            app.tell(event).await.expect(200);
        }
        // The same news under another id.
        let mut again = completed.clone();
        again["id"] = "evt_again".into();
        app.tell(&again).await.expect(200);
        // Late news of what did not happen.
        let object = &completed["data"]["object"];
        app.tell(&event("evt_late", "checkout.session.expired", app.now_ms(), object.clone())).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "paid");
    });
}

#[test]
fn what_arrives_after_a_page_has_expired_is_credited_all_the_same() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let object = app.stripe.shelf.borrow()[session_of(&checkout)].clone();
        app.tell(&event("evt_1", "checkout.session.expired", app.now_ms(), object)).await.expect(200);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "expired");
        app.tell(&pay(&app, &checkout)).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
    });
}

#[test]
fn a_delayed_payment_counts_when_it_comes() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let mut completed = pay(&app, &checkout);
        completed["data"]["object"]["payment_status"] = "unpaid".into();
        app.tell(&completed).await.expect(200);
        assert_books(&app, &session.account_id, 0, 0);
        completed["data"]["object"]["payment_status"] = "paid".into();
        completed["type"] = "checkout.session.async_payment_succeeded".into();
        completed["id"] = "evt_later".into();
        app.tell(&completed).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        // Another one that never comes.
        let checkout = open_checkout(&app, &session.token, 10).await;
        let object = app.stripe.shelf.borrow()[session_of(&checkout)].clone();
        app.tell(&event("evt_f", "checkout.session.async_payment_failed", app.now_ms(), object)).await.expect(200);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "failed");
    });
}

#[test]
fn another_amount_or_currency_is_credited_by_nobody() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        for (field, value) in [("amount_total", json!(1)), ("currency", json!("jpy"))] {
            let mut completed = pay(&app, &open_checkout(&app, &session.token, 10).await);
            completed["data"]["object"][field] = value;
            app.tell(&completed).await.expect(200);
        }
        assert_books(&app, &session.account_id, 0, 0);
        assert!(app.log.borrow().iter().any(|line| line.contains("not what was asked for")));
    });
}

#[test]
fn an_event_that_fails_half_way_is_applied_once_when_it_comes_again() {
    for fault in [Fault::Before, Fault::After] {
        // Every write and every step of the wallet, one after the other.
        for passing in 0..8 {
            run_with(WITH_STRIPE, async |app| {
                let session = app.sign_in("ada@example.com").await;
                let paid = pay(&app, &open_checkout(&app, &session.token, 10).await);
                app.faults.fail_db_after(passing, fault);
                let first = app.tell(&paid).await;
                app.faults.clear();
                assert!(first.status == 500 || passing >= 7, "{passing}: {}", first.text());
                app.tell(&paid).await.expect(200);
                assert_books(&app, &session.account_id, 10, 0);
                let card = app.get("/v1/billing/card").bearer(&session.token).send().await.json();
                assert_eq!(card["card"]["last4"], "4242");
            });
        }
        run_with(WITH_STRIPE, async |app| {
            let session = app.sign_in("ada@example.com").await;
            let paid = pay(&app, &open_checkout(&app, &session.token, 10).await);
            app.faults.fail_object("WALLET", fault);
            app.tell(&paid).await.expect(500);
            app.tell(&paid).await.expect(200);
            assert_books(&app, &session.account_id, 10, 0);
        });
    }
}

#[test]
fn the_same_event_twice_at_once_credits_once() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let paid = pay(&app, &open_checkout(&app, &session.token, 10).await);
        let answers = crate::support::join_all((0..4).map(|_| app.tell(&paid))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_books(&app, &session.account_id, 10, 0);
    });
}

#[test]
fn a_card_that_stripe_takes_away_is_gone_and_one_that_is_renewed_is_shown() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        buy(&app, &session.token, 10).await;
        let method = app.database.text("SELECT payment_method_id FROM billing");
        let customer = app.database.text("SELECT customer_id FROM billing");
        let renewed = json!({ "id": method, "customer": customer,
            "card": { "brand": "visa", "last4": "1881", "exp_month": 1, "exp_year": 2040 } });
        app.tell(&event("evt_u", "payment_method.automatically_updated", app.now_ms(), renewed)).await.expect(200);
        let card = || async { app.get("/v1/billing/card").bearer(&session.token).send().await.json()["card"].clone() };
        assert_eq!(card().await["last4"], "1881");
        let detached = json!({ "id": method, "customer": null });
        app.tell(&event("evt_d", "payment_method.detached", app.now_ms(), detached)).await.expect(200);
        assert!(card().await.is_null());
    });
}
