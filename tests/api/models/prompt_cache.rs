//! Providers' own caches of prompts: calls that begin alike prefer the same route, and cached tokens are priced and told.

use serde_json::{Value, json};

use super::kit::{add_model, chat, last_receipt, micros, rich_key};
use crate::support::{Key, Reply, TestApp, run};

/// Two models alike at two providers, in alphabetical order when nothing else counts.
async fn with_twins(app: &TestApp) -> Key {
    for (model, provider) in [("a", "p1"), ("b", "p2")] {
        app.add_provider(provider).await;
        app.add_model(model, provider, 5).await;
    }
    app.upstream.always(Reply::chat("hi", 10, 5));
    rich_key(app, "100").await
}

/// A conversation of so many turns; its first message is long enough to be kept by a provider.
fn conversation(system: &str, turns: usize) -> String {
    let mut messages = vec![json!({ "role": "system", "content": system.repeat(5_000 / system.len()) })];
    for turn in 0..turns {
        messages.push(json!({ "role": "user", "content": format!("question {turn}") }));
        messages.push(json!({ "role": "assistant", "content": "hi" }));
    }
    messages.push(json!({ "role": "user", "content": "and now?" }));
    json!({ "messages": messages, "max_tokens": 10 }).to_string()
}

/// Has `b` answer, by taking `a` out of the way for a call.
async fn answer_at_b(app: &TestApp, key: &Key, body: &str) {
    add_model(app, "a", "p1", json!({ "weight": 5, "enabled": false })).await;
    assert_eq!(called(app, key, body).await, "p2");
    add_model(app, "a", "p1", json!({ "weight": 5 })).await;
}

async fn called(app: &TestApp, key: &Key, body: &str) -> String {
    chat(app, key, body).send().await.expect(200);
    app.upstream.take_called().join(",")
}

