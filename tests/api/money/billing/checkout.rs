//! Checkouts and the portal.

use guildhall_domain::billing::sandbox::TestCard;
use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use super::{balance_of, buy, open_checkout, pay, payments_of, session_of, with_card};
use crate::support::{WITH_STRIPE, run, run_with};

#[test]
fn a_person_buys_credit_without_a_fee() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        assert_eq!((checkout["credit_usd"].as_f64(), checkout["fee_usd"].as_f64()), (Some(10.0), Some(0.0)));
        assert!(checkout["url"].as_str().unwrap().starts_with("https://"), "{checkout}");
        assert_eq!(balance_of(&app, &session.token).await, 0.0, "opening a page pays nothing");
        app.tell(&pay(&app, &checkout)).await.expect(200);
        assert_eq!(balance_of(&app, &session.token).await, 10.0);
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.json();
        assert_eq!(card["card"], json!({ "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2034 }));
    });
}

#[test]
fn a_toolrouter_key_pays_the_fee() {
    run_with(WITH_STRIPE, async |app| {
        let key = app.provision("0").await;
        let checkout = buy(&app, &key.key, 10).await;
        let (fee, total) = (checkout["fee_usd"].as_f64(), checkout["total_usd"].as_f64());
        assert_eq!((fee, total), (Some(0.8), Some(10.8)));
        assert_eq!(app.stripe.shelf.borrow()[session_of(&checkout)]["amount_total"], 1_080);
        assert_eq!(balance_of(&app, &key.key).await, 10.0);
        let payment = &payments_of(&app, &key.key).await[0];
        assert_eq!((payment["status"].as_str(), payment["fee_usd"].as_f64()), (Some("paid"), Some(0.8)));
    });
}

#[test]
fn amounts_and_addresses_are_checked() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let key = app.provision("0").await;
        for (token, amount, status) in [
            (&session.token, json!(4.99), 400),
            (&session.token, json!(5), 200),
            (&key.key, json!(0.99), 400),
            (&key.key, json!(1), 200),
            (&key.key, json!(1.001), 400),
            (&key.key, json!(-5), 400),
            (&key.key, json!(10_001), 400),
            (&key.key, json!("ten"), 400),
        ] {
            let call = app.post("/v1/billing/checkout").bearer(token).json(&json!({ "amount_usd": amount }));
            let answer = call.send().await;
            assert_eq!(answer.status, status, "{amount}: {}", answer.text());
            let (body, is_session) = (answer.json(), token.starts_with("sess_"));
            let param = if is_session { &body["param"] } else { &body["error"]["param"] };
            assert!(status == 200 || param == "amount_usd", "{}", answer.text());
        }
        for (url, status) in [
            ("http://guildhall.test/done?x=1", 200),
            ("https://example.com/done", 200),
            ("http://example.com/done", 400),
            ("http://guildhall.test.evil.example/", 400),
            ("javascript:alert(1)", 400),
            ("https://user:pass@example.com/", 400),
        ] {
            let body = json!({ "amount_usd": 10, "success_url": url });
            let answer = app.post("/v1/billing/checkout").bearer(&session.token).json(&body).send().await;
            assert_eq!(answer.status, status, "{url}: {}", answer.text());
        }
    });
}

#[test]
fn a_runtime_key_does_not_buy() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let key = app.issue(&session.account_id, KeyPrefix::Tokaroo, "key_tok", None).key;
        for path in ["/v1/billing/checkout", "/v1/billing/portal"] {
            let answer = app.post(path).bearer(&key).json(&json!({ "amount_usd": 10 })).send().await.expect(403);
            assert!(answer.text().contains("Session authentication required"), "{}", answer.text());
        }
    });
}

#[test]
fn without_stripe_live_mode_says_so_and_a_stripe_that_is_down_is_503() {
    run_with(&[("MODE", "live")], async |app| {
        let session = app.sign_in("ada@example.com").await;
        let call = app.post("/v1/billing/checkout").bearer(&session.token).json(&json!({ "amount_usd": 10 }));
        assert!(call.send().await.expect(503).text().contains("not configured"));
    });
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        app.stripe.set_down(true);
        let call = app.post("/v1/billing/checkout").bearer(&session.token).json(&json!({ "amount_usd": 10 }));
        call.send().await.expect(503);
    });
}

#[test]
fn of_an_accounts_pages_the_oldest_gives_way() {
    run_with(WITH_STRIPE, async |app| {
        let session = app.sign_in("ada@example.com").await;
        let mut pages = Vec::new();
        for _ in 0..20 {
            pages.push(open_checkout(&app, &session.token, 10).await);
            app.pass_ms(5_000).await;
        }
        let waiting = || app.database.number("SELECT COUNT(*) FROM payments WHERE status = 'pending'");
        assert_eq!(waiting(), 20);
        // One that was paid, of which we have not heard yet, is credited.
        pay(&app, &pages[1]);
        for _ in 0..2 {
            open_checkout(&app, &session.token, 10).await;
            app.pass_ms(5_000).await;
        }
        assert_eq!(waiting(), 20);
        assert_eq!(app.stripe.shelf.borrow()[session_of(&pages[0])]["status"], "expired");
        for (page, status) in [(&pages[0], "expired"), (&pages[1], "paid"), (&pages[2], "pending")] {
            let path = format!("/v1/billing/payments/{}", page["payment_id"].as_str().unwrap());
            let payment = app.get(&path).bearer(&session.token).send().await.expect(200).json();
            assert_eq!(payment["status"], status);
        }
        assert_eq!(balance_of(&app, &session.token).await, 10.0);
    });
}

