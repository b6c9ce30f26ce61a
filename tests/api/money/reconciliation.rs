//! `/admin/v1/reconciliation`: what the ledgers say was charged is what usage says, or somebody hears of it.

use std::time::Duration;

use durable_objects::wallet::protocol::{Capture, Command, Wallet};
use guildhall::jobs::{HOURLY, NIGHTLY, run_scheduled};
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use crate::support::{Fault, Key, Reply, TestApp, join_all, run};

async fn compare(app: &TestApp) -> Value {
    app.admin("POST", "/admin/v1/reconciliation").send().await.expect(200).json()
}

async fn read(app: &TestApp) -> Value {
    app.admin("GET", "/admin/v1/reconciliation").send().await.expect(200).json()
}

/// A platform on which everything has happened that moves money: calls filed and on their way, a video, a budget, a cost
/// beyond the money.
async fn busy(app: &TestApp) -> Key {
    let key = app.with_busy_key().await;
    app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
    let film = json!({ "id": "film", "provider_id": "s", "kind": "video", "enabled": true, "unit_price_usd": 0.1 });
    app.admin("POST", "/admin/v1/models").json(&film).send().await.expect(200);
    let video = r#"{"prompt":"a sea","model":"film","duration":1}"#;
    app.post("/v1/videos").bearer(&key.key).body(video).send().await.expect(200);
    let poor = app.provision("0.02").await;
    let budgeted = app.issue(&key.account_id, KeyPrefix::TokenHub, "key_budget", None);
    app.database.execute("UPDATE api_keys SET monthly_budget_micros = 5000 WHERE id = 'key_budget'");
    app.upstream.then(Reply::chat("x", 5_000, 5_000));
    app.hello(&poor).send().await.expect(200);
    app.hello(&budgeted).send().await.expect(200);
    for _ in 0..5 {
        app.hello(&key).send().await.expect(200);
    }
    key
}

#[test]
fn nothing_was_compared_at_first() {
    run(async |app| {
        assert_eq!(read(&app).await, json!({ "run": null, "differences": [] }));
        app.get("/admin/v1/reconciliation").send().await.expect(401);
        app.post("/admin/v1/reconciliation").send().await.expect(401);
    });
}

#[test]
fn a_sound_platform_has_no_difference_at_any_moment() {
    run(async |app| {
        let key = busy(&app).await;
        for step in 0..20 {
            let answer = compare(&app).await;
            let run = &answer["run"];
            assert_eq!((&run["differences"], &run["difference_usd"]), (&json!(0), &json!(0.0)), "{step}: {answer}");
            assert_eq!((&run["origin"], &answer["differences"]), (&json!("admin"), &json!([])));
            assert!(run["accounts"].as_i64().unwrap() >= 2 && run["finished_at"].is_string(), "{answer}");
            app.hello(&key).send().await.expect(200);
            tokio::time::sleep(Duration::from_millis(step * 17 % 60)).await;
            if step % 4 == 0 {
                app.deliver().await;
            }
        }
        assert_eq!(read(&app).await["run"]["id"], 20, "each is a run of its own");
        app.pass_ms(10_000).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM usage WHERE request_type = 'video'"), 1, "it is made");
        let answer = compare(&app).await;
        assert_eq!(answer["run"]["differences"], 0, "{answer}");
        assert!(
            app.database.number("SELECT SUM(cost_micros - charged_micros) FROM usage") > 0,
            "something was written off"
        );
    });
}

#[test]
fn calls_that_end_meanwhile_are_no_difference() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.faults.db_extra_ms.set(20);
        let calls = join_all((0..300).map(async |at| {
            tokio::time::sleep(Duration::from_millis(at * 3)).await;
            app.hello(&key).send().await.expect(200);
        }));
        let comparing = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            compare(&app).await
        };
        let (_, answer) = tokio::join!(calls, comparing);
        assert_eq!(answer["run"]["differences"], 0, "{answer}");
    });
}

#[test]
fn a_difference_is_a_row_an_event_and_a_metric() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("1").await;
        for key in [&key, &key, &other] {
            app.hello(key).send().await.expect(200);
        }
        app.pass_ms(300).await;
        let metrics = app.get("/metrics").send().await.expect(200).text();
        assert!(!metrics.contains("guildhall_reconciliation"), "there was none");
        // Sums that say too little, and a charge that left nothing.
        let less = format!("UPDATE usage_days SET charged_micros = 450 WHERE account_id = '{}'", key.account_id);
        app.database.execute(&less);
        app.database.execute(&format!("DELETE FROM usage_days WHERE account_id = '{}'", other.account_id));
        let answer = compare(&app).await;
        let mut expected = [(&key.account_id, 0.0005, 0.00045), (&other.account_id, 0.00025, 0.0)];
        expected.sort_by_key(|(account, ..)| *account);
        let differences = answer["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 2, "{answer}");
        for (row, (account, ledger, usage)) in differences.iter().zip(expected) {
            let told = (&row["account_id"], &row["ledger_usd"], &row["usage_usd"], &row["fault"]);
            assert_eq!(told, (&json!(account), &json!(ledger), &json!(usage), &json!("")));
        }
        assert_eq!((&answer["run"]["differences"], &answer["run"]["difference_usd"]), (&json!(2), &json!(0.0003)));
        assert_eq!(read(&app).await, answer);
        let events = app.admin("GET", "/admin/v1/events").rare(|head| head.last_event_id = "0".into());
        let told = events.leave_after(2).send().await.text();
        assert_eq!(told.matches("event: ledger_difference").count(), 2, "{told}");
        assert!(told.contains("ledger 0.0005 USD, usage 0.00045 USD") && told.contains(&other.account_id), "{told}");
        let metrics = app.get("/metrics").send().await.expect(200).text();
        for line in ["accounts 2", "differences 2", "difference_usd 0.0003"] {
            assert!(metrics.contains(&format!("\nguildhall_reconciliation_{line}\n")), "{line} in {metrics}");
        }
        let audit = app.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
        assert_eq!(audit["logs"][0]["action"], "reconciliation.run");
    });
}