#[test]
fn a_conversation_stays_where_it_is() {
    run(async |app| {
        let key = with_twins(&app).await;
        answer_at_b(&app, &key, &conversation("abc ", 0)).await;
        assert_eq!(called(&app, &key, &conversation("abc ", 1)).await, "p2", "the next turn");
        assert_eq!(called(&app, &key, &conversation("abc ", 5)).await, "p2", "and a later one");
        assert_eq!(called(&app, &key, &conversation("xyz ", 1)).await, "p1", "another conversation");
        let other = rich_key(&app, "100").await;
        assert_eq!(called(&app, &other, &conversation("abc ", 1)).await, "p1", "another account's");
        let fast = conversation("abc ", 1).replacen('{', r#"{"model":"fast","#, 1);
        assert_eq!(called(&app, &key, &fast).await, "p1", "another mode");
        let feed = app.last_usage(&key).await;
        assert_eq!(feed["outcome"], "completed");
        // After five minutes nobody has it any more.
        app.pass_ms(301_000).await;
        assert_eq!(called(&app, &key, &conversation("abc ", 1)).await, "p1");
    });
}

#[test]
fn short_prompts_and_choices_are_left_alone() {
    run(async |app| {
        let key = with_twins(&app).await;
        let short = json!({ "messages": [{ "role": "user", "content": "hi" }] }).to_string();
        answer_at_b(&app, &key, &short).await;
        assert_eq!(called(&app, &key, &short).await, "p1");
        answer_at_b(&app, &key, &conversation("abc ", 0)).await;
        let chosen = conversation("abc ", 1).replacen('{', r#"{"model":"a","#, 1);
        assert_eq!(called(&app, &key, &chosen).await, "p1", "the client has chosen");
        // A provider that fails loses it.
        app.upstream.always_at("p2", Reply::error(500, "broken"));
        assert_eq!(called(&app, &key, &conversation("abc ", 2)).await, "p2,p1");
        assert_eq!(called(&app, &key, &conversation("abc ", 3)).await, "p1", "now it is there");
    });
}

#[test]
fn the_simulation_says_so_and_knows_only_models_that_chat() {
    run(async |app| {
        with_twins(&app).await;
        super::media::add_kind(&app, "embed", "p1", "embedding", json!({ "input_per_1k": 0.0 })).await;
        let simulate = async |body: Value| {
            app.admin("POST", "/admin/v1/routing/simulate").json(&body).send().await.expect(200).json()
        };
        let plain = simulate(json!({ "token_count": 100, "mode": "cheap" })).await;
        assert_eq!((&plain["total"], &plain["decision"]["model_id"]), (&json!(2), &json!("a")), "{plain}");
        assert!(!plain.to_string().contains("embed"));
        let warm = simulate(json!({ "token_count": 100, "warm_model": "b" })).await;
        let decision = &warm["decision"];
        assert_eq!((&decision["model_id"], &decision["reason"]), (&json!("b"), &json!("routed-cached-prefix")));
        assert_eq!((&warm["eligible"][0]["warm"], &warm["eligible"][1]["warm"]), (&json!(true), &json!(false)));
        let hinted = simulate(json!({ "token_count": 100, "warm_model": "b", "model_hint": "a" })).await;
        assert_eq!(hinted["decision"]["reason"], "routed-hint-exact");
    });
}

/// What 1,000 input tokens cost of which 600 were read from the provider's cache, with 10 output tokens:
/// 400 × $10/M + 600 × $1/M + 10 × $30/M.
const READ_MICROS: i64 = 4_000 + 600 + 300;

async fn assert_told(app: &TestApp, key: &Key, body: &Value, read: u64, write: u64, charged: i64) {
    let answer = chat(app, key, &body.to_string()).send().await.expect(200);
    assert_eq!(answer.header("x-tokaroo-cache"), Some("miss"), "our own cache is another one");
    let record = last_receipt(app, key).await;
    let usage = json!({ "input": 1_000, "output": 10, "cache_read": read, "cache_write": write });
    assert_eq!((&record["receipt"]["usage"], micros(&record["charged_usd"])), (&usage, charged), "{body}");
    if body["stream"] == false {
        assert_eq!(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"], read);
    } else {
        assert!(answer.text().contains(&format!("\"cached_tokens\":{read}")), "{}", answer.text());
    }
}

#[test]
fn cached_tokens_of_openai_are_priced_and_told() {
    run(async |app| {
        app.add_provider("p1").await;
        add_model(&app, "m", "p1", json!({ "cache_read_per_1k": 0.001 })).await;
        let key = rich_key(&app, "10").await;
        let usage = json!({ "prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010,
            "prompt_tokens_details": { "cached_tokens": 600 } });
        let message = json!({ "role": "assistant", "content": "hi" });
        let whole = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }], "usage": usage });
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "stream": false });
        app.upstream.always(Reply::Whole(200, whole.to_string(), ""));
        assert_told(&app, &key, &body, 600, 0, READ_MICROS).await;
        let mut chunks = Reply::chunks(&["hi"], None);
        let last = json!({ "model": "m", "choices": [], "usage": usage });
        chunks.insert(chunks.len() - 1, format!("data: {last}\n\n").into_bytes());
        app.upstream.always(Reply::Stream(chunks, guildhall::ports::StreamEnd::Eof));
        let mut body = body;
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
        assert_told(&app, &key, &body, 600, 0, READ_MICROS).await;
    });
}

#[test]
fn cached_tokens_of_anthropic_are_priced_and_told() {
    run(async |app| {
        let provider = json!({ "id": "an", "type": "anthropic", "base_url": "http://127.0.0.1:9/an", "api_key": "k" });
        app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        let rates = json!({ "cache_read_per_1k": 0.001, "cache_write_per_1k": 0.0125 });
        add_model(&app, "claude", "an", rates).await;
        let key = rich_key(&app, "10").await;
        // Anthropic tells what it read and wrote beside the input.
        let usage = json!({ "input_tokens": 200, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 200, "output_tokens": 10 });
        let charged = 200 * 10 + 600 + 2_500 + 300;
        let text = json!([{ "type": "text", "text": "hi" }]);
        let whole = json!({ "id": "msg", "type": "message", "role": "assistant", "model": "c", "content": text,
            "stop_reason": "end_turn", "usage": usage });
        app.upstream.always(Reply::Whole(200, whole.to_string(), ""));
        let body = json!({ "model": "claude", "messages": [{ "role": "user", "content": "hi" }], "stream": false });
        assert_told(&app, &key, &body, 600, 200, charged).await;
        let start = json!({ "type": "message_start", "message": { "id": "msg", "type": "message", "role": "assistant", "model": "c",
            "content": [], "usage": { "input_tokens": 200, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 200, "output_tokens": 1 } } });
        let events = [
            start,
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "hi" } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 10 } }),
            json!({ "type": "message_stop" }),
        ];
        let chunks = events
            .iter()
            .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).into_bytes());
        app.upstream.always(Reply::Stream(chunks.collect(), guildhall::ports::StreamEnd::Eof));
        let mut body = body;
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
        assert_told(&app, &key, &body, 600, 200, charged).await;
    });
}
