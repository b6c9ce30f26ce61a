//! `/v1/usage` and `/v1/usage/{id}`.

mod days;
mod delivery;
mod paging;
mod receipts;
mod scopes;
mod stats;

use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use crate::support::{Key, Reply, TestApp, run};

/// A page of the key's usage.
async fn page(app: &TestApp, key: &Key, query: &str) -> Value {
    app.get(&format!("/v1/usage{query}")).bearer(&key.key).send().await.expect(200).json()
}

/// The ids on a page.
fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_page_is_the_union_of_both_forms() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let page = app.get("/v1/usage").bearer(&key.key).send().await.expect(200).json();
        let row = page["data"][0].clone();
        assert_eq!(
            page,
            json!({
                "object": "list", "data": [row], "has_more": false,
                "period": "month", "total_calls": 1, "total_cost": 0.00025,
                "by_tool": [{
                    "tool": "chat", "calls": 1, "cost": 0.00025,
                    "skills": [{ "skill": "m1", "calls": 1, "cost": 0.00025 }],
                }],
            })
        );
    });
}

#[test]
fn a_row_has_every_field_that_tokaroo_documents() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(120);
        let answer = app.hello(&key).send().await.expect(200);
        let row = app.last_usage(&key).await;
        let created_at = row["created_at"].as_str().unwrap().to_owned();
        let latency_ms = row["latency_ms"].as_i64().unwrap();
        assert!((120..140).contains(&latency_ms), "{latency_ms}");
        assert!(created_at.starts_with("2027-01-15T08:00:0") && created_at.ends_with('Z'), "{created_at}");
        assert_eq!(
            row,
            json!({
                "id": answer.header("x-request-id").unwrap(),
                "api_key_id": app.key_id(&key),
                "workspace_id": null, "workspace_name": null, "metadata": {},
                "tier": "auto", "model": "m1", "provider": "tokaroo", "routing_method": "auto",
                "execution_source": "managed", "billing_mode": "managed", "request_type": "chat",
                "input_tokens": 10, "output_tokens": 5,
                "actual_cost_usd": 0.00025, "charged_usd": 0.00025, "baseline_usd": 0.00025,
                "latency_ms": latency_ms, "status": 200, "outcome": "completed", "created_at": created_at,
            })
        );
    });
}

#[test]
fn a_new_key_has_used_nothing() {
    run(async |app| {
        let key = app.provision("1").await;
        let page = page(&app, &key, "").await;
        let nothing = json!({
            "object": "list", "data": [], "has_more": false,
            "period": "month", "total_calls": 0, "total_cost": 0.0, "by_tool": [],
        });
        assert_eq!(page, nothing);
    });
}

#[test]
fn the_upstream_is_not_shown() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        let page = page(&app, &key, "").await.to_string();
        for secret in ["p1", "upstream-name", "127.0.0.1"] {
            assert!(!page.contains(secret), "{secret} in {page}");
        }
    });
}

#[test]
fn what_failed_is_there_too_and_costs_nothing() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.hello(&key).send().await.expect(502);
        let page = page(&app, &key, "").await;
        let seen: Vec<_> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (&row["outcome"], &row["status"], &row["charged_usd"]))
            .collect();
        assert_eq!(
            seen,
            [(&json!("upstream_failed"), &json!(502), &json!(0.0)), (&json!("rejected"), &json!(400), &json!(0.0))]
        );
        assert_eq!((&page["total_calls"], &page["total_cost"]), (&json!(2), &json!(0.0)));
    });
}

#[test]
fn an_account_sees_its_own_alone() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("1").await;
        app.hello(&key).send().await.expect(200);
        assert_eq!(page(&app, &other, "").await["total_calls"], 0);
        let own = app.key_id(&key);
        for query in [format!("?api_key_id={own}"), format!("?key_id={own}")] {
            assert_eq!(page(&app, &key, &query).await["total_calls"], 1, "{query}");
            let refused = app.get(&format!("/v1/usage{query}")).bearer(&other.key).send().await.expect(404);
            assert_eq!(refused.json()["error"]["code"], "NOT_FOUND", "{query}");
        }
        app.get("/v1/usage?workspace_id=ws_1").bearer(&key.key).send().await.expect(404);
        app.get("/v1/usage?api_key_id=").bearer(&key.key).send().await.expect(404);
    });
}

