//! What happens when a caller's own upstream does not serve: the platform does, before the first byte.

use guildhall::ports::FetchError;
use serde_json::json;

use super::{STAND_IN, bring_endpoint, bring_key, models, only_endpoint, only_key, owner};
use crate::api::models::kit::{add_model, chat, hello, hello_stream, usage_rows};
use crate::support::{HELLO_MICROS, Reply, TestApp, run, run_with};

/// `llama`, which Groq has too, and an account with a key for Groq.
async fn with_groq(app: &TestApp) -> (crate::support::Key, String) {
    let (key, session) = owner(app).await;
    add_model(app, "llama", "p1", json!({ "upstream_model": "llama-3.3-70b-versatile" })).await;
    bring_key(app, &session, json!({ "provider": "groq", "secret": "gsk_1" })).await;
    app.answer_hello();
    (key, session)
}

#[test]
fn an_endpoint_that_fails_is_left_alone_until_it_answers() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        app.upstream.always_at("home", Reply::Fails(FetchError::Broken("refused".into())));
        let answer = chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
        assert_eq!(app.upstream.take_called(), ["home", "p1"]);
        let row = app.last_usage(&key).await;
        assert_eq!((&row["billing_mode"], &row["provider"]), (&json!("managed"), &json!("tokaroo")));
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - HELLO_MICROS);
        // At once here; its own name too.
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        chat(&app, &key, &hello("qwen3:8b")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1", "p1"]);
        let seen = only_endpoint(&app, &session).await;
        assert_eq!((&seen["status"], &seen["last_error"]), (&json!("unreachable"), &json!("no_answer")));
        // A call that comes by has it asked again, a minute later and in the background.
        app.upstream.always_at("home", models(&["qwen3:8b"]));
        app.pass_ms(61_000).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        app.pass_ms(100).await;
        let mut called = app.upstream.take_called();
        called.sort();
        assert_eq!(called, ["home", "p1"]);
        assert_eq!(only_endpoint(&app, &session).await["status"], "healthy");
        app.upstream.always_at("home", Reply::chat("from home", 10, 5));
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
    });
}

#[test]
fn a_limited_endpoint_is_left_alone_for_as_long_as_it_asks() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        app.upstream.always_at("home", Reply::Whole(429, "{}".into(), "60"));
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home", "p1"]);
        app.upstream.always_at("home", Reply::chat("from home", 10, 5));
        for _ in 0..11 {
            app.pass_ms(5_000).await;
            chat(&app, &key, &hello("auto")).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["p1"]);
        }
        app.pass_ms(5_000).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["home"]);
    });
}

#[test]
fn what_an_endpoint_refuses_the_platform_may_take() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        for (status, text) in [(400, "no tools here"), (404, "no such model"), (400, "maximum context length exceeded")]
        {
            app.upstream.always_at("home", Reply::error(status, text));
            chat(&app, &key, &hello("auto")).send().await.expect(200);
            assert_eq!(app.upstream.take_called(), ["home", "p1"], "{text}");
        }
        assert_eq!(only_endpoint(&app, &session).await["status"], "healthy");
        // Where nobody else is there, its word is the last.
        app.admin("DELETE", "/admin/v1/providers/p1").send().await.expect(200);
        app.upstream.always_at("home", Reply::error(400, "no tools here"));
        let answer = chat(&app, &key, &hello("auto")).send().await.expect(400);
        assert_eq!(answer.json()["error"], "no tools here");
        let rows = usage_rows(&app, &key).await;
        assert_eq!((&rows[0]["outcome"], &rows[0]["charged_usd"]), (&json!("rejected"), &json!(0.0)));
    });
}

#[test]
fn a_stream_falls_back_before_its_first_byte() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        app.upstream.always_at("home", Reply::error(500, "out of memory"));
        app.upstream.always(Reply::stream(&["hi"], Some((10, 5))));
        let answer = chat(&app, &key, &hello_stream("auto")).send().await.expect(200);
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
        assert_eq!(app.upstream.take_called(), ["home", "p1"]);
        assert_eq!(app.last_usage(&key).await["billing_mode"], "managed");
    });
}

