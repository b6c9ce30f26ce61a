//! `/api/agents/wallet` and deposits without a payment.

use durable_objects::wallet::protocol::{Capture, Command, Wallet};
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Fault, TestApp, join_all, run, run_with};

async fn deposit_as_admin(app: &TestApp, body: Value) -> Answer {
    app.admin("POST", "/api/agents/wallet/deposit").json(&body).send().await
}

/// Types, cents and balances of the statement, newest first.
fn lines(wallet: &Value) -> Vec<(&str, i64, i64)> {
    let line = |line: &'_ Value| (line["amountCents"].as_i64().unwrap(), line["balanceAfter"].as_i64().unwrap());
    let all = wallet["transactions"].as_array().unwrap().iter();
    all.map(|one| (one["type"].as_str().unwrap(), line(one).0, line(one).1)).collect()
}

/// The amounts from the first line on add up to the last balance.
fn assert_adds_up(wallet: &Value) {
    let lines = lines(wallet);
    assert_eq!(lines.iter().map(|(_, cents, _)| cents).sum::<i64>(), lines[0].2, "{wallet}");
    for pair in lines.windows(2) {
        assert_eq!(pair[0].2, pair[1].2 + pair[0].1, "{wallet}");
    }
}

#[test]
fn a_new_wallet_is_empty() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        let expected = json!({ "balanceCents": 0, "withdrawableCents": 0, "onHold": [], "agentId": agent.id,
            "agentName": "MyAgent", "transactions": [] });
        assert_eq!(app.wallet(&agent).await, expected);
    });
}

#[test]
fn a_deposit_shows_with_the_id_that_it_was_told() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        app.deposit(&agent, 12_500).await.expect(200);
        let answer = app.deposit(&agent, 5_000).await.expect(200).json();
        let id = answer["deposit"]["transactionId"].as_str().unwrap();
        assert!(id.starts_with("tx_"), "{answer}");
        let expected = json!({ "success": true, "deposit": { "transactionId": id, "amountCents": 5_000,
            "balanceAfter": 17_500, "agentId": agent.id, "agentName": "MyAgent" } });
        assert_eq!(answer, expected);
        let wallet = app.wallet(&agent).await;
        assert_eq!(wallet["balanceCents"], 17_500);
        let newest = &wallet["transactions"][0];
        let created_at = newest["createdAt"].as_str().unwrap();
        let expected = json!({ "id": id, "amountCents": 5_000, "amountUsd": 50.0, "type": "DEPOSIT", "description": "Deposit",
            "jobId": null, "balanceAfter": 17_500, "createdAt": created_at });
        assert_eq!(newest, &expected);
        assert_eq!(lines(&wallet), [("DEPOSIT", 5_000, 17_500), ("DEPOSIT", 12_500, 12_500)]);
        assert_eq!(app.audit(&agent.key).deposited_net, MicroUsd(175_000_000), "cents outside, micro-dollars inside");
    });
}

#[test]
fn wrong_amounts_are_refused() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        for cents in [json!(0), json!(-1), json!(1_000_001), json!(i64::MAX), json!(0.5), json!("500"), json!(null)] {
            let body = json!({ "amountCents": cents });
            let call = app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).json(&body);
            let refused = call.send().await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains("amountCents"), "{refused}");
        }
        app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).body("{}").send().await.expect(400);
        app.deposit(&agent, 1_000_000).await.expect(200);
        app.deposit(&agent, 1).await.expect(200);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 1_000_001);
    });
}

#[test]
fn only_agents_and_the_administrator_deposit() {
    run(async |app| {
        let (key, session) = (app.provision("0").await, app.sign_in("ada@example.com").await);
        for token in [&key.key, &session.token] {
            let call = app.post("/api/agents/wallet/deposit").bearer(token).json(&json!({ "amountCents": 1 }));
            call.send().await.expect(403);
            app.get("/api/agents/wallet").bearer(token).send().await.expect(403);
        }
        app.admin("GET", "/api/agents/wallet").send().await.expect(403);
    });
}

#[test]
fn the_administrator_deposits_to_any_agent_and_it_is_audited() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        let answer =
            deposit_as_admin(&app, json!({ "amountCents": 300, "agentId": agent.id })).await.expect(200).json();
        assert_eq!(
            (&answer["deposit"]["balanceAfter"], &answer["deposit"]["agentId"]),
            (&json!(300), &json!(agent.id))
        );
        deposit_as_admin(&app, json!({ "amountCents": 300, "agentId": agent.slug })).await.expect(200);
        let refused = deposit_as_admin(&app, json!({ "amountCents": 300 })).await.expect(400).json();
        assert_eq!(refused, json!({ "error": "agentId is required" }));
        deposit_as_admin(&app, json!({ "amountCents": 300, "agentId": "nobody" })).await.expect(404);
        let audited = "SELECT COUNT(*) FROM audit_log WHERE action = 'agent.deposit'";
        assert_eq!(app.database.number(audited), 2);
        app.deposit(&agent, 1).await.expect(200);
        assert_eq!(app.database.number(audited), 2, "an agent is no administrator");
        assert_eq!(app.wallet(&agent).await["transactions"][1]["description"], "Deposit by the administrator");
    });
}

