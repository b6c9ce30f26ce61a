//! `DELETE /v1/account`: what goes, what stays, and when it is refused.

mod late;
mod merged;

use durable_objects::wallet::protocol::{Command, Wallet};
use guildhall::jobs::{HOURLY, run_scheduled};
use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::money::MicroUsd;
use serde_json::{Value, json};

use crate::support::{Answer, Fault, Key, Session, TestApp, WITH_STRIPE, migrated_tables, run, run_with};

/// What becomes of each table that knows an account or a person: a new one is added here, and to
/// `store/identity/erasure.rs` and `store/identity/export.rs` where it holds something of theirs.
const TABLES: &[(&str, &str)] = &[
    ("accounts", "closed and nameless: the books refer to it"),
    ("agents", "nameless: others refer to its id"),
    ("api_keys", "revoked and nameless: usage refers to them"),
    ("billing", "erased"),
    ("first_keys", "kept: an account has one first key, whose id says nothing"),
    ("key_grants", "gone within two days: names of requests"),
    ("ledger_differences", "the platform's own books"),
    ("local_endpoints", "erased"),
    ("payments", "kept: the books"),
    ("provider_keys", "erased"),
    ("response_bytes", "a number: nothing is left of what it counts"),
    ("responses", "erased"),
    ("sessions", "erased"),
    ("usage", "kept: the books"),
    ("usage_days", "kept: the books"),
    ("withdrawals", "kept: the books"),
    ("workspaces", "erased"),
];

async fn delete(app: &TestApp, token: &str, body: &Value) -> Answer {
    app.call("DELETE", "/v1/account").bearer(token).json(body).send().await
}

/// A person's account in which there is something of everything.
async fn lived_in(app: &TestApp) -> (Session, Key) {
    app.with_busy_key().await;
    let person = app.sign_in("ada@example.com").await;
    app.credit_account(&person.account_id, "1").await;
    app.open_workspace(&person.account_id, "acme");
    let key = app.issue(&person.account_id, KeyPrefix::Tokaroo, "key_ada", Some("acme"));
    app.database.execute(&format!("UPDATE accounts SET name = 'Adas Haus' WHERE id = '{}'", person.account_id));
    let account = &person.account_id;
    app.database.execute(&format!(
        "INSERT INTO provider_keys (account_id, id, provider, label, sealed_secret, created_at_ms)
           VALUES ('{account}', 'pk_1', 'openai', 'label of Ada', 'sealed by Ada', 1);
         INSERT INTO local_endpoints (account_id, id, name, base_url, runtime, enabled, priority, model_map, status, models,
           last_checked_at_ms, created_at_ms, updated_at_ms)
           VALUES ('{account}', 'le_1', 'box of Ada', 'http://ada', 'ollama', 0, 0, '{{}}', 'unreachable', '[]', 1, 1, 1);
         INSERT INTO agents (id, account_id, slug, name, description, owner_email, tags, webhook_url, referral_tag, source,
           created_at_ms, updated_at_ms)
           VALUES ('agent_1', '{account}', 'bot-of-ada', 'Bot of Ada', 'Adas bot', 'ada@bots.example', '[]', '', 'x', '', 1, 1);"
    ));
    let body = json!({ "model": "m1", "input": "Hello, I am Ada" });
    app.post("/v1/responses").bearer(&key.key).json(&body).send().await.expect(200);
    app.pass_ms(20_000).await;
    (person, key)
}

#[test]
fn every_table_of_an_account_has_a_fate() {
    let owned = migrated_tables(&["account_id", "person_id", "owner_id"]);
    for table in &owned {
        assert!(TABLES.iter().any(|(name, _)| name == table), "what becomes of {table} when its owner leaves?");
    }
    for (table, _) in TABLES {
        assert!(owned.iter().any(|name| name == table), "{table} is gone");
    }
}

