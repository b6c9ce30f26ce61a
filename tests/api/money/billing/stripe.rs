//! The client of Stripe's API, over its double and over the sandbox's own.

use std::rc::Rc;

use guildhall::payments::stripe::{Stripe, StripeError};
use guildhall_domain::money::MicroUsd;

use crate::support::{Fault, TestApp, WITH_STRIPE, run, run_with};

fn client(app: &TestApp) -> Stripe {
    Stripe::new(&app.isolate(), &app.ports(), "http://guildhall.test").unwrap()
}

const TEN: MicroUsd = MicroUsd(10_000_000);

#[test]
fn an_agent_is_paid_once_however_often_its_transfer_is_sent() {
    run_with(WITH_STRIPE, async |app| {
        let stripe = client(&app);
        let account = stripe.create_connect_account("connect:a", Some("a@b.c"), &[("agent_id", "a")]).await.unwrap();
        assert!(!account.payouts_enabled && account.id.starts_with("acct_"));
        let again = stripe.create_connect_account("connect:a", Some("a@b.c"), &[("agent_id", "a")]).await.unwrap();
        assert_eq!(again.id, account.id);
        let link =
            stripe.create_account_link("link:1", &account.id, "https://a.b/again", "https://a.b/back").await.unwrap();
        assert!(link.starts_with("https://"), "{link}");
        let early = stripe.transfer("w:0", &account.id, TEN, &[]).await;
        assert!(matches!(early, Err(StripeError::Refused { .. })), "{early:?}");
        app.stripe.shelf.borrow_mut().get_mut(&account.id).unwrap()["payouts_enabled"] = true.into();
        assert!(stripe.read_connect_account(&account.id).await.unwrap().payouts_enabled);
        // The answer is lost: the same call is sent again by itself.
        app.stripe.fail(Fault::After);
        let first = stripe.transfer("w:1", &account.id, TEN, &[("withdrawal_id", "1")]).await.unwrap();
        let second = stripe.transfer("w:1", &account.id, TEN, &[("withdrawal_id", "1")]).await.unwrap();
        assert_eq!((first.id.as_str(), first.amount), (second.id.as_str(), 1_000));
        assert_eq!(app.stripe.objects("tr_"), 1);
    });
}

#[test]
fn what_nobody_answers_is_not_known() {
    run_with(WITH_STRIPE, async |app| {
        app.stripe.set_down(true);
        let answer = client(&app).create_customer("customer:a", None, &[]).await;
        assert!(matches!(answer, Err(StripeError::Unknown(_))), "{answer:?}");
        assert_eq!(app.stripe.count("POST", "/v1/customers"), 2, "it is tried twice");
    });
}

#[test]
fn the_sandbox_has_a_stripe_of_its_own() {
    run(async |app| {
        let stripe = client(&app);
        let account = stripe.create_connect_account("connect:a", None, &[]).await.unwrap();
        assert_eq!(stripe.create_connect_account("connect:a", None, &[]).await.unwrap().id, account.id);
        let link = stripe.create_account_link("link:1", &account.id, "http://a.b", "http://a.b").await.unwrap();
        assert!(link.starts_with("http://guildhall.test/sandbox/connect/link_"), "{link}");
        assert!(app.stripe.sent.borrow().is_empty(), "nothing leaves the house");
    });
}

#[test]
fn live_mode_without_a_key_takes_no_payments() {
    run_with(&[("MODE", "live")], async |app| {
        let isolate = app.isolate();
        assert!(matches!(Stripe::new(&isolate, &app.ports(), "").err(), Some(StripeError::NotConfigured)));
        drop(Rc::clone(&isolate));
    });
}
