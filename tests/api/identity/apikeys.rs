//! The administrator's keys: issued, listed, changed, rotated, revoked.

mod budget;
mod life;
mod limits;

use durable_objects::rate_limiter::protocol::{Command, RateLimiter, name_of_key};
use serde_json::{Value, json};

use crate::support::{Fault, HELLO_MICROS, Key, TestApp, join_all, run, run_with};

pub const KEYS: &str = "/admin/v1/apikeys";

/// Issues a key; gives it and the whole answer.
pub async fn issue(app: &TestApp, fields: Value) -> (Key, Value) {
    let mut body = json!({ "name": "app" });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(200).json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (Key { key: text("key"), account_id: text("account_id") }, answer)
}

/// The list's item of a key.
pub async fn item(app: &TestApp, id: &str) -> Value {
    let list = app.admin("GET", "/admin/v1/apikeys").send().await.expect(200).json();
    list.as_array().unwrap().iter().find(|item| item["id"] == id).cloned().unwrap_or_default()
}

pub async fn patch(app: &TestApp, id: &str, body: Value) -> crate::support::Answer {
    app.admin("PATCH", &format!("/admin/v1/apikeys/{id}")).json(&body).send().await
}

pub async fn delete(app: &TestApp, id: &str) {
    app.admin("DELETE", &format!("/admin/v1/apikeys/{id}")).send().await.expect(200);
}

pub async fn rotate(app: &TestApp, id: &str) -> Value {
    let answer = app.admin("POST", &format!("/admin/v1/apikeys/{id}/rotate")).send().await.expect(200);
    answer.json()
}

/// A provider and a model `m1` that answers a `HELLO`.
pub async fn add_model(app: &TestApp) {
    app.add_provider("p1").await;
    app.add_model("m1", "p1", 5).await;
    app.answer_hello();
}

