//! `/v1/auth/claim` and the page of a claim link.

mod merged;
mod spending;

use guildhall::store::identity::claims::{note_late_money, set_drain};
use serde_json::{Value, json};

use super::people::{account_of, ask_for_link, last_mail, last_token, sign_in, token_of, verify};
use crate::support::{Answer, HELLO_MICROS, Key, Reply, TestApp, join_all, run};

/// A provisioned key with money, and the token of its claim link.
async fn provision(app: &TestApp, amount_usd: &str) -> (Key, String) {
    let body = app.post("/v1/auth/provision").send().await.expect(200).json();
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let key = Key { key: text("api_key"), account_id: text("account_id") };
    if amount_usd != "0" {
        app.credit(&key, amount_usd).await;
    }
    (key, text("claim_url").strip_prefix("http://guildhall.test/claim?token=").unwrap().to_owned())
}

async fn claim(app: &TestApp, session: &Value, token: &str) -> Answer {
    app.post("/v1/auth/claim").bearer(token_of(session)).json(&json!({ "token": token })).send().await
}

async fn claim_by_mail(app: &TestApp, token: &str, email: &str) -> Answer {
    app.post("/v1/auth/claim").json(&json!({ "token": token, "email": email })).send().await
}

fn account(app: &TestApp, id: &str, column: &str) -> String {
    app.database.text(&format!("SELECT COALESCE({column}, 'none') FROM accounts WHERE id = '{id}'"))
}

/// The key as its new account's.
fn moved(key: &Key, session: &Value) -> Key {
    Key { key: key.key.clone(), account_id: account_of(session).to_owned() }
}

#[test]
fn whoever_has_no_account_becomes_the_owner() {
    run(async |app| {
        let (key, token) = provision(&app, "10").await;
        let sent = claim_by_mail(&app, &token, "ada@example.com").await.expect(200).json();
        assert_eq!((&sent["status"], &sent["expires_in_seconds"]), (&json!("mail_sent"), &json!(900)));
        assert_eq!(account(&app, &key.account_id, "owner_id"), "none", "a mail claims nothing");
        let ada = verify(&app, &last_token(&app).await).await.expect(200).json();
        assert_eq!(account_of(&ada), key.account_id);
        assert_eq!(ada["claim"], json!({ "status": "attached", "account_id": key.account_id }));
        assert_eq!(account(&app, &key.account_id, "owner_id"), ada["person"]["id"].as_str().unwrap());
        assert_eq!(account(&app, &key.account_id, "claim_hash"), "none");
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
        let balance = app.get("/v1/balance").bearer(token_of(&ada)).send().await.expect(200).json();
        assert_eq!(balance["balance_usd"], 10.0);
        claim(&app, &ada, &token).await.expect(404);
        assert_eq!(sign_in(&app, "ada@example.com").await["account"]["id"], json!(key.account_id));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 1);
    });
}

#[test]
fn signing_up_may_bring_a_claim_along() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let body = json!({ "email": "ada@example.com", "claim_token": token });
        app.post("/v1/auth/signup").json(&body).send().await.expect(200);
        let ada = verify(&app, &last_token(&app).await).await.expect(200).json();
        assert_eq!((account_of(&ada), &ada["is_new"]), (key.account_id.as_str(), &json!(true)));
    });
}

#[test]
fn whoever_has_an_account_gets_the_keys_and_the_money_there() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let (key, token) = provision(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        app.hello(&key).send().await.expect(200);
        let ada = sign_in(&app, "ada@example.com").await;
        app.credit_account(account_of(&ada), "1").await;
        let outcome = claim(&app, &ada, &token).await.expect(200).json();
        assert_eq!(outcome, json!({ "ok": true, "status": "merged", "account_id": account_of(&ada) }));
        app.hello(&key).send().await.expect(200);
        app.pass_ms(20_000).await;
        let home = moved(&key, &ada);
        assert_eq!(app.balance_micros(&home).await, 11_000_000 - 2 * HELLO_MICROS);
        let (old, new) = (app.books(&key), app.books(&home));
        assert_eq!(
            (old.balance, old.held, old.calls, old.charged),
            (0, 0, 1, HELLO_MICROS),
            "its usage stays: {old:?}"
        );
        assert_eq!((new.calls, new.charged), (1, HELLO_MICROS), "{new:?}");
        assert_eq!(app.audit(&key).transferred_net.0, HELLO_MICROS - 10_000_000);
        let accounts =
            app.get("/v1/auth/me").bearer(token_of(&ada)).send().await.expect(200).json()["accounts"].clone();
        let old = accounts.as_array().unwrap().iter().find(|one| one["id"] == key.account_id).unwrap().clone();
        assert_eq!((&old["status"], &old["merged_into"]), (&json!("merged"), &json!(account_of(&ada))));
    });
}

