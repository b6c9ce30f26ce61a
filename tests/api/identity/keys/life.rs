//! Changed, rotated, revoked: who is let in, and for how long after it.

use std::time::Duration;

use guildhall_domain::credential::KeyPrefix;
use serde_json::json;

use super::{act, create, delete, newest, patch, read};
use crate::support::{Answer, Key, TestApp, run};

async fn call(app: &TestApp, key: &Key) -> Answer {
    app.get("/v1/balance").bearer(&key.key).send().await
}

#[test]
fn a_revoked_key_is_refused_at_once_everywhere() {
    run(async |app| {
        let (ada, owner) = (app.sign_in_activated("ada@example.com").await, app.provision("0").await);
        for token in [&ada.token, &owner.key] {
            let (key, answer) = create(&app, token, json!({})).await;
            let id = answer["id"].as_str().unwrap();
            let there = app.new_isolate();
            let elsewhere = async || app.get("/v1/balance").bearer(&key.key).to(&there).send().await.status;
            assert_eq!((call(&app, &key).await.status, elsewhere().await), (200, 200));
            let expected = json!({ "deleted": true, "revoked": true, "id": id });
            assert_eq!(delete(&app, token, id).await.expect(200).json(), expected);
            assert_eq!((call(&app, &key).await.status, elsewhere().await), (401, 401), "the other one has it cached");
            delete(&app, token, id).await.expect(404);
            patch(&app, token, id, json!({ "enabled": true })).await.expect(404);
            assert_eq!(elsewhere().await, 401);
        }
    });
}

#[test]
fn no_key_ends_itself() {
    run(async |app| {
        let owner = app.provision("0").await;
        let id = newest(&app, &owner.key).await;
        let refused = delete(&app, &owner.key, &id).await.expect(409).json();
        assert!(refused["message"].as_str().unwrap().contains("can't revoke itself"), "{refused}");
        patch(&app, &owner.key, &id, json!({ "enabled": false })).await.expect(409);
        call(&app, &owner).await.expect(200);
        let (other, _) = create(&app, &owner.key, json!({})).await;
        delete(&app, &other.key, &id).await.expect(200);
        call(&app, &owner).await.expect(401);
    });
}

#[test]
fn a_change_changes_what_it_names() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let body = json!({ "name": "a", "metadata": { "a": 1 }, "monthly_budget_usd": 5, "scopes": ["chat"],
            "rotation_days": 3, "requests_per_hour": 70, "expires_in": "720h" });
        let (_, answer) = create(&app, &ada.token, body).await;
        let id = answer["id"].as_str().unwrap();
        let mut expected = read(&app, &ada.token, id).await.expect(200).json();
        assert_eq!((&expected["scopes"], &expected["rotation_days"]), (&json!(["chat"]), &json!(3)));
        assert_eq!((&expected["monthly_budget_usd"], &expected["requests_per_hour"]), (&json!(5.0), &json!(70)));
        assert!(expected["expires_at"].as_str().unwrap().starts_with("2027-02-14"), "{expected}");
        for change in [
            json!({ "name": "b" }),
            json!({ "metadata": { "b": [2] } }),
            json!({ "scopes": ["chat", "media", "manage"] }),
            json!({ "monthly_budget_usd": 0.5 }),
            json!({ "requests_per_minute": 7, "concurrent": 2 }),
            json!({ "enabled": false }),
            json!({}),
        ] {
            let shown = patch(&app, &ada.token, id, change.clone()).await.expect(200).json();
            for (name, value) in change.as_object().unwrap() {
                expected[name] = value.clone();
            }
            assert_eq!(shown, expected, "{change}");
        }
        let clear = json!({ "requests_per_minute": 0, "monthly_budget_usd": 0, "expires_at": "", "scopes": [] });
        let shown = patch(&app, &ada.token, id, clear).await.expect(200).json();
        for gone in ["requests_per_minute", "monthly_budget_usd", "expires_at"] {
            assert_eq!(shown[gone], json!(null), "{gone}");
        }
        assert_eq!(shown["scopes"], json!([]));
    });
}

#[test]
fn a_keys_own_limits_come_before_the_accounts() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (key, answer) = create(&app, &ada.token, json!({})).await;
        let (other, _) = create(&app, &ada.token, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        let limit = |answer: &Answer| answer.header("x-ratelimit-limit").unwrap().to_owned();
        assert_eq!(limit(&call(&app, &key).await), "60", "the default");
        patch(&app, &ada.token, id, json!({ "requests_per_minute": 3 })).await.expect(200);
        for _ in 0..2 {
            assert_eq!(limit(&call(&app, &key).await.expect(200)), "3");
        }
        let refused = call(&app, &key).await.expect(429);
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        assert_eq!(refused.json()["error"], "Rate limit exceeded");
        assert_eq!(limit(&call(&app, &other).await.expect(200)), "60", "another key has its own");
        patch(&app, &ada.token, id, json!({ "requests_per_minute": 6_000, "requests_per_hour": 90_000 }))
            .await
            .expect(200);
        assert_eq!(limit(&call(&app, &key).await.expect(200)), "6000");
        patch(&app, &ada.token, id, json!({ "requests_per_minute": 6_001 })).await.expect(400);
        let all = Key { key: String::new(), account_id: ada.account_id.clone() };
        app.set_limits(&all, 9_000, 200_000, 200).await;
        patch(&app, &ada.token, id, json!({ "requests_per_minute": 9_000 })).await.expect(200);
        assert_eq!(limit(&call(&app, &key).await.expect(200)), "9000", "as many as the account has");
    });
}

