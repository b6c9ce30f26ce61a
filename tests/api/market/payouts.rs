//! `/api/agents/connect` and `/api/agents/wallet/withdraw`.

mod broken;

use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::time::parse_rfc3339;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, TestApp, WITH_STRIPE, event, join_all, run, run_with};

/// An agent with a bank account whose operator pays so many cents by card.
async fn paid_by_card(app: &TestApp, cents: i64) -> (Agent, Value) {
    let agent = app.banked_agent("Lily", 0).await;
    let call = app.post("/api/agents/wallet/deposit/checkout").bearer(&agent.key.key);
    let opened = call.json(&json!({ "amountCents": cents })).send().await.expect(200).json();
    let session = opened["sessionId"].as_str().unwrap();
    app.tell(&app.stripe.pay(session, TestCard::Pays, app.now_ms())).await.expect(200);
    let shelf = app.stripe.shelf.borrow();
    let intent = shelf[session]["payment_intent"].as_str().unwrap();
    let charge = shelf[shelf[intent]["latest_charge"].as_str().unwrap()].clone();
    (agent, charge)
}

#[test]
fn card_money_is_withdrawn_after_the_days_that_are_set_and_earned_money_at_once() {
    run_with(&[WITH_STRIPE, &[("WITHDRAWAL_HOLD_DAYS", "7")]].concat(), async |app| {
        let (agent, _) = paid_by_card(&app, 5_000).await;
        app.deposit(&agent, 300).await.expect(200);
        let wallet = app.wallet(&agent).await;
        assert_eq!((&wallet["balanceCents"], &wallet["withdrawableCents"]), (&json!(5_300), &json!(300)));
        let on_hold = &wallet["onHold"];
        assert_eq!((&on_hold[0]["amountCents"], on_hold.as_array().unwrap().len()), (&json!(5_000), 1));
        let matures_ms = parse_rfc3339(on_hold[0]["withdrawableAt"].as_str().unwrap()).unwrap();
        assert!((1..1_000).contains(&(app.now_ms() + 7 * 86_400_000 - matures_ms)), "{on_hold}");
        let refused = app.withdraw(&agent, 301, "early").await.expect(400).json();
        assert!(refused["error"].as_str().unwrap().starts_with("Insufficient balance: 300 cents"), "{refused}");
        assert_eq!((&refused["withdrawableCents"], &refused["onHold"]), (&json!(300), on_hold));
        let refused = app.withdraw(&agent, 5_301, "too much").await.expect(400).json();
        assert_eq!(refused["error"], "Insufficient balance");
        app.withdraw(&agent, 300, "earned").await.expect(200);
        tokio::time::sleep(std::time::Duration::from_secs(7 * 86_400)).await;
        let wallet = app.wallet(&agent).await;
        assert_eq!((&wallet["withdrawableCents"], &wallet["onHold"]), (&json!(5_000), &json!([])));
        app.withdraw(&agent, 5_000, "in time").await.expect(200);
        app.assert_nothing_lost(&agent, 5_300);
    });
}

#[test]
fn a_chargeback_finds_the_money_that_it_takes() {
    run_with(&[WITH_STRIPE, &[("WITHDRAWAL_HOLD_DAYS", "7")]].concat(), async |app| {
        let (agent, charge) = paid_by_card(&app, 5_000).await;
        app.deposit(&agent, 300).await.expect(200);
        app.withdraw(&agent, 5_000, "away").await.expect(400);
        let object = json!({ "id": "du_1", "amount": 5_000, "status": "needs_response", "charge": charge["id"],
            "payment_intent": charge["payment_intent"] });
        app.tell(&event("evt_1", "charge.dispute.created", app.now_ms(), object)).await.expect(200);
        let wallet = app.wallet(&agent).await;
        assert_eq!((&wallet["withdrawableCents"], &wallet["onHold"]), (&json!(300), &json!([])));
        assert_eq!(app.audit(&agent.key).owed.0, 0);
    });
}

async fn connect(app: &TestApp, agent: &Agent, body: Value) -> Answer {
    app.post("/api/agents/connect").bearer(&agent.key.key).json(&body).send().await
}

async fn connection(app: &TestApp, agent: &Agent) -> Value {
    app.get("/api/agents/connect").bearer(&agent.key.key).send().await.expect(200).json()
}