#[test]
fn a_merged_account_is_read_and_lets_nothing_in() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let (key, token) = provision(&app, "10").await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        app.hello(&key).send().await.expect(200);
        app.pass_ms(2_000).await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        let body = json!({ "account_id": key.account_id });
        app.post("/v1/auth/switch").bearer(token_of(&ada)).json(&body).send().await.expect(200);
        let me = app.get("/v1/auth/me").bearer(token_of(&ada)).send().await.expect(200).json();
        assert_eq!((&me["account"]["id"], &me["account"]["status"]), (&json!(key.account_id), &json!("merged")));
        app.get("/v1/balance").bearer(token_of(&ada)).send().await.expect(200);
        assert_eq!(app.books(&key).calls, 1, "its usage is untouched");
        let credit = app.admin("POST", &format!("/admin/v1/accounts/{}/credits", key.account_id));
        let refused = credit.body(r#"{"amount_usd":1}"#).send().await.expect(409);
        assert!(refused.text().contains(account_of(&ada)), "{}", refused.text());
        let issue = json!({ "name": "late", "account_id": key.account_id });
        let late = app.admin("POST", "/admin/v1/apikeys").json(&issue).send().await.expect(200).json();
        app.get("/v1/balance").bearer(late["key"].as_str().unwrap()).send().await.expect(401);
        // A claim made while the session looks at it goes to an account that is active.
        let (_, second) = provision(&app, "0").await;
        let outcome = claim(&app, &ada, &second).await.expect(200).json();
        assert_eq!(outcome["account_id"], json!(account_of(&ada)));
    });
}

#[test]
fn money_that_isolates_lease_follows_and_none_is_lost() {
    run(async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let (key, token) = provision(&app, "10").await;
        let other = app.new_isolate();
        app.upstream.always(Reply::chat("hi", 10, 5));
        for _ in 0..3 {
            app.hello(&key).to(&other).send().await.expect(200);
            app.hello(&key).send().await.expect(200);
        }
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        let home = moved(&key, &ada);
        for _ in 0..5 {
            app.pass_ms(500).await;
            // What the other isolate still knows pays from what it has leased; then from the new account.
            app.hello(&key).to(&other).send().await.expect(200);
            let (old, new) = (app.books(&key), app.books(&home));
            assert!(old.written_off == 0 && new.written_off == 0, "{old:?} {new:?}");
        }
        app.pass_ms(40_000).await;
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        app.pass_ms(1_000).await;
        let (old, new) = (app.books(&key), app.books(&home));
        assert_eq!((old.balance, old.held), (0, 0), "{old:?}");
        assert_eq!(old.calls + new.calls, 11);
        assert_eq!(new.balance, 10_000_000 - 11 * HELLO_MICROS, "{old:?} {new:?}");
    });
}

#[test]
fn a_wallet_that_does_not_answer_is_drained_by_the_hour() {
    run(async |app| {
        let (key, token) = provision(&app, "10").await;
        let ada = sign_in(&app, "ada@example.com").await;
        let home = moved(&key, &ada);
        for fault in [crate::support::Fault::Before, crate::support::Fault::Before] {
            app.faults.fail_object("WALLET", fault);
        }
        claim(&app, &ada, &token).await.expect(200);
        app.crash_isolate();
        app.pass_ms(100).await;
        assert_eq!((app.books(&key).balance, app.books(&home).balance), (10_000_000, 0));
        // The second fault fails the first job; a lost answer of the next moves nothing twice.
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(app.books(&key).balance, 10_000_000);
        app.faults.fail_object_after("WALLET", 1, crate::support::Fault::After);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        app.pass_ms(100).await;
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        app.pass_ms(100).await;
        assert_eq!((app.books(&key).balance, app.books(&home).balance), (0, 10_000_000));
        assert_eq!(app.audit(&home).transferred_net.0, 10_000_000);
    });
}

#[test]
fn a_quiet_wallet_is_looked_at_ever_more_rarely_and_then_no_more() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        let mut looks = 0;
        for _ in 0..24 * 70 {
            tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
            let before = app.faults.calls_of("WALLET");
            guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
            looks += app.faults.calls_of("WALLET") - before;
        }
        assert!((5..=15).contains(&looks), "{looks}");
        assert_eq!(account(&app, &key.account_id, "CAST(drain_due_ms AS TEXT)"), "none");
    });
}

