//! `POST /v1/auth/provision`.

use durable_objects::wallet::protocol::Wallet;
use durable_objects::wallet::protocol::{Command, Reply as WalletReply};
use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use crate::support::{Answer, Key, Reply, TestApp, run, run_with};

async fn provision_from(app: &TestApp, address: &str) -> Answer {
    app.post("/v1/auth/provision").head(|head| head.address = address.into()).send().await
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_else(|| panic!("{field} in {body}"))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[test]
fn a_key_has_toolrouters_shape() {
    run(async |app| {
        let answer = app.post("/v1/auth/provision").send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let mut fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["account_id", "api_key", "claim_url", "key_prefix", "message"]);
        let key = text(&body, "api_key");
        assert!(is_hex(key.strip_prefix("tr_live_").unwrap(), 64), "{key}");
        assert_eq!(text(&body, "key_prefix"), format!("{}...{}", &key[..12], &key[key.len() - 4..]));
        let token = text(&body, "claim_url").strip_prefix("http://guildhall.test/claim?token=").unwrap();
        assert!(is_hex(token, 64), "{token}");
        assert!(is_hex(text(&body, "account_id").strip_prefix("prov_").unwrap(), 32), "{body}");
        assert!(text(&body, "message").contains("claim URL"), "{body}");
    });
}

#[test]
fn a_key_works_at_once_everywhere() {
    run(async |app| {
        let key = app.provision("0").await;
        let other = app.new_isolate();
        for path in ["/v1/balance", "/v1/billing/balance", "/v1/usage", "/v1/models"] {
            app.get(path).bearer(&key.key).send().await.expect(200);
            app.get(path).bearer(&key.key).to(&other).send().await.expect(200);
        }
        assert_eq!(app.balance_micros(&key).await, 0);
    });
}

#[test]
fn no_two_keys_share_anything() {
    run(async |app| {
        let one = app.post("/v1/auth/provision").send().await.json();
        let two = app.post("/v1/auth/provision").send().await.json();
        for field in ["api_key", "account_id", "claim_url"] {
            assert_ne!(one[field], two[field], "{field}");
        }
    });
}

#[test]
fn an_address_gets_so_many_keys_an_hour() {
    run_with(&[("PROVISIONS_PER_HOUR", "3")], async |app| {
        for _ in 0..3 {
            provision_from(&app, "203.0.113.7").await.expect(200);
        }
        let refused = provision_from(&app, "203.0.113.7").await.expect(429);
        let error = &refused.json()["error"];
        assert_eq!((text(error, "code"), text(error, "type")), ("RATE_LIMIT_EXCEEDED", "rate_limit"));
        assert!(!text(error, "message").is_empty() && !text(error, "resolution_hint").is_empty(), "{error}");
        assert_eq!(refused.header("retry-after"), Some("3600"));
        assert_eq!(refused.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(refused.header("x-ratelimit-reset"), Some("3600"));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 3, "a refusal creates nothing");
        assert_eq!(app.database.number("SELECT COUNT(*) FROM api_keys"), 3);
    });
}

#[test]
fn the_limit_holds_across_isolates_and_opens_again_after_an_hour() {
    run_with(&[("PROVISIONS_PER_HOUR", "2")], async |app| {
        let other = app.new_isolate();
        let to_other = || app.post("/v1/auth/provision").head(|head| head.address = "::1".into()).to(&other);
        provision_from(&app, "::1").await.expect(200);
        to_other().send().await.expect(200);
        to_other().send().await.expect(429);
        provision_from(&app, "::1").await.expect(429);
        tokio::time::sleep(std::time::Duration::from_secs(1_800)).await;
        let refused = provision_from(&app, "::1").await.expect(429);
        let wait_s: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1_790..=1_800).contains(&wait_s), "{wait_s}");
        tokio::time::sleep(std::time::Duration::from_secs(u64::from(wait_s))).await;
        provision_from(&app, "::1").await.expect(200);
        provision_from(&app, "::1").await.expect(200);
        provision_from(&app, "::1").await.expect(429);
    });
}

#[test]
fn one_addresss_limit_is_not_anothers() {
    run_with(&[("PROVISIONS_PER_HOUR", "1")], async |app| {
        for address in ["203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8:0:1::1"] {
            provision_from(&app, address).await.expect(200);
            provision_from(&app, address).await.expect(429);
        }
        for address in ["2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8:0:1:2:3:4:5"] {
            provision_from(&app, address).await.expect(429);
        }
    });
}

#[test]
fn many_at_once_from_one_address_get_no_more_than_the_limit() {
    run_with(&[("PROVISIONS_PER_HOUR", "3")], async |app| {
        let calls: Vec<_> = (0..10).map(|_| provision_from(&app, "203.0.113.7")).collect();
        let answers = crate::support::join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
        assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 7);
    });
}

