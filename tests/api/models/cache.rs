//! The response cache: what is answered from it, what is not, and who pays.

mod faults;
mod kept;
mod likeness;
mod settings;
mod tenants;

use serde_json::{Value, json};

use super::kit::{assert_balanced, chat, last_receipt, micros, tokenhub_key, usage_rows};
use super::media::{add_kind, with_upstream};
use crate::support::{Answer, Call, Fault, Key, Reply, TestApp, run};

/// 10 input and 5 output tokens at `m1`: 10 × $10/M + 5 × $30/M.
const CALL_MICROS: i64 = 250;

/// A question whose answer is the same each time.
pub fn question(text: &str) -> Value {
    json!({ "model": "m1", "messages": [{ "role": "user", "content": text }], "max_tokens": 100, "temperature": 0 })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn ask<'t>(app: &'t TestApp, key: &Key, body: &Value) -> Call<'t> {
    chat(app, key, &body.to_string())
}

fn cache_of(answer: &Answer) -> &str {
    answer.header("x-tokaroo-cache").unwrap()
}

fn own_control<'t>(call: Call<'t>, control: &str) -> Call<'t> {
    call.head(|head| head.own_cache_control = control.to_owned())
}

/// Sends it, lets the cache be written, and says whether it was a hit.
async fn hits(app: &TestApp, call: Call<'_>) -> bool {
    let answer = call.send().await.expect(200);
    app.pass_ms(20).await;
    cache_of(&answer) == "hit"
}

#[test]
fn the_same_question_is_answered_once_and_costs_nothing_more() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let first = ask(&app, &key, &question("hello")).send().await.expect(200);
        assert_eq!((cache_of(&first), first.header("x-tokaroo-cost")), ("miss", Some("0.00025")));
        app.pass_ms(5_000).await;
        // The same, written in another way.
        let body = r#"{ "temperature": 0.0, "user": "someone", "messages": [{"content":"hell\u006f","role":"user"}],
            "stream": false, "max_tokens": 1e2, "model": "m1" }"#
            .replace("1e2", "100");
        let second = chat(&app, &key, &body).send().await.expect(200);
        assert_eq!((cache_of(&second), second.header("x-tokaroo-cache-tier")), ("hit", Some("exact")));
        assert_eq!((second.header("x-tokaroo-cost"), second.header("age")), (Some("0"), Some("5")));
        assert_eq!(app.upstream.sent.borrow().len(), 1, "the model was asked once");
        let (one, two) = (first.json(), second.json());
        assert_eq!((&one["choices"], &one["usage"], &one["model"]), (&two["choices"], &two["usage"], &two["model"]));
        assert_ne!(one["id"], two["id"], "another answer has another id");
        assert!(two["created"].as_i64() > one["created"].as_i64());
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["billing_mode"], &record["execution_source"]), (&json!("cache"), &json!("cache")));
        assert_eq!((micros(&record["charged_usd"]), micros(&record["baseline_usd"])), (0, CALL_MICROS));
        assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&json!(10), &json!(5)));
        let receipt = &record["receipt"];
        assert_eq!(
            (&receipt["rule"], &receipt["tier"], &receipt["cost_micros"]),
            (&json!("cache"), &json!("exact"), &json!(0))
        );
        assert_eq!(receipt["baseline_micros"], CALL_MICROS);
        assert_balanced(&app, &key, 10_000_000).await;
        let who = app.database.text("SELECT routed_provider || ' ' || routed_model FROM usage WHERE source = 'cache'");
        assert_eq!(who, "cache m1", "the provider's own figures stay as they are");
    });
}

