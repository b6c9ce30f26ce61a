//! `/admin/v1/stats`.

use serde_json::{Value, json};

use crate::support::{Key, Reply, TestApp, run};

async fn stats(app: &TestApp) -> Value {
    app.admin("GET", "/admin/v1/stats").send().await.expect(200).json()
}

async fn call_taking(app: &TestApp, key: &Key, latency_ms: u64) {
    app.upstream.latency_ms.set(latency_ms);
    app.hello(key).send().await.expect(200);
}

#[test]
fn nothing_is_ever_null() {
    run(async |app| {
        app.get("/admin/v1/stats").send().await.expect(401);
        let stats = stats(&app).await;
        for group in ["global", "by_model", "by_provider", "by_api_key", "by_mode"] {
            for window in ["1m", "5m", "1h", "24h"] {
                assert_eq!(stats[group][window], json!([]), "{group} {window}");
            }
        }
    });
}

#[test]
fn a_call_is_in_every_group_and_window_at_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        call_taking(&app, &key, 40).await;
        app.upstream.latency_ms.set(0);
        app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
        app.hello(&key).send().await.expect(502);
        let stats = stats(&app).await;
        let key_id = app.key_id(&key);
        for window in ["1m", "5m", "1h", "24h"] {
            for (group, field, name) in [
                ("by_model", "model_id", "m1"),
                ("by_provider", "provider_id", "p1"),
                ("by_api_key", "api_key_id", key_id.as_str()),
                ("by_api_key", "api_key_name", "first key"),
                ("by_mode", "mode", "auto"),
            ] {
                assert_eq!(stats[group][window][0][field], name, "{group} {window}");
                assert_eq!(stats[group][window].as_array().unwrap().len(), 1);
            }
            for group in ["global", "by_model", "by_provider", "by_api_key", "by_mode"] {
                let told = &stats[group][window][0];
                assert_eq!(told["window"], window);
                assert_eq!(
                    (&told["request_count"], &told["error_count"], &told["error_rate"]),
                    (&json!(2), &json!(1), &json!(0.5))
                );
                assert_eq!(
                    (&told["input_tokens"], &told["output_tokens"], &told["total_tokens"]),
                    (&json!(10), &json!(5), &json!(15))
                );
                assert_eq!(told["total_cost_usd"], 0.00025, "{group}");
                assert!(
                    told["avg_latency_ms"].as_f64().unwrap() >= 20.0
                        && told["p95_latency_ms"].as_f64().unwrap() >= 40.0
                );
            }
        }
    });
}

#[test]
fn the_percentile_is_that_of_the_calls() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..37 {
            call_taking(&app, &key, 20).await;
        }
        for _ in 0..3 {
            call_taking(&app, &key, 2_000).await;
        }
        let told = &stats(&app).await["by_model"]["5m"][0];
        assert_eq!(told["request_count"], 40);
        let (p95, mean) = (told["p95_latency_ms"].as_f64().unwrap(), told["avg_latency_ms"].as_f64().unwrap());
        assert!((2_000.0..2_020.0).contains(&p95), "the 39th of 40: {told}");
        assert!((165.0..185.0).contains(&mean), "{told}");
    });
}

#[test]
fn what_is_older_than_a_window_is_not_in_it() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let count = |stats: &Value, window: &str| stats["global"][window][0]["request_count"].as_i64().unwrap_or(0);
        let mut counts = Vec::new();
        // At the ages of 0, 75 s, 6 min, 70 min and 25 h.
        call_taking(&app, &key, 0).await;
        for (wait_ms, expected) in [
            (0, [1, 1, 1, 1]),
            (75_000, [0, 1, 1, 1]),
            (285_000, [0, 0, 1, 1]),
            (3_840_000, [0, 0, 0, 1]),
            (86_400_000, [0; 4]),
        ] {
            tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
            app.deliver().await;
            let stats = stats(&app).await;
            counts.push((["1m", "5m", "1h", "24h"].map(|window| count(&stats, window)), expected));
        }
        for (found, expected) in counts {
            assert_eq!(found, expected);
        }
    });
}

#[test]
fn a_day_of_calls_is_summed_once_across_steps() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..30 {
            call_taking(&app, &key, 0).await;
            tokio::time::sleep(std::time::Duration::from_secs(47 * 60 + 13)).await;
            app.deliver().await;
        }
        // 24 h are 30.5 of these pauses: all of them.
        assert_eq!(stats(&app).await["global"]["24h"][0]["request_count"], 30);
        assert_eq!(stats(&app).await["by_api_key"]["24h"][0]["request_count"], 30);
    });
}
