//! Accounts that went up in the one that is closed.

use guildhall::jobs::{HOURLY, run_scheduled};
use guildhall_domain::billing::sandbox::TestCard;
use serde_json::{Value, json};

use super::delete;
use crate::support::{Fault, Key, Session, TestApp, WITH_STRIPE, run, run_with};

/// A person in whose account one went up that a key opened.
async fn take_in(app: &TestApp, before: impl AsyncFnOnce(&Key)) -> (Session, Key) {
    let body = app.post("/v1/auth/provision").send().await.expect(200).json();
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let key = Key { key: text("api_key"), account_id: text("account_id") };
    before(&key).await;
    let person = app.sign_in("ada@example.com").await;
    let token = text("claim_url").split_once("token=").unwrap().1.to_owned();
    let claim = app.post("/v1/auth/claim").bearer(&person.token).json(&json!({ "token": token }));
    assert_eq!(claim.send().await.expect(200).json()["status"], "merged");
    (person, key)
}

fn closure(person: &Session) -> Value {
    json!({ "confirm": person.account_id, "forfeit_balance": true })
}

#[test]
fn accounts_that_went_up_in_it_go_with_it() {
    run_with(WITH_STRIPE, async |app| {
        let (person, old) = take_in(&app, async |key| {
            let call = app.post("/v1/billing/checkout").bearer(&key.key).json(&json!({ "amount_usd": 10 }));
            let checkout = call.send().await.expect(200).json();
            let paid = app.stripe.pay(checkout["session_id"].as_str().unwrap(), TestCard::Pays, app.now_ms());
            app.tell(&paid).await.expect(200);
        })
        .await;
        app.open_workspace(&old.account_id, "acme");
        assert_eq!(app.database.number("SELECT COUNT(*) FROM billing WHERE card_last4 = '4242'"), 1);
        app.pass_ms(20_000).await;
        let detached = || app.stripe.sent.borrow().iter().filter(|call| call.url.ends_with("/detach")).count();
        app.stripe.set_down(true);
        delete(&app, &person.token, &closure(&person)).await.expect(503);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts WHERE status = 'closed'"), 0);
        app.stripe.set_down(false);
        app.stripe.sent.borrow_mut().clear();
        let closed = delete(&app, &person.token, &closure(&person)).await.expect(200).json();
        assert_eq!(closed["forfeited_usd"], 10.0);
        let count = |sql: &str| app.database.number(sql);
        assert_eq!(detached(), 1);
        assert_eq!(count("SELECT COUNT(*) FROM billing") + count("SELECT COUNT(*) FROM workspaces"), 0);
        assert_eq!(count("SELECT COUNT(*) FROM accounts WHERE status = 'closed' AND owner_id IS NULL"), 2);
        assert_eq!(count("SELECT COUNT(*) FROM people"), 0);
        run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        assert_eq!(count("SELECT COUNT(*) FROM accounts WHERE forfeited_at_ms IS NULL"), 0);
    });
}

#[test]
fn money_in_them_is_money_that_is_left() {
    run(async |app| {
        // Its wallet did not answer, so that its keys and its money are there still.
        let (person, old) = take_in(&app, async |key| {
            app.credit(key, "3").await;
            app.faults.fail_object_after("WALLET", 1, Fault::Before);
        })
        .await;
        app.faults.clear();
        let without = json!({ "confirm": person.account_id });
        let refused = delete(&app, &person.token, &without).await.expect(409).json();
        assert_eq!(refused["balance_usd"], 3.0, "{refused}");
        app.database.execute(&format!(
            "INSERT INTO payments (account_id, id, wallet, kind, product, status, amount_micros, total_micros, month, created_at_ms, looked_at_ms)
             VALUES ('{0}', 'pay_1', '{0}', 'charge', 'toolrouter', 'pending', 1, 1, '2027-01', {1}, {1})",
            old.account_id,
            app.now_ms()
        ));
        delete(&app, &person.token, &closure(&person)).await.expect(409);
        app.database.execute("DELETE FROM payments");
        delete(&app, &person.token, &closure(&person)).await.expect(200);
        app.get("/v1/balance").bearer(&old.key).send().await.expect(401);
        for _ in 0..2 {
            app.pass_ms(20_000).await;
            run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        }
        let home = Key { key: String::new(), account_id: person.account_id.clone() };
        assert_eq!((app.audit(&old).balance.0, app.audit(&home).balance.0), (0, 0));
    });
}

#[test]
fn many_of_them_go_by_several_requests() {
    run(async |app| {
        let (person, _) = take_in(&app, async |_| {}).await;
        for number in 0..60 {
            app.database.execute(&format!(
                "INSERT INTO accounts (id, created_at_ms, owner_id, merged_into, merged_at_ms, status)
                 SELECT 'acc_{number}', 1, id, '{}', {number}, 'merged' FROM people",
                person.account_id
            ));
        }
        let open = || app.database.number("SELECT COUNT(*) FROM accounts WHERE status <> 'closed'");
        let many = delete(&app, &person.token, &closure(&person)).await.expect(503);
        assert_eq!((many.header("retry-after"), open()), (Some("1"), 12));
        delete(&app, &person.token, &closure(&person)).await.expect(200);
        assert_eq!(open(), 0);
    });
}
