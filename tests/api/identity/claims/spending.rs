//! What a claimed account's keys have spent goes on counting in the account that it goes up in; what it owes is owed there.

use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::super::keys::{create, patch, read};
use super::super::people::{account_of, sign_in, token_of};
use super::{account, claim, moved, provision};
use crate::support::{Fault, HELLO_MICROS, Key, TestApp, WITH_STRIPE, event, run, run_with};

/// A claimable account with ten dollars, a model that answers, and a person with ten more.
async fn begin(app: &TestApp) -> (Key, String, Value) {
    app.with_model().await;
    app.answer_hello();
    let (key, token) = provision(app, "10").await;
    let ada = sign_in(app, "ada@example.com").await;
    app.credit_account(account_of(&ada), "10").await;
    (key, token, ada)
}

/// Calls until a budget refuses; gives how many were served.
async fn spend_all(app: &TestApp, key: &Key, refused: u16) -> usize {
    for served in 0..100 {
        match app.hello(key).send().await.status {
            200 => {}
            status => {
                assert_eq!(status, refused);
                return served;
            }
        }
    }
    panic!("nothing limits it");
}

#[test]
fn credits_and_budgets_do_not_begin_anew() {
    run(async |app| {
        let (key, token, ada) = begin(&app).await;
        // A HELLO costs $0.00025 and holds more than $0.003.
        let (credited, one) = create(&app, &key.key, json!({ "credits": 0.004 })).await;
        let (limited, two) = create(&app, &key.key, json!({})).await;
        let limit = json!({ "monthly_budget_usd": 0.004 });
        patch(&app, &key.key, two["id"].as_str().unwrap(), limit).await.expect(200);
        let (served, of_month) = (spend_all(&app, &credited, 402).await, spend_all(&app, &limited, 429).await);
        assert!(served > 1 && of_month > 1);
        claim(&app, &ada, &token).await.expect(200);
        // At once, when what isolates leased counts still, and when it has come back.
        for _ in 0..2 {
            for isolate in [app.isolate(), app.new_isolate()] {
                app.hello(&credited).to(&isolate).send().await.expect(402);
                app.hello(&limited).to(&isolate).send().await.expect(429);
            }
            app.pass_ms(20_000).await;
        }
        let used = async |answer: &Value, field: &str| {
            read(&app, token_of(&ada), answer["id"].as_str().unwrap()).await.expect(200).json()[field].clone()
        };
        let usd = |calls: usize| MicroUsd(i64::try_from(calls).unwrap() * HELLO_MICROS).to_usd();
        assert_eq!(used(&one, "credits_used").await, usd(served));
        assert_eq!(used(&two, "current_spend_usd").await, usd(of_month));
        app.hello(&key).send().await.expect(200);
        app.pass_ms(20_000).await;
        assert_eq!(app.books(&moved(&key, &ada)).calls, 1);
    });
}

#[test]
fn a_monthly_limit_of_the_account_goes_with_its_keys() {
    run(async |app| {
        let (key, token, ada) = begin(&app).await;
        let (_, less) = create(&app, &key.key, json!({ "monthly_budget_usd": 0.001 })).await;
        let (_, more) = create(&app, &key.key, json!({ "monthly_budget_usd": 5 })).await;
        let (_, none) = create(&app, &key.key, json!({})).await;
        let limit = format!("UPDATE accounts SET monthly_budget_micros = 4000 WHERE id = '{}'", key.account_id);
        app.database.execute(&limit);
        app.isolate().credentials.forget_account(&key.account_id);
        spend_all(&app, &key, 429).await;
        claim(&app, &ada, &token).await.expect(200);
        app.hello(&key).send().await.expect(429);
        for (answer, usd) in [(&less, 0.001), (&more, 0.004), (&none, 0.004)] {
            let shown = read(&app, token_of(&ada), answer["id"].as_str().unwrap()).await.expect(200).json();
            assert_eq!(shown["monthly_budget_usd"], usd, "{shown}");
        }
    });
}

