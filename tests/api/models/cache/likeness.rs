//! The semantic tier: a question that is nearly the same.

use serde_json::{Value, json};

use super::{Fault, add_kind, ask, assert_balanced, cache_of, hits, micros, own_control, question, usage_rows, with};
use crate::support::{Key, Reply, TestApp, run};

/// A chat model at the scripted upstream, the sandbox's embeddings, and a key whose account wants likeness.
async fn with_likeness(app: &TestApp, threshold: f64) -> Key {
    app.admin("POST", "/admin/v1/providers").body(r#"{"id":"s","type":"sandbox"}"#).send().await.expect(200);
    add_kind(app, "embed", "s", "embedding", json!({ "input_per_1k": 0.02 })).await;
    let key = app.with_busy_key().await;
    want(app, &key, json!({ "semantic": true, "threshold": threshold })).await;
    key
}

async fn want(app: &TestApp, key: &Key, settings: Value) {
    app.call("PUT", "/v1/cache/settings").bearer(&key.key).json(&settings).send().await.expect(200);
}

const ASKED: &str = "What is the capital city of the country that is called France?";
const NEAR: &str = "What is the capital city of the country that is called France";
const FAR: &str = "Write a poem about the sea";

async fn tier(app: &TestApp, key: &Key, body: &Value) -> String {
    let answer = ask(app, key, body).send().await.expect(200);
    app.pass_ms(20).await;
    answer.header("x-tokaroo-cache-tier").unwrap_or("none").to_owned()
}

#[test]
fn a_question_that_is_nearly_the_same_has_the_same_answer() {
    run(async |app| {
        let key = with_likeness(&app, 0.85).await;
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "none");
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "exact");
        let answer = ask(&app, &key, &question(NEAR)).send().await.expect(200);
        assert_eq!((cache_of(&answer), answer.header("x-tokaroo-cache-tier")), ("hit", Some("semantic")));
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "hi");
        assert_eq!(app.upstream.sent.borrow().len(), 1);
        // The embedding is a call of the caller's own, with a record of its own.
        let rows = usage_rows(&app, &key).await;
        let of = |kind: &str| rows.iter().filter(|row| row["request_type"] == kind).collect::<Vec<_>>();
        assert_eq!((of("chat").len(), of("embedding").len()), (3, 2));
        assert!(of("embedding").iter().all(|row| row["id"].as_str().unwrap().ends_with("-embed")));
        assert!(of("embedding").iter().all(|row| micros(&row["charged_usd"]) > 0));
        assert_eq!((micros(&of("chat")[0]["charged_usd"]), micros(&of("chat")[0]["baseline_usd"])), (0, 250));
        let stats = app.get("/v1/cache/stats").bearer(&key.key).send().await.expect(200).json();
        assert_eq!(stats["questions"], 1);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn what_is_not_near_enough_or_differs_elsewhere_is_another_question() {
    run(async |app| {
        let key = with_likeness(&app, 0.85).await;
        let known = |text: &str| {
            let system = json!({ "role": "system", "content": "Be brief." });
            with(question(text), "messages", json!([system, { "role": "user", "content": text }]))
        };
        assert_eq!(tier(&app, &key, &known(ASKED)).await, "none");
        assert_eq!(tier(&app, &key, &known(FAR)).await, "none");
        let mut other = known(NEAR);
        other["messages"][0]["content"] = json!("Be long.");
        assert_eq!(tier(&app, &key, &other).await, "none", "another system prompt");
        assert_eq!(tier(&app, &key, &with(known(NEAR), "max_tokens", json!(7))).await, "none", "another limit");
        let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
        assert_eq!(tier(&app, &key, &with(known(NEAR), "tools", tools)).await, "none", "other tools");
        assert_eq!(tier(&app, &key, &known(NEAR)).await, "semantic");
        want(&app, &key, json!({ "threshold": 1 })).await;
        assert_eq!(tier(&app, &key, &known(&format!("{NEAR}!"))).await, "none", "the account wants more");
    });
}

#[test]
fn it_is_off_unless_the_account_wants_it() {
    run(async |app| {
        let key = with_likeness(&app, 0.8).await;
        want(&app, &key, json!({ "semantic": false })).await;
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "none");
        assert_eq!(tier(&app, &key, &question(NEAR)).await, "none");
        assert_eq!(app.faults.calls_of("VECTOR_INDEX"), 0);
        assert_eq!(usage_rows(&app, &key).await.len(), 2, "nothing was embedded");
        // It is for questions that take part, and only for them.
        want(&app, &key, json!({ "semantic": true })).await;
        let warm = with(question(ASKED), "temperature", json!(1));
        assert_eq!(tier(&app, &key, &warm).await, "none");
        assert!(!hits(&app, own_control(ask(&app, &key, &question(NEAR)), "no-store")).await);
        assert_eq!(app.faults.calls_of("VECTOR_INDEX"), 0);
    });
}

