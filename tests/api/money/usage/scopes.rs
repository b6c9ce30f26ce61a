//! Whose usage a credential sees.

use guildhall::store::money::record::UsageColumns;
use guildhall::store::money::usage::{UsageRow, insert_usage};
use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use super::ids;
use crate::support::{Key, Session, TestApp, run};

/// An account with a person, a key that looks after it, and two that do not, one of them in a workspace.
struct House {
    person: Session,
    manager: Key,
    bound: Key,
    free: Key,
}

async fn open(app: &TestApp) -> House {
    app.with_busy_key().await;
    let person = app.sign_in("ada@example.com").await;
    let account = &person.account_id;
    app.credit_account(account, "10").await;
    app.open_workspace(account, "acme");
    let manager = app.issue(account, KeyPrefix::ToolRouter, "key_manager", None);
    let bound = app.issue(account, KeyPrefix::Tokaroo, "key_bound", Some("acme"));
    let free = app.issue(account, KeyPrefix::Tokaroo, "key_free", None);
    app.set_limits(&free, 1_000_000, 10_000_000, 10_000).await;
    for key in [&manager, &bound, &free, &free] {
        app.hello(key).send().await.expect(200);
    }
    House { person, manager, bound, free }
}

async fn read(app: &TestApp, token: &str, path: &str) -> Value {
    app.get(path).bearer(token).send().await.expect(200).json()
}

#[test]
fn a_person_sees_the_account_or_the_part_that_they_name() {
    run(async |app| {
        let house = open(&app).await;
        for delivered in [false, true] {
            for (query, calls) in [
                ("", 4),
                ("?api_key_id=key_free", 2),
                ("?key_id=key_free", 2),
                ("?key_id=key_free&api_key_id=key_free", 2),
                ("?workspace_id=acme", 1),
                ("?workspace_id=acme&key_id=key_free", 0),
                ("?workspace_id=acme&key_id=key_bound", 1),
                ("?request_type=chat", 4),
                ("?request_type=image", 0),
            ] {
                let page = read(&app, &house.person.token, &format!("/v1/usage{query}")).await;
                assert_eq!(ids(&page).len(), calls, "{query}, delivered {delivered}");
                assert_eq!(page["total_calls"], calls, "{query}, delivered {delivered}");
                let history = read(&app, &house.person.token, &format!("/v1/usage/history{query}")).await;
                assert_eq!(ids(&history), ids(&page), "{query}, delivered {delivered}");
                let stats = read(&app, &house.person.token, &format!("/v1/stats{query}")).await;
                assert_eq!(stats["requests"], calls, "{query}, delivered {delivered}");
            }
            app.pass_ms(300).await;
        }
    });
}

#[test]
fn a_key_sees_its_own_calls_and_names_nothing_else() {
    run(async |app| {
        let house = open(&app).await;
        for path in ["/v1/usage", "/v1/usage/history", "/v1/usage/breakdown", "/v1/usage/grouped", "/v1/stats"] {
            for query in ["?api_key_id=key_bound", "?key_id=key_bound", "?workspace_id=acme", ""] {
                app.get(&format!("{path}{query}")).bearer(&house.bound.key).send().await.expect(200);
            }
            for query in ["?api_key_id=key_free", "?key_id=key_none", "?workspace_id=other", "?workspace_id="] {
                let refused = app.get(&format!("{path}{query}")).bearer(&house.bound.key).send().await.expect(403);
                let message = refused.json()["message"].as_str().unwrap().to_owned();
                assert!(message.starts_with("Session authentication required"), "{path}{query}: {message}");
            }
        }
        assert_eq!(read(&app, &house.bound.key, "/v1/usage").await["total_calls"], 1);
        assert_eq!(read(&app, &house.bound.key, "/v1/usage?workspace_id=acme").await["total_calls"], 1);
        assert_eq!(read(&app, &house.free.key, "/v1/stats").await["requests"], 2);
        app.get("/v1/usage?workspace_id=acme").bearer(&house.free.key).send().await.expect(403);
    });
}

#[test]
fn a_key_that_looks_after_the_account_sees_all_of_it() {
    run(async |app| {
        let house = open(&app).await;
        assert_eq!(read(&app, &house.manager.key, "/v1/usage").await["total_calls"], 4);
        assert_eq!(read(&app, &house.manager.key, "/v1/usage?key_id=key_free").await["total_calls"], 2);
        assert_eq!(read(&app, &house.manager.key, "/v1/usage?key_id=key_manager").await["total_calls"], 1);
        app.database.execute("UPDATE api_keys SET scopes = '[\"chat\"]' WHERE id = 'key_manager'");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(read(&app, &house.manager.key, "/v1/usage").await["total_calls"], 1, "it may no longer");
        app.get("/v1/usage?key_id=key_free").bearer(&house.manager.key).send().await.expect(403);
    });
}