#[test]
fn a_charge_without_a_record_is_found() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        let capture =
            Capture { id: "stray".into(), amount: MicroUsd(7), record: None, counts: Vec::new(), sealed_at_ms: 0 };
        let command = Command::Capture { hold_id: "none".into(), capture, close: true, budgets: vec![] };
        app.ask::<Wallet>(&key.account_id, &command);
        let answer = compare(&app).await;
        assert_eq!(answer["run"]["difference_usd"], 0.000_007, "{answer}");
    });
}

#[test]
fn a_wallet_that_does_not_answer_is_told_of_and_the_others_are_compared() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("1").await;
        for key in [&key, &other] {
            app.hello(key).send().await.expect(200);
        }
        // Until no lease is left that asks its wallet.
        app.pass_ms(40_000).await;
        for _ in 0..3 {
            app.faults.fail_object("WALLET", Fault::Before);
        }
        let answer = compare(&app).await;
        assert_eq!((&answer["run"]["accounts"], &answer["run"]["differences"]), (&json!(2), &json!(1)));
        assert!(answer["differences"][0]["fault"].as_str().unwrap().starts_with("not compared"), "{answer}");
        assert_eq!(compare(&app).await["run"]["differences"], 0);
    });
}

#[test]
fn of_two_at_once_only_the_one_that_decides_notes_differences() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        // Until no lease is left that asks its wallet.
        app.pass_ms(40_000).await;
        let late = async {
            app.faults.fail_object("WALLET", Fault::Before);
            compare(&app).await
        };
        let meanwhile = async {
            // The late one pauses before it looks again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let answer = compare(&app).await;
            for _ in 0..2 {
                app.faults.fail_object("WALLET", Fault::Before);
            }
            answer
        };
        let (late, decided) = tokio::join!(late, meanwhile);
        assert_eq!((&decided["run"]["accounts"], &decided["run"]["differences"]), (&json!(1), &json!(0)));
        assert!(decided["run"]["finished_at"].is_string());
        assert_eq!(late, decided);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM ledger_differences"), 0);
    });
}

#[test]
fn it_goes_on_where_it_stopped() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        // More accounts than one event compares, each with a key that was used.
        for at in 0..260 {
            app.database.execute(&format!(
                "INSERT INTO accounts (id, created_at_ms) VALUES ('acc_{at:04}', 1);
                 INSERT INTO api_keys (id, account_id, hash, product, masked, name, created_at_ms, last_used_at_ms)
                   VALUES ('key_{at}', 'acc_{at:04}', 'hash_{at}', 'tokaroo', '', '', 1, 1);
                 INSERT INTO accounts (id, created_at_ms) VALUES ('acc_idle_{at:04}', 1);"
            ));
        }
        let first = compare(&app).await;
        let (run, compared) = (first["run"]["id"].clone(), first["run"]["accounts"].as_i64().unwrap());
        assert!(first["run"]["finished_at"].is_null() && compared < 261, "{first}");
        let last = compare(&app).await;
        assert_eq!((&last["run"]["id"], &last["run"]["accounts"]), (&run, &json!(261)), "idle accounts are left out");
        assert!(last["run"]["finished_at"].is_string(), "{last}");
        assert_ne!(compare(&app).await["run"]["id"], run, "then a new one begins");
    });
}

#[test]
fn the_night_compares_once_and_the_hour_never() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let ports = app.ports();
        run_scheduled(&app.isolate(), &ports, HOURLY).await;
        assert_eq!(read(&app).await["run"], Value::Null);
        for _ in 0..3 {
            run_scheduled(&app.isolate(), &ports, NIGHTLY).await;
            tokio::time::sleep(Duration::from_secs(300)).await;
        }
        let run = read(&app).await["run"].clone();
        assert_eq!((&run["id"], &run["origin"], &run["differences"]), (&json!(1), &json!("cron"), &json!(0)));
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        run_scheduled(&app.isolate(), &ports, NIGHTLY).await;
        assert_eq!(read(&app).await["run"]["id"], 2, "the next night");
        tokio::time::sleep(Duration::from_secs(100 * 86_400)).await;
        run_scheduled(&app.isolate(), &ports, HOURLY).await;
        assert_eq!(app.database.number("SELECT COUNT(*) FROM reconciliations"), 1, "only the newest is kept for ever");
    });
}
