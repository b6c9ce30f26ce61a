//! Credits: what a key may spend of the account's balance in all.

use std::time::Duration;

use serde_json::json;

use super::{act, create, delete, read};
use crate::support::{Fault, HELLO_MICROS, run};

#[test]
fn a_key_spends_its_credits_and_no_more() {
    run(async |app| {
        let owner = app.with_busy_key().await;
        // A HELLO holds more than $0.003 and costs $0.00025.
        let (key, answer) = create(&app, &owner.key, json!({ "credits": 0.004 })).await;
        let id = answer["id"].as_str().unwrap();
        app.hello(&key).send().await.expect(200);
        let left = async || {
            let shown = read(&app, &owner.key, id).await.expect(200).json();
            (shown["credits"].clone(), shown["credits_used"].clone())
        };
        assert_eq!(left().await, (json!(0.004), json!(0.000_25)));
        while app.hello(&key).send().await.status == 200 {}
        let refused = app.hello(&key).send().await.expect(402);
        assert_eq!((refused.header("x-should-retry"), refused.header("retry-after")), (Some("false"), None));
        let refused = refused.json();
        assert_eq!((&refused["error"], &refused["budget_usd"]), (&json!("billing_required"), &json!(0.004)));
        app.hello(&owner).send().await.expect(200);

        let raised = act(&app, &owner.key, id, "credits", json!({ "amount": 5 })).await.expect(200).json();
        assert_eq!((&raised["id"], &raised["credits"]), (&json!(id), &json!(5.004)));
        app.hello(&key).send().await.expect(200);
        // Another month changes nothing.
        let used = left().await.1;
        tokio::time::sleep(Duration::from_secs(40 * 86_400)).await;
        assert_eq!(left().await.1, used);
    });
}

#[test]
fn credits_are_not_money() {
    run(async |app| {
        app.with_model().await;
        app.answer_hello();
        let owner = app.provision("0.004").await;
        let (key, _) = create(&app, &owner.key, json!({ "credits": 100 })).await;
        assert_eq!(app.balance_micros(&owner).await, 4_000);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&owner).await, 4_000 - HELLO_MICROS);
        while app.hello(&key).send().await.status == 200 {}
        assert!(
            app.hello(&key).send().await.expect(402).json()["balance_usd"].is_number(),
            "the balance is what is missing"
        );
    });
}

