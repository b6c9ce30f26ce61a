//! `/admin/v1/tsdb`.

use std::time::Duration;

use guildhall::jobs::hourly::run_hourly;
use guildhall_domain::time::format_rfc3339;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, run};

async fn query(app: &TestApp, query: &str) -> Value {
    app.admin("GET", &format!("/admin/v1/tsdb/query?{query}")).send().await.expect(200).json()["series"].clone()
}

fn values(series: &Value) -> Vec<f64> {
    series["points"].as_array().unwrap().iter().map(|point| point["v"].as_f64().unwrap()).collect()
}

#[test]
fn a_call_is_a_point_as_soon_as_it_has_ended() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.upstream.latency_ms.set(40);
        app.hello(&key).send().await.expect(200);
        for (metric, value) in [("cost", 0.00025), ("tokens", 15.0), ("errors", 0.0), ("requests", 1.0)] {
            let series = query(&app, &format!("metric={metric}")).await;
            let minute = format_rfc3339(app.now_ms() / 60_000 * 60_000);
            let expected = json!([{ "metric": metric, "model_id": "m1", "provider_id": "p1", "points": [{ "t": minute, "v": value }] }]);
            assert_eq!(series, expected);
        }
        assert!(values(&query(&app, "metric=latency").await[0])[0] >= 40.0);
    });
}

#[test]
fn downsampling_adds_counters_and_averages_latency() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for latency_ms in [20, 20, 20, 3_000] {
            app.upstream.latency_ms.set(latency_ms);
            app.hello(&key).send().await.expect(200);
            tokio::time::sleep(Duration::from_millis(60_000 - latency_ms)).await;
        }
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.upstream.latency_ms.set(20);
        app.hello(&key).send().await.expect(502);
        let start = app.now_ms() - 3_600_000;
        let by_minute = values(&query(&app, &format!("metric=tokens&start={start}&step_ms=60000")).await[0]);
        assert_eq!(by_minute.iter().sum::<f64>(), 60.0);
        assert!(by_minute.len() >= 4, "{by_minute:?}");
        for step in ["step_ms=7200000", "step=7200000", "step_ms=86400000"] {
            let day = app.now_ms() - 86_400_000;
            let tokens = values(&query(&app, &format!("metric=tokens&start={day}&{step}")).await[0]);
            assert_eq!(tokens.iter().sum::<f64>(), 60.0, "a counter's total does not depend on the step: {step}");
            let errors = values(&query(&app, &format!("metric=errors&start={day}&{step}")).await[0]);
            assert_eq!(errors.iter().sum::<f64>(), 1.0);
        }
        let latency = values(&query(&app, &format!("metric=latency&start={start}&step_ms=172800000")).await[0]);
        assert!(latency.iter().all(|mean| (600.0..700.0).contains(mean)), "not an average of averages: {latency:?}");
    });
}

#[test]
fn both_spellings_filter() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.add_model("m2", "p1", 5).await;
        app.hello(&key).send().await.expect(200);
        let other = r#"{"model":"m2","messages":[{"role":"user","content":"x"}],"max_tokens":5}"#;
        app.post("/v1/chat/completions").bearer(&key.key).body(other).send().await.expect(200);
        assert_eq!(query(&app, "metric=requests").await.as_array().unwrap().len(), 2);
        for filter in ["model_id=m2", "model=m2"] {
            let series = query(&app, &format!("metric=requests&{filter}")).await;
            assert_eq!((series.as_array().unwrap().len(), &series[0]["model_id"]), (1, &json!("m2")), "{filter}");
        }
        for (filter, count) in [("provider_id=p1", 2), ("provider=p1", 2), ("provider=none", 0), ("model=none", 0)] {
            assert_eq!(
                query(&app, &format!("metric=requests&{filter}")).await.as_array().unwrap().len(),
                count,
                "{filter}"
            );
        }
        let (now_ms, hour) = (app.now_ms(), 3_600_000);
        let range = |start: &str, end: &str| format!("metric=requests&start={start}&end={end}");
        let rfc = |ms: i64| format_rfc3339(ms).replace('+', "%2B");
        for (start_ms, end_ms, count) in [
            (now_ms - hour, now_ms + hour, 2),
            (now_ms - 2 * hour, now_ms - hour, 0),
            (now_ms + hour, now_ms + 2 * hour, 0),
        ] {
            for query_text in [range(&start_ms.to_string(), &end_ms.to_string()), range(&rfc(start_ms), &rfc(end_ms))] {
                assert_eq!(query(&app, &query_text).await.as_array().unwrap().len(), count, "{query_text}");
            }
        }
    });
}

