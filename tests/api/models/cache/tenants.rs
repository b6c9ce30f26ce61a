//! Nobody sees anybody else's answers.

use serde_json::json;

use super::{ask, hits, question};
use crate::support::{Key, TestApp, run};

#[test]
fn nobody_sees_anothers_answers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("10").await;
        let known = question("a secret plan");
        assert!(!hits(&app, ask(&app, &key, &known)).await);
        assert!(!hits(&app, ask(&app, &other, &known)).await, "another account");
        assert_eq!(app.cache.len(), 2);
        for name in app.cache.names() {
            let digest = name.strip_prefix("answer:").unwrap();
            assert!(digest.len() == 64 && !name.contains(&key.account_id), "names tell nothing: {name}");
        }
        // Keys of one account share what it paid for; those of its workspaces have their own.
        let session = app.sign_in("ada@example.com").await;
        app.credit_account(&session.account_id, "10").await;
        let [first, second, elsewhere] = ["", "", "ws"].map(|workspace| (workspace, session.account_id.clone()));
        let mut keys = Vec::new();
        for (at, (workspace, account_id)) in [first, second, elsewhere].into_iter().enumerate() {
            keys.push(key_in(&app, &account_id, workspace, at).await);
        }
        assert!(!hits(&app, ask(&app, &keys[0], &known)).await);
        assert!(hits(&app, ask(&app, &keys[1], &known)).await, "the same account");
        assert!(!hits(&app, ask(&app, &keys[2], &known)).await, "another workspace");
        assert!(hits(&app, ask(&app, &keys[2], &known)).await);
    });
}

/// A key of an account, bound to a workspace unless it is empty.
async fn key_in(app: &TestApp, account_id: &str, workspace: &str, at: usize) -> Key {
    let body = json!({ "name": format!("key {at}"), "account_id": account_id, "scopes": "[\"chat\"]" });
    let issued = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(200).json();
    let key = issued["key"].as_str().unwrap().to_owned();
    if !workspace.is_empty() {
        app.database.execute(&format!(
            "INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
             VALUES ('{account_id}', '{workspace}', 'w1', 'w', 'active', '{{}}', 0, 0)"
        ));
        let id = issued["id"].as_str().unwrap();
        app.database.execute(&format!("UPDATE api_keys SET workspace_id = '{workspace}' WHERE id = '{id}'"));
        app.isolate().credentials.forget_account(account_id);
    }
    Key { key, account_id: account_id.to_owned() }
}