#[test]
fn what_isolates_hold_of_a_budget_counts_until_they_let_go() {
    run(async |app| {
        let (key, token, ada) = begin(&app).await;
        let (limited, answer) = create(&app, &key.key, json!({ "credits": 0.004 })).await;
        let other = app.new_isolate();
        app.hello(&limited).to(&other).send().await.expect(200);
        claim(&app, &ada, &token).await.expect(200);
        // The other isolate still pays from what it holds; together they never pass the credits.
        for _ in 0..20 {
            app.hello(&limited).to(&other).send().await;
            app.hello(&limited).send().await;
            app.pass_ms(400).await;
        }
        app.pass_ms(40_000).await;
        let (old, new) = (app.books(&key), app.books(&moved(&key, &ada)));
        assert!(old.charged + new.charged <= 4_000 && old.written_off + new.written_off == 0, "{old:?} {new:?}");
        let shown = read(&app, token_of(&ada), answer["id"].as_str().unwrap()).await.expect(200).json();
        assert_eq!(shown["credits_used"], MicroUsd(old.charged + new.charged).to_usd());
    });
}

#[test]
fn keys_move_when_the_other_wallet_knows_what_they_have_spent() {
    run(async |app| {
        let (key, token, ada) = begin(&app).await;
        let (credited, _) = create(&app, &key.key, json!({ "credits": 0.004 })).await;
        spend_all(&app, &credited, 402).await;
        app.pass_ms(20_000).await;
        app.faults.fail_object("WALLET", Fault::Before);
        claim(&app, &ada, &token).await.expect(200);
        assert_eq!(account(&app, &key.account_id, "merged_into"), account_of(&ada));
        assert_eq!(account(&app, &key.account_id, "status"), "active", "the keys pay from where they did");
        app.hello(&key).send().await.expect(200);
        app.hello(&credited).send().await.expect(402);
        app.crash_isolate();
        app.pass_ms(20_000).await;
        app.faults.clear();
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        app.pass_ms(1_000).await;
        assert_eq!(account(&app, &key.account_id, "status"), "merged");
        app.hello(&credited).send().await.expect(402);
        app.hello(&key).send().await.expect(200);
        app.pass_ms(20_000).await;
        assert_eq!(app.books(&key).balance, 0);
    });
}

/// The charge behind a checkout that the key pays.
async fn buy(app: &TestApp, key: &Key) -> Value {
    let call = app.post("/v1/billing/checkout").bearer(&key.key).json(&json!({ "amount_usd": 10 }));
    let checkout = call.send().await.expect(200).json();
    let session_id = checkout["session_id"].as_str().unwrap();
    let paid = app.stripe.pay(session_id, TestCard::Pays, app.now_ms());
    app.tell(&paid).await.expect(200);
    let shelf = app.stripe.shelf.borrow();
    let intent = shelf[session_id]["payment_intent"].as_str().unwrap();
    shelf[shelf[intent]["latest_charge"].as_str().unwrap()].clone()
}

#[test]
fn what_goes_back_of_its_payments_is_taken_from_where_they_went() {
    run_with(WITH_STRIPE, async |app| {
        let (key, token) = provision(&app, "0").await;
        let mut charge = buy(&app, &key).await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        app.pass_ms(100).await;
        let home = moved(&key, &ada);
        assert_eq!(app.balance_micros(&home).await, 10_000_000);
        charge["amount_refunded"] = (charge["amount"].as_i64().unwrap() / 2).into();
        let refunded = event("evt_1", "charge.refunded", app.now_ms(), charge.clone());
        for _ in 0..2 {
            app.tell(&refunded).await.expect(200);
        }
        assert_eq!(app.balance_micros(&home).await, 5_000_000);
        let dispute = |status: &str| {
            json!({ "id": "du_1", "amount": charge["amount"], "status": status, "charge": charge["id"],
                "payment_intent": charge["payment_intent"] })
        };
        app.credit_account(&home.account_id, "1").await;
        app.tell(&event("evt_2", "charge.dispute.created", app.now_ms(), dispute("needs_response"))).await.expect(200);
        let (old, new) = (app.audit(&key), app.audit(&home));
        assert_eq!((old.owed.0, old.balance.0, new.owed.0, new.balance.0), (0, 0, 0, 1_000_000));
        assert!(old.consistent && new.consistent, "{old:?} {new:?}");
        // What is given again comes by the hour's job.
        app.tell(&event("evt_3", "charge.dispute.closed", app.now_ms(), dispute("won"))).await.expect(200);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        app.pass_ms(100).await;
        assert_eq!(app.balance_micros(&home).await, 6_000_000);
    });
}
