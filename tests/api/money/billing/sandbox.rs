//! The sandbox's pages: the same state changes, and nowhere but in the sandbox.

use serde_json::{Value, json};

use super::{assert_books, charge, open_checkout, payments_of};
use crate::support::{Answer, Session, TestApp, WITH_STRIPE, run, run_with};

const PAYS: &str = "4242424242424242";

/// The path of a page.
fn path_of(page: &Value) -> String {
    page["url"].as_str().unwrap().strip_prefix("http://guildhall.test").unwrap().to_owned()
}

async fn submit(app: &TestApp, path: &str, form: &str) -> Answer {
    app.call("POST", path).body(form).send().await
}

async fn with_card(app: &TestApp, card: &str) -> Session {
    let session = app.sign_in("ada@example.com").await;
    let page = app.post("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
    submit(app, &path_of(&page), &format!("card={card}")).await.expect(200);
    session
}

#[test]
fn a_checkout_is_paid_on_its_page_once() {
    run(async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let id = checkout["session_id"].as_str().unwrap();
        let page = app.get(&format!("/sandbox/pay/{id}")).send().await.expect(200);
        assert!(page.text().contains("$10.00") && page.text().contains(PAYS), "{}", page.text());
        assert!(page.header("content-security-policy").unwrap().contains("form-action 'self'"));
        assert!(page.text().contains("<title>Sandbox payment · Guildhall</title>"), "it is one of the house's pages");
        let path = path_of(&checkout);
        submit(&app, &path, "card=1").await.expect(400);
        let declined = submit(&app, &path, "card=4000000000000002").await.expect(402);
        assert!(declined.text().contains("declined"));
        assert_books(&app, &session.account_id, 0, 0);
        let done =
            app.post(&format!("/sandbox/pay/{id}")).body(&format!("card={PAYS}&save=on")).send().await.expect(200);
        assert!(done.text().contains("http://guildhall.test/billing"));
        assert_books(&app, &session.account_id, 10, 0);
        submit(&app, &path, &format!("card={PAYS}")).await.expect(409);
        assert_books(&app, &session.account_id, 10, 0);
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.json();
        assert_eq!(card["card"]["last4"], "4242");
        // The saved card pays later.
        assert_eq!(charge(&app, &session, 20).await.expect(200).json()["balance_usd"], 30.0);
    });
}

#[test]
fn a_card_is_saved_only_with_its_box_ticked() {
    run(async |app| {
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        submit(&app, &path_of(&checkout), &format!("card={PAYS}")).await.expect(200);
        assert_books(&app, &session.account_id, 10, 0);
        let card = app.get("/v1/billing/card").bearer(&session.token).send().await.json();
        assert!(card["card"].is_null());
    });
}

#[test]
fn the_other_cards_do_what_they_say() {
    for (card, code) in [("4000002760003184", "authentication"), ("4000000000000341", "declined")] {
        run(async |app| {
            let session = with_card(&app, card).await;
            let answer = charge(&app, &session, 20).await.expect(402).json();
            assert!(answer["message"].as_str().unwrap().contains(code), "{answer}");
            assert_books(&app, &session.account_id, 0, 0);
        });
    }
}

#[test]
fn the_first_key_comes_of_the_sandbox_too() {
    run(async |app| {
        let session = with_card(&app, PAYS).await;
        let accept =
            app.post("/v1/billing/activation/accept").bearer(&session.token).json(&json!({ "accepted": true }));
        accept.send().await.expect(200);
        let answer = charge(&app, &session, 20).await.expect(200).json();
        assert!(answer["activated_key"]["key"].as_str().unwrap().starts_with("tok_"), "{answer}");
    });
}

#[test]
fn the_portal_lists_payments_and_removes_the_card() {
    run(async |app| {
        let session = with_card(&app, PAYS).await;
        charge(&app, &session, 20).await.expect(200);
        let page = app.post("/v1/billing/portal").bearer(&session.token).send().await.expect(200).json();
        let id = page["url"].as_str().unwrap().rsplit('/').next().unwrap();
        let shown = app.get(&format!("/sandbox/portal/{id}")).send().await.expect(200);
        assert!(shown.text().contains("4242") && shown.text().contains("$20"), "{}", shown.text());
        let shown = app.post(&format!("/sandbox/portal/{id}")).send().await.expect(200);
        assert!(shown.text().contains("No card is saved"), "{}", shown.text());
        charge(&app, &session, 20).await.expect(402);
    });
}

#[test]
fn somebody_who_is_to_be_paid_answers_on_a_page() {
    run(async |app| {
        let stripe = guildhall::payments::stripe::Stripe::new(&app.isolate(), &app.ports(), "http://guildhall.test");
        let stripe = stripe.unwrap();
        let account = stripe.create_connect_account("connect:a", None, &[]).await.unwrap();
        let url =
            stripe.create_account_link("link:1", &account.id, "http://a.example", "http://b.example").await.unwrap();
        let id = url.rsplit('/').next().unwrap();
        app.get(&format!("/sandbox/connect/{id}")).send().await.expect(200);
        assert!(!stripe.read_connect_account(&account.id).await.unwrap().payouts_enabled);
        let done = app.post(&format!("/sandbox/connect/{id}")).send().await.expect(200);
        assert!(done.text().contains("http://b.example"));
        assert!(stripe.read_connect_account(&account.id).await.unwrap().payouts_enabled);
    });
}

#[test]
fn pages_of_nothing_and_pages_where_payments_are_real_are_not_found() {
    run(async |app| {
        app.get("/sandbox/pay/cs_none").send().await.expect(404);
        app.post("/sandbox/pay/cs_none").body("card=4242424242424242").send().await.expect(404);
        app.get("/sandbox/portal/bps_none").send().await.expect(404);
        app.get("/sandbox/connect/link_none").send().await.expect(404);
        // An object of another kind is no page.
        let session = app.sign_in("ada@example.com").await;
        let checkout = open_checkout(&app, &session.token, 10).await;
        let id = checkout["session_id"].as_str().unwrap();
        app.get(&format!("/sandbox/portal/{id}")).send().await.expect(404);
    });
    for settings in [WITH_STRIPE, &[("MODE", "live")]] {
        run_with(settings, async |app| {
            let object = json!({ "id": "cs_1", "object": "checkout.session", "status": "open", "mode": "payment",
                "payment_status": "unpaid", "amount_total": 500, "customer": "cus_1", "metadata": {} });
            app.database.execute(&format!("INSERT INTO sandbox_objects (id, object) VALUES ('cs_1', '{object}')"));
            app.get("/sandbox/pay/cs_1").send().await.expect(404);
            app.post("/sandbox/pay/cs_1").body("card=4242424242424242").send().await.expect(404);
        });
    }
}

#[test]
fn a_page_shows_what_it_is_given_as_text() {
    run(async |app| {
        let session = app.sign_in("ada@example.com").await;
        let body = json!({ "amount_usd": 10, "success_url": "https://example.com/?a=\"><script>alert(1)</script>" });
        let checkout =
            app.post("/v1/billing/checkout").bearer(&session.token).json(&body).send().await.expect(200).json();
        let done = submit(&app, &path_of(&checkout), &format!("card={PAYS}")).await.expect(200);
        assert!(!done.text().contains("<script>"), "{}", done.text());
        assert_eq!(payments_of(&app, &session.token).await[0]["status"], "paid");
    });
}