#[test]
fn the_free_balance_is_there_exactly_once_and_can_be_spent() {
    run_with(&[("FREE_BALANCE_USD", "0.25")], async |app| {
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        let key = app.provision("0").await;
        let audit = app.audit(&key);
        assert_eq!((audit.deposited_net.0, audit.entries), (250_000, 1));
        let other = app.new_isolate();
        app.get("/v1/balance").bearer(&key.key).to(&other).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 250_000);
        app.upstream.then(Reply::chat("hi", 10, 5));
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&key).await, 250_000 - 250);
        assert_eq!(app.audit(&key).deposited_net.0, 250_000);
    });
}

#[test]
fn without_a_free_balance_nothing_is_credited() {
    run(async |app| {
        let key = app.provision("0").await;
        assert_eq!(app.audit(&key).entries, 0);
    });
}

#[test]
fn neither_the_key_nor_the_claim_token_is_stored_in_clear() {
    run(async |app| {
        let body = app.post("/v1/auth/provision").send().await.expect(200).json();
        let key = text(&body, "api_key");
        app.get("/v1/balance").bearer(key).send().await.expect(200);
        let stored = app.database.dump();
        assert!(stored.contains(text(&body, "key_prefix")), "the masked form is there to be shown");
        assert!(!stored.contains(key.strip_prefix("tr_live_").unwrap()));
        assert!(!stored.contains(text(&body, "claim_url").split_once('=').unwrap().1));
        assert!(app.log.borrow().iter().all(|line| !line.contains(key)), "nor is it logged");
    });
}

#[test]
fn a_call_without_money_tells_the_claim_link_until_somebody_has_claimed() {
    run(async |app| {
        app.with_model().await;
        let body = app.post("/v1/auth/provision").send().await.expect(200).json();
        let key = Key { key: text(&body, "api_key").to_owned(), account_id: text(&body, "account_id").to_owned() };
        let refused = app.hello(&key).send().await.expect(402).json();
        let required = refused["required_usd"].as_f64().unwrap();
        let expected = json!({
            "error": "billing_required",
            "message": format!("The balance of $0 does not cover this request, which needs at least ${required}"),
            "balance_usd": 0.0,
            "required_usd": required,
            "payment_url": "http://guildhall.test/billing",
            "claim_url": body["claim_url"],
        });
        assert_eq!(refused, expected);
        let elsewhere = app.hello(&key).to(&app.new_isolate()).send().await.expect(402).json();
        assert_eq!(elsewhere["claim_url"], body["claim_url"]);
        app.open_workspace(&key.account_id, "acme");
        for (id, prefix, workspace) in [
            ("key_toku", KeyPrefix::Toku, None),
            ("key_tokaroo", KeyPrefix::Tokaroo, None),
            ("key_bound", KeyPrefix::ToolRouter, Some("acme")),
        ] {
            let other = app.issue(&key.account_id, prefix, id, workspace);
            let refused = app.hello(&other).send().await.expect(402).json();
            assert_eq!(refused["claim_url"], Value::Null, "{id} may not give the account away");
        }
        let other = app.provision("0").await;
        assert_ne!(app.hello(&other).send().await.expect(402).json()["claim_url"], body["claim_url"]);
        let ada = app.sign_in("ada@example.com").await;
        let token = text(&body, "claim_url").rsplit_once('=').unwrap().1;
        let claim = app.post("/v1/auth/claim").bearer(&ada.token).json(&json!({ "token": token }));
        claim.send().await.expect(200);
        assert_eq!(app.hello(&key).send().await.expect(402).json()["claim_url"], Value::Null);
    });
}

#[test]
fn nobody_gets_anothers_key_by_guessing_an_idempotency_key() {
    run(async |app| {
        let call = || app.post("/v1/auth/provision").head(|head| head.address = "203.0.113.7".into());
        let one = call().idempotency_key("1").send().await.expect(200).json();
        let two = call().idempotency_key("1").send().await;
        assert!(!two.text().contains(text(&one, "api_key")), "two people behind one address: {}", two.text());
    });
}

#[test]
fn a_wallet_that_was_credited_without_an_answer_is_not_credited_again() {
    run_with(&[("FREE_BALANCE_USD", "0.25")], async |app| {
        app.faults.fail_object("WALLET", crate::support::Fault::After);
        let refused = app.post("/v1/auth/provision").send().await;
        assert!(matches!(refused.status, 500 | 503), "{}", refused.text());
        let account = app.database.text("SELECT id FROM accounts");
        let command = Command::Credit {
            id: "free_balance".into(),
            amount: guildhall_domain::money::MicroUsd(250_000),
            reason: "again".into(),
        };
        match app.ask::<Wallet>(&account, &command) {
            WalletReply::Moved { duplicate, balance, .. } => assert_eq!((duplicate, balance.0), (true, 250_000)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_body_is_not_needed_and_not_read_but_bounded() {
    run(async |app| {
        app.post("/v1/auth/provision").body("not json").send().await.expect(200);
        let refused = app.post("/v1/auth/provision").bytes(&[b' '; (1 << 16) + 1]).send().await.expect(413).json();
        assert_eq!(text(&refused["error"], "code"), "BODY_TOO_LARGE");
    });
}