#[test]
fn a_disabled_key_comes_back() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (key, answer) = create(&app, &ada.token, json!({ "enabled": false })).await;
        let id = answer["id"].as_str().unwrap();
        call(&app, &key).await.expect(401);
        for (enabled, status) in [(true, 200), (false, 401), (true, 200)] {
            patch(&app, &ada.token, id, json!({ "enabled": enabled })).await.expect(200);
            tokio::time::sleep(Duration::from_millis(1_001)).await;
            call(&app, &key).await.expect(status);
        }
    });
}

#[test]
fn a_rotated_key_is_the_same_key_with_another_secret() {
    run(async |app| {
        let (ada, owner) = (app.sign_in_activated("ada@example.com").await, app.provision("0").await);
        for (token, prefix) in [(&ada.token, "tok_"), (&owner.key, "tr_live_")] {
            let (old, answer) = create(&app, token, json!({ "name": "a", "metadata": { "a": 1 } })).await;
            let id = answer["id"].as_str().unwrap();
            call(&app, &old).await.expect(200);
            let rotated = act(&app, token, id, "rotate", json!({})).await.expect(200).json();
            let new = Key { key: rotated["key"].as_str().unwrap().to_owned(), account_id: String::new() };
            assert!(new.key.starts_with(prefix) && new.key != old.key);
            assert_eq!((&rotated["id"], &rotated["metadata"]), (&answer["id"], &json!({ "a": 1 })));
            assert!(rotated["rotated_at"].is_string());
            call(&app, &old).await.expect(401);
            call(&app, &new).await.expect(200);
            assert!(!app.database.dump().contains(&new.key));
        }
        // A key may rotate itself.
        let id = newest(&app, &owner.key).await;
        let (own, answer) = create(&app, &owner.key, json!({ "credits": 1 })).await;
        act(&app, &own.key, answer["id"].as_str().unwrap(), "rotate", json!({})).await.expect(200);
        act(&app, &own.key, &id, "rotate", json!({})).await.expect(401);
    });
}

#[test]
fn of_two_rotations_at_once_one_changes_the_key() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (_, answer) = create(&app, &ada.token, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        let rotate = || act(&app, &ada.token, id, "rotate", json!({}));
        let by_admin = app.admin("POST", &format!("/admin/v1/apikeys/{id}/rotate"));
        let (one, other, by_admin) = tokio::join!(rotate(), rotate(), by_admin.send());
        let mut statuses = [one.status, other.status, by_admin.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409]);
        for answer in [one, other, by_admin].iter().filter(|answer| answer.status == 200) {
            let key = Key { key: answer.json()["key"].as_str().unwrap().to_owned(), account_id: String::new() };
            call(&app, &key).await.expect(200);
        }
    });
}

#[test]
fn a_key_expires() {
    run(async |app| {
        let ada = app.sign_in_activated("ada@example.com").await;
        let (key, _) = create(&app, &ada.token, json!({ "expires_in": "1h" })).await;
        call(&app, &key).await.expect(200);
        tokio::time::sleep(Duration::from_secs(3_601)).await;
        call(&app, &key).await.expect(401);
    });
}

#[test]
fn a_persons_first_key_wants_the_checklist_done() {
    run(async |app| {
        let ada = app.sign_in("ada@example.com").await;
        for path in ["/v1/keys", "/v1/api-keys"] {
            let refused = app.post(path).bearer(&ada.token).body("{}").send().await.expect(402).json();
            assert!(refused["payment_url"].is_string() && refused["missing_requirements"].is_array(), "{refused}");
        }
        assert_eq!(app.database.number("SELECT COUNT(*) FROM api_keys"), 0);
        // The first one is noted: the account needs nothing again when that key is revoked.
        let eve = app.sign_in("eve@example.com").await;
        app.issue(&eve.account_id, KeyPrefix::Tokaroo, "key_old", None);
        let (_, answer) = create(&app, &eve.token, json!({})).await;
        for id in ["key_old", answer["id"].as_str().unwrap()] {
            delete(&app, &eve.token, id).await.expect(200);
        }
        create(&app, &eve.token, json!({})).await;
    });
}
