//! `/v1/usage/history`, `/v1/usage/breakdown`, `/v1/usage/grouped`, `/v1/stats`.

use std::time::Duration;

use guildhall_domain::credential::KeyPrefix;
use serde_json::{Value, json};

use crate::support::{HELLO_MICROS, Key, Reply, TestApp, run};

async fn read(app: &TestApp, key: &Key, path: &str) -> Value {
    app.get(path).bearer(&key.key).send().await.expect(200).json()
}

#[test]
fn the_history_has_both_forms_of_each_call() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let made = app.hello(&key).send().await.expect(200);
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        let history = app.get("/v1/usage/history").bearer(&key.key).send().await.expect(200).json();
        assert_eq!((&history["object"], &history["has_more"]), (&json!("list"), &json!(false)));
        let (call, row) = (&history["calls"][1], &history["data"][1]);
        assert_eq!(
            *call,
            json!({
                "id": made.header("x-request-id").unwrap(), "tool": "chat", "skill": "m1", "status": "success",
                "cost": 0.00025, "latency_ms": row["latency_ms"], "created_at": row["created_at"], "key_id": app.key_id(&key),
            })
        );
        assert_eq!((&history["calls"][0]["status"], &history["calls"][0]["cost"]), (&json!("error"), &json!(0.0)));
        let first = read(&app, &key, "/v1/usage/history?limit=1").await;
        assert_eq!(first["calls"].as_array().unwrap().len(), first["data"].as_array().unwrap().len());
        for query in ["limit=0", "limit=1001", "before=soon"] {
            app.get(&format!("/v1/usage/history?{query}")).bearer(&key.key).send().await.expect(400);
        }
    });
}

#[test]
fn the_summary_has_every_field_that_tokaroo_documents() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(100);
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        // One is in the database, one still on its way.
        let body = r#"{"model":"fast","messages":[{"role":"user","content":"x"}],"max_tokens":9}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
        let stats = app.get("/v1/stats?days=7&daily_days=2").bearer(&key.key).send().await.expect(200).json();
        let latency_ms = stats["avg_latency_ms"].as_i64().unwrap();
        assert!((100..150).contains(&latency_ms), "{latency_ms}");
        let day = |date: &str, requests: i64, tokens: i64, usd: f64| json!({ "date": date, "requests": requests, "tokens": tokens, "charged_usd": usd, "actual_cost_usd": usd });
        assert_eq!(
            stats,
            json!({
                "window_days": 7, "daily_window_days": 2, "api_key_id": null, "workspace_id": null, "requests": 2,
                "total_tokens": 30, "avg_latency_ms": latency_ms, "charged_usd": 0.0005, "actual_cost_usd": 0.0005,
                "tier_breakdown": { "auto": 1, "fast": 1, "max": 0 }, "request_type_breakdown": { "chat": 2 },
                "daily": [day("2027-01-14", 0, 0, 0.0), day("2027-01-15", 2, 30, 0.0005)],
            })
        );
        let own = app.key_id(&key);
        assert_eq!(read(&app, &key, &format!("/v1/stats?api_key_id={own}")).await["api_key_id"], own);
    });
}

#[test]
fn nothing_used_is_a_summary_too() {
    run(async |app| {
        let key = app.provision("0").await;
        let stats = read(&app, &key, "/v1/stats").await;
        assert_eq!((&stats["requests"], &stats["avg_latency_ms"]), (&json!(0), &json!(0)));
        assert_eq!(stats["daily"].as_array().unwrap().len(), 30, "days without a call are days");
        let groups = read(&app, &key, "/v1/usage/breakdown").await;
        assert_eq!(groups, json!({ "object": "list", "group_by": "api_key", "window_days": 30, "data": [] }));
    });
}

