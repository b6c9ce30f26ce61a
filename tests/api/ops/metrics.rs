//! `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{ADMIN_TOKEN, Reply, TestApp, run, run_with};

async fn scrape(app: &TestApp) -> String {
    let answer = app.get("/metrics").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// One series: its name, its labels and its value.
type Series = (String, BTreeMap<String, String>, f64);

/// Reads the text as Prometheus does; the labels of these scenarios hold no commas.
fn read(text: &str) -> Vec<Series> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        (name.to_owned(), labels.collect(), value.parse().unwrap())
    });
    series.collect()
}

/// The sum of the series of a name with these labels, exact to a millionth; `None` when there is none.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<String> {
    let is_asked =
        |series: &&Series| series.0 == name && labels.iter().all(|(n, v)| series.1.get(*n).is_some_and(|l| l == v));
    let found: Vec<_> = read(text).iter().filter(is_asked).map(|(.., value)| *value).collect();
    (!found.is_empty()).then(|| format!("{:.6}", found.iter().sum::<f64>()))
}

#[test]
fn an_empty_platform_has_its_gauges_and_no_series() {
    run(async |app| {
        let text = scrape(&app).await;
        assert_eq!(sum(&text, "tokenhub_models", &[]).as_deref(), Some("0.000000"));
        assert_eq!(sum(&text, "tokenhub_adapters", &[]).as_deref(), Some("0.000000"));
        assert_eq!(read(&text).len(), 2, "{text}");
    });
}

#[test]
fn where_a_token_is_set_only_who_shows_it_reads() {
    let token = "metrics-token-0123456789";
    run_with(&[("METRICS_TOKEN", token)], async |app| {
        let key = app.provision("0").await;
        app.get("/metrics").bearer(token).send().await.expect(200);
        let wanted = serde_json::json!({ "error": "The metrics want METRICS_TOKEN" });
        assert_eq!(app.get("/metrics").send().await.expect(401).json(), wanted);
        for other in [key.key.as_str(), "metrics-token-012345678", ADMIN_TOKEN] {
            assert_eq!(app.get("/metrics").bearer(other).send().await.expect(401).json(), wanted);
        }
    });
}

#[test]
fn calls_tokens_and_dollars_are_counted_as_tokenhub_names_them() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..3 {
            app.hello(&key).send().await.expect(200);
        }
        for status in [400, 422, 422] {
            app.upstream.then(Reply::error(status, "no"));
            app.hello(&key).send().await.expect(status);
        }
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let route = [("model", "m1"), ("provider", "p1")];
        for (name, label, expected) in [
            ("tokenhub_requests_total", ("status", "ok"), "3.000000"),
            ("tokenhub_requests_total", ("status", "error"), "3.000000"),
            ("tokenhub_requests_total", ("mode", "auto"), "6.000000"),
            ("tokenhub_request_errors_total", ("http_status", "400"), "1.000000"),
            ("tokenhub_request_errors_total", ("http_status", "422"), "2.000000"),
            ("tokenhub_tokens_total", ("direction", "input"), "30.000000"),
            ("tokenhub_tokens_total", ("direction", "output"), "15.000000"),
            ("tokenhub_cost_usd_total", ("model", "m1"), "0.000750"),
        ] {
            let labels = [route[0], route[1], label];
            assert_eq!(sum(&text, name, &labels).as_deref(), Some(expected), "{name} {label:?} in {text}");
        }
        assert_eq!(sum(&text, "tokenhub_models", &[]).as_deref(), Some("1.000000"));
        assert_eq!(sum(&text, "tokenhub_adapters", &[]).as_deref(), Some("1.000000"));
    });
}

#[test]
fn latencies_of_successes_are_a_histogram_with_the_documented_steps() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for latency_ms in [15, 15, 300, 9_000] {
            app.upstream.latency_ms.set(latency_ms);
            app.hello(&key).send().await.expect(200);
        }
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let steps = ["10", "20", "40", "80", "160", "320", "640", "1280", "2560", "5120", "+Inf"];
        let counts = [0, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4];
        for (step, count) in steps.into_iter().zip(counts) {
            let found =
                sum(&text, "tokenhub_request_latency_ms_bucket", &[("le", step), ("model", "m1"), ("mode", "auto")]);
            assert_eq!(found, Some(format!("{count}.000000")), "{step} in {text}");
        }
        assert_eq!(sum(&text, "tokenhub_request_latency_ms_count", &[]).as_deref(), Some("4.000000"));
        let total: f64 = sum(&text, "tokenhub_request_latency_ms_sum", &[]).unwrap().parse().unwrap();
        assert!((9_330.0..9_400.0).contains(&total), "{total}");
    });
}

