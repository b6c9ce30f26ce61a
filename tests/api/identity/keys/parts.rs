//! Keys that are made for a part of the account: its workspace, or so much money.

use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use super::{create, delete, read};
use crate::support::{Key, TestApp, run};

/// What looks after the whole account.
const OF_THE_WHOLE: &[(&str, &str)] = &[
    ("GET", "/v1/billing/preferences"),
    ("PUT", "/v1/billing/preferences"),
    ("GET", "/v1/billing/payments"),
    ("POST", "/v1/billing/checkout"),
    ("POST", "/v1/billing/portal"),
    ("GET", "/v1/account/ledger"),
    ("GET", "/v1/account/export"),
    ("GET", "/v1/cache/settings"),
    ("PUT", "/v1/cache/settings"),
    ("GET", "/v1/cache/stats"),
    ("DELETE", "/v1/cache"),
];

/// An account's own key, one with credits, one with a budget, one of a workspace; each has called once.
async fn open(app: &TestApp) -> (Key, [Key; 3]) {
    let owner = app.with_busy_key().await;
    app.open_workspace(&owner.account_id, "acme");
    let (capped, _) = create(app, &owner.key, json!({ "credits": 1 })).await;
    let (budgeted, _) = create(app, &owner.key, json!({ "monthly_budget_usd": 1 })).await;
    let bound = app.issue(&owner.account_id, KeyPrefix::ToolRouter, "key_bound", Some("acme"));
    for key in [&owner, &capped, &budgeted, &bound] {
        app.hello(key).send().await.expect(200);
    }
    (owner, [capped, budgeted, bound])
}

#[test]
fn they_look_after_nothing_of_the_whole() {
    run(async |app| {
        let (owner, parts) = open(&app).await;
        for (method, path) in OF_THE_WHOLE {
            let call = |key: &Key| app.call(method, path).bearer(&key.key).json(&json!({ "amount_usd": 5 })).send();
            for part in &parts {
                let refused = call(part).await.expect(403);
                assert!(
                    refused.text().contains("Session authentication required"),
                    "{method} {path}: {}",
                    refused.text()
                );
            }
            call(&owner).await.expect(200);
        }
    });
}

#[test]
fn they_see_their_part() {
    run(async |app| {
        let (owner, [capped, budgeted, bound]) = open(&app).await;
        let other = app.issue(&owner.account_id, KeyPrefix::Tokaroo, "key_acme", Some("acme"));
        app.hello(&other).send().await.expect(200);
        let calls = async |key: &Key, query: &str| {
            let page: Value = app.get(&format!("/v1/usage{query}")).bearer(&key.key).send().await.expect(200).json();
            (page["total_calls"].as_i64().unwrap(), page["data"][0]["id"].as_str().unwrap_or_default().to_owned())
        };
        for (key, seen) in [(&owner, 5), (&capped, 1), (&budgeted, 1), (&bound, 2), (&other, 1)] {
            assert_eq!(calls(key, "").await.0, seen);
        }
        assert_eq!(calls(&bound, "?workspace_id=acme").await.0, 2);
        assert_eq!(calls(&bound, "?key_id=key_acme").await.0, 1);
        app.get("/v1/usage?workspace_id=other").bearer(&bound.key).send().await.expect(403);
        app.get("/v1/usage?key_id=key_acme").bearer(&capped.key).send().await.expect(403);
        // A record of another part is missing.
        let (_, theirs) = calls(&capped, "").await;
        let record = async |key: &Key| app.get(&format!("/v1/usage/{theirs}")).bearer(&key.key).send().await.status;
        assert_eq!((record(&owner).await, record(&capped).await, record(&bound).await), (200, 200, 404));
        let keys = async |key: &Key| {
            app.get("/v1/keys").bearer(&key.key).send().await.expect(200).json()["total"].as_i64().unwrap()
        };
        assert_eq!((keys(&owner).await, keys(&capped).await, keys(&bound).await), (5, 1, 2));
    });
}

#[test]
fn no_key_revokes_a_stronger_one() {
    run(async |app| {
        let (owner, [capped, _, bound]) = open(&app).await;
        let list = app.get("/v1/keys").bearer(&owner.key).send().await.expect(200).json();
        for key in list["data"].as_array().unwrap() {
            let id = key["id"].as_str().unwrap();
            let status = delete(&app, &capped.key, id).await.status;
            assert!([403, 404, 409].contains(&status), "{id}: {status}");
        }
        let (_, like) = create(&app, &owner.key, json!({ "workspace_id": "acme" })).await;
        let (_, scoped) = create(&app, &owner.key, json!({ "scopes": ["manage"] })).await;
        let id = like["id"].as_str().unwrap();
        read(&app, &bound.key, id).await.expect(200);
        delete(&app, &bound.key, id).await.expect(200);
        let weaker = scoped["key"].as_str().unwrap();
        let first = list["data"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
        delete(&app, weaker, first).await.expect(403);
    });
}