#[test]
fn nothing_personal_is_left_and_the_books_are() {
    run(async |app| {
        let (person, key) = lived_in(&app).await;
        let (id, before) = (&person.account_id, app.books(&key));
        let answer = delete(&app, &person.token, &json!({ "confirm": id, "forfeit_balance": true })).await.expect(200);
        assert_eq!(answer.json(), json!({ "deleted": true, "id": id, "forfeited_usd": 0.99975 }));
        let kept = app.database.dump();
        let personal =
            ["ada@example.com", "Adas Haus", "I am Ada", "made_for", "The acme", "of Ada", "by Ada", "http://ada"];
        for personal in personal.into_iter().chain(["bot-of-ada", "Adas bot", "ada@bots"]) {
            assert!(!kept.contains(personal), "{personal}");
        }
        let count = |sql: &str| app.database.number(sql);
        assert_eq!(count("SELECT COUNT(workspace_id) FROM api_keys WHERE status = 'revoked'"), 0);
        assert_eq!(count("SELECT COUNT(*) FROM sessions") + count("SELECT COUNT(*) FROM people"), 0);
        assert_eq!(count(&format!("SELECT COUNT(*) FROM usage WHERE account_id = '{id}'")), before.calls);
        let books = app.books(&key);
        assert_eq!((books.charged, books.balance, books.credited), (before.charged, 0, before.charged));
        let closed = format!("SELECT status || forfeited_at_ms || closed_at_ms FROM accounts WHERE id = '{id}'");
        assert!(app.database.text(&closed).starts_with("closed1"));
        let compared = app.admin("POST", "/admin/v1/reconciliation").send().await.expect(200).json();
        assert_eq!(compared["run"]["differences"], 0, "{compared}");
        delete(&app, &person.token, &json!({ "confirm": id })).await.expect(401);
    });
}

#[test]
fn its_keys_and_sessions_are_refused_at_once() {
    run(async |app| {
        let (person, key) = lived_in(&app).await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(20_000).await;
        app.hello(&key).send().await.expect(200);
        let elsewhere = app.new_isolate();
        app.hello(&key).to(&elsewhere).send().await.expect(200);
        let body = json!({ "confirm": person.account_id, "forfeit_balance": true });
        delete(&app, &person.token, &body).await.expect(200);
        app.hello(&key).send().await.expect(401);
        app.hello(&key).to(&elsewhere).send().await.expect(401);
        app.get("/v1/usage").bearer(&person.token).send().await.expect(401);
    });
}

#[test]
fn it_wants_the_accounts_id_and_no_money_left() {
    run(async |app| {
        let (person, key) = lived_in(&app).await;
        for body in [json!({}), json!({ "confirm": "" }), json!({ "confirm": "yes", "forfeit_balance": true })] {
            let answer = delete(&app, &person.token, &body).await.expect(400).json();
            assert_eq!(answer["error"]["param"], "confirm", "{answer}");
        }
        let refused = delete(&app, &person.token, &json!({ "confirm": person.account_id })).await.expect(409).json();
        assert_eq!(refused["balance_usd"], 0.99975, "{refused}");
        let owner = app.provision("0").await;
        delete(&app, &owner.key, &json!({ "confirm": owner.account_id })).await.expect(403);
        app.call("DELETE", "/v1/account").send().await.expect(401);
        app.hello(&key).send().await.expect(200);
        let empty = app.sign_in("bob@example.com").await;
        let answer = delete(&app, &empty.token, &json!({ "confirm": empty.account_id })).await.expect(200).json();
        assert_eq!(answer["forfeited_usd"], 0.0);
    });
}

#[test]
fn work_that_holds_money_comes_to_its_end_first() {
    run(async |app| {
        let (person, _) = lived_in(&app).await;
        let hold = Command::Hold {
            id: "film".into(),
            amount: MicroUsd(500),
            expires_at_ms: app.now_ms() + 60_000,
            budgets: vec![],
        };
        app.ask::<Wallet>(&person.account_id, &hold);
        let body = json!({ "confirm": person.account_id, "forfeit_balance": true });
        delete(&app, &person.token, &body).await.expect(409);
        app.pass_ms(61_000).await;
        delete(&app, &person.token, &body).await.expect(200);
    });
}