#[test]
fn a_refused_key_is_marked_and_the_platform_serves() {
    run_with(STAND_IN, async |app| {
        let (key, session) = with_groq(&app).await;
        app.upstream.always_at("groq", Reply::error(401, "Incorrect API key provided: gsk_1"));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["groq", "p1"]);
        let row = only_key(&app, &session).await;
        assert_eq!((&row["status"], &row["last_failure_code"]), (&json!("failed"), &json!("401")));
        assert!(row["last_failure_at"].is_string() && row["estimated_reset_at"].is_null(), "{row}");
        assert!(!app.log.borrow().iter().any(|line| line.contains("gsk_1")), "a provider may repeat the key");
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        // It is tried again some time, and what works is well.
        app.pass_ms(15 * 60_000).await;
        app.upstream.always_at("groq", Reply::chat("from groq", 10, 5));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["groq"]);
        let row = only_key(&app, &session).await;
        assert_eq!(row["status"], "active");
        assert!(row["last_success_at"].is_string());
    });
}

#[test]
fn a_limited_key_rests_until_its_provider_takes_it_again() {
    run_with(STAND_IN, async |app| {
        let (key, session) = with_groq(&app).await;
        app.upstream.always_at("groq", Reply::Whole(429, "{}".into(), "30"));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["groq", "p1"]);
        let row = only_key(&app, &session).await;
        assert_eq!((&row["status"], &row["last_failure_code"]), (&json!("rate_limited"), &json!("429")));
        assert!(row["estimated_reset_at"].is_string());
        app.pass_ms(20_000).await;
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
        app.pass_ms(11_000).await;
        app.upstream.always_at("groq", Reply::chat("from groq", 10, 5));
        chat(&app, &key, &hello("llama")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["groq"]);
        let row = only_key(&app, &session).await;
        assert_eq!((&row["status"], &row["estimated_reset_at"]), (&json!("active"), &json!(null)));
    });
}

#[test]
fn own_upstreams_cost_the_platforms_no_attempt_and_no_health() {
    run_with(STAND_IN, async |app| {
        let (key, session) = with_groq(&app).await;
        let map = json!({ "model_map": { "llama": "qwen3:8b" } });
        bring_endpoint(&app, &session, &["qwen3:8b"], map).await;
        app.upstream.always_at("home", Reply::error(500, "x"));
        app.upstream.always_at("groq", Reply::error(500, "x"));
        app.upstream.always_at("p1", Reply::error(500, "x"));
        chat(&app, &key, &hello("llama")).send().await.expect(502);
        assert_eq!(app.upstream.take_called(), ["home", "groq", "p1", "p1", "p1"]);
        let row = app.last_usage(&key).await;
        assert_eq!((&row["outcome"], &row["charged_usd"]), (&json!("upstream_failed"), &json!(0.0)));
        let metrics = app.admin("GET", "/metrics").send().await.expect(200).text();
        assert!(!metrics.contains("qwen3") && !metrics.contains("home"), "{metrics}");
        let rewards = app.admin("GET", "/admin/v1/rewards").send().await.expect(200).text();
        assert!(!rewards.contains("byok") && !rewards.contains("local"), "{rewards}");
    });
}

#[test]
fn an_unreadable_table_is_no_reason_to_refuse() {
    run(async |app| {
        let (key, session) = owner(&app).await;
        app.answer_hello();
        bring_endpoint(&app, &session, &["qwen3:8b"], json!({})).await;
        // Sealed under another key, or broken: as if it were not there.
        app.database.execute("UPDATE local_endpoints SET sealed_key = 'v1.AAAA'");
        app.pass_ms(3_000).await;
        chat(&app, &key, &hello("auto")).send().await.expect(200);
        assert_eq!(app.upstream.take_called(), ["p1"]);
    });
}
