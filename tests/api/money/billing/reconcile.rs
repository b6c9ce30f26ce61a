//! What nobody told is asked after.

use guildhall::jobs::hourly::run_hourly;
use guildhall_domain::billing::sandbox::TestCard;

use super::{assert_books, charge, open_checkout, pass_hours, pay, payments_of, session_of, with_card};
use crate::support::{Fault, TestApp, WITH_STRIPE, run_with};

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

#[test]
fn a_page_that_nobody_paid_expires() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        hour(&app).await;
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "pending");
        app.stripe.shelf.borrow_mut().get_mut(session_of(&checkout)).unwrap()["status"] = "expired".into();
        hour(&app).await;
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "expired");
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