#[test]
fn an_agent_deposits_to_nobody_else() {
    run(async |app| {
        let (agent, other) = (app.agent("MyAgent").await, app.agent("Other").await);
        for id in [&agent.id, &other.id] {
            let body = json!({ "amountCents": 300, "agentId": id });
            app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).json(&body).send().await.expect(403);
        }
        assert_eq!(app.wallet(&other).await["balanceCents"], 0);
    });
}

#[test]
fn in_live_mode_nobody_gives_themselves_money() {
    run_with(&[("MODE", "live")], async |app| {
        let agent = app.agent("MyAgent").await;
        let refused = app.deposit(&agent, 500).await.expect(403).json();
        assert!(refused["error"].as_str().unwrap().contains("/api/agents/wallet/deposit/checkout"), "{refused}");
        assert_eq!(app.audit(&agent.key).entries, 0);
        deposit_as_admin(&app, json!({ "amountCents": 500, "agentId": agent.id })).await.expect(200);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 500);
    });
}

#[test]
fn a_deposit_that_is_sent_again_is_made_once() {
    run(async |app| {
        let (agent, other) = (app.agent("MyAgent").await, app.agent("Other").await);
        let deposit = |agent: &Agent, cents: i64| {
            let call = app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).idempotency_key("d1");
            call.json(&json!({ "amountCents": cents })).send()
        };
        let first = deposit(&agent, 500).await.expect(200);
        let again = deposit(&agent, 500).await.expect(200);
        assert_eq!((first.json(), again.header("idempotency-replay")), (again.json(), Some("true")));
        deposit(&agent, 501).await.expect(422);
        deposit(&other, 500).await.expect(200);
        // The administrator's key of the same name is another deposit.
        let by_admin = app.admin("POST", "/api/agents/wallet/deposit").idempotency_key("d1");
        by_admin.json(&json!({ "amountCents": 500, "agentId": agent.id })).send().await.expect(200);
        let wallets = (app.wallet(&agent).await, app.wallet(&other).await);
        assert_eq!((&wallets.0["balanceCents"], &wallets.1["balanceCents"]), (&json!(1_000), &json!(500)));
    });
}

#[test]
fn a_deposit_under_a_name_of_another_day_is_refused() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        let deposit = async |cents: i64| {
            let call = app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).idempotency_key("d1");
            let answer = call.json(&json!({ "amountCents": cents })).send().await;
            app.pass_ms(25 * 3_600_000).await;
            answer
        };
        deposit(500).await.expect(200);
        deposit(600).await.expect(422);
        deposit(500).await.expect(409);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 500);
    });
}

#[test]
fn a_deposit_whose_answer_was_lost_is_made_once() {
    for (fault, first) in [(Fault::Before, 0), (Fault::After, 500)] {
        run(async |app| {
            let agent = app.agent("MyAgent").await;
            let deposit = || {
                let call = app.post("/api/agents/wallet/deposit").bearer(&agent.key.key).idempotency_key("d1");
                call.json(&json!({ "amountCents": 500 })).send()
            };
            app.faults.fail_object("WALLET", fault);
            deposit().await.expect(500);
            assert_eq!(app.wallet(&agent).await["balanceCents"], first);
            let answer = deposit().await.expect(200).json();
            assert_eq!(answer["deposit"]["balanceAfter"], 500);
            assert_eq!(lines(&app.wallet(&agent).await), [("DEPOSIT", 500, 500)]);
        });
    }
}

#[test]
fn calls_show_as_usage_and_fractions_add_up() {
    run(async |app| {
        app.with_model().await;
        app.answer_hello();
        let agent = app.agent("Caller").await;
        app.deposit(&agent, 100).await.expect(200);
        // 250 micro-dollars each: forty are a cent.
        for _ in 0..41 {
            app.hello(&agent.key).send().await.expect(200);
        }
        let wallet = app.wallet(&agent).await;
        let micros = 1_000_000 - 41 * crate::support::HELLO_MICROS;
        assert_eq!(wallet["balanceCents"], micros / 10_000, "rounded down: what is shown can be spent");
        assert_eq!(wallet["transactions"].as_array().unwrap().len(), 2, "calls of a day are one line");
        let usage = &wallet["transactions"][0];
        assert_eq!((&usage["type"], &usage["description"]), (&json!("JOB_PAYMENT"), &json!("Calls of models")));
        assert_adds_up(&wallet);
        app.deposit(&agent, 7).await.expect(200);
        app.hello(&agent.key).send().await.expect(200);
        let wallet = app.wallet(&agent).await;
        let kinds: Vec<_> = lines(&wallet).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, ["JOB_PAYMENT", "DEPOSIT", "JOB_PAYMENT", "DEPOSIT"]);
        assert_eq!((lines(&wallet)[1].1, lines(&wallet)[3].1), (7, 100), "whole cents are exact");
        assert_adds_up(&wallet);
    });
}

