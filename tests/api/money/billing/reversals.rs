//! Refunds and disputes: what was credited goes back, and no balance goes below zero.

use serde_json::{Value, json};

use super::{assert_books, buy, open_checkout, pay, payments_of, session_of};
use crate::support::{Fault, Session, TestApp, WITH_STRIPE, event, run_with};

/// The charge behind a paid checkout.
pub fn charge_of(app: &TestApp, checkout: &Value) -> Value {
    let shelf = app.stripe.shelf.borrow();
    let intent = shelf[session_of(checkout)]["payment_intent"].as_str().unwrap();
    shelf[shelf[intent]["latest_charge"].as_str().unwrap()].clone()
}

/// The event of a refund: so much of the charge has gone back in all.
pub fn refund(app: &TestApp, checkout: &Value, id: &str, refunded_cents: i64, after_s: i64) -> Value {
    let mut charge = charge_of(app, checkout);
    charge["amount_refunded"] = refunded_cents.into();
    event(id, "charge.refunded", app.now_ms() + after_s * 1_000, charge)
}

fn dispute(app: &TestApp, checkout: &Value, id: &str, kind: &str, status: &str, cents: i64) -> Value {
    let charge = charge_of(app, checkout);
    let object = json!({ "id": "du_1", "amount": cents, "status": status, "charge": charge["id"],
        "payment_intent": charge["payment_intent"] });
    event(id, &format!("charge.dispute.{kind}"), app.now_ms(), object)
}

async fn spend(app: &TestApp, session: &Session, usd: i64) {
    use durable_objects::wallet::protocol::{Command, Reply, Wallet};
    let amount = guildhall_domain::money::MicroUsd(usd * 1_000_000);
    let debit = Command::Debit { id: format!("spend:{usd}"), amount, reason: String::new() };
    let reply = app.ask::<Wallet>(&session.account_id, &debit);
    assert!(matches!(reply, Reply::Moved { .. }), "{reply:?}");
}

#[test]
fn refunds_take_their_share_in_whatever_order_they_are_told() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        run_with(WITH_STRIPE, async |app| {
            let session = app.sign_in("ada@example.com").await;
            let checkout = buy(&app, &session.token, 10).await;
            let events = [
                refund(&app, &checkout, "evt_1", 200, 1),
                refund(&app, &checkout, "evt_2", 500, 2),
                refund(&app, &checkout, "evt_3", 700, 3),
            ];
            for at in order {
                app.tell(&events[at]).await.expect(200);
                app.tell(&events[at]).await.expect(200);
            }
            assert_books(&app, &session.account_id, 3, 0);
            let payment = &payments_of(&app, &session.token).await[0];
            assert_eq!(payment["status"], "partially_refunded");
            assert_eq!(payment["reversed_usd"], 7.0);
        });
    }
}

#[test]
fn a_refund_that_is_told_before_its_payment_ends_the_same() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let completed = pay(&app, &checkout);
        app.tell(&refund(&app, &checkout, "evt_r", 1_000, 0)).await.expect(200);
        assert_books(&app, &session.account_id, 0, 0);
        app.tell(&completed).await.expect(200);
        assert_books(&app, &session.account_id, 0, 0);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "refunded");
    });
}

#[test]
fn with_a_fee_the_share_of_the_credit_goes() {
    run_with(WITH_STRIPE, async |app| {
        let key = app.provision("0").await;
        let checkout = buy(&app, &key.key, 10).await;
        app.tell(&refund(&app, &checkout, "evt_1", 540, 0)).await.expect(200);
        assert_books(&app, &key.account_id, 5, 0);
        app.tell(&refund(&app, &checkout, "evt_2", 1_080, 1)).await.expect(200);
        assert_books(&app, &key.account_id, 0, 0);
    });
}

#[test]
fn what_was_spent_is_owed_and_the_next_credit_pays_it_first() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        spend(&app, &session, 8).await;
        app.tell(&refund(&app, &checkout, "evt_1", 1_000, 0)).await.expect(200);
        assert_books(&app, &session.account_id, 0, 8);
        buy(&app, &session.token, 5).await;
        assert_books(&app, &session.account_id, 0, 3);
        buy(&app, &session.token, 5).await;
        assert_books(&app, &session.account_id, 2, 0);
    });
}