#[test]
fn money_that_comes_while_a_wallet_is_looked_at_is_looked_for_again() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, &token).await.expect(200);
        let found_ms: i64 = account(&app, &key.account_id, "CAST(drain_due_ms AS TEXT)").parse().unwrap();
        let late_ms = found_ms + 1_000;
        app.database.run(&[note_late_money(&key.account_id, late_ms).statement]).unwrap();
        app.database.run(&[set_drain(&key.account_id, found_ms, None).statement]).unwrap();
        assert_eq!(account(&app, &key.account_id, "CAST(drain_due_ms AS TEXT)"), late_ms.to_string());
        app.database.run(&[set_drain(&key.account_id, late_ms, None).statement]).unwrap();
        assert_eq!(account(&app, &key.account_id, "CAST(drain_due_ms AS TEXT)"), "none");
    });
}

#[test]
fn of_two_claims_at_once_one_wins() {
    run(async |app| {
        let (key, token) = provision(&app, "10").await;
        let ada = sign_in(&app, "ada@example.com").await;
        let eve = sign_in(&app, "eve@example.com").await;
        let answers = join_all([&ada, &eve].map(|session| claim(&app, session, &token))).await;
        let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(winners.len(), 1);
        let loser = answers.iter().find(|answer| answer.status != 200).unwrap();
        assert!(matches!(loser.status, 404 | 409), "{}", loser.text());
        let home = winners[0].json()["account_id"].as_str().unwrap().to_owned();
        assert_eq!(account(&app, &key.account_id, "merged_into"), home);
        app.pass_ms(100).await;
        assert_eq!(app.books(&Key { key: String::new(), account_id: home }).balance, 10_000_000);
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
    });
}

#[test]
fn signing_in_goes_on_when_somebody_else_was_first() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        claim_by_mail(&app, &token, "eve@example.com").await.expect(200);
        let link = last_token(&app).await;
        claim_by_mail(&app, &token, "ada@example.com").await.expect(200);
        verify(&app, &last_token(&app).await).await.expect(200);
        let eve = verify(&app, &link).await.expect(200).json();
        assert_eq!(eve["claim"], json!({ "status": "gone" }));
        assert_ne!(account_of(&eve), key.account_id);
    });
}

#[test]
fn whoever_takes_a_key_in_is_told_what_that_means() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        claim_by_mail(&app, &token, "ada@example.com").await.expect(200);
        let masked = format!("{}...{}", &key.key[..12], &key.key[key.key.len() - 4..]);
        let mail = last_mail(&app).await;
        let link = format!("/auth/verify?token={}", last_token(&app).await);
        let pages = [
            mail["text"].as_str().unwrap().to_owned(),
            app.get(&link).send().await.expect(200).text(),
            app.get(&format!("/claim?token={token}")).send().await.expect(200).text(),
        ];
        for text in pages {
            for part in [&masked, &key.account_id, "spends your money", "its keys, its billing and its export"] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
        for _ in 0..11 {
            super::keys::create(&app, &key.key, json!({})).await;
        }
        let page = app.get(&format!("/claim?token={token}")).send().await.expect(200).text();
        assert!(page.contains(" and 2 more becomes yours"), "{page}");
    });
}

#[test]
fn the_page_of_a_claim_mails_a_link() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let page = app.get(&format!("/claim?token={token}")).send().await.expect(200);
        assert_eq!(
            (page.header("cache-control"), page.header("referrer-policy")),
            (Some("no-store"), Some("no-referrer"))
        );
        let send = |email: &str| app.post("/claim").body(&format!("token={token}&email={email}")).send();
        let refused = send("nonsense").await.expect(400);
        assert!(refused.text().contains("email must be") && refused.text().starts_with("<!doctype html>"));
        let sent = send("ada%40example.com").await.expect(200);
        assert!(sent.text().contains("/sandbox/outbox"));
        let ada = verify(&app, &last_token(&app).await).await.expect(200).json();
        assert_eq!(account_of(&ada), key.account_id);
        send("eve%40example.com").await.expect(404);
        let gone = app.get(&format!("/claim?token={token}")).send().await.expect(404);
        assert!(gone.text().contains("it was used"), "{}", gone.text());
        app.get("/claim").send().await.expect(400);
    });
}

