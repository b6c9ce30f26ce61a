//! `/admin/v1/audit`: every change by an administrator, once, and none that did not happen.

use serde_json::{Value, json};

use crate::support::{Fault, TestApp, run};

async fn list(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/audit{query}")).send().await.expect(200).json()
}

fn told(page: &Value) -> Vec<String> {
    let row = |row: &Value| format!("{} {}", row["action"].as_str().unwrap(), row["resource"].as_str().unwrap());
    page["logs"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn an_empty_log_is_a_list() {
    run(async |app| {
        let page = app.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
        assert_eq!(page, json!({ "logs": [], "total": 0, "limit": 100, "offset": 0 }));
        app.get("/admin/v1/audit").send().await.expect(401);
    });
}

#[test]
fn every_change_is_told_newest_first() {
    run(async |app| {
        let key = app.with_model().await;
        app.set_limits(&key, 5, 50, 2).await;
        app.admin("PATCH", "/admin/v1/models/m1").body(r#"{"weight":7}"#).send().await.expect(200);
        app.admin("PATCH", "/admin/v1/providers/p1").body(r#"{"enabled":false}"#).send().await.expect(200);
        app.admin("DELETE", "/admin/v1/models/m1").send().await.expect(200);
        let deleted = app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        let page = list(&app, "").await;
        let account = &key.account_id;
        let expected = [
            "provider.delete p1".to_owned(),
            "model.delete m1".to_owned(),
            "provider.patch p1".to_owned(),
            "model.patch m1".to_owned(),
            format!("account.limits {account}"),
            format!("account.credit {account}"),
            "model.upsert m1".to_owned(),
            "provider.upsert p1".to_owned(),
        ];
        assert_eq!(told(&page), expected);
        let newest = &page["logs"][0];
        assert_eq!(newest["request_id"].as_str(), deleted.header("x-request-id"));
        assert!(newest["timestamp"].as_str().unwrap().ends_with('Z') && newest["id"].is_i64(), "{newest}");
        assert_eq!(newest.get("detail"), None, "nothing to add");
        assert_eq!(page["logs"][5]["detail"], "10 USD: test");
        assert_eq!(page["total"], 8);
    });
}

#[test]
fn what_was_refused_or_failed_is_no_change() {
    run(async |app| {
        app.admin("POST", "/admin/v1/models").body(r#"{"id":"m"}"#).send().await.expect(400);
        app.admin("PATCH", "/admin/v1/models/none").body("{}").send().await.expect(404);
        app.post("/admin/v1/providers").bearer("nonsense").body("{}").send().await.expect(401);
        // The admin token, the look-up, then the write.
        app.faults.fail_db_after(2, Fault::Before);
        let body = r#"{"id":"p","type":"openai","base_url":"http://127.0.0.1:9"}"#;
        app.admin("POST", "/admin/v1/providers").body(body).send().await.expect(500);
        assert_eq!(list(&app, "").await["total"], 0);
    });
}

#[test]
fn a_change_whose_answer_was_lost_is_told_all_the_same() {
    run(async |app| {
        app.faults.fail_db_after(2, Fault::After);
        let body = r#"{"id":"p","type":"openai","base_url":"http://127.0.0.1:9"}"#;
        app.admin("POST", "/admin/v1/providers").body(body).send().await.expect(500);
        assert_eq!(told(&list(&app, "").await), ["provider.upsert p"]);
    });
}

#[test]
fn a_change_outside_of_the_database_is_told_even_when_the_database_falters() {
    run(async |app| {
        let key = app.provision("0").await;
        app.faults.fail_db_after(2, Fault::Before);
        app.faults.fail_db(Fault::After);
        app.credit(&key, "3").await;
        assert_eq!(told(&list(&app, "").await), [format!("account.credit {}", key.account_id)]);
    });
}

#[test]
fn a_repeated_request_is_one_change() {
    run(async |app| {
        let key = app.provision("0").await;
        let path = format!("/admin/v1/accounts/{}/credits", key.account_id);
        for _ in 0..3 {
            app.admin("POST", &path).idempotency_key("once").body(r#"{"amount_usd":1}"#).send().await.expect(200);
        }
        assert_eq!(list(&app, "").await["total"], 1);
    });
}

#[test]
fn it_pages() {
    run(async |app| {
        for at in 0..5 {
            app.add_provider(&format!("p{at}")).await;
        }
        let page = list(&app, "?limit=2&offset=1").await;
        assert_eq!(told(&page), ["provider.upsert p3", "provider.upsert p2"]);
        assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(5), &json!(2), &json!(1)));
        assert_eq!(list(&app, "?offset=9").await["logs"], json!([]));
        for (query, limit) in [("?limit=0", 100), ("?limit=abc", 100), ("?limit=-3", 100), ("?limit=5000", 1_000)] {
            assert_eq!(list(&app, query).await["limit"], limit, "{query}");
        }
    });
}

#[test]
fn no_secret_is_told() {
    run(async |app| {
        let body = r#"{"id":"p","type":"openai","base_url":"http://127.0.0.1:9","api_key":"sk-very-secret"}"#;
        app.admin("POST", "/admin/v1/providers").body(body).send().await.expect(200);
        assert!(!app.database.dump().contains("sk-very-secret"));
    });
}