#[test]
fn a_refund_that_fails_gives_the_credit_again() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        app.tell(&refund(&app, &checkout, "evt_1", 400, 0)).await.expect(200);
        assert_books(&app, &session.account_id, 6, 0);
        let charge = charge_of(&app, &checkout);
        let failed = json!({ "id": "re_1", "amount": 400, "status": "failed", "charge": charge["id"],
            "payment_intent": charge["payment_intent"] });
        app.pass_ms(2_000).await;
        let failed = event("evt_2", "refund.failed", app.now_ms(), failed);
        app.tell(&failed).await.expect(200);
        app.tell(&failed).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
    });
}

#[test]
fn a_dispute_takes_the_credit_and_gives_it_again_when_it_is_won() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        app.tell(&dispute(&app, &checkout, "evt_1", "created", "warning_needs_response", 1_000)).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        app.tell(&dispute(&app, &checkout, "evt_2", "updated", "needs_response", 1_000)).await.expect(200);
        app.tell(&dispute(&app, &checkout, "evt_3", "funds_withdrawn", "needs_response", 1_000)).await.expect(200);
        assert_books(&app, &session.account_id, 0, 0);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "disputed");
        app.tell(&dispute(&app, &checkout, "evt_4", "closed", "won", 1_000)).await.expect(200);
        // Late, and out of order.
        app.tell(&dispute(&app, &checkout, "evt_5", "updated", "under_review", 1_000)).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "paid");
    });
}

#[test]
fn a_dispute_that_is_lost_stays_lost_and_a_refund_beside_it_counts_once() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        app.tell(&dispute(&app, &checkout, "evt_1", "closed", "lost", 1_000)).await.expect(200);
        app.tell(&dispute(&app, &checkout, "evt_2", "created", "needs_response", 1_000)).await.expect(200);
        let shown = async || payments_of(&app, &session.token).await[0]["status"].clone();
        assert_eq!(shown().await, "refunded", "the bank has decided");
        app.tell(&refund(&app, &checkout, "evt_3", 600, 0)).await.expect(200);
        assert_eq!(shown().await, "refunded");
        assert_books(&app, &session.account_id, 0, 0);
    });
}

#[test]
fn a_dispute_of_a_payment_that_nobody_told_us_of_finds_it_at_stripe() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let completed = pay(&app, &checkout);
        let told = dispute(&app, &checkout, "evt_1", "created", "needs_response", 400);
        app.stripe.set_down(true);
        app.tell(&told).await.expect(503);
        app.stripe.set_down(false);
        app.tell(&told).await.expect(200);
        assert_books(&app, &session.account_id, 6, 0);
        app.tell(&completed).await.expect(200);
        assert_books(&app, &session.account_id, 6, 0);
    });
}

#[test]
fn a_reversal_that_breaks_off_is_taken_once() {
    for fault in [Fault::Before, Fault::After] {
        for passing in 0..8 {
            run_with(WITH_STRIPE, async |app| {
                let session = app.sign_in("ada@example.com").await;
                let checkout = buy(&app, &session.token, 10).await;
                let told = refund(&app, &checkout, "evt_1", 400, 0);
                app.faults.fail_db_after(passing, fault);
                app.tell(&told).await;
                app.faults.clear();
                app.tell(&told).await.expect(200);
                assert_books(&app, &session.account_id, 6, 0);
            });
        }
        run_with(WITH_STRIPE, async |app| {
            let session = app.sign_in("ada@example.com").await;
            let checkout = buy(&app, &session.token, 10).await;
            let told = refund(&app, &checkout, "evt_1", 400, 0);
            app.faults.fail_object("WALLET", fault);
            app.tell(&told).await.expect(500);
            app.tell(&told).await.expect(200);
            assert_books(&app, &session.account_id, 6, 0);
        });
    }
}
