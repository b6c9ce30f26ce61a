//! The vault.

mod headless;
mod lock;
mod secrets;
mod traffic;

use serde_json::{Value, json};

use crate::support::{Answer, TestApp, run_with};

const PASSWORD: &str = "correct horse";

/// [`run_with`], and nobody but the scenario unlocks the vault.
fn run_by_hand<F: Future<Output = ()>>(scenario: impl FnOnce(TestApp) -> F) {
    run_with(&[("VAULT_PASSWORD", "")], scenario);
}

async fn unlock(app: &TestApp, password: &str) -> Answer {
    let body = json!({ "admin_password": password });
    app.admin("POST", "/admin/v1/vault/unlock").json(&body).send().await
}

async fn lock(app: &TestApp) -> Value {
    app.admin("POST", "/admin/v1/vault/lock").send().await.expect(200).json()
}

async fn rotate(app: &TestApp, old: &str, new: &str) -> Answer {
    let body = json!({ "old_password": old, "new_password": new });
    app.admin("POST", "/admin/v1/vault/rotate").json(&body).send().await
}

/// `(vault_locked, vault_initialized)`.
async fn info(app: &TestApp) -> (bool, bool) {
    let info = app.admin("GET", "/admin/v1/info").send().await.expect(200).json();
    assert_eq!(info["tokenhub"], "admin");
    (info["vault_locked"].as_bool().unwrap(), info["vault_initialized"].as_bool().unwrap())
}

async fn put_secret(app: &TestApp, key: &str, value: &str) -> Answer {
    app.admin("PUT", &format!("/admin/v1/vault/secrets/{key}")).json(&json!({ "value": value })).send().await
}

async fn get_secret(app: &TestApp, key: &str) -> Answer {
    app.admin("GET", &format!("/admin/v1/vault/secrets/{key}")).send().await
}

/// Every isolate and every object loses its memory.
fn restart(app: &TestApp) {
    app.objects.restart();
    app.crash_isolate();
}

#[track_caller]
fn assert_error(answer: Answer, status: u16, text: &str) {
    assert_eq!(answer.expect(status).json(), json!({ "error": text }));
}
