//! `POST /admin/v1/accounts/{id}/credits`.

use durable_objects::wallet::protocol::{Command, Wallet};
use guildhall_domain::money::MicroUsd;
use serde_json::json;

use crate::support::{Answer, Fault, Key, TestApp, run};

async fn credit(app: &TestApp, account_id: &str, body: &str) -> Answer {
    app.admin("POST", &format!("/admin/v1/accounts/{account_id}/credits")).body(body).send().await
}

async fn credit_once(app: &TestApp, key: &Key, idempotency_key: &str, body: &str) -> Answer {
    let path = format!("/admin/v1/accounts/{}/credits", key.account_id);
    app.admin("POST", &path).idempotency_key(idempotency_key).body(body).send().await
}

#[test]
fn credits_are_exact_to_the_micro_dollar() {
    run(async |app| {
        let mut micros = 0;
        let key = app.provision("0").await;
        for (amount, adds) in [
            ("10", 10_000_000),
            ("0.1", 100_000),
            ("0.2", 200_000),
            ("0.000001", 1),
            ("1e-6", 1),
            ("12.345678", 12_345_678),
            ("2.50", 2_500_000),
            ("1000000", 1_000_000_000_000),
        ] {
            let body = format!(r#"{{"amount_usd":{amount},"reason":"invoice 7"}}"#);
            credit(&app, &key.account_id, &body).await.expect(200);
            micros += adds;
            assert_eq!(app.audit(&key).journal_balance.0, micros, "after {amount}");
            assert_eq!(app.balance_micros(&key).await, micros, "after {amount}");
        }
    });
}

#[test]
fn the_answer_names_the_deposit_and_what_is_there_now() {
    run(async |app| {
        let key = app.provision("0.3").await;
        let answer = credit(&app, &key.account_id, r#"{"amount_usd":0.2}"#).await.expect(200).json();
        let id = answer["id"].as_str().unwrap();
        assert!(id.starts_with("dep_") && id.len() > 12, "{id}");
        let expected = json!({
            "ok": true, "account_id": key.account_id, "id": id, "amount_usd": 0.2, "balance_usd": 0.5,
        });
        assert_eq!(answer, expected);
    });
}

#[test]
fn an_amount_that_is_none_is_refused_by_name() {
    run(async |app| {
        let key = app.provision("0").await;
        for amount in [
            "-1",
            "-0.000001",
            "0",
            "0.0",
            "0.0000001",
            "1.2345678",
            "0.30000000000000004",
            "1000000.000001",
            "1e12",
            "\"5\"",
            "\"\"",
            "true",
            "null",
            "[5]",
            "{\"amount_usd\":5}",
        ] {
            let body = format!(r#"{{"amount_usd":{amount},"reason":"test"}}"#);
            let refused = credit(&app, &key.account_id, &body).await.expect(400);
            let text = refused.json()["error"].as_str().unwrap().to_owned();
            assert!(text.contains("amount_usd"), "{amount}: {text}");
        }
        let missing = credit(&app, &key.account_id, r#"{"reason":"test"}"#).await.expect(400).text();
        assert!(missing.contains("amount_usd"), "{missing}");
        credit(&app, &key.account_id, r#"{"amount_usd":1e400}"#).await.expect(400);
        assert_eq!(app.audit(&key).entries, 0, "a refusal moves nothing");
    });
}

#[test]
fn a_reason_is_a_text_of_200_bytes_at_most() {
    run(async |app| {
        let key = app.provision("0").await;
        for reason in ["5".to_owned(), format!("{:?}", "x".repeat(201))] {
            let refused = credit(&app, &key.account_id, &format!(r#"{{"amount_usd":1,"reason":{reason}}}"#)).await;
            let text = refused.expect(400).text();
            assert!(text.contains("reason"), "{text}");
        }
        assert_eq!(app.audit(&key).entries, 0);
        let longest = format!(r#"{{"amount_usd":1,"reason":"{}"}}"#, "x".repeat(200));
        credit(&app, &key.account_id, &longest).await.expect(200);
    });
}

#[test]
fn what_no_wallet_may_hold_is_refused() {
    run(async |app| {
        let key = app.provision("0").await;
        let most = MicroUsd(1_000_000_000_000_000);
        app.ask::<Wallet>(&key.account_id, &Command::Credit { id: "most".into(), amount: most, reason: String::new() });
        let refused = credit(&app, &key.account_id, r#"{"amount_usd":0.000001}"#).await.expect(400).text();
        assert!(refused.contains("balance"), "{refused}");
        assert_eq!(app.audit(&key).balance, most);
    });
}

#[test]
fn an_unknown_account_is_404_and_gets_no_wallet() {
    run(async |app| {
        for account in ["prov_00000000000000000000000000000000", "nobody", "..%2F"] {
            let refused = credit(&app, account, r#"{"amount_usd":5}"#).await.expect(404);
            assert_eq!(refused.json(), json!({ "error": "account not found" }));
            assert!(app.objects.is_vacant("WALLET", account), "{account}");
        }
    });
}

#[test]
fn a_retry_with_the_same_idempotency_key_adds_nothing() {
    run(async |app| {
        let key = app.provision("0").await;
        let first = credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(200);
        let again = credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(200);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("idempotency-replay"), Some("true"));
        assert_eq!(first.header("idempotency-replay"), None);
        credit_once(&app, &key, "invoice-7", r#"{"amount_usd":6}"#).await.expect(422);
        assert_eq!(app.balance_micros(&key).await, 5_000_000);
        credit_once(&app, &key, "invoice-8", r#"{"amount_usd":5}"#).await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
    });
}

#[test]
fn without_an_idempotency_key_two_requests_are_two_credits() {
    run(async |app| {
        let key = app.provision("0").await;
        let first = credit(&app, &key.account_id, r#"{"amount_usd":5}"#).await.expect(200).json();
        let second = credit(&app, &key.account_id, r#"{"amount_usd":5}"#).await.expect(200).json();
        assert_ne!(first["id"], second["id"]);
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
    });
}

#[test]
fn one_idempotency_key_serves_each_account_for_itself() {
    run(async |app| {
        let (one, two) = (app.provision("0").await, app.provision("0").await);
        credit_once(&app, &one, "monthly", r#"{"amount_usd":5}"#).await.expect(200);
        // Another path is another request: it is refused rather than answered with the first account's credit.
        credit_once(&app, &two, "monthly", r#"{"amount_usd":5}"#).await.expect(422);
        assert_eq!((app.balance_micros(&one).await, app.balance_micros(&two).await), (5_000_000, 0));
    });
}

#[test]
fn a_retry_after_a_failing_wallet_adds_exactly_once() {
    for fault in [Fault::Before, Fault::After] {
        run(async |app| {
            let key = app.provision("0").await;
            app.faults.fail_object("WALLET", fault);
            let failed = credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await;
            assert!(matches!(failed.status, 500 | 503), "{fault:?}: {}", failed.text());
            assert!(!failed.text().contains("test: failed"), "causes are for the log: {}", failed.text());
            credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(200);
            assert_eq!(app.balance_micros(&key).await, 5_000_000, "{fault:?}");
            credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(200);
            assert_eq!(app.balance_micros(&key).await, 5_000_000, "{fault:?}");
        });
    }
}

#[test]
fn a_retry_is_known_however_much_the_wallet_has_done_since() {
    run(async |app| {
        let key = app.provision("0").await;
        app.faults.fail_object("WALLET", Fault::After);
        credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(500);
        for number in 0..1_001 {
            let (id, amount, reason) = (format!("busy-{number}"), MicroUsd(1), String::new());
            app.ask::<Wallet>(&key.account_id, &Command::Credit { id, amount, reason });
        }
        credit_once(&app, &key, "invoice-7", r#"{"amount_usd":5}"#).await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 5_001_001);
    });
}

#[test]
fn the_money_is_there_when_the_answer_comes() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let key = app.provision("0").await;
        app.answer_hello();
        app.hello(&key).send().await.expect(402);
        credit(&app, &key.account_id, r#"{"amount_usd":1}"#).await.expect(200);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 1_000_000 - 250);
    });
}

#[test]
fn a_name_that_was_used_another_day_adds_nothing_and_says_so() {
    run(async |app| {
        let key = app.provision("0").await;
        credit_once(&app, &key, "c1", r#"{"amount_usd":5}"#).await.expect(200);
        tokio::time::sleep(std::time::Duration::from_secs(25 * 3_600)).await;
        credit_once(&app, &key, "c1", r#"{"amount_usd":6}"#).await.expect(422);
        tokio::time::sleep(std::time::Duration::from_secs(25 * 3_600)).await;
        let refused = credit_once(&app, &key, "c1", r#"{"amount_usd":5}"#).await.expect(409);
        assert!(refused.text().contains("nothing was added"), "{}", refused.text());
        assert_eq!(app.balance_micros(&key).await, 5_000_000);
        credit_once(&app, &key, "c2", r#"{"amount_usd":5}"#).await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
    });
}