#[test]
fn a_bank_account_is_connected_once() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.agent("Lily").await;
        let none = json!({ "connected": false, "onboarded": false, "chargesEnabled": false, "payoutsEnabled": false,
            "stripeAccountId": null });
        assert_eq!(connection(&app, &agent).await, none);
        let body = json!({ "returnUrl": "https://your-site.com/done", "refreshUrl": "https://your-site.com/retry" });
        let first = connect(&app, &agent, body.clone()).await.expect(200).json();
        assert!(first["onboardingUrl"].as_str().unwrap().starts_with("https://"), "{first}");
        assert!(first["stripeAccountId"].as_str().unwrap().starts_with("acct_"), "{first}");
        assert_eq!(first["message"], "Open this URL in a browser to connect your bank account for payouts.");
        let account = first["stripeAccountId"].as_str().unwrap();
        let begun = connection(&app, &agent).await;
        assert_eq!((&begun["connected"], &begun["onboarded"]), (&json!(true), &json!(false)));
        let again = connect(&app, &agent, json!({})).await.expect(200).json();
        assert_eq!(again["stripeAccountId"], account);
        assert_ne!(again["onboardingUrl"], first["onboardingUrl"], "an address is good once");
        app.open_bank(account);
        let done = json!({ "connected": true, "onboarded": true, "chargesEnabled": true, "payoutsEnabled": true,
            "stripeAccountId": account });
        assert_eq!(connection(&app, &agent).await, done);
        assert_eq!(app.stripe.objects("acct_"), 1);
        let sent = app
            .stripe
            .sent
            .borrow()
            .iter()
            .map(|call| String::from_utf8(call.body.clone().unwrap_or_default()).unwrap())
            .collect::<String>();
        assert!(
            sent.contains("https%3A%2F%2Fyour-site.com%2Fdone") && sent.contains("guildhall.test%2Fbilling"),
            "{sent}"
        );
    });
}

#[test]
fn two_who_connect_at_once_get_one_account() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.agent("Lily").await;
        app.stripe.latency_ms.set(50);
        let answers = join_all((0..5).map(|_| connect(&app, &agent, json!({})))).await;
        let ids: std::collections::BTreeSet<_> = answers
            .into_iter()
            .map(|answer| answer.expect(200).json()["stripeAccountId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!((ids.len(), app.stripe.objects("acct_")), (1, 1));
    });
}

#[test]
fn addresses_pass_the_guard() {
    run_with(&[WITH_STRIPE, &[("MODE", "live")]].concat(), async |app| {
        let agent = app.agent("Lily").await;
        for (field, url) in [("returnUrl", "http://127.0.0.1/"), ("refreshUrl", "javascript:alert(1)")] {
            let refused = connect(&app, &agent, json!({ field: url })).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains(field), "{refused}");
        }
        assert_eq!(app.stripe.sent.borrow().len(), 0);
    });
}

#[test]
fn only_agents_connect_and_withdraw() {
    run(async |app| {
        let (key, session) = (app.provision("5").await, app.sign_in("ada@example.com").await);
        for token in [&key.key, &session.token] {
            app.post("/api/agents/connect").bearer(token).body("{}").send().await.expect(403);
            app.get("/api/agents/connect").bearer(token).send().await.expect(403);
            let body = json!({ "amountCents": 100 });
            app.post("/api/agents/wallet/withdraw").bearer(token).json(&body).send().await.expect(403);
        }
        app.post("/api/agents/wallet/withdraw").body("{}").send().await.expect(401);
    });
}

#[test]
fn only_keys_that_may_send_money_out() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        let change = async |change: &str| {
            app.database.execute(&format!("UPDATE api_keys SET {change} WHERE agent_id IS NOT NULL"));
            app.pass_ms(5_000).await;
        };
        for (at, limits) in
            [r#"scopes = '["chat","manage"]'"#, "scopes = '[]', credits_micros = 5000000"].iter().enumerate()
        {
            change(limits).await;
            app.withdraw(&agent, 300, &format!("refused {at}")).await.expect(403);
            connect(&app, &agent, json!({})).await.expect(403);
            connection(&app, &agent).await;
        }
        change(r#"scopes = '["payouts"]', credits_micros = NULL"#).await;
        connect(&app, &agent, json!({})).await.expect(200);
        app.withdraw(&agent, 300, "w").await.expect(200);
        assert_eq!(app.paid_out(), [300]);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn without_stripe_live_mode_pays_nobody() {
    run_with(&[("MODE", "live")], async |app| {
        let agent = app.agent("Lily").await;
        connect(&app, &agent, json!({})).await.expect(503);
        app.withdraw(&agent, 100, "w").await.expect(503);
    });
}

#[test]
fn money_goes_to_the_bank() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 12_500).await;
        let answer = app.withdraw(&agent, 5_000, "w").await.expect(200).json();
        let transfer = answer["withdrawal"]["transferId"].as_str().unwrap();
        assert!(transfer.starts_with("tr_"), "{answer}");
        let expected = json!({ "success": true,
            "withdrawal": { "amountCents": 5_000, "transferId": transfer, "balanceAfter": 7_500 } });
        assert_eq!(answer, expected);
        assert_eq!(app.paid_out(), [5_000]);
        let shelf = app.stripe.shelf.borrow()[transfer].clone();
        let bank = connection(&app, &agent).await;
        assert_eq!(shelf["destination"], bank["stripeAccountId"]);
        let wallet = app.wallet(&agent).await;
        let newest = &wallet["transactions"][0];
        assert_eq!((&newest["type"], &newest["amountCents"]), (&json!("WITHDRAWAL"), &json!(-5_000)));
        assert_eq!((&newest["balanceAfter"], &wallet["balanceCents"]), (&json!(7_500), &json!(7_500)));
        app.assert_nothing_lost(&agent, 12_500);
    });
}