#[test]
fn a_key_works_as_soon_as_it_is_issued() {
    run(async |app| {
        add_model(&app).await;
        let body = json!({ "name": " app ", "scopes": "[\"chat\",\"plan\"]", "rotation_days": 0, "expires_in": "720h",
            "monthly_budget_usd": 50.0 });
        let answer = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(200).json();
        let key = answer["key"].as_str().unwrap();
        assert!(key.starts_with("tokenhub_") && key.len() == 9 + 64, "{key}");
        assert_eq!(answer["prefix"], key[..17]);
        assert_eq!((&answer["ok"], &answer["name"]), (&json!(true), &json!("app")));
        assert_eq!(answer["scopes"], r#"["chat","plan"]"#);
        assert!(answer["warning"].as_str().unwrap().contains("not shown again"));
        assert!(!app.database.dump().contains(key), "nowhere in clear");

        let house = Key { key: key.to_owned(), account_id: "acc_house".into() };
        app.hello(&house).send().await.expect(200);
        let id = answer["id"].as_str().unwrap();
        let listed = item(&app, id).await;
        let expected = json!({
            "id": id, "key_prefix": key[..17], "name": "app", "scopes": "[\"chat\",\"plan\"]", "account_id": "acc_house",
            "created_at": listed["created_at"], "last_used_at": listed["last_used_at"],
            "expires_at": listed["expires_at"], "rotation_days": 0, "monthly_budget_usd": 50.0,
            "current_spend_usd": 0.00025, "rate_limit_rps": 0, "enabled": true,
        });
        assert_eq!(listed, expected);
        assert!(listed["last_used_at"].as_str().unwrap().starts_with("2027-01-15T08:00:00"));
        assert!(listed["expires_at"].as_str().unwrap().starts_with("2027-02-14T08:00:00"));
        assert_eq!(app.balance_micros(&house).await, 1_000_000_000_000 - HELLO_MICROS);
    });
}

#[test]
fn a_wallet_that_does_not_answer_hides_no_key() {
    run(async |app| {
        let (_, issued) = issue(&app, json!({ "monthly_budget_usd": 50.0 })).await;
        let id = issued["id"].as_str().unwrap();
        app.faults.fail_object("WALLET", Fault::Before);
        let listed = item(&app, id).await;
        assert_eq!((&listed["id"], listed.get("current_spend_usd")), (&json!(id), None));
        assert_eq!(item(&app, id).await["current_spend_usd"], 0.0);
    });
}

#[test]
fn the_deployments_own_account_is_funded_once() {
    run(async |app| {
        issue(&app, json!({})).await;
        let (key, _) = issue(&app, json!({})).await;
        assert_eq!((app.audit(&key).balance.0, app.audit(&key).entries), (1_000_000_000_000, 1));
    });
    run_with(&[("HOUSE_CREDIT_USD", "0.5")], async |app| {
        let (key, _) = issue(&app, json!({})).await;
        assert_eq!(app.audit(&key).balance.0, 500_000);
    });
    run_with(&[("HOUSE_CREDIT_USD", "0")], async |app| {
        add_model(&app).await;
        let (key, _) = issue(&app, json!({})).await;
        app.hello(&key).send().await.expect(402);
    });
}

#[test]
fn a_named_account_pays() {
    run(async |app| {
        add_model(&app).await;
        let owner = app.provision("1").await;
        let (key, answer) = issue(&app, json!({ "account_id": owner.account_id })).await;
        assert_eq!(answer["account_id"], *owner.account_id);
        app.hello(&key).send().await.expect(200);
        assert_eq!(app.balance_micros(&owner).await, 1_000_000 - HELLO_MICROS);
        let body = json!({ "name": "app", "account_id": "prov_nobody" });
        let refused = app.admin("POST", "/admin/v1/apikeys").json(&body).send().await.expect(404).json();
        assert_eq!(refused, json!({ "error": "account not found" }));
    });
}

#[test]
fn what_is_wrong_with_a_new_key_is_named() {
    run(async |app| {
        for (body, expected) in [
            ("{}", "name required"),
            ("", "name required"),
            (r#"{"name":" "}"#, "name required"),
            (r#"{"name":5}"#, "name must be a non-empty string"),
            ("not json", "invalid JSON"),
            (r#"{"name":"a","expires_in":"not-a-duration"}"#, "invalid expires_in duration"),
            (r#"{"name":"a","expires_in":"-1h"}"#, "invalid expires_in duration"),
            (r#"{"name":"a","expires_in":"0s"}"#, "invalid expires_in duration"),
            (r#"{"name":"a","expires_in":720}"#, "invalid expires_in duration"),
            (
                r#"{"name":"a","expires_at":"2020-01-01T00:00:00Z"}"#,
                "expires_at must be an RFC 3339 time in the future",
            ),
            (r#"{"name":"a","expires_in":"1h","expires_at":"2099-01-01T00:00:00Z"}"#, "not both"),
            (r#"{"name":"a","scopes":"[\"chat\",\"admin\"]"}"#, "\"admin\" is no scope"),
            (r#"{"name":"a","scopes":"chat"}"#, "scopes must be a valid JSON array"),
            (r#"{"name":"a","scopes":[1]}"#, "scopes must be a valid JSON array"),
            (r#"{"name":"a","scopes":7}"#, "scopes must be a JSON array string"),
            (r#"{"name":"a","monthly_budget_usd":-1}"#, "monthly_budget_usd must be a non-negative number"),
            (r#"{"name":"a","monthly_budget_usd":"50"}"#, "monthly_budget_usd must be a non-negative number"),
            (r#"{"name":"a","monthly_budget_usd":0.0000001}"#, "monthly_budget_usd must have at most 6 decimals"),
            (r#"{"name":"a","monthly_budget_usd":1e12}"#, "monthly_budget_usd must be at most"),
            (r#"{"name":"a","rotation_days":-1}"#, "rotation_days must be a non-negative number"),
            (r#"{"name":"a","rotation_days":1.5}"#, "rotation_days must be a non-negative number"),
            (r#"{"name":"a","rate_limit_rps":-2}"#, "rate_limit_rps must be -1"),
            (r#"{"name":"a","rate_limit_rps":"1"}"#, "rate_limit_rps must be -1"),
            (r#"{"name":"a","concurrent":-1}"#, "concurrent must be a non-negative number"),
            (r#"{"name":"a","enabled":"yes"}"#, "enabled must be a boolean"),
        ] {
            let refused = app.admin("POST", KEYS).body(body).send().await.expect(400).json();
            let text = refused["error"].as_str().unwrap();
            assert!(text.contains(expected), "{body}: {text}");
        }
        assert_eq!(app.admin("GET", KEYS).send().await.expect(200).json(), json!([]));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM accounts"), 0, "and nothing was begun");
    });
}

#[test]
fn what_is_wrong_with_a_change_is_named_and_changes_nothing() {
    run(async |app| {
        let (_, answer) = issue(&app, json!({ "rotation_days": 3 })).await;
        let id = answer["id"].as_str().unwrap();
        let before = item(&app, id).await;
        for (body, expected) in [
            (json!({ "name": "" }), "name must be a non-empty string"),
            (json!({ "name": "b", "scopes": 5 }), "scopes must be a JSON array string"),
            (json!({ "name": "b", "scopes": "{}" }), "scopes must be a valid JSON array"),
            (json!({ "name": "b", "enabled": 1 }), "enabled must be a boolean"),
            (json!({ "name": "b", "rotation_days": -1 }), "rotation_days must be a non-negative number"),
            (json!({ "name": "b", "monthly_budget_usd": -0.5 }), "monthly_budget_usd must be a non-negative number"),
            (json!({ "name": "b", "rate_limit_rps": -3 }), "rate_limit_rps must be -1"),
        ] {
            let refused = patch(&app, id, body.clone()).await.expect(400).json();
            assert!(refused["error"].as_str().unwrap().contains(expected), "{body}: {refused}");
        }
        app.admin("PATCH", &format!("/admin/v1/apikeys/{id}")).body("{").send().await.expect(400);
        assert_eq!(item(&app, id).await, before);
    });
}

#[test]
fn a_change_changes_what_it_names() {
    run(async |app| {
        let (_, answer) = issue(&app, json!({ "monthly_budget_usd": 5 })).await;
        let id = answer["id"].as_str().unwrap();
        let mut expected = item(&app, id).await;
        for (change, as_listed) in [
            (json!({ "name": "b" }), json!({ "name": "b" })),
            (json!({ "scopes": ["embeddings", "chat", "chat"] }), json!({ "scopes": r#"["embeddings","chat"]"# })),
            (json!({ "scopes": "" }), json!({ "scopes": "[]" })),
            (json!({ "rotation_days": 30.0 }), json!({ "rotation_days": 30 })),
            (json!({ "rate_limit_rps": -1 }), json!({ "rate_limit_rps": -1 })),
            (json!({ "requests_per_minute": 7 }), json!({ "requests_per_minute": 7 })),
            (json!({ "monthly_budget_usd": 0.000_001 }), json!({ "monthly_budget_usd": 0.000_001 })),
            (json!({ "expires_at": "2028-01-01T00:00:00Z" }), json!({ "expires_at": "2028-01-01T00:00:00.000Z" })),
            (json!({ "enabled": false }), json!({ "enabled": false })),
            (json!({}), json!({})),
        ] {
            patch(&app, id, change.clone()).await.expect(200);
            for (name, value) in as_listed.as_object().unwrap() {
                expected[name] = value.clone();
            }
            assert_eq!(item(&app, id).await, expected, "{change}");
        }
        let clear = json!({ "requests_per_minute": 0, "monthly_budget_usd": 0, "expires_at": "", "enabled": true });
        assert_eq!(patch(&app, id, clear).await.expect(200).json(), json!({ "ok": true }));
        let listed = item(&app, id).await;
        assert_eq!((&listed["monthly_budget_usd"], &listed["enabled"]), (&json!(0.0), &json!(true)));
        for gone in ["requests_per_minute", "expires_at", "current_spend_usd"] {
            assert_eq!(listed[gone], Value::Null, "{gone}");
        }
    });
}

#[test]
fn two_changes_at_once_do_not_undo_each_other() {
    run(async |app| {
        let (_, answer) = issue(&app, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        let changes = (0..4).map(|at| match at {
            0 => patch(&app, id, json!({ "name": "b" })),
            1 => patch(&app, id, json!({ "monthly_budget_usd": 7 })),
            2 => patch(&app, id, json!({ "rotation_days": 9 })),
            _ => patch(&app, id, json!({ "scopes": [] })),
        });
        for answer in join_all(changes).await {
            answer.expect(200);
        }
        let listed = item(&app, id).await;
        assert_eq!((&listed["name"], &listed["scopes"]), (&json!("b"), &json!("[]")));
        assert_eq!((&listed["monthly_budget_usd"], &listed["rotation_days"]), (&json!(7.0), &json!(9)));
    });
}

#[test]
fn a_key_that_is_called_enabled_is_let_in() {
    run(async |app| {
        add_model(&app).await;
        app.answer_hello();
        let (key, issued) = issue(&app, json!({ "name": "app" })).await;
        let id = issued["id"].as_str().unwrap();
        // Somebody who disabled it closes its gate late, when it is enabled again.
        app.ask::<RateLimiter>(&name_of_key(id), &Command::Revoke);
        app.pass_ms(5_000).await;
        app.hello(&key).send().await.expect(401);
        patch(&app, id, json!({ "enabled": true })).await.expect(200);
        app.pass_ms(5_000).await;
        app.hello(&key).send().await.expect(200);
    });
}

#[test]
fn a_list_is_an_array_and_with_paging_an_object() {
    run(async |app| {
        assert_eq!(app.admin("GET", KEYS).send().await.expect(200).json(), json!([]));
        for name in ["a", "b", "c"] {
            issue(&app, json!({ "name": name })).await;
            app.pass_ms(2).await;
        }
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        let get =
            async |query: &str| app.admin("GET", &format!("/admin/v1/apikeys{query}")).send().await.expect(200).json();
        assert_eq!(names(&get("").await), ["c", "b", "a"], "newest first");
        let page = get("?limit=2&offset=1").await;
        assert_eq!(names(&page["keys"]), ["b", "a"]);
        assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(3), &json!(2), &json!(1)));
        let page = get("?envelope=1").await;
        assert_eq!(names(&page["keys"]), ["c", "b", "a"]);
        assert_eq!((&page["limit"], &page["offset"]), (&json!(1_000), &json!(0)));
        assert_eq!(get("?offset=9").await["keys"], json!([]));
        assert_eq!(get("?limit=nonsense").await["limit"], 1_000);
    });
}

#[test]
fn unknown_keys_are_404_and_deleting_one_is_no_matter() {
    run(async |app| {
        let missing = json!({ "error": "api key not found" });
        let (_, answer) = issue(&app, json!({})).await;
        let id = answer["id"].as_str().unwrap();
        delete(&app, id).await;
        delete(&app, id).await;
        delete(&app, "key_nobody").await;
        for id in [id, "key_nobody"] {
            assert_eq!(patch(&app, id, json!({ "name": "b" })).await.expect(404).json(), missing);
            for action in ["rotate", "paid"] {
                let path = format!("/admin/v1/apikeys/{id}/{action}");
                assert_eq!(app.admin("POST", &path).send().await.expect(404).json(), missing, "{action}");
            }
        }
        assert_eq!(app.admin("GET", KEYS).send().await.expect(200).json(), json!([]));
    });
}

#[test]
fn the_first_key_of_the_house_is_audited_by_its_id() {
    run(async |app| {
        let (_, first) = issue(&app, json!({})).await;
        let audit = app.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
        let log = audit["logs"].as_array().unwrap();
        let actions: Vec<_> =
            log.iter().filter(|row| row["resource"] == first["id"]).map(|row| &row["action"]).collect();
        assert_eq!(actions, [&json!("apikey.create")], "{audit}");
    });
}
