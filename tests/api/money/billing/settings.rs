//! The card, auto pay, and the preferences: two faces of one mechanism.

use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use super::{buy, charge, with_card};
use crate::support::{Answer, TestApp, WITH_STRIPE, run_with};

async fn put(app: &TestApp, token: &str, path: &str, body: &Value) -> Answer {
    app.call("PUT", path).bearer(token).json(body).send().await
}

#[test]
fn a_card_is_saved_without_a_payment_and_removed_at_stripe_too() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
        assert_eq!(card["card"]["last4"], "4242");
        assert!(!card.to_string().contains("pm_"), "no more of it than may be shown: {card}");
        let call = app.call("DELETE", "/v1/billing/card").bearer(&session.token);
        assert_eq!(call.send().await.expect(200).json(), json!({ "ok": true }));
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
        assert!(card["card"].is_null());
        assert_eq!(app.stripe.sent.borrow().iter().filter(|call| call.url.ends_with("/detach")).count(), 1);
        charge(&app, &session, 20).await.expect(402);
        app.call("DELETE", "/v1/billing/card").bearer(&session.token).send().await.expect(200);
        let key = app.provision("0").await;
        app.get("/v1/billing/card").bearer(&key.key).send().await.expect(403);
    });
}

#[test]
fn a_card_stays_when_stripe_cannot_be_told() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        app.stripe.set_down(true);
        app.call("DELETE", "/v1/billing/card").bearer(&session.token).send().await.expect(503);
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
        assert_eq!(card["card"]["last4"], "4242");
    });
}

#[test]
fn auto_pay_needs_a_card_and_an_amount_in_its_bounds() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let (token, path) = (&session.token, "/v1/billing/auto-pay");
        let settings = app.get("/v1/billing/auto-pay").bearer(token).send().await.expect(200).json();
        assert_eq!(settings, json!({ "enabled": false, "amount_usd": 20.0 }));
        let refused = put(&app, token, path, &json!({ "enabled": true })).await.expect(402).json();
        assert_eq!(refused["error"], "no_card");
        for amount in [json!(4), json!(501), json!(5.001), json!("x")] {
            put(&app, token, path, &json!({ "amount_usd": amount })).await.expect(400);
        }
        with_card(&app, TestCard::Pays).await;
        let session = app.sign_in("bob@example.com").await;
        buy(&app, &session.token, 10).await;
        let set =
            put(&app, &session.token, "/v1/billing/auto-pay", &json!({ "enabled": true, "amount_usd": 50 })).await;
        assert_eq!(set.expect(200).json(), json!({ "enabled": true, "amount_usd": 50.0 }));
        let set = put(&app, &session.token, path, &json!({ "enabled": false })).await.expect(200).json();
        assert_eq!(set, json!({ "enabled": false, "amount_usd": 50.0 }));
    });
}

#[test]
fn preferences_are_the_seeds_and_show_what_auto_pay_set() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        buy(&app, &session.token, 10).await;
        let token = &session.token;
        let first = app.get("/v1/billing/preferences").bearer(token).send().await.expect(200).json();
        let default = json!({ "autoReloadEnabled": false, "autoReloadThreshold": 5.0, "autoReloadAmount": 20.0, "budgetLimit": null });
        assert_eq!(first, default);
        let all = json!({ "autoReloadEnabled": true, "autoReloadThreshold": 2.5, "autoReloadAmount": 30, "budgetLimit": 100 });
        put(&app, token, "/v1/billing/preferences", &all).await.expect(200);
        let auto_pay = app.get("/v1/billing/auto-pay").bearer(token).send().await.expect(200).json();
        assert_eq!(auto_pay, json!({ "enabled": true, "amount_usd": 30.0 }));
        // What is left out stays; null removes the limit.
        let then =
            put(&app, token, "/v1/billing/preferences", &json!({ "budgetLimit": null })).await.expect(200).json();
        let expected = json!({ "autoReloadEnabled": true, "autoReloadThreshold": 2.5, "autoReloadAmount": 30.0, "budgetLimit": null });
        assert_eq!(then, expected);
        let then = put(&app, token, "/v1/billing/preferences", &json!({})).await.expect(200).json();
        assert_eq!(then, expected);
    });
}

#[test]
fn preferences_name_the_field_that_is_wrong() {
    run_with(WITH_STRIPE, async |app| {
        let key = app.provision("0").await;
        for (field, value) in [
            ("autoReloadAmount", json!(0.5)),
            ("autoReloadAmount", json!(501)),
            ("autoReloadAmount", json!(1.001)),
            ("autoReloadThreshold", json!(-1)),
            ("budgetLimit", json!(0)),
            ("budgetLimit", json!("none")),
            ("autoReloadEnabled", json!("yes")),
        ] {
            let patch = json!({ field: value });
            let answer = put(&app, &key.key, "/v1/billing/preferences", &patch).await.expect(400).json();
            assert_eq!(answer["error"]["param"], field, "{answer}");
        }
        let refused = put(&app, &key.key, "/v1/billing/preferences", &json!({ "autoReloadEnabled": true })).await;
        assert_eq!(refused.expect(402).json()["error"]["code"], "NO_CARD");
        let tok = app.issue(&key.account_id, KeyPrefix::Tokaroo, "key_tok", None).key;
        app.get("/v1/billing/preferences").bearer(&tok).send().await.expect(403);
    });
}

#[test]
fn the_budget_limit_is_the_accounts_monthly_limit() {
    run_with(WITH_STRIPE, async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        app.hello(&key).send().await.expect(200);
        put(&app, &key.key, "/v1/billing/preferences", &json!({ "budgetLimit": 0.000_001 })).await.expect(200);
        let refused = app.hello(&key).send().await.expect(429).json();
        assert_eq!(refused["code"], "budget_exceeded", "{refused}");
        put(&app, &key.key, "/v1/billing/preferences", &json!({ "budgetLimit": null })).await.expect(200);
        app.hello(&key).send().await.expect(200);
    });
}
