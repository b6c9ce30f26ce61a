//! What nobody told is asked after.

use guildhall::jobs::hourly::run_hourly;
use guildhall_domain::billing::sandbox::TestCard;

use serde_json::json;

use super::reversals::refund;
use super::{assert_books, buy, charge, open_checkout, pass_hours, pay, payments_of, session_of, with_card};
use crate::support::{Fault, Key, TestApp, WITH_STRIPE, event, run_with};

async fn hour(app: &TestApp) {
    pass_hours(app, 1).await;
    run_hourly(&app.isolate(), &app.ports()).await;
}

#[test]
fn a_payment_whose_event_never_came_is_found() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let never_sent = pay(&app, &checkout);
        hour(&app).await;
        assert_books(&app, &session.account_id, 10, 0);
        app.tell(&never_sent).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
    });
}

/// How often Stripe was asked after a page.
fn looks(app: &TestApp) -> usize {
    app.stripe.count("GET", "/v1/checkout/sessions/")
}

#[test]
fn a_page_is_asked_after_when_it_should_be_over_and_then_rarely() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        for _ in 0..24 {
            hour(&app).await;
        }
        assert_eq!(looks(&app), 0);
        hour(&app).await;
        hour(&app).await;
        assert_eq!(looks(&app), 1);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "pending");
        app.stripe.shelf.borrow_mut().get_mut(session_of(&checkout)).unwrap()["status"] = "expired".into();
        pass_hours(&app, 25).await;
        hour(&app).await;
        assert_eq!(looks(&app), 2);
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "expired");
    });
}

#[test]
fn pages_that_wait_keep_no_charge_waiting() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.database.execute(
            "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < 300)
             INSERT INTO payments (id, account_id, wallet, kind, product, amount_micros, total_micros, month, created_at_ms, looked_at_ms)
             SELECT 'pay_' || at, 'acc_' || at, 'acc_' || at, 'checkout', 'tokaroo', 1, 1, '2026-11', 1, 1 FROM n",
        );
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        charge(&app, &session, 20).await.expect(503);
        hour(&app).await;
        assert_books(&app, &session.account_id, 20, 0);
    });
}

#[test]
fn a_refund_whose_event_never_came_is_found() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        hour(&app).await;
        let never_sent = refund(&app, &checkout, "evt_refund", 500, 0);
        app.stripe.happen(&event("evt_odd", "charge.refunded", app.now_ms(), json!({ "no": "id" })));
        app.stripe.happen(&never_sent);
        hour(&app).await;
        assert_books(&app, &session.account_id, 5, 0);
        app.tell(&never_sent).await.expect(200);
        hour(&app).await;
        assert_books(&app, &session.account_id, 5, 0);
    });
}

#[test]
fn however_many_events_there_are_they_are_read_in_the_end() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        for at in 1..=450 {
            app.stripe.happen(&refund(&app, &checkout, &format!("evt_{at}"), at, at));
        }
        let known = || app.database.number("SELECT COUNT(*) FROM stripe_events WHERE kind = 'charge.refunded'");
        for in_all in [200, 400, 450, 450] {
            hour(&app).await;
            assert_eq!(known(), in_all);
        }
        let audit = app.audit(&Key { key: String::new(), account_id: session.account_id.clone() });
        assert_eq!(audit.balance.0, 5_500_000);
    });
}

#[test]
fn an_event_that_fails_is_read_again_in_an_hour() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = buy(&app, &session.token, 10).await;
        app.stripe.happen(&refund(&app, &checkout, "evt_refund", 500, 0));
        app.stripe.set_down(true);
        hour(&app).await;
        assert_books(&app, &session.account_id, 10, 0);
        app.stripe.set_down(false);
        hour(&app).await;
        assert_books(&app, &session.account_id, 5, 0);
    });
}

#[test]
fn a_charge_whose_answer_was_lost_is_found_and_one_that_never_arrived_is_not_made() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.fail(Fault::After);
        app.stripe.fail(Fault::After);
        charge(&app, &session, 20).await.expect(503);
        hour(&app).await;
        assert_books(&app, &session.account_id, 20, 0);
        app.stripe.fail(Fault::Before);
        app.stripe.fail(Fault::Before);
        charge(&app, &session, 20).await.expect(503);
        hour(&app).await;
        assert_books(&app, &session.account_id, 20, 0);
        let payment = &payments_of(&app, &session.token).await[0];
        assert_eq!(payment["status"], "failed", "{payment}");
        assert_eq!(app.stripe.objects("ch_"), 1);
        charge(&app, &session, 20).await.expect(200);
    });
}

#[test]
fn a_stripe_that_is_down_is_asked_again_in_an_hour() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        pay(&app, &open_checkout(&app, &session.token, 10).await);
        app.stripe.set_down(true);
        hour(&app).await;
        assert_books(&app, &session.account_id, 0, 0);
        app.stripe.set_down(false);
        hour(&app).await;
        assert_books(&app, &session.account_id, 10, 0);
    });
}