#[test]
fn the_state_of_every_provider_is_a_gauge() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let state = |text: &str| sum(text, "tokenhub_provider_health_state", &[("provider", "p1")]);
        assert_eq!(state(&scrape(&app).await).as_deref(), Some("2.000000"));
        for (failures, expected) in [(2, "1.000000"), (3, "0.000000")] {
            for _ in 0..failures {
                app.upstream.then(Reply::Whole(502, "garbage".into(), "30"));
                app.hello(&key).send().await;
            }
            assert_eq!(state(&scrape(&app).await).as_deref(), Some(expected));
        }
    });
}

#[test]
fn refusals_by_a_limit_are_counted_for_all_isolates() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.set_limits(&key, 2, 100, 5).await;
        for status in [200, 200, 429, 429, 429] {
            app.hello(&key).send().await.expect(status);
        }
        // A provider's own 429 is none of ours.
        app.set_limits(&key, 1_000, 10_000, 5).await;
        app.pass_ms(61_000).await;
        app.upstream.then(Reply::error(429, "slow down"));
        app.hello(&key).send().await.expect(429);
        let other = app.new_isolate();
        let text = app.get("/metrics").to(&other).send().await.expect(200).text();
        assert_eq!(sum(&text, "tokenhub_rate_limited_total", &[]).as_deref(), Some("3.000000"), "{text}");
        assert_eq!(sum(&text, "tokenhub_admin_rate_limited_total", &[]), None);
    });
}

#[test]
fn no_series_appears_twice_and_every_family_is_declared_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        for status in [400, 422] {
            app.upstream.then(Reply::error(status, "no"));
            app.hello(&key).send().await.expect(status);
        }
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let all = read(&text);
        let distinct: BTreeSet<_> = all.iter().map(|(name, labels, _)| (name, labels)).collect();
        assert_eq!(distinct.len(), all.len(), "Prometheus refuses a scrape with a series twice: {text}");
        for (name, ..) in &all {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let name = of_histogram.unwrap_or(name);
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
            assert_eq!(text.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
        }
        assert!(text.ends_with('\n'));
    });
}

#[test]
fn every_isolate_answers_the_same() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.pass_ms(200).await;
        let here = scrape(&app).await;
        let other = app.new_isolate();
        assert_eq!(app.get("/metrics").to(&other).send().await.expect(200).text(), here);
        app.crash_isolate();
        assert_eq!(scrape(&app).await, here, "and a restart loses nothing");
    });
}

#[test]
fn a_models_name_cannot_break_the_format() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let id = r#"we"ird\model"#;
        let body = serde_json::json!({
            "id": id, "provider_id": "p1", "weight": 5, "max_context_tokens": 0, "max_output_tokens": 9,
            "input_per_1k": 0.01, "output_per_1k": 0.03, "enabled": true,
        });
        if app.admin("POST", "/admin/v1/models").json(&body).send().await.status != 200 {
            return; // A name that cannot be registered cannot break anything.
        }
        let body =
            serde_json::json!({ "model": id, "messages": [{ "role": "user", "content": "x" }], "max_tokens": 9 });
        app.post("/v1/chat/completions").bearer(&key.key).json(&body).send().await.expect(200);
        app.pass_ms(200).await;
        assert!(scrape(&app).await.contains(r#"model="we\"ird\\model""#));
    });
}

#[test]
fn a_providers_name_cannot_break_the_format_either() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let id = r#"we"ird\one"#;
        let provider =
            serde_json::json!({ "id": id, "type": "openai", "base_url": "http://127.0.0.1:9", "api_key": "sk" });
        app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        let model = serde_json::json!({ "id": "small", "provider_id": id, "weight": 5, "max_context_tokens": 1,
            "max_output_tokens": 9, "input_per_1k": 0.01, "output_per_1k": 0.03, "enabled": true });
        app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
        let body =
            serde_json::json!({ "model": "auto", "messages": [{ "role": "user", "content": "x" }], "max_tokens": 9 });
        app.post("/v1/chat/completions").bearer(&key.key).json(&body).send().await.expect(200);
        app.pass_ms(6_000).await;
        let skips = r#"tokenhub_provider_skips_total{provider="we\"ird\\one",reason="context_overflow"} 1"#;
        assert!(scrape(&app).await.contains(skips));
    });
}
