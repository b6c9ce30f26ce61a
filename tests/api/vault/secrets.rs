//! `/admin/v1/vault/secrets`.

use serde_json::{Value, json};

use super::{PASSWORD, assert_error, get_secret, lock, put_secret, rotate, run_by_hand, unlock};
use crate::support::TestApp;

async fn list(app: &TestApp) -> Value {
    app.admin("GET", "/admin/v1/vault/secrets").send().await.expect(200).json()
}

async fn delete(app: &TestApp, key: &str) -> crate::support::Answer {
    app.admin("DELETE", &format!("/admin/v1/vault/secrets/{key}")).send().await
}

#[test]
fn a_secret_is_kept_read_listed_replaced_and_deleted() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(list(&app).await, json!({ "secrets": [] }));
        for key in ["smtp", "aws"] {
            assert_eq!(put_secret(&app, key, "v").await.expect(200).json(), json!({ "ok": true, "key": key }));
        }
        assert_eq!(list(&app).await, json!({ "secrets": ["aws", "smtp"] }));
        put_secret(&app, "aws", "w").await.expect(200);
        let answer = get_secret(&app, "aws").await.expect(200);
        assert_eq!(answer.json(), json!({ "key": "aws", "value": "w" }));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(delete(&app, "aws").await.expect(200).json(), json!({ "ok": true, "key": "aws" }));
        assert_error(get_secret(&app, "aws").await, 404, "secret not found");
        assert_error(delete(&app, "aws").await, 404, "secret not found");
        assert_eq!(list(&app).await, json!({ "secrets": ["smtp"] }));
    });
}

#[test]
fn a_key_may_contain_slashes() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        for (path, key) in [("team/a/smtp", "team/a/smtp"), ("team%2Fb", "team/b"), ("gr%C3%BC%C3%9Fe", "grüße")] {
            assert_eq!(put_secret(&app, path, "v").await.expect(200).json()["key"], key);
            assert_eq!(get_secret(&app, path).await.expect(200).json(), json!({ "key": key, "value": "v" }));
        }
        assert_eq!(list(&app).await, json!({ "secrets": ["grüße", "team/a/smtp", "team/b"] }));
        delete(&app, "team/a/smtp").await.expect(200);
        assert_error(get_secret(&app, "team/a").await, 404, "secret not found");
    });
}

#[test]
fn a_locked_vault_answers_503_to_all() {
    run_by_hand(async |app| {
        let assert_locked = async || {
            let all = app.admin("GET", "/admin/v1/vault/secrets").send().await;
            for answer in [all, get_secret(&app, "a").await, put_secret(&app, "a", "w").await, delete(&app, "a").await]
            {
                assert_error(answer, 503, "vault is locked");
            }
        };
        assert_locked().await;
        unlock(&app, PASSWORD).await.expect(200);
        put_secret(&app, "a", "v").await.expect(200);
        lock(&app).await;
        assert_locked().await;
        unlock(&app, PASSWORD).await.expect(200);
        assert_eq!(get_secret(&app, "a").await.expect(200).json()["value"], "v");
    });
}

#[test]
fn wrong_input_is_refused_by_name() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        let path = "/admin/v1/vault/secrets/a";
        for body in ["", "{}", r#"{"value":""}"#, r#"{"value":null}"#] {
            assert_error(app.admin("PUT", path).body(body).send().await, 400, "value required");
        }
        for body in ["garbage", r#"{"value":5}"#] {
            assert_error(app.admin("PUT", path).body(body).send().await, 400, "bad json");
        }
        let largest = "x".repeat(16 * 1_024);
        put_secret(&app, "a", &largest).await.expect(200);
        let answer = put_secret(&app, "a", &format!("{largest}x")).await.expect(400);
        assert!(answer.text().contains("value") && !answer.text().contains("xxx"), "{}", answer.text());
        for key in ["line%0Abreak", &"k".repeat(506)] {
            for answer in [put_secret(&app, key, "v").await, get_secret(&app, key).await, delete(&app, key).await] {
                assert!(answer.expect(400).json()["error"].as_str().unwrap().starts_with("key"), "{key}");
            }
        }
        assert_eq!(get_secret(&app, "a").await.expect(200).json()["value"], largest);
    });
}

#[test]
fn providers_keys_are_not_among_them() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        app.add_provider("p1").await;
        assert_eq!(list(&app).await, json!({ "secrets": [] }));
        for key in ["p1", "provider:p1:api_key", "../provider:p1:api_key"] {
            assert_error(get_secret(&app, key).await, 404, "secret not found");
            delete(&app, key).await.expect(404);
        }
    });
}

#[test]
fn a_secret_stands_nowhere_in_clear() {
    run_by_hand(async |app| {
        let secret = "very-secret-0123456789";
        unlock(&app, PASSWORD).await.expect(200);
        put_secret(&app, "a", secret).await.expect(200);
        get_secret(&app, "a").await.expect(200);
        rotate(&app, PASSWORD, "new password").await.expect(200);
        lock(&app).await;
        unlock(&app, "a wrong password").await.expect(401);
        let log = app.log.borrow().join("\n");
        for text in [app.database.dump(), app.objects.dump(), log] {
            for hidden in ["very-secret", PASSWORD, "new password", "a wrong password"] {
                assert!(!text.contains(hidden), "{text}");
            }
        }
    });
}

#[test]
fn a_full_vault_says_so() {
    run_by_hand(async |app| {
        unlock(&app, PASSWORD).await.expect(200);
        let value = "x".repeat(16 * 1_024);
        let mut stored = 0;
        let refused = loop {
            let answer = put_secret(&app, &format!("k{stored}"), &value).await;
            if answer.status != 200 {
                break answer;
            }
            stored += 1;
        };
        assert_error(refused, 409, "vault is full");
        assert!((100..1_000).contains(&stored), "{stored}");
        assert_eq!(list(&app).await["secrets"].as_array().unwrap().len(), stored);
    });
}
