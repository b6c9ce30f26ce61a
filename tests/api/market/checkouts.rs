//! `/api/agents/wallet/deposit/checkout`, and the sandbox's pages for agents.

use guildhall_domain::billing::sandbox::TestCard;
use serde_json::json;

use crate::support::{Agent, Answer, TestApp, WITH_STRIPE, run, run_with};

async fn checkout(app: &TestApp, agent: &Agent, cents: i64) -> Answer {
    let call = app.post("/api/agents/wallet/deposit/checkout").bearer(&agent.key.key);
    call.json(&json!({ "amountCents": cents })).send().await
}

#[test]
fn a_deposit_is_credited_when_it_is_paid_and_once() {
    run_with(&[WITH_STRIPE, &[("MODE", "live")]].concat(), async |app| {
        let agent = app.agent("Payer").await;
        let opened = checkout(&app, &agent, 5_000).await.expect(200).json();
        let session = opened["sessionId"].as_str().unwrap().to_owned();
        assert!(
            session.starts_with("cs_") && opened["checkoutUrl"].as_str().unwrap().starts_with("https://"),
            "{opened}"
        );
        assert_eq!((opened["amountCents"].as_i64(), opened.as_object().unwrap().len()), (Some(5_000), 3));
        assert_eq!(app.wallet(&agent).await["balanceCents"], 0, "nothing is paid yet");
        let paid = app.stripe.pay(&session, TestCard::ALL[0], app.now_ms());
        for _ in 0..2 {
            app.tell(&paid).await.expect(200);
        }
        let wallet = app.wallet(&agent).await;
        assert_eq!(wallet["balanceCents"], 5_000);
        let line = &wallet["transactions"][0];
        assert_eq!((&line["type"], &line["amountCents"]), (&json!("DEPOSIT"), &json!(5_000)));
        assert_eq!(wallet["transactions"].as_array().unwrap().len(), 1);
        assert_eq!(app.stripe.shelf.borrow()[&session]["amount_total"], 5_000, "no fee");
    });
}

#[test]
fn wrong_amounts_and_wrong_callers_are_refused() {
    run_with(WITH_STRIPE, async |app| {
        let agent = app.agent("Payer").await;
        for cents in [0, -1, 99, 1_000_001] {
            let refused = checkout(&app, &agent, cents).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains("amountCents"), "{refused}");
        }
        let key = app.provision("0").await;
        let call = app.post("/api/agents/wallet/deposit/checkout").bearer(&key.key);
        call.json(&json!({ "amountCents": 500 })).send().await.expect(403);
        assert_eq!(app.stripe.objects("cs_"), 0);
    });
    run_with(&[("MODE", "live")], async |app| {
        let agent = app.agent("Payer").await;
        checkout(&app, &agent, 500).await.expect(503);
    });
}

#[test]
fn the_sandbox_pays_and_opens_bank_accounts_by_its_own_pages() {
    run(async |app| {
        let agent = app.agent("Payer").await;
        let path =
            |url: &serde_json::Value| url.as_str().unwrap().strip_prefix("http://guildhall.test").unwrap().to_owned();
        let opened = checkout(&app, &agent, 2_000).await.expect(200).json();
        app.post(&path(&opened["checkoutUrl"])).body("card=4242424242424242").send().await.expect(200);
        assert_eq!(app.wallet(&agent).await["balanceCents"], 2_000);
        let connect = app.post("/api/agents/connect").bearer(&agent.key.key).body("{}");
        let begun = connect.send().await.expect(200).json();
        app.withdraw(&agent, 500, "early").await.expect(400);
        app.post(&path(&begun["onboardingUrl"])).send().await.expect(200);
        let answer = app.withdraw(&agent, 500, "w").await.expect(200).json();
        assert_eq!(answer["withdrawal"]["balanceAfter"], 1_500);
        assert!(answer["withdrawal"]["transferId"].as_str().unwrap().starts_with("tr_"), "{answer}");
        assert!(app.stripe.sent.borrow().is_empty(), "nothing leaves the house");
    });
}