#[test]
fn the_last_twenty_are_shown_however_many_calls_there_were() {
    run(async |app| {
        app.with_model().await;
        app.answer_hello();
        let agent = app.agent("Busy").await;
        for at in 1..=25 {
            app.deposit(&agent, at).await.expect(200);
        }
        for _ in 0..60 {
            app.hello(&agent.key).send().await.expect(200);
            app.pass_ms(50).await;
        }
        let wallet = app.wallet(&agent).await;
        let lines = lines(&wallet);
        assert_eq!((lines.len(), lines[0].0), (20, "JOB_PAYMENT"));
        assert_eq!((lines[1].1, lines[19].1), (25, 7));
        let ids: std::collections::BTreeSet<_> =
            wallet["transactions"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 20);
    });
}

#[test]
fn the_last_twenty_are_shown_behind_thousands_of_charges() {
    run(async |app| {
        let agent = app.agent("Busier").await;
        for at in 1..=25 {
            app.deposit(&agent, at).await.expect(200);
        }
        for at in 0..2_500 {
            let (id, amount) = (format!("c{at}"), MicroUsd(1_000));
            let charge = Capture { id, amount, record: None, counts: vec![], sealed_at_ms: 0 };
            let command = Command::Capture { hold_id: "h".into(), capture: charge, close: false, budgets: vec![] };
            app.ask::<Wallet>(&agent.key.account_id, &command);
        }
        let wallet = app.wallet(&agent).await;
        let lines = lines(&wallet);
        assert_eq!((lines.len(), lines[0]), (20, ("JOB_PAYMENT", -250, 75)));
        assert_eq!((lines[1].1, lines[19].1), (25, 7));
    });
}

#[test]
fn what_a_long_call_holds_can_not_be_spent() {
    run(async |app| {
        let agent = app.agent("Holder").await;
        app.deposit(&agent, 1_000).await.expect(200);
        let (id, expires_at_ms) = ("job".to_owned(), app.now_ms() + 60_000);
        let hold = Command::Hold { id, amount: MicroUsd(2_505_000), expires_at_ms, budgets: vec![] };
        app.ask::<Wallet>(&agent.key.account_id, &hold);
        let wallet = app.wallet(&agent).await;
        assert_eq!((&wallet["balanceCents"], &wallet["transactions"][0]["balanceAfter"]), (&json!(749), &json!(1_000)));
    });
}

#[test]
fn transfers_between_wallets_show_on_both_sides() {
    run(async |app| {
        let (buyer, worker) = (app.agent("Buyer").await, app.agent("Worker").await);
        app.deposit(&buyer, 9_000).await.expect(200);
        let (id, to, reason) = ("job_1".to_owned(), worker.key.account_id.clone(), "Code Review".to_owned());
        app.ask::<Wallet>(&buyer.key.account_id, &Command::Transfer { id, to, amount: MicroUsd(50_000_000), reason });
        app.pass_ms(100).await;
        let (paid, earned) = (app.wallet(&buyer).await, app.wallet(&worker).await);
        assert_eq!(lines(&paid), [("JOB_PAYMENT", -5_000, 4_000), ("DEPOSIT", 9_000, 9_000)]);
        assert_eq!(lines(&earned), [("JOB_EARNING", 5_000, 5_000)]);
        assert_eq!(earned["transactions"][0]["description"], "Code Review");
    });
}

#[test]
fn what_the_outside_takes_back_shows_as_it_is_taken() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        app.deposit(&agent, 500).await.expect(200);
        let (id, reason) = ("re_1".to_owned(), "refund".to_owned());
        app.ask::<Wallet>(
            &agent.key.account_id,
            &Command::Reclaim { id, amount: MicroUsd(7_000_000), reason, of: None },
        );
        app.deposit(&agent, 300).await.expect(200);
        let wallet = app.wallet(&agent).await;
        let expected =
            [("WITHDRAWAL", -200, 100), ("DEPOSIT", 300, 300), ("WITHDRAWAL", -500, 0), ("DEPOSIT", 500, 500)];
        assert_eq!((lines(&wallet), &wallet["balanceCents"]), (expected.to_vec(), &json!(100)));
        assert_eq!(wallet["transactions"][0]["description"], "A deposit was taken back");
        assert_adds_up(&wallet);
    });
}

#[test]
fn a_wallet_that_does_not_answer_is_said_so() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        app.faults.fail_object("WALLET", Fault::Before);
        let failed = app.get("/api/agents/wallet").bearer(&agent.key.key).send().await.expect(500).json();
        assert_eq!(failed["error"], "Something went wrong on our end");
        assert_eq!(app.wallet(&agent).await["balanceCents"], 0);
    });
}

#[test]
fn many_deposits_at_once_all_count() {
    run(async |app| {
        let agent = app.agent("MyAgent").await;
        for answer in join_all((0..50).map(|_| app.deposit(&agent, 3))).await {
            answer.expect(200);
        }
        assert_eq!(app.wallet(&agent).await["balanceCents"], 150);
    });
}