#[test]
fn two_keys_of_one_account_share_the_balance_and_not_the_usage() {
    run(async |app| {
        let first = app.with_busy_key().await;
        let second = app.issue(&first.account_id, KeyPrefix::Tokaroo, "key_second", None);
        let answer = app.hello(&first).send().await.expect(200);
        for delivered in [false, true] {
            assert_eq!(page(&app, &second, "").await["total_calls"], 0, "delivered {delivered}");
            let path = format!("/v1/usage/{}", answer.header("x-request-id").unwrap());
            app.get(&path).bearer(&first.key).send().await.expect(200);
            app.get(&path).bearer(&second.key).send().await.expect(404);
            app.pass_ms(200).await;
        }
        app.hello(&second).send().await.expect(200);
        assert_eq!(app.balance_micros(&first).await, 10_000_000 - 2 * crate::support::HELLO_MICROS);
        let row = app.last_usage(&second).await;
        assert_eq!(row["api_key_id"], "key_second");
        let query = format!("?api_key_id={}", app.key_id(&first));
        app.get(&format!("/v1/usage{query}")).bearer(&second.key).send().await.expect(403);
    });
}

#[test]
fn periods_are_windows_that_end_now() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.set_limits(&key, 100, 1_000, 5).await;
        let mut made = 0;
        // Ages at the end, in days: 32, 8, 2 and 0.
        for days in [24, 6, 2, 0] {
            app.hello(&key).send().await.expect(200);
            made += 1;
            app.pass_ms(200).await;
            tokio::time::sleep(std::time::Duration::from_secs(days * 86_400)).await;
        }
        for (period, calls) in [("day", 1), ("week", 2), ("month", 3), ("all", made)] {
            let page = page(&app, &key, &format!("?period={period}")).await;
            assert_eq!((&page["period"], &page["total_calls"]), (&json!(period), &json!(calls)));
            assert_eq!(page["by_tool"][0]["calls"], calls, "{period}");
            assert_eq!(page["data"].as_array().unwrap().len(), made, "rows have paging of their own");
        }
        assert_eq!(page(&app, &key, "").await["total_calls"], 3, "a month unless said otherwise");
    });
}

#[test]
fn the_summary_counts_each_model_for_itself() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.add_model("m2", "p1", 1).await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        // The one is in the database, the other still on its way.
        for model in ["m1", "m2"] {
            let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"max_tokens":9}}"#);
            app.post("/v1/chat/completions").bearer(&key.key).body(&body).send().await.expect(200);
        }
        let tools = page(&app, &key, "").await["by_tool"].clone();
        let expected = json!([{
            "tool": "chat", "calls": 3, "cost": 0.00075,
            "skills": [
                { "skill": "m1", "calls": 2, "cost": 0.0005 },
                { "skill": "m2", "calls": 1, "cost": 0.00025 },
            ],
        }]);
        assert_eq!(tools, expected);
    });
}

#[test]
fn a_parameter_that_is_none_is_refused_by_name() {
    run(async |app| {
        let key = app.provision("0").await;
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("limit=", "limit"),
            ("before=yesterday", "before"),
            ("before=", "before"),
            ("period=year", "period"),
            ("period=", "period"),
        ] {
            let answer = app.get(&format!("/v1/usage?{query}")).bearer(&key.key).send().await.expect(400);
            let error = &answer.json()["error"];
            assert_eq!((&error["code"], &error["param"]), (&json!("INVALID_INPUT"), &json!(param)), "{query}");
        }
        let twice = app.get("/v1/usage?limit=1&limit=2").bearer(&key.key).send().await.expect(400).json();
        assert!(twice["error"]["message"].as_str().unwrap().contains("limit"), "{twice}");
        assert_ne!(twice["error"]["param"], ".", "{twice}");
        page(&app, &key, "?limit=1000&period=all&nobody_knows=this").await;
    });
}

#[test]
fn a_summary_is_of_all_calls_however_many_models_they_named() {
    run(async |app| {
        let key = app.provision("1").await;
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO usage (id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider,
               status, outcome, input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt)
             SELECT 'req_' || i, '{}', '{}', {}, 'chat', 'auto', 'model-' || i, 'm', 'p', 200, 'completed', 1, 1, 10, 10, 1, '{{}}' FROM n",
            key.account_id,
            app.key_id(&key),
            app.now_ms() - 1_000,
        );
        app.database.execute(&fill);
        let page = page(&app, &key, "?limit=1").await;
        assert_eq!((&page["total_calls"], &page["total_cost"]), (&json!(1_200), &json!(0.012)));
        let tool = &page["by_tool"][0];
        assert_eq!((&tool["tool"], &tool["calls"], &tool["cost"]), (&json!("chat"), &json!(1_200), &json!(0.012)));
        assert_eq!(tool["skills"].as_array().unwrap().len(), 1_000);
    });
}