#[test]
fn a_key_without_credits_gets_them_from_now_on() {
    run(async |app| {
        let owner = app.with_busy_key().await;
        let (key, answer) = create(&app, &owner.key, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        for _ in 0..8 {
            app.hello(&key).send().await.expect(200);
        }
        let shown = act(&app, &owner.key, id, "credits", json!({ "amount": 0.004 })).await.expect(200).json();
        assert_eq!((&shown["credits"], &shown["credits_used"]), (&json!(0.004), &json!(0.0)));
        app.hello(&key).send().await.expect(200);
        assert_eq!(read(&app, &owner.key, id).await.expect(200).json()["credits_used"], 0.000_25);
    });
}

#[test]
fn what_is_no_amount_adds_nothing() {
    run(async |app| {
        let owner = app.provision("0").await;
        let (_, answer) = create(&app, &owner.key, json!({ "credits": 1 })).await;
        let id = answer["id"].as_str().unwrap();
        for body in [
            json!({}),
            json!({ "amount": 0 }),
            json!({ "amount": -1 }),
            json!({ "amount": "5" }),
            json!({ "amount": 1e9 }),
            json!({ "amount": 1e12 }),
            json!({ "amount": 0.000_000_1 }),
        ] {
            let refused = act(&app, &owner.key, id, "credits", body.clone()).await.expect(400).json();
            assert_eq!(refused["error"]["param"], "amount", "{body}");
        }
        assert_eq!(read(&app, &owner.key, id).await.expect(200).json()["credits"], 1.0);
        let path = format!("/v1/keys/{id}/credits");
        for _ in 0..2 {
            let call = app.post(&path).bearer(&owner.key).idempotency_key("once").body(r#"{"amount":5}"#);
            assert_eq!(call.send().await.expect(200).json()["credits"], 6.0);
        }
    });
}

#[test]
fn a_revoked_key_leaves_its_place_in_the_wallet() {
    run(async |app| {
        let owner = app.with_busy_key().await;
        let (key, answer) = create(&app, &owner.key, json!({ "credits": 1 })).await;
        app.hello(&key).send().await.expect(200);
        app.hello(&owner).send().await.expect(200);
        app.pass_ms(200).await;
        let ended = || app.objects.dump().matches("ended_at_ms").count();
        assert_eq!(ended(), 0);
        delete(&app, &owner.key, answer["id"].as_str().unwrap()).await.expect(200);
        assert_eq!(ended(), 2, "what it spent in the month, and of its credits");
    });
}

#[test]
fn a_request_that_comes_again_adds_once() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let owner = app.provision("1").await;
            let (_, answer) = create(&app, &owner.key, json!({ "credits": 10 })).await;
            let path = format!("/v1/keys/{}/credits", answer["id"].as_str().unwrap());
            let add =
                |name| app.post(&path).bearer(&owner.key).idempotency_key(name).json(&json!({ "amount": 5 })).send();
            app.faults.fail_object("WALLET", fault);
            add("a").await.expect(500);
            assert_eq!(add("a").await.expect(200).json()["credits"], 15.0);
            assert_eq!(add("b").await.expect(200).json()["credits"], 20.0);
            app.faults.fail_object("WALLET", fault);
            add("c").await.expect(500);
            let more = app.post(&path).bearer(&owner.key).idempotency_key("c").json(&json!({ "amount": 6 }));
            more.send().await.expect(422);
        });
    }
}

#[test]
fn an_answer_of_the_database_that_is_lost_adds_once() {
    for passing in 0..8 {
        run(async |app| {
            let owner = app.provision("1").await;
            let (_, answer) = create(&app, &owner.key, json!({ "credits": 10 })).await;
            let path = format!("/v1/keys/{}/credits", answer["id"].as_str().unwrap());
            let add = || app.post(&path).bearer(&owner.key).idempotency_key("a").json(&json!({ "amount": 5 })).send();
            app.faults.fail_db_after(passing, Fault::After);
            add().await;
            app.faults.clear();
            assert_eq!(add().await.expect(200).json()["credits"], 15.0, "{passing}");
        });
    }
}

#[test]
fn keys_for_parts_of_the_account_add_each_for_itself() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (_, answer) = create(&app, &ada.token, json!({ "scopes": ["chat"], "credits": 1 })).await;
        let path = format!("/v1/keys/{}/credits", answer["id"].as_str().unwrap());
        for expected in [6.0, 11.0] {
            let (key, _) = create(&app, &ada.token, json!({ "scopes": ["chat", "manage"] })).await;
            for _ in 0..2 {
                let call = app.post(&path).bearer(&key.key).idempotency_key("once").json(&json!({ "amount": 5 }));
                assert_eq!(call.send().await.expect(200).json()["credits"], expected);
            }
        }
    });
}

#[test]
fn a_name_of_another_day_is_refused() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (_, answer) = create(&app, &ada.token, json!({ "credits": 1 })).await;
        let id = answer["id"].as_str().unwrap();
        let path = format!("/v1/keys/{id}/credits");
        let add = || app.post(&path).bearer(&ada.token).idempotency_key("once").json(&json!({ "amount": 5 })).send();
        add().await.expect(200);
        tokio::time::sleep(Duration::from_secs(30 * 3_600)).await;
        let refused = add().await.expect(409);
        assert!(refused.text().contains("nothing was added"), "{}", refused.text());
        assert_eq!(read(&app, &ada.token, id).await.expect(200).json()["credits"], 6.0);
    });
}