#[test]
fn nobody_finds_anothers_questions() {
    run(async |app| {
        let key = with_likeness(&app, 0.8).await;
        let other = app.provision("10").await;
        want(&app, &other, json!({ "semantic": true, "threshold": 0.8 })).await;
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "none");
        assert_eq!(tier(&app, &other, &question(NEAR)).await, "none", "another account");
        app.call("DELETE", "/v1/cache").bearer(&key.key).send().await.expect(200);
        assert_eq!(tier(&app, &key, &question(NEAR)).await, "none", "forgotten");
        assert!(!app.objects.dump().contains("France"), "the index holds no text");
    });
}

#[test]
fn whatever_fails_is_a_miss() {
    run(async |app| {
        let key = with_likeness(&app, 0.8).await;
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "none");
        for fault in [Fault::Before, Fault::After] {
            app.faults.fail_object("VECTOR_INDEX", fault);
            assert_eq!(tier(&app, &key, &with(question(NEAR), "seed", json!(1))).await, "none", "{fault:?}");
            app.cache.lose();
        }
        // The answer behind a direction is gone: it is asked again, and found again.
        app.upstream.always(Reply::chat("anew", 10, 5));
        assert_eq!(tier(&app, &key, &question(NEAR)).await, "none");
        let found = ask(&app, &key, &question(ASKED)).send().await.expect(200);
        assert_eq!(found.header("x-tokaroo-cache-tier"), Some("semantic"));
        assert_eq!(found.json()["choices"][0]["message"]["content"], "anew");
        // Without a model that embeds, there is no likeness.
        app.admin("DELETE", "/admin/v1/models/embed").send().await.expect(200);
        assert_eq!(tier(&app, &key, &question(FAR)).await, "none");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_model_that_does_not_embed_in_time_keeps_no_chat() {
    run(async |app| {
        app.add_provider("silent").await;
        add_kind(&app, "embed", "silent", "embedding", json!({ "input_per_1k": 0.02 })).await;
        let key = app.with_busy_key().await;
        want(&app, &key, json!({ "semantic": true })).await;
        app.upstream.slow_at("silent", 3_600_000);
        let began_ms = app.now_ms();
        assert_eq!(tier(&app, &key, &question(ASKED)).await, "none");
        let took_ms = app.now_ms() - began_ms;
        assert!((1_500..1_700).contains(&took_ms), "{took_ms}");
        let asked = app.upstream.sent.take();
        assert_eq!(asked.len(), 2, "the model that embeds once, then the one that answers");
        assert!((1_400..=1_500).contains(&asked[0].first_byte_ms) && asked[0].may_be_given_up);
        assert_eq!(app.upstream.given_up.take(), ["silent"]);
        // Whoever is in a hurry waits less for it, and has an answer all the same.
        let hasty = json!({ "request": question(NEAR), "policy": { "max_latency_ms": 1_000 } });
        let began_ms = app.now_ms();
        let call = app.post("/v1/chat").bearer(&key.key).json(&hasty);
        own_control(call, "force").send().await.expect(200);
        let took_ms = app.now_ms() - began_ms;
        assert!((375..475).contains(&took_ms), "{took_ms}");
        let health = app.admin("GET", "/admin/v1/health").send().await.expect(200).text();
        assert!(!health.contains("\"down\""), "impatience is no failure: {health}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}