#[test]
fn other_questions_have_other_answers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let known = question("hello");
        assert!(!hits(&app, ask(&app, &key, &known)).await);
        app.add_model("m2", "p1", 5).await;
        for other in [
            question("hello!"),
            with(known.clone(), "model", json!("m2")),
            with(known.clone(), "max_tokens", json!(99)),
            with(known.clone(), "tools", json!([{ "type": "function", "function": { "name": "f" } }])),
            with(known.clone(), "response_format", json!({ "type": "json_object" })),
            with(known.clone(), "seed", json!(1)),
            with(known.clone(), "made_up", json!(true)),
        ] {
            assert!(!hits(&app, ask(&app, &key, &other)).await, "{other}");
            assert!(hits(&app, ask(&app, &key, &other)).await, "{other}");
        }
        assert!(hits(&app, ask(&app, &key, &known)).await);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn only_what_asks_for_the_same_answer_takes_part_unless_it_says_so() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let plain = json!({ "model": "m1", "messages": [{ "role": "user", "content": "a" }] });
        for body in
            [plain.clone(), with(plain.clone(), "temperature", json!(1)), with(plain.clone(), "seed", Value::Null)]
        {
            assert!(!hits(&app, ask(&app, &key, &body)).await);
            assert!(!hits(&app, ask(&app, &key, &body)).await, "{body}");
        }
        assert_eq!((app.cache.len(), app.faults.kv_calls.get()), (0, 0), "it pays nothing for the cache");
        let seeded = with(plain.clone(), "seed", json!(7));
        assert!(!hits(&app, ask(&app, &key, &seeded)).await && hits(&app, ask(&app, &key, &seeded)).await);
        let forced = || own_control(ask(&app, &key, &plain), "force");
        assert!(!hits(&app, forced()).await && hits(&app, forced()).await);
    });
}

#[test]
fn a_request_may_refuse_or_refresh_the_cache() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let known = question("hello");
        let own = |control: &str| own_control(ask(&app, &key, &known), control);
        assert!(!hits(&app, own("no-store")).await);
        assert_eq!(app.cache.len(), 0);
        assert!(!hits(&app, own("")).await && hits(&app, own("")).await);
        app.upstream.always(Reply::chat("fresh", 10, 5));
        assert!(!hits(&app, own("no-store")).await);
        let answer = own("").send().await.expect(200).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "hi", "what no-store got was not kept");
        let standard = |value: &str| ask(&app, &key, &known).head(|head| head.cache_control = value.to_owned());
        assert!(!hits(&app, standard("no-cache")).await);
        let answer = own("").send().await.expect(200).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "fresh", "what no-cache got was");
        app.pass_ms(10_000).await;
        assert!(hits(&app, own("max-age=11")).await && !hits(&app, standard("max-age=5")).await);
        assert!(!hits(&app, own("max-age=0")).await);
    });
}

#[test]
fn answers_are_kept_for_an_hour() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let known = question("hello");
        assert!(!hits(&app, ask(&app, &key, &known)).await);
        tokio::time::sleep(std::time::Duration::from_secs(3_590)).await;
        assert!(hits(&app, ask(&app, &key, &known)).await);
        app.pass_ms(10_000).await;
        assert!(!hits(&app, ask(&app, &key, &known)).await);
    });
}