#[test]
fn nobodys_and_anothers_keys_and_workspaces_are_not_found() {
    run(async |app| {
        let house = open(&app).await;
        let stranger = app.sign_in("eve@example.com").await;
        for path in ["/v1/usage", "/v1/usage/history", "/v1/usage/breakdown", "/v1/usage/grouped", "/v1/stats"] {
            for (query, what) in [
                ("api_key_id=key_free", "API key not found"),
                ("key_id=key_none", "API key not found"),
                ("workspace_id=acme", "Workspace not found"),
                ("workspace_id=none", "Workspace not found"),
            ] {
                let answer = app.get(&format!("{path}?{query}")).bearer(&stranger.token).send().await.expect(404);
                assert_eq!(answer.json()["message"], what, "{path}?{query}");
            }
            let two = format!("{path}?api_key_id=key_free&key_id=key_bound");
            let answer = app.get(&two).bearer(&house.person.token).send().await.expect(400).json();
            assert_eq!(answer["param"], "key_id");
        }
    });
}

#[test]
fn receipts_are_for_whoever_sees_the_row() {
    run(async |app| {
        let house = open(&app).await;
        let answer = app.hello(&house.free).send().await.expect(200);
        let path = format!("/v1/usage/{}", answer.header("x-request-id").unwrap());
        for _ in 0..2 {
            for token in [&house.person.token, &house.manager.key, &house.free.key] {
                let receipt = read(&app, token, &path).await["receipt"].clone();
                assert_eq!((&receipt["captured_micros"], &receipt["cost_micros"]), (&json!(250), &json!(250)));
            }
            app.get(&path).bearer(&house.bound.key).send().await.expect(404);
            app.pass_ms(300).await;
        }
    });
}

#[test]
fn rows_name_the_workspace_and_carry_the_keys_metadata() {
    run(async |app| {
        let house = open(&app).await;
        for _ in 0..2 {
            let page = read(&app, &house.person.token, "/v1/usage?key_id=key_bound").await;
            let row = &page["data"][0];
            assert_eq!((&row["workspace_id"], &row["workspace_name"]), (&json!("acme"), &json!("The acme")));
            assert_eq!(row["metadata"], json!({ "made_for": "key_bound" }));
            app.pass_ms(300).await;
        }
    });
}

#[test]
fn tiers_and_providers_are_neutral() {
    run(async |app| {
        let house = open(&app).await;
        let rows: Vec<_> = [("cheap", "byok"), ("fast", "local"), ("max", "cache"), ("auto", "managed")]
            .into_iter()
            .enumerate()
            .map(|(at, (mode, source))| {
                json!({
                    "id": format!("req_{at}"), "account_id": house.person.account_id, "api_key_id": "key_free",
                    "created_at_ms": app.now_ms() + 10 - i64::try_from(at).unwrap(), "request_type": "image", "mode": mode, "model": "m1",
                    "routed_model": "secret", "routed_provider": "secret", "status": 200, "outcome": "completed",
                    "input_tokens": 1, "output_tokens": 2, "cost_micros": 3, "charged_micros": 2, "latency_ms": 1,
                    "receipt": "{}", "source": source, "baseline_micros": if source == "local" { json!(40) } else { json!(null) },
                })
            })
            .collect();
        let rows: Vec<UsageRow> = serde_json::from_value(json!(rows)).unwrap();
        let columns: Vec<_> = rows.iter().map(UsageColumns).collect();
        app.database.run(&[insert_usage(&json!(columns).to_string()).statement]).unwrap();
        let page = read(&app, &house.person.token, "/v1/usage?request_type=image").await;
        let rows = page["data"].as_array().unwrap().iter();
        let told = rows.map(|row| {
            json!([row["tier"], row["provider"], row["routing_method"], row["execution_source"], row["baseline_usd"]])
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                json!(["auto", "byok", "cheap", "byok", 0.000003]),
                json!(["fast", "local", "fast", "local", 0.00004]),
                json!(["max", "tokaroo", "max", "cache", 0.000003]),
                json!(["auto", "tokaroo", "auto", "managed", 0.000003]),
            ]
        );
        assert!(!page.to_string().contains("secret"));
    });
}
