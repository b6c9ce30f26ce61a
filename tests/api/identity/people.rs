//! What the scenarios of people share: their mail, and signing in as they do.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

/// The newest mail of the sandbox.
pub async fn last_mail(app: &TestApp) -> Value {
    app.get("/sandbox/outbox.json").send().await.expect(200).json()["mails"][0].clone()
}

/// The token of the link in the newest mail.
pub async fn last_token(app: &TestApp) -> String {
    let mail = last_mail(app).await;
    let link = mail["links"][0].as_str().unwrap_or_else(|| panic!("no link in {mail}"));
    link.strip_prefix("http://guildhall.test/auth/verify?token=").unwrap().to_owned()
}

pub async fn ask_for_link(app: &TestApp, email: &str) -> Answer {
    app.post("/v1/auth/login").json(&json!({ "email": email })).send().await
}

pub async fn verify(app: &TestApp, token: &str) -> Answer {
    app.post("/v1/auth/verify").json(&json!({ "token": token })).send().await
}

/// Signs in by mail; gives what `/v1/auth/verify` says.
pub async fn sign_in(app: &TestApp, email: &str) -> Value {
    ask_for_link(app, email).await.expect(200);
    verify(app, &last_token(app).await).await.expect(200).json()
}

pub fn token_of(signed_in: &Value) -> &str {
    signed_in["session_token"].as_str().unwrap()
}

pub fn account_of(signed_in: &Value) -> &str {
    signed_in["account"]["id"].as_str().unwrap()
}