#[test]
fn a_stream_and_a_whole_answer_stand_for_each_other() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let words = |events: &[String]| -> String {
            let chunks = events.iter().filter(|event| *event != "[DONE]");
            let chunks = chunks.map(|event| serde_json::from_str::<Value>(event).unwrap());
            chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
        };
        for begins_as_stream in [true, false] {
            let known = question(if begins_as_stream { "stream" } else { "whole" });
            let stream = with(known.clone(), "stream", json!(true));
            app.upstream.always(Reply::chat("Hello", 10, 5));
            if begins_as_stream {
                app.upstream.always(Reply::stream(&["Hel", "lo"], Some((10, 5))));
                let made = ask(&app, &key, &stream).send().await.expect(200);
                assert_eq!(words(&made.events()), "Hello");
            } else {
                ask(&app, &key, &known).send().await.expect(200);
            }
            app.pass_ms(20).await;
            let whole = ask(&app, &key, &known).send().await.expect(200);
            assert_eq!((cache_of(&whole), &whole.json()["choices"][0]["message"]["content"]), ("hit", &json!("Hello")));
            assert_eq!(whole.json()["usage"]["total_tokens"], 15);
            let streamed = ask(&app, &key, &stream).send().await.expect(200);
            assert_eq!((cache_of(&streamed), streamed.header("x-tokaroo-cache-tier")), ("hit", Some("exact")));
            assert!(streamed.header("content-type").unwrap().starts_with("text/event-stream"));
            let events = streamed.events();
            assert_eq!((words(&events).as_str(), events.last().unwrap().as_str()), ("Hello", "[DONE]"));
            assert!(!streamed.text().contains("\"usage\""), "nobody asked for it");
            let asked = with(stream.clone(), "stream_options", json!({ "include_usage": true }));
            let events = ask(&app, &key, &asked).send().await.expect(200).events();
            let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
            assert_eq!((&usage["usage"]["prompt_tokens"], &usage["choices"]), (&json!(10), &json!([])));
        }
        assert_eq!(app.upstream.sent.borrow().len(), 2);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn every_chat_surface_shares_the_answers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let message = json!({ "model": "m1", "max_tokens": 100, "temperature": 0, "messages": [{ "role": "user", "content": "hello" }] });
        let messages = || app.post("/v1/messages").bearer(&key.key).json(&message);
        assert!(!hits(&app, messages()).await);
        let again = messages().send().await.expect(200);
        assert_eq!((cache_of(&again), &again.json()["content"][0]["text"]), ("hit", &json!("hi")));
        let streamed =
            app.post("/v1/messages").bearer(&key.key).json(&with(message, "stream", json!(true))).send().await;
        assert!(streamed.text().contains("event: message_stop") && cache_of(&streamed) == "hit");
        assert!(hits(&app, ask(&app, &key, &question("hello"))).await, "a chat of the same words");
        let response = json!({ "model": "m1", "input": "hello", "temperature": 0, "max_output_tokens": 100 });
        let responses = || app.post("/v1/responses").bearer(&key.key).json(&response);
        _ = responses().send().await.expect(200);
        app.pass_ms(20).await;
        let again = responses().send().await.expect(200);
        assert_eq!((cache_of(&again), &again.json()["status"]), ("hit", &json!("completed")));
        let native = json!({ "request": { "messages": [{ "role": "user", "content": "hello" }], "parameters": { "temperature": 0 } } });
        let natives = || app.post("/v1/chat").bearer(&key.key).json(&native);
        _ = natives().send().await.expect(200);
        app.pass_ms(20).await;
        let again = natives().send().await.expect(200).json();
        assert_eq!((&again["routing_reason"], micros(&again["estimated_cost_usd"])), (&json!("cache-exact"), 0));
        assert_eq!(again["negotiated_model"], "m1");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn limits_and_modes_of_a_policy_are_part_of_the_question() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let ask = |policy: Value| {
            let body = json!({ "request": { "messages": [{ "role": "user", "content": "x" }], "parameters": { "seed": 1 } },
                "policy": policy });
            app.post("/v1/chat").bearer(&key.key).json(&body)
        };
        let reason = async |policy: Value| {
            let answer = ask(policy).send().await.expect(200).json();
            app.pass_ms(20).await;
            answer["routing_reason"].as_str().unwrap().to_owned()
        };
        assert_eq!(reason(json!({})).await, "routed-weight-5");
        for policy in [json!({ "min_weight": 3 }), json!({ "mode": "cheap" }), json!({ "max_budget_usd": 2 })] {
            assert_eq!(reason(policy.clone()).await, "routed-weight-5", "{policy}");
            assert_eq!(reason(policy.clone()).await, "cache-exact", "{policy}");
        }
        assert_eq!(reason(json!({ "max_latency_ms": 1000 })).await, "cache-exact", "nothing is quicker");
    });
}

