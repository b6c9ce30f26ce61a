//! `/metrics`.

use crate::support::{Reply, TestApp, run};

async fn scrape(app: &TestApp) -> String {
    let answer = app.get("/metrics").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// The value of the only series whose text begins so.
#[track_caller]
fn value(text: &str, series: &str) -> String {
    let found: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(series)).collect();
    assert_eq!(found.len(), 1, "{series} in {text}");
    found[0].trim().to_owned()
}

#[test]
fn an_empty_platform_has_its_gauges_and_no_series() {
    run(async |app| {
        let text = scrape(&app).await;
        assert_eq!((value(&text, "tokenhub_models "), value(&text, "tokenhub_adapters ")), ("0".into(), "0".into()));
        assert!(!text.contains('{'), "{text}");
    });
}

#[test]
fn calls_tokens_and_dollars_are_counted_by_model_and_end() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..3 {
            app.hello(&key).send().await.expect(200);
        }
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let model = r#"mode="auto",model="m1",provider="p1""#;
        let requests = format!("tokenhub_requests_total{{{model},status=");
        assert_eq!(value(&text, &format!(r#"{requests}"ok",outcome="completed"}}"#)), "3");
        assert_eq!(value(&text, &format!(r#"{requests}"error",outcome="rejected"}}"#)), "1");
        let errors = format!(r#"tokenhub_request_errors_total{{{model},http_status="400",outcome="rejected"}}"#);
        assert_eq!(value(&text, &errors), "1");
        assert_eq!(value(&text, "tokenhub_models "), "1");
        assert_eq!(value(&text, "tokenhub_adapters "), "1");
    });
}

#[test]
fn no_series_appears_twice_and_every_family_is_declared_once() {
    run(async |app| {
        let key = app.with_busy_key().await;
        app.hello(&key).send().await.expect(200);
        app.upstream.then(Reply::error(400, "no"));
        app.hello(&key).send().await.expect(400);
        app.upstream.then(Reply::error(422, "no"));
        app.hello(&key).send().await.expect(422);
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let mut series: Vec<_> =
            text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
        series.sort_unstable();
        let all = series.len();
        series.dedup();
        assert_eq!(series.len(), all, "Prometheus refuses a scrape with a series twice: {text}");
        for name in series.iter().map(|line| line.split('{').next().unwrap()) {
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
        assert!(text.ends_with('\n'));
    });
}

#[test]
fn tokens_and_cost_are_sums() {
    run(async |app| {
        let key = app.with_busy_key().await;
        for _ in 0..4 {
            app.hello(&key).send().await.expect(200);
        }
        app.pass_ms(200).await;
        let text = scrape(&app).await;
        let sum = |series: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(series));
            lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).fold(0.0, f64::max)
        };
        assert_eq!(sum("tokenhub_cost_usd_total{").to_string(), "0.001");
        let tokens = |direction: &str| {
            let suffix = format!(r#"direction="{direction}"}}"#);
            let line = text.lines().find(|line| line.contains("tokens_total{") && line.contains(&suffix)).unwrap();
            line.rsplit_once(' ').unwrap().1.to_owned()
        };
        assert_eq!((tokens("input"), tokens("output")), ("40".into(), "20".into()));
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
        let body = serde_json::json!({ "model": id, "messages": [{ "role": "user", "content": "x" }], "max_tokens": 9 });
        app.post("/v1/chat/completions").bearer(&key.key).json(&body).send().await.expect(200);
        app.pass_ms(200).await;
        assert!(scrape(&app).await.contains(r#"model="we\"ird\\model""#));
    });
}