#[test]
fn groups_are_by_whatever_is_asked_for() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.open_workspace(&key.account_id, "acme");
        let bound = app.issue(&key.account_id, KeyPrefix::Tokaroo, "key_bound", Some("acme"));
        app.add_model("m2", "p1", 1).await;
        app.hello(&bound).send().await.expect(200);
        app.hello(&bound).send().await.expect(200);
        app.pass_ms(300).await;
        let body = r#"{"model":"m2","messages":[{"role":"user","content":"x"}],"max_tokens":9}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(body).send().await.expect(200);
        let own = app.key_id(&key);
        let name = app.database.text(&format!("SELECT name FROM api_keys WHERE id = '{own}'"));
        for (group_by, expected) in [
            (
                "api_key",
                json!([{ "api_key_id": "key_bound", "name": "key_bound" }, { "api_key_id": own, "name": name }]),
            ),
            (
                "workspace",
                json!([{ "workspace_id": "acme", "workspace_name": "The acme" }, { "workspace_id": null, "workspace_name": null }]),
            ),
            ("model", json!([{ "model": "m1" }, { "model": "m2" }])),
            ("request_type", json!([{ "request_type": "chat" }])),
            ("tier", json!([{ "tier": "auto" }])),
            ("day", json!([{ "date": "2027-01-15" }])),
        ] {
            for path in ["breakdown", "grouped"] {
                let answer = read(&app, &key, &format!("/v1/usage/{path}?group_by={group_by}")).await;
                assert_eq!(answer["group_by"], group_by);
                let groups = answer["data"].as_array().unwrap();
                assert_eq!(groups.len(), expected.as_array().unwrap().len(), "{answer}");
                for (group, expected) in groups.iter().zip(expected.as_array().unwrap()) {
                    for (field, value) in expected.as_object().unwrap() {
                        assert_eq!(group[field], *value, "{group_by}: {group}");
                    }
                }
                let calls: i64 = groups.iter().map(|group| group["requests"].as_i64().unwrap()).sum();
                assert_eq!(calls, 3, "{group_by}");
            }
        }
        let grouped = app.get("/v1/usage/grouped").bearer(&key.key).send().await.expect(200).json();
        let answer = app.get("/v1/usage/breakdown").bearer(&key.key).send().await.expect(200).json();
        assert_eq!(answer, grouped);
        let dearest = &answer["data"][0];
        assert_eq!((&dearest["requests"], &dearest["charged_usd"]), (&json!(2), &json!(0.0005)));
        assert_eq!((&dearest["input_tokens"], &dearest["total_tokens"]), (&json!(20), &json!(30)));
    });
}

#[test]
fn windows_end_and_have_a_bound() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.set_limits(&key, 100, 1_000, 5).await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(300).await;
        tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
        app.hello(&key).send().await.expect(200);
        for (days, calls) in [(1, 1), (3, 2), (365, 2)] {
            assert_eq!(read(&app, &key, &format!("/v1/stats?days={days}")).await["requests"], calls, "{days}");
            let groups = read(&app, &key, &format!("/v1/usage/breakdown?days={days}")).await;
            assert_eq!((&groups["data"][0]["requests"], &groups["window_days"]), (&json!(calls), &json!(days)));
        }
        for (path, param) in [
            ("/v1/stats?days=0", "days"),
            ("/v1/stats?days=366", "days"),
            ("/v1/stats?daily_days=366", "daily_days"),
            ("/v1/usage/breakdown?days=-1", "days"),
            ("/v1/usage/grouped?group_by=colour", "group_by"),
        ] {
            let answer = app.get(path).bearer(&key.key).send().await.expect(400);
            assert_eq!(answer.json()["param"], param, "{path}");
        }
    });
}

#[test]
fn every_sum_is_the_ledger_to_the_micro_dollar() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let second = app.issue(&key.account_id, KeyPrefix::Tokaroo, "key_2", None);
        for round in 0..12 {
            app.upstream.always(Reply::chat("x", 7 * round + 1, 3 * round));
            app.hello(if round % 3 == 0 { &second } else { &key }).send().await.expect(200);
            if round % 5 == 0 {
                app.pass_ms(120).await;
            }
            let balance = app.balance_micros(&key).await;
            let charged = micros(10_000_000 - balance);
            assert_eq!(read(&app, &key, "/v1/stats").await["charged_usd"], charged, "round {round}");
            assert_eq!(read(&app, &key, "/v1/usage").await["total_cost"], charged, "round {round}");
            let audit = app.audit(&key);
            assert_eq!(micros(audit.charged.0 - audit.written_off.0), charged, "round {round}");
        }
        assert_ne!(app.balance_micros(&key).await, 10_000_000 - 12 * HELLO_MICROS, "prices differed");
    });
}

fn micros(micros: i64) -> f64 {
    guildhall_domain::money::MicroUsd(micros).to_usd()
}
