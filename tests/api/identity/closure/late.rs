//! Money that is on its way when an account is closed.

use durable_objects::wallet::protocol::{Command, Reply, Wallet};
use guildhall::jobs::{HOURLY, run_scheduled};
use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use super::delete;
use crate::support::{Fault, Key, Session, TestApp, WITH_STRIPE, run, run_with};

/// A person who leaves with a page open on which they can pay; gives its session.
async fn leave_with_a_page_open(app: &TestApp) -> (Session, String) {
    let person = app.sign_in("ada@example.com").await;
    let call = app.post("/v1/billing/checkout").bearer(&person.token).json(&json!({ "amount_usd": 10 }));
    let checkout = call.send().await.expect(200).json();
    delete(app, &person.token, &json!({ "confirm": person.account_id })).await.expect(200);
    (person, checkout["session_id"].as_str().unwrap().to_owned())
}

fn wallet(person: &Session) -> Key {
    Key { key: String::new(), account_id: person.account_id.clone() }
}

fn audited(app: &TestApp, action: &str) -> i64 {
    app.database.number(&format!("SELECT COUNT(*) FROM audit_log WHERE action = '{action}'"))
}

fn refunded_cents(app: &TestApp) -> i64 {
    let shelf = app.stripe.shelf.borrow();
    let refunds = shelf.iter().filter(|(id, refund)| id.starts_with("re_") && !refund.is_null());
    refunds.map(|(_, refund)| refund["amount"].as_i64().unwrap()).sum()
}

#[test]
fn a_payment_that_comes_later_is_refunded_once() {
    run_with(WITH_STRIPE, async |app| {
        let (person, session) = leave_with_a_page_open(&app).await;
        let paid = app.stripe.pay(&session, TestCard::Pays, app.now_ms());
        app.stripe.fail(Fault::After);
        app.tell(&paid).await;
        for _ in 0..2 {
            app.tell(&paid).await.expect(200);
        }
        assert_eq!((refunded_cents(&app), audited(&app, "payment.return")), (1_000, 1));
        assert_eq!(app.database.text("SELECT status || is_open || credited FROM payments"), "paid01");
        // Stripe's own word of it changes nothing.
        let charge: Value = {
            let shelf = app.stripe.shelf.borrow();
            shelf[shelf[shelf[&session]["payment_intent"].as_str().unwrap()]["latest_charge"].as_str().unwrap()].clone()
        };
        assert_eq!(charge["amount_refunded"], 1_000);
        let told = crate::support::event("evt_refund", "charge.refunded", app.now_ms() + 1_000, charge);
        app.tell(&told).await.expect(200);
        run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        let audit = app.audit(&wallet(&person));
        assert_eq!((audit.balance.0, audit.owed.0, audit.deposited_net.0), (0, 0, 0), "{audit:?}");
    });
}

#[test]
fn a_card_that_is_saved_later_is_not_kept() {
    run_with(WITH_STRIPE, async |app| {
        let person = app.sign_in("ada@example.com").await;
        let page = app.post("/v1/billing/card").bearer(&person.token).send().await.expect(200).json();
        delete(&app, &person.token, &json!({ "confirm": person.account_id })).await.expect(200);
        app.tell(&app.stripe.pay(page["session_id"].as_str().unwrap(), TestCard::Pays, app.now_ms())).await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM billing"), 0);
        assert_eq!(app.stripe.sent.borrow().iter().filter(|call| call.url.ends_with("/detach")).count(), 1);
    });
}

#[test]
fn an_open_withdrawal_comes_to_its_end_first() {
    run(async |app| {
        let person = app.sign_in("ada@example.com").await;
        let id = &person.account_id;
        app.database.execute(&format!(
            "INSERT INTO withdrawals (account_id, id, amount_micros, stripe_account_id, state, busy_until_ms, created_at_ms, updated_at_ms)
             VALUES ('{id}', 'wd_1', 1000000, 'acct_1', 'returning', 1, 1, 1)"
        ));
        let refused = delete(&app, &person.token, &json!({ "confirm": id })).await.expect(409);
        assert!(refused.text().contains("withdrawal"), "{}", refused.text());
        app.database.execute("UPDATE withdrawals SET state = 'returned'");
        delete(&app, &person.token, &json!({ "confirm": id })).await.expect(200);
    });
}

#[test]
fn a_forfeit_is_audited_though_the_database_failed_then() {
    for passing in 0..12 {
        run(async |app| {
            let person = app.sign_in("ada@example.com").await;
            app.credit_account(&person.account_id, "3").await;
            app.faults.fail_db_after(passing, Fault::Before);
            let body = json!({ "confirm": person.account_id, "forfeit_balance": true });
            delete(&app, &person.token, &body).await;
            app.faults.clear();
            delete(&app, &person.token, &body).await;
            run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
            assert_eq!(audited(&app, "account.forfeit"), 1, "{passing}");
            assert_eq!(app.audit(&wallet(&person)).balance.0, 0, "{passing}");
        });
    }
}

#[test]
fn what_comes_back_later_is_forfeited_as_the_rest() {
    run_with(WITH_STRIPE, async |app| {
        let person = app.sign_in("ada@example.com").await;
        let id = &person.account_id;
        app.credit_account(id, "3").await;
        // A withdrawal was begun at the same moment as the account was closed.
        let debit = Command::Withdraw { id: "wd_1".into(), amount: MicroUsd(2_000_000), reason: String::new() };
        assert!(matches!(app.ask::<Wallet>(id, &debit), Reply::Moved { .. }));
        delete(&app, &person.token, &json!({ "confirm": id, "forfeit_balance": true })).await.expect(200);
        assert_eq!(audited(&app, "account.forfeit"), 1);
        app.database.execute(&format!(
            "INSERT INTO withdrawals (account_id, id, amount_micros, stripe_account_id, state, busy_until_ms, created_at_ms, updated_at_ms)
             VALUES ('{id}', 'wd_1', 2000000, 'acct_1', 'returning', 1, 1, 1)"
        ));
        for _ in 0..2 {
            run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        }
        assert_eq!(app.database.text("SELECT state FROM withdrawals"), "returned");
        let audit = app.audit(&wallet(&person));
        assert_eq!((audit.balance.0, audit.deposited_net.0), (0, 0), "{audit:?}");
        assert_eq!(audited(&app, "account.forfeit"), 2);
        let open = "SELECT COUNT(*) FROM accounts WHERE closed_at_ms > 0 AND forfeited_at_ms IS NULL";
        assert_eq!(app.database.number(open), 0);
    });
}

#[test]
fn an_administrator_gives_nothing_to_a_closed_account() {
    run(async |app| {
        let person = app.sign_in("ada@example.com").await;
        delete(&app, &person.token, &json!({ "confirm": person.account_id })).await.expect(200);
        let credits = format!("/admin/v1/accounts/{}/credits", person.account_id);
        app.admin("POST", &credits).json(&json!({ "amount_usd": 50, "reason": "late" })).send().await.expect(409);
        assert_eq!(app.audit(&wallet(&person)).balance.0, 0);
    });
}