#[test]
fn nonsense_is_refused_and_named() {
    run(async |app| {
        app.get("/admin/v1/tsdb/query?metric=cost").send().await.expect(401);
        for (query, text) in [
            ("", "metric parameter required"),
            ("?metric=", "metric parameter required"),
            ("?metric=speed", "metric must be one of"),
            ("?metric=cost&start=yesterday", "start must be"),
            ("?metric=cost&end=soon", "end must be"),
            ("?metric=cost&step_ms=abc", "step_ms must be"),
            ("?metric=cost&step=-1", "step_ms must be"),
            ("?metric=cost&start=2000&end=1000", "start must not be after end"),
        ] {
            let answer = app.admin("GET", &format!("/admin/v1/tsdb/query{query}")).send().await.expect(400);
            assert!(answer.json()["error"].as_str().unwrap().contains(text), "{query}: {}", answer.text());
        }
    });
}

#[test]
fn too_many_points_are_refused_not_cut() {
    run(async |app| {
        app.database.execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
             INSERT INTO call_rollups SELECT 60000, 1799000000000 / 60000 * 60000 + i * 60000, 'auto', 'm', 'p', 0, 0, 1, 1, 1, 1, 1 FROM n",
        );
        let path = "/admin/v1/tsdb/query?metric=cost&start=1798000000000&step_ms=60000";
        let answer = app.admin("GET", path).send().await.expect(400);
        assert!(answer.json()["error"].as_str().unwrap().contains("more than 10000 points"), "{}", answer.text());
        let coarse = query(&app, "metric=cost&start=1798000000000&step_ms=600000").await;
        assert!(values(&coarse[0]).len() > 1_000);
        // Who names neither a beginning nor a step gets all that is kept, as fine as it fits.
        app.database.execute("INSERT INTO call_rollups VALUES (3600000, 1799000000000 / 3600000 * 3600000, 'auto', 'm', 'p', 0, 0, 1, 1, 2000000, 1, 1)");
        assert_eq!(values(&query(&app, "metric=cost").await[0]), [2.0]);
    });
}

#[test]
fn the_metrics_are_listed() {
    run(async |app| {
        let answer = app.admin("GET", "/admin/v1/tsdb/metrics").send().await.expect(200).json();
        assert_eq!(answer, json!({ "metrics": ["cost", "errors", "latency", "requests", "tokens"] }));
    });
}

#[test]
fn retention_is_kept_and_enforced_by_the_hour() {
    run(async |app| {
        for body in [r#"{"retention_days":2}"#, r#"{"days":2}"#] {
            let answer = app.admin("PUT", "/admin/v1/tsdb/retention").body(body).send().await.expect(200).json();
            assert_eq!(answer, json!({ "ok": true, "retention_days": 2 }));
        }
        for body in
            ["{\"days\":0}", "{\"days\":-1}", "{}", "nonsense", "{\"retention_days\":\"x\"}", "{\"days\":99999}"]
        {
            app.admin("PUT", "/admin/v1/tsdb/retention").body(body).send().await.expect(400);
        }
        app.crash_isolate();
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        tokio::time::sleep(Duration::from_secs(40 * 3_600)).await;
        run_hourly(&app.isolate(), &app.ports()).await;
        let start = app.now_ms() - 10 * 86_400_000;
        let ask = format!("metric=requests&start={start}");
        assert_eq!(query(&app, &ask).await.as_array().unwrap().len(), 1, "forty hours old");
        tokio::time::sleep(Duration::from_secs(12 * 3_600)).await;
        run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(query(&app, &ask).await, json!([]));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM call_rollups WHERE step_ms > 0"), 0);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM key_rollups"), 0);
        assert!(app.database.number("SELECT COUNT(*) FROM call_rollups") > 0, "what is counted for ever stays");
        assert_eq!(app.books(&key).calls, 1, "and so do the books");
    });
}

#[test]
fn pruning_on_demand_says_how_much() {
    run(async |app| {
        let answer = app.admin("POST", "/admin/v1/tsdb/prune").send().await.expect(200).json();
        assert_eq!(answer, json!({ "deleted": 0 }));
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        tokio::time::sleep(Duration::from_secs(8 * 86_400)).await;
        let answer = app.admin("POST", "/admin/v1/tsdb/prune").send().await.expect(200).json();
        assert_eq!(answer, json!({ "deleted": 6 }), "three steps, by model and by key");
    });
}

#[test]
fn logs_of_changes_and_attempts_go_after_ninety_days() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        tokio::time::sleep(Duration::from_secs(91 * 86_400)).await;
        app.add_provider("late").await;
        run_hourly(&app.isolate(), &app.ports()).await;
        let audit = app.admin("GET", "/admin/v1/audit").send().await.expect(200).json();
        assert_eq!((&audit["total"], &audit["logs"][0]["resource"]), (&json!(1), &json!("late")));
        let rewards = app.admin("GET", "/admin/v1/rewards").send().await.expect(200).json();
        assert_eq!((&rewards["total"], &rewards["rewards"]), (&json!(0), &json!([])));
        assert_eq!(app.database.number("SELECT COUNT(*) FROM reward_arms"), 0);
    });
}