#[test]
fn what_calls_hold_is_charged_first_and_the_rest_taken_later() {
    run(async |app| {
        let (person, key) = lived_in(&app).await;
        app.upstream.latency_ms.set(3_000);
        let body = json!({ "confirm": person.account_id, "forfeit_balance": true });
        let deleting = async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            delete(&app, &person.token, &body).await.expect(200)
        };
        let (call, _) = tokio::join!(app.hello(&key).send(), deleting);
        call.expect(200);
        assert!(app.audit(&key).balance.0 > 0, "a call held of it");
        app.pass_ms(30_000).await;
        run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        let books = app.books(&key);
        assert_eq!((books.balance, books.charged, books.calls), (0, 500, 2), "the call that ran is paid");
        let (sql, before) = (
            "SELECT COUNT(*) FROM accounts WHERE forfeited_at_ms IS NULL AND closed_at_ms > 0",
            app.audit(&key).entries,
        );
        assert_eq!(app.database.number(sql), 0);
        run_scheduled(&app.isolate(), &app.ports(), HOURLY).await;
        assert_eq!(app.audit(&key).entries, before, "once");
    });
}

#[test]
fn the_card_goes_here_and_at_stripe() {
    run_with(WITH_STRIPE, async |app| {
        let person = app.sign_in("ada@example.com").await;
        let page = app.post("/v1/billing/card").bearer(&person.token).send().await.expect(200).json();
        let event = app.stripe.pay(page["session_id"].as_str().unwrap(), TestCard::Pays, app.now_ms());
        app.tell(&event).await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM billing WHERE card_last4 = '4242'"), 1);
        let body = json!({ "confirm": person.account_id });
        app.stripe.set_down(true);
        delete(&app, &person.token, &body).await.expect(503);
        app.stripe.set_down(false);
        app.stripe.sent.borrow_mut().clear();
        app.database.execute("UPDATE payments SET kind = 'charge', status = 'pending'");
        delete(&app, &person.token, &body).await.expect(409);
        app.database.execute("UPDATE payments SET kind = 'setup', status = 'paid'");
        delete(&app, &person.token, &body).await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM billing"), 0);
        assert_eq!(app.stripe.sent.borrow().iter().filter(|call| call.url.ends_with("/detach")).count(), 1);
    });
}

#[test]
fn a_card_that_another_took_the_place_of_goes_at_once() {
    run_with(WITH_STRIPE, async |app| {
        let person = app.sign_in("ada@example.com").await;
        let save = async || {
            let page = app.post("/v1/billing/card").bearer(&person.token).send().await.expect(200).json();
            app.tell(&app.stripe.pay(page["session_id"].as_str().unwrap(), TestCard::Pays, app.now_ms()))
                .await
                .expect(200);
        };
        let detached = || app.stripe.sent.borrow().iter().filter(|call| call.url.ends_with("/detach")).count();
        save().await;
        let first = app.database.text("SELECT payment_method_id FROM billing");
        assert_eq!(detached(), 0);
        save().await;
        assert_eq!(detached(), 1);
        assert!(app.stripe.sent.borrow().iter().any(|call| call.url.ends_with(&format!("/{first}/detach"))));
        delete(&app, &person.token, &json!({ "confirm": person.account_id })).await.expect(200);
        assert_eq!(detached(), 2);
    });
}

#[test]
fn a_person_who_owns_more_stays_known() {
    run(async |app| {
        let first = app.sign_in("ada@example.com").await;
        app.database
            .execute("INSERT INTO accounts (id, created_at_ms, owner_id) SELECT 'acc_second', 1, id FROM people");
        delete(&app, &first.token, &json!({ "confirm": "acc_second" })).await.expect(400);
        delete(&app, &first.token, &json!({ "confirm": first.account_id })).await.expect(200);
        app.get("/v1/usage").bearer(&first.token).send().await.expect(401);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM people"), 1);
        assert_eq!(app.sign_in("ada@example.com").await.account_id, "acc_second");
    });
}

#[test]
fn a_failure_changes_nothing_and_the_request_can_be_sent_again() {
    run(async |app| {
        let (person, key) = lived_in(&app).await;
        let body = json!({ "confirm": person.account_id, "forfeit_balance": true });
        // The session, the keys, then the erasure.
        app.faults.fail_db_after(2, Fault::Before);
        delete(&app, &person.token, &body).await.expect(500);
        app.faults.clear();
        app.hello(&key).send().await.expect(200);
        app.pass_ms(20_000).await;
        delete(&app, &person.token, &body).await.expect(200);
    });
}