#[test]
fn a_customer_that_was_deleted_at_stripe_is_made_anew() {
    run_with(WITH_STRIPE, async |app| {
        let session = with_card(&app, TestCard::Pays).await;
        let customer = || {
            let id = app.database.text("SELECT customer_id FROM billing WHERE customer_id IS NOT NULL");
            assert!(id.starts_with("cus_"), "{id}");
            id
        };
        for opens_portal in [false, true, false] {
            let gone = customer();
            app.stripe.shelf.borrow_mut().insert(gone.clone(), Value::Null);
            if opens_portal {
                app.post("/v1/billing/portal").bearer(&session.token).send().await.expect(200);
            } else {
                buy(&app, &session.token, 10).await;
            }
            assert_ne!(customer(), gone);
        }
        assert_eq!(balance_of(&app, &session.token).await, 20.0);
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
        assert_eq!(card["card"]["last4"], "4242", "the one that the last payment has saved");
    });
}

#[test]
fn the_portal_is_the_accounts_own() {
    run_with(WITH_STRIPE, async |app| {
        let (ada, bob) = (app.sign_in("ada@example.com").await, app.sign_in("bob@example.com").await);
        let mut customers = Vec::new();
        for session in [&ada, &bob] {
            let page = app.post("/v1/billing/portal").bearer(&session.token).send().await.expect(200).json();
            assert!(page["url"].as_str().unwrap().starts_with("https://"), "{page}");
            let number = format!("SELECT COUNT(*) FROM billing WHERE account_id = '{}'", session.account_id);
            assert_eq!(app.database.number(&number), 1);
            let id = app.database.text(&number.replace("COUNT(*)", "customer_id"));
            customers.push(id);
        }
        assert_ne!(customers[0], customers[1]);
    });
}

#[test]
fn payments_are_their_owners_and_come_in_pages() {
    run_with(WITH_STRIPE, async |app| {
        let (ada, bob) = (app.sign_in("ada@example.com").await, app.sign_in("bob@example.com").await);
        for _ in 0..3 {
            open_checkout(&app, &ada.token, 10).await;
        }
        let first = app.get("/v1/billing/payments?limit=2").bearer(&ada.token).send().await.expect(200).json();
        assert_eq!((first["data"].as_array().unwrap().len(), first["has_more"].as_bool()), (2, Some(true)));
        let (last, before) = (&first["data"][1]["id"], first["data"][1]["created_at"].as_str().unwrap());
        let path = format!("/v1/billing/payments?limit=2&before={}", last.as_str().unwrap());
        app.get(&path).bearer(&bob.token).send().await.expect(400);
        let by_time = app.get(&format!("/v1/billing/payments?before={before}")).bearer(&ada.token).send().await;
        assert_eq!(by_time.expect(200).json()["data"].as_array().unwrap().len(), 1);
        let second = app.get(&path).bearer(&ada.token).send().await.expect(200).json();
        assert_eq!((second["data"].as_array().unwrap().len(), second["has_more"].as_bool()), (1, Some(false)));
        let id = second["data"][0]["id"].as_str().unwrap();
        assert!(payments_of(&app, &bob.token).await.is_empty());
        app.get(&format!("/v1/billing/payments/{id}")).bearer(&bob.token).send().await.expect(404);
        let own = app.get(&format!("/v1/billing/payments/{id}")).bearer(&ada.token).send().await.expect(200).json();
        assert_eq!(own["status"], "pending");
        app.get("/v1/billing/payments?limit=0").bearer(&ada.token).send().await.expect(400);
    });
}

#[test]
fn payments_of_one_moment_are_lost_between_no_pages() {
    run_with(WITH_STRIPE, async |app| {
        let ada = app.sign_in("ada@example.com").await;
        for _ in 0..7 {
            open_checkout(&app, &ada.token, 10).await;
        }
        app.database.execute("UPDATE payments SET created_at_ms = (SELECT MIN(created_at_ms) FROM payments)");
        let (mut seen, mut path) = (std::collections::BTreeSet::new(), "/v1/billing/payments?limit=3".to_owned());
        for pages_left in (0..3).rev() {
            let page = app.get(&path).bearer(&ada.token).send().await.expect(200).json();
            let ids = page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
            seen.extend(ids);
            assert_eq!(page["has_more"], pages_left > 0);
            let last = page["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
            path = format!("/v1/billing/payments?limit=3&before={last}");
        }
        assert_eq!(seen.len(), 7);
    });
}

#[test]
fn the_page_of_a_payment_required_answer_is_there() {
    run(async |app| {
        let page = app.get("/billing").send().await.expect(200);
        assert!(page.text().contains("/v1/billing/checkout") && page.text().contains("id=\"terms\""));
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    });
}