#[test]
fn wrong_claims_are_refused() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let ada = sign_in(&app, "ada@example.com").await;
        claim(&app, &ada, "").await.expect(400);
        claim(&app, &ada, &"0".repeat(64)).await.expect(404);
        let call = |body: Value| app.post("/v1/auth/claim").json(&body);
        let refused = call(json!({ "token": token })).send().await.expect(400).json();
        assert_eq!(refused["error"]["param"], "email");
        call(json!({ "token": token, "email": "nobody" })).send().await.expect(400);
        call(json!({ "token": token })).bearer("sess_wrong").send().await.expect(401);
        call(json!({ "token": token })).bearer(&key.key).send().await.expect(400);
        call(json!({ "token": token, "email": "ada@example.com" })).bearer(&key.key).send().await.expect(200);
        assert_eq!(account(&app, &key.account_id, "owner_id"), "none");
        // A person's own account cannot be claimed.
        ask_for_link(&app, "eve@example.com").await.expect(200);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts WHERE claim_hash IS NOT NULL"), 1);
    });
}

#[test]
fn workspaces_and_their_limits_come_along() {
    run(async |app| {
        let (key, token) = provision(&app, "0").await;
        let ada = sign_in(&app, "ada@example.com").await;
        let workspace = |account: &str, name: &str, id: &str| {
            app.database.execute(&format!(
                "INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
                 VALUES ('{account}', '{name}', '{id}', '', 'active', '{{}}', 1, 1)"
            ));
        };
        workspace(&key.account_id, "mine", "ws_1");
        workspace(&key.account_id, "both", "ws_2");
        workspace(account_of(&ada), "both", "ws_3");
        claim(&app, &ada, &token).await.expect(200);
        let of = |account: &str| {
            let sql = format!(
                "SELECT COALESCE(group_concat(id, ' '), '') FROM (SELECT id FROM workspaces WHERE account_id = '{account}' ORDER BY id)"
            );
            app.database.text(&sql)
        };
        assert_eq!((of(account_of(&ada)), of(&key.account_id)), ("ws_1 ws_3".to_owned(), "ws_2".to_owned()));
    });
}

#[test]
fn what_a_key_has_ordered_and_kept_stays_its_own() {
    run(async |app| {
        let admin = async |path: &str, body: Value| app.admin("POST", path).json(&body).send().await.expect(200);
        admin("/admin/v1/providers", json!({ "id": "cinema", "type": "sandbox", "enabled": true })).await;
        let film = json!({ "id": "film", "provider_id": "cinema", "kind": "video", "unit_price_usd": 0.1, "weight": 1,
            "input_per_1k": 0, "output_per_1k": 0, "enabled": true });
        admin("/admin/v1/models", film).await;
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        app.upstream.always(Reply::chat("hi", 10, 5));
        let (key, token) = provision(&app, "10").await;
        let video = app.post("/v1/videos").bearer(&key.key).body(r#"{"model":"film","prompt":"waves","duration":3}"#);
        let video = format!("/v1/videos/{}", video.send().await.expect(200).json()["id"].as_str().unwrap());
        let ask = |body: Value| app.post("/v1/responses").bearer(&key.key).json(&body).send();
        let first = ask(json!({ "model": "m1", "input": "hello" })).await.expect(200).json();
        let ada = sign_in(&app, "ada@example.com").await;
        let elsewhere = app.provision("1").await;
        claim(&app, &ada, &token).await.expect(200);
        app.pass_ms(20_000).await;
        // However many came after it.
        for number in 0..12 {
            app.database.execute(&format!(
                "INSERT INTO accounts (id, created_at_ms, merged_into, merged_at_ms, status)
                 VALUES ('acc_{number}', 1, '{}', {}, 'merged')",
                account_of(&ada),
                app.now_ms()
            ));
        }
        let made = app.get(&video).bearer(&key.key).send().await.expect(200).json();
        assert_eq!(made["status"], "completed");
        app.get(&format!("{video}/content")).bearer(&key.key).send().await.expect(200);
        app.get(&video).bearer(&elsewhere.key).send().await.expect(404);
        ask(json!({ "model": "m1", "input": "and?", "previous_response_id": first["id"] })).await.expect(200);
        let kept = |of: &str| app.database.number(&format!("SELECT COALESCE(SUM({of}), 0) FROM response_bytes"));
        assert_eq!(kept("bytes"), app.database.number("SELECT SUM(length(CAST(turn AS BLOB))) FROM responses"));
        assert_eq!(kept(&format!("bytes * (account_id = '{}')", key.account_id)), 0);
    });
}
