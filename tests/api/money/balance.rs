//! `/v1/balance` and `/v1/billing/balance`.

use std::time::Duration;

use durable_objects::wallet::protocol::{Command, Wallet};
use guildhall_domain::money::MicroUsd;
use serde_json::json;

use crate::support::{HELLO_MICROS, join_all, run};

#[test]
fn both_paths_give_the_union_of_both_forms() {
    run(async |app| {
        let key = app.provision("9.99").await;
        let expected = json!({ "balance_usd": 9.99, "available_usd": 9.99, "currency": "usd" });
        let answer = app.get("/v1/balance").bearer(&key.key).send().await.expect(200);
        assert_eq!(answer.json(), expected);
        let answer = app.get("/v1/billing/balance").bearer(&key.key).send().await.expect(200);
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    });
}

#[test]
fn a_call_that_runs_is_not_in_it_yet_and_one_that_ended_is() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(500);
        let call = app.hello(&key).send();
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let balance = app.get("/v1/balance").bearer(&key.key).send().await.json();
            assert_eq!((&balance["balance_usd"], &balance["available_usd"]), (&json!(10.0), &json!(10.0)));
        };
        let (answer, ()) = tokio::join!(call, meanwhile);
        answer.expect(200);
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn it_is_exact_after_every_single_call() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for calls in 1..=25 {
            app.hello(&key).send().await.expect(200);
            assert_eq!(app.balance_micros(&key).await, 10_000_000 - calls * HELLO_MICROS);
        }
    });
}

#[test]
fn it_is_exact_after_many_calls_at_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(5);
        for answer in join_all((0..200).map(|_| app.hello(&key).send())).await {
            answer.expect(200);
        }
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 200 * HELLO_MICROS);
    });
}

#[test]
fn another_isolate_sees_it_within_the_flush() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.new_isolate();
        app.hello(&key).to(&other).send().await.expect(200);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
    });
}

#[test]
fn what_long_running_work_holds_is_not_available_but_still_there() {
    run(async |app| {
        let key = app.provision("10").await;
        let hold = Command::Hold {
            id: "job".into(),
            amount: MicroUsd(2_500_000),
            expires_at_ms: app.now_ms() + 60_000,
            budgets: vec![],
        };
        app.ask::<Wallet>(&key.account_id, &hold);
        let balance = app.get("/v1/billing/balance").bearer(&key.key).send().await.expect(200).json();
        assert_eq!(balance, json!({ "balance_usd": 10.0, "available_usd": 7.5, "currency": "usd" }));
    });
}

#[test]
fn every_account_has_its_own() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let (rich, poor) = (app.provision("5").await, app.provision("0").await);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&rich).await, 5_000_000);
        assert_eq!(app.balance_micros(&poor).await, 0);
    });
}

#[test]
fn a_call_that_fails_costs_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.always(crate::support::Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.always(crate::support::Reply::error(500, "no"));
        app.hello(&key).send().await.expect(502);
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
        app.pass_ms(200).await;
        let books = app.assert_books_balance(&key);
        assert_eq!((books.calls, books.charged), (2, 0), "but they are recorded");
    });
}

#[test]
fn a_person_sees_the_balance_of_their_account() {
    run(async |app| {
        let session = app.sign_in("ada@example.com").await;
        app.credit_account(&session.account_id, "2.5").await;
        for path in ["/v1/balance", "/v1/billing/balance"] {
            let answer = app.get(path).bearer(&session.token).send().await.expect(200).json();
            assert_eq!((&answer["balance_usd"], &answer["available_usd"]), (&json!(2.5), &json!(2.5)));
        }
    });
}