#[test]
fn embeddings_are_kept() {
    run(async |app| {
        let key = with_upstream(&app).await;
        let list = json!({ "object": "list", "data": [{ "index": 0, "embedding": [0.5] }], "model": "up",
            "usage": { "prompt_tokens": 5, "total_tokens": 5 } });
        app.upstream.always(Reply::Whole(200, list.to_string(), ""));
        let call = |body: &str| app.post("/v1/embeddings").bearer(&key.key).body(body);
        assert!(!hits(&app, call(r#"{"input":"a","model":"embed"}"#)).await);
        let again = call(r#"{"model":"embed","user":"u","input":"\u0061"}"#).send().await.expect(200);
        assert_eq!((cache_of(&again), again.header("x-tokaroo-cost")), ("hit", Some("0")));
        assert_eq!((&again.json()["data"][0]["embedding"], &again.json()["model"]), (&json!([0.5]), &json!("embed")));
        let record = last_receipt(&app, &key).await;
        assert_eq!((micros(&record["charged_usd"]), micros(&record["baseline_usd"])), (0, 100));
        assert!(!hits(&app, call(r#"{"input":"a"}"#)).await, "another model is asked for");
        assert!(!hits(&app, call(r#"{"input":"a","dimensions":1,"model":"embed"}"#)).await);
        // What draws, speaks or listens is made anew.
        app.upstream.always(Reply::Whole(200, json!({ "data": [{ "url": "x" }] }).to_string(), ""));
        let draw = || app.post("/v1/images/generations").bearer(&key.key).body(r#"{"prompt":"a","model":"draw"}"#);
        assert!(!hits(&app, draw()).await && !hits(&app, draw()).await);
        assert_balanced(&app, &key, 1_000_000).await;
    });
}

#[test]
fn a_hit_needs_no_money_and_counts_against_the_limits() {
    run(async |app| {
        let key = app.with_model().await;
        app.answer_hello();
        assert!(!hits(&app, ask(&app, &key, &question("hello"))).await);
        let answer = ask(&app, &key, &question("hello")).send().await.expect(200);
        assert_eq!((cache_of(&answer), answer.header("x-ratelimit-remaining")), ("hit", Some("58")));
        // An account that has nothing left still has its answers.
        let poor = app.provision("0.00127").await;
        let mut tight = question("tight");
        tight["max_tokens"] = json!(5);
        assert!(!hits(&app, ask(&app, &poor, &tight)).await);
        let mut spent = 0;
        while app.balance_micros(&poor).await > 0 && spent < 10 {
            ask(&app, &poor, &with(tight.clone(), "seed", json!(spent))).send().await;
            spent += 1;
        }
        assert!(hits(&app, ask(&app, &poor, &tight)).await);
    });
}

#[test]
fn a_model_that_is_gone_is_not_answered_for() {
    run(async |app| {
        let key = app.with_busy_key().await;
        assert!(!hits(&app, ask(&app, &key, &question("hello"))).await);
        app.admin("DELETE", "/admin/v1/models/m1").send().await.expect(200);
        ask(&app, &key, &question("hello")).send().await.expect(404);
    });
}

#[test]
fn the_administrators_keys_are_told_which_model_it_was() {
    run(async |app| {
        app.with_busy_key().await;
        let key = tokenhub_key(&app).await;
        let body = with(question("hello"), "model", json!("*"));
        for _ in 0..2 {
            let answer = ask(&app, &key, &body).send().await.expect(200);
            app.pass_ms(20).await;
            assert_eq!((answer.header("x-negotiated-model"), &answer.json()["model"]), (Some("m1"), &json!("m1")));
        }
        let rows = usage_rows(&app, &key).await;
        assert_eq!((&rows[0]["billing_mode"], &rows[1]["billing_mode"]), (&json!("cache"), &json!("managed")));
    });
}
