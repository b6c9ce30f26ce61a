//! Payments.

mod activation;
mod auto_pay;
mod charge;
mod checkout;
mod events;
mod reconcile;
mod reversals;
mod sandbox;
mod settings;
mod stripe;

use guildhall_domain::billing::sandbox::TestCard;
use serde_json::{Value, json};

use crate::support::{Answer, Key, Session, TestApp};

/// Opens a checkout.
async fn open_checkout(app: &TestApp, token: &str, amount_usd: u32) -> Value {
    let call = app.post("/v1/billing/checkout").bearer(token).json(&json!({ "amount_usd": amount_usd }));
    call.send().await.expect(200).json()
}

/// The id of Stripe's session.
fn session_of(checkout: &Value) -> &str {
    checkout["session_id"].as_str().unwrap()
}

/// The customer pays a checkout at Stripe; gives the event that nobody has sent yet.
fn pay(app: &TestApp, checkout: &Value) -> Value {
    app.stripe.pay(session_of(checkout), TestCard::Pays, app.now_ms())
}

/// Buys credit: the whole way.
async fn buy(app: &TestApp, token: &str, amount_usd: u32) -> Value {
    let checkout = open_checkout(app, token, amount_usd).await;
    app.tell(&pay(app, &checkout)).await.expect(200);
    checkout
}

/// Somebody with this card saved and no money.
async fn with_card(app: &TestApp, card: TestCard) -> Session {
    let session = app.sign_in("ada@example.com").await;
    let page = app.post("/v1/billing/card").bearer(&session.token).send().await.expect(200).json();
    let event = app.stripe.pay(session_of(&page), card, app.now_ms());
    app.tell(&event).await.expect(200);
    session
}

async fn charge(app: &TestApp, session: &Session, amount_usd: u32) -> Answer {
    let call = app.post("/v1/billing/charge").bearer(&session.token);
    call.json(&json!({ "amount_usd": amount_usd })).send().await
}

async fn balance_of(app: &TestApp, token: &str) -> f64 {
    app.get("/v1/balance").bearer(token).send().await.expect(200).json()["balance_usd"].as_f64().unwrap()
}

/// The payments of an account, newest first.
async fn payments_of(app: &TestApp, token: &str) -> Vec<Value> {
    let list = app.get("/v1/billing/payments").bearer(token).send().await.expect(200).json();
    list["data"].as_array().unwrap().clone()
}

/// The wallet's books are in order, and hold this much.
#[track_caller]
fn assert_books(app: &TestApp, account_id: &str, balance_usd: i64, owed_usd: i64) {
    let audit = app.audit(&Key { key: String::new(), account_id: account_id.to_owned() });
    assert!(audit.consistent, "{audit:?}");
    assert_eq!((audit.balance.0, audit.owed.0), (balance_usd * 1_000_000, owed_usd * 1_000_000), "{audit:?}");
}

/// Hours pass at once; what is due then happens.
async fn pass_hours(app: &TestApp, hours: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(hours * 3_600)).await;
    app.deliver().await;
}
