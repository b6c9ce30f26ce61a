//! The first key: what it needs, and that there is one.

use guildhall_domain::billing::sandbox::TestCard;
use serde_json::{Value, json};

use super::{buy, with_card};
use crate::support::{Session, TestApp, WITH_STRIPE, join_all, run_with};

async fn activation(app: &TestApp, session: &Session) -> Value {
    app.get("/v1/billing/activation").bearer(&session.token).send().await.expect(200).json()
}

async fn accept(app: &TestApp, session: &Session) -> Value {
    let call = app.post("/v1/billing/activation/accept").bearer(&session.token).json(&json!({ "accepted": true }));
    call.send().await.expect(200).json()
}

async fn charge_for_key(app: &TestApp, session: &Session, name: &str) -> crate::support::Answer {
    let body = json!({ "amount_usd": 20, "activate_key_name": name });
    app.post("/v1/billing/charge").bearer(&session.token).json(&body).send().await
}

#[test]
fn the_checklist_begins_with_everything_missing() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        assert_eq!(
            activation(&app, &session).await,
            json!({
                "key_count": 0, "has_api_key": false, "requires_first_key_activation": true, "balance_usd": 0.0,
                "funded": false, "has_saved_card": false, "auto_pay_enabled": false, "auto_pay_amount_usd": null,
                "activation_terms_accepted": false, "activation_terms_accepted_at": null,
                "activation_terms_version": "2026-11-01",
                "missing_requirements": ["payment", "saved_card", "auto_pay", "terms_acceptance"],
                "ready_for_activation_payment": false, "ready_for_first_key": false,
                "payments_url": "http://guildhall.test/billing", "terms_url": "http://guildhall.test/billing#terms",
            })
        );
    });
}

#[test]
fn the_seeds_flow_gives_the_first_key_with_the_payment() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        // A card alone turns nothing on; accepted terms do.
        assert_eq!(activation(&app, &session).await["auto_pay_enabled"], false);
        let accepted = accept(&app, &session).await;
        assert_eq!(accepted["activation"]["auto_pay_enabled"], true);
        assert_eq!(accepted["activation"]["missing_requirements"], json!(["payment"]));
        assert_eq!(accepted["activation"]["ready_for_activation_payment"], true);
        let answer = charge_for_key(&app, &session, "main").await.expect(200).json();
        let key = answer["activated_key"]["key"].as_str().unwrap();
        assert!(key.starts_with("tok_"), "{answer}");
        assert_eq!(answer["activated_key"]["name"], "main");
        assert_eq!(app.get("/v1/balance").bearer(key).send().await.expect(200).json()["balance_usd"], 20.0);
        let then = activation(&app, &session).await;
        assert_eq!(
            (then["key_count"].as_i64(), then["requires_first_key_activation"].as_bool()),
            (Some(1), Some(false))
        );
        // The next payment gives none.
        assert!(charge_for_key(&app, &session, "other").await.expect(200).json()["activated_key"].is_null());
    });
}

#[test]
fn a_payment_with_something_missing_gives_no_key() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let answer = charge_for_key(&app, &session, "main").await.expect(200).json();
        assert!(answer["activated_key"].is_null());
        assert_eq!(activation(&app, &session).await["missing_requirements"], json!(["auto_pay", "terms_acceptance"]));
        accept(&app, &session).await;
        assert_eq!(activation(&app, &session).await["ready_for_first_key"], true);
    });
}

#[test]
fn terms_before_the_card_turn_auto_pay_on_with_the_card_unless_its_owner_said_otherwise() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        accept(&app, &session).await;
        buy(&app, &session.token, 10).await;
        let then = activation(&app, &session).await;
        assert_eq!(
            (then["auto_pay_enabled"].as_bool(), then["auto_pay_amount_usd"].as_f64()),
            (Some(true), Some(20.0))
        );
        let off = app.call("PUT", "/v1/billing/auto-pay").bearer(&session.token).json(&json!({ "enabled": false }));
        off.send().await.expect(200);
        buy(&app, &session.token, 10).await;
        assert_eq!(activation(&app, &session).await["auto_pay_enabled"], false);
    });
}

#[test]
fn terms_are_accepted_with_true_and_the_first_time_counts() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        for body in [json!({ "accepted": false }), json!({})] {
            let call = app.post("/v1/billing/activation/accept").bearer(&session.token).json(&body);
            call.send().await.expect(400);
        }
        let first = accept(&app, &session).await;
        app.pass_ms(5_000).await;
        let call = app.post("/v1/billing/activation/terms").bearer(&session.token).json(&json!({ "accepted": true }));
        let second = call.send().await.expect(200).json();
        let at = |accepted: &Value| accepted["activation"]["activation_terms_accepted_at"].clone();
        assert!(at(&first).is_string() && at(&first) == at(&second));
    });
}

#[test]
fn charges_at_once_give_one_key() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        buy(&app, &session.token, 10).await;
        accept(&app, &session).await;
        // Each charge is over before the next begins, and all of them ask for the key at once.
        app.faults.db_extra_ms.set(200);
        let answers = join_all((0..4).map(|at| {
            let (app, session) = (&app, &session);
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(at * 1_250)).await;
                charge_for_key(app, session, "main").await
            }
        }))
        .await;
        assert!(answers.iter().filter(|answer| answer.status == 200).count() > 1, "{answers:?}");
        let keys = answers.iter().filter(|answer| answer.status == 200 && answer.json()["activated_key"].is_object());
        assert_eq!(keys.count(), 1, "{answers:?}");
        assert_eq!(app.database.number("SELECT COUNT(*) FROM api_keys WHERE product = 'tokaroo'"), 1);
    });
}

#[test]
fn keys_and_sessions_of_others_see_nothing() {
    run_with(WITH_STRIPE, async |app| {
        let ada = with_card(&app, TestCard::Pays).await;
        let bob = app.sign_in("bob@example.com").await;
        assert_eq!(activation(&app, &bob).await["has_saved_card"], false);
        assert_eq!(activation(&app, &ada).await["has_saved_card"], true);
        let key = app.provision("0").await;
        app.get("/v1/billing/activation").bearer(&key.key).send().await.expect(403);
    });
}

#[test]
fn no_key_is_created_before_the_checklist_is_done() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let create = || app.post("/v1/keys").bearer(&session.token).json(&json!({ "name": "main" })).send();
        let refused = create().await.expect(402).json();
        assert_eq!(refused["missing_requirements"], json!(["payment", "auto_pay", "terms_acceptance"]));
        assert_eq!(refused["payment_url"], "http://guildhall.test/billing");
        let call = app.post("/v1/api-keys").bearer(&session.token).json(&json!({ "name": "main" }));
        assert_eq!(call.send().await.expect(402).json()["error"], "billing_required");
        accept(&app, &session).await;
        assert_eq!(create().await.expect(402).json()["missing_requirements"], json!(["payment"]));
        buy(&app, &session.token, 20).await;
        assert!(create().await.expect(200).json()["key"].as_str().unwrap().starts_with("tok_"));
        create().await.expect(200);
        // ToolRouter's keys have no such list.
        let key = app.provision("0").await;
        app.post("/v1/keys").bearer(&key.key).json(&json!({ "name": "other" })).send().await.expect(200);
    });
}