#[test]
fn wrong_amounts_are_refused() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 100).await;
        for cents in [json!(0), json!(-5), json!(100_000_000), json!(0.5), json!("100"), json!(null)] {
            let call = app.post("/api/agents/wallet/withdraw").bearer(&agent.key.key);
            let refused = call.json(&json!({ "amountCents": cents })).send().await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains("amountCents"), "{refused}");
        }
        app.assert_nothing_lost(&agent, 100);
        assert!(app.paid_out().is_empty());
    });
}

#[test]
fn nobody_withdraws_before_the_bank_account_is_ready() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.agent("Lily").await;
        app.deposit(&agent, 500).await.expect(200);
        let hint =
            |answer: Answer| answer.expect(400).json()["error"].as_str().unwrap().contains("POST /api/agents/connect");
        assert!(hint(app.withdraw(&agent, 100, "w").await));
        let account = connect(&app, &agent, json!({})).await.expect(200).json();
        assert!(hint(app.withdraw(&agent, 100, "w2").await), "it is not onboarded");
        assert_eq!(app.wallet(&agent).await["balanceCents"], 500);
        app.open_bank(account["stripeAccountId"].as_str().unwrap());
        app.withdraw(&agent, 100, "w3").await.expect(200);
        app.assert_nothing_lost(&agent, 500);
    });
}

#[test]
fn more_than_there_is_is_refused_and_nothing_moves() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 500).await;
        assert_eq!(app.withdraw(&agent, 501, "w").await.expect(400).json(), json!({ "error": "Insufficient balance" }));
        assert!(app.paid_out().is_empty());
        app.withdraw(&agent, 500, "all").await.expect(200);
        app.withdraw(&agent, 1, "more").await.expect(400);
        app.assert_nothing_lost(&agent, 500);
    });
}

#[test]
fn withdrawals_at_once_never_take_more_than_there_is() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        let other = app.new_isolate();
        app.stripe.latency_ms.set(20);
        let answers = join_all((0..8).map(|at| {
            let call =
                app.post("/api/agents/wallet/withdraw").bearer(&agent.key.key).json(&json!({ "amountCents": 300 }));
            if at % 2 == 0 { call.send() } else { call.to(&other).send() }
        }))
        .await;
        let paid = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((paid, answers.iter().filter(|answer| answer.status == 400).count()), (3, 5));
        assert_eq!(app.paid_out(), [300; 3]);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn a_withdrawal_that_is_asked_for_again_is_made_once() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        let first = app.withdraw(&agent, 300, "w").await.expect(200);
        let again = app.withdraw(&agent, 300, "w").await.expect(200);
        assert_eq!(first.json(), again.json());
        app.withdraw(&agent, 301, "w").await.expect(422);
        // When the guard has forgotten the answer, the withdrawal itself remembers.
        app.pass_ms(25 * 3_600_000).await;
        let late = app.withdraw(&agent, 300, "w").await.expect(200);
        assert_eq!(late.json()["withdrawal"]["transferId"], first.json()["withdrawal"]["transferId"]);
        app.withdraw(&agent, 302, "w2").await.expect(200);
        app.pass_ms(25 * 3_600_000).await;
        app.withdraw(&agent, 303, "w2").await.expect(422);
        assert_eq!(app.paid_out().len(), 2);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn at_once_too() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.banked_agent("Lily", 1_000).await;
        app.stripe.latency_ms.set(300);
        for answer in join_all((0..4).map(|_| app.withdraw(&agent, 300, "w"))).await {
            answer.expect(200);
        }
        assert_eq!(app.paid_out(), [300]);
        app.assert_nothing_lost(&agent, 1_000);
    });
}

#[test]
fn money_that_only_leases_hold_is_waited_for() {
    run_with(WITH_STRIPE, async |app| {
        app.with_model().await;
        app.answer_hello();
        let agent = app.banked_agent("Caller", 100).await;
        app.hello(&agent.key).send().await.expect(200);
        assert!(app.audit(&agent.key).held.0 > 0 || app.audit(&agent.key).charged.0 == 0, "the isolate has a lease");
        app.withdraw(&agent, 99, "w").await.expect(200);
        app.pass_ms(200).await;
        app.assert_nothing_lost(&agent, 100);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 0);
    });
}
