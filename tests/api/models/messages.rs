//! Anthropic's messages: as a surface on any model, and as the API of a provider.

use guildhall::ports::StreamEnd;
use serde_json::{Value, json};

use super::kit::{add_model, assert_balanced, chat, hello, hello_stream, last_receipt, rich_key};
use crate::support::{Answer, Key, Reply, TestApp, run};

const MESSAGES: &str = "/v1/messages";

fn message(model: &str, members: Value) -> String {
    let mut body =
        json!({ "model": model, "max_tokens": 100, "messages": [{ "role": "user", "content": "hello there" }] });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

async fn send(app: &TestApp, key: &Key, body: &str) -> Answer {
    app.post("/v1/messages").bearer(&key.key).body(body).send().await
}

/// A provider of Anthropic's own kind with one model, `claude`.
async fn with_claude(app: &TestApp) -> Key {
    let provider =
        json!({ "id": "anth", "type": "anthropic", "base_url": "http://127.0.0.1:9/anth/v1", "api_key": "sk-ant" });
    app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
    add_model(
        app,
        "claude",
        "anth",
        json!({ "upstream_model": "claude-3-5-haiku-20241022", "cache_read_per_1k": 0.001 }),
    )
    .await;
    rich_key(app, "10").await
}

fn claude_says(text: &str) -> Reply {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3-5-haiku-20241022",
        "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0 },
    });
    Reply::Whole(200, body.to_string(), "")
}

fn claude_events(texts: &[&str]) -> Vec<Vec<u8>> {
    let start = json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant", "content": [],
        "model": "m", "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 } } });
    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    let mut events = vec![start, block];
    for text in texts {
        let delta = json!({ "type": "text_delta", "text": text });
        events.push(json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    }
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 20 } }));
    events.push(json!({ "type": "message_stop" }));
    let write = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).into_bytes();
    events.into_iter().map(write).collect()
}

#[test]
fn a_message_on_any_model_costs_what_a_chat_costs() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let body = message("m1", json!({ "system": "Be short.", "stop_sequences": ["END"], "temperature": 0.5 }));
        let answer = send(&app, &key, &body).await.expect(200);
        let told = answer.json();
        assert_eq!(told["content"], json!([{ "type": "text", "text": "Hi!" }]));
        assert_eq!(
            (&told["type"], &told["role"], &told["model"]),
            (&json!("message"), &json!("assistant"), &json!("m1"))
        );
        assert_eq!((&told["stop_reason"], &told["usage"]["input_tokens"]), (&json!("end_turn"), &json!(100)));
        assert_eq!(told["id"], format!("msg_{}", answer.header("request-id").unwrap()));
        let sent = app.upstream.bodies().pop().unwrap();
        assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be short." }));
        assert_eq!((&sent["stop"], &sent["model"]), (&json!(["END"]), &json!("m1")));
        assert_eq!(last_receipt(&app, &key).await["outcome"], "completed");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn tools_go_there_and_back() {
    run(async |app| {
        let key = app.with_model().await;
        let call = json!({ "id": "call_abc", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Rome\"}" } });
        let body = json!({ "id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "x", "choices": [{ "index": 0,
            "message": { "role": "assistant", "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 } });
        app.upstream.always(Reply::Whole(200, body.to_string(), ""));
        let tool = json!({ "name": "weather", "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } });
        let told = send(&app, &key, &message("m1", json!({ "tools": [tool] }))).await.expect(200).json();
        let used = &told["content"][0];
        assert_eq!(
            (&used["type"], &used["name"], &used["input"]),
            (&json!("tool_use"), &json!("weather"), &json!({ "city": "Rome" }))
        );
        assert_eq!(told["stop_reason"], "tool_use");
        let conversation = json!([
            { "role": "user", "content": "weather?" },
            { "role": "assistant", "content": [used] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": used["id"], "content": "sunny" }] },
        ]);
        send(&app, &key, &message("m1", json!({ "messages": conversation }))).await.expect(200);
        let sent = app.upstream.bodies().pop().unwrap();
        assert_eq!(sent["messages"][1]["tool_calls"][0]["id"], sent["messages"][2]["tool_call_id"]);
        assert_eq!((&sent["messages"][2]["role"], &sent["messages"][2]["content"]), (&json!("tool"), &json!("sunny")));
    });
}

#[test]
fn a_stream_is_anthropics_events() {
    run(async |app| {
        let key = app.with_model().await;
        app.upstream.always(Reply::stream(&["Hel", "lo"], Some((10, 5))));
        let answer = send(&app, &key, &message("m1", json!({ "stream": true }))).await.expect(200);
        let text = answer.text();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(names.first(), Some(&"message_start"));
        assert_eq!(&names[names.len() - 2..], ["message_delta", "message_stop"]);
        let said: String = answer
            .events()
            .iter()
            .filter_map(|data| {
                serde_json::from_str::<Value>(data).unwrap()["delta"]["text"].as_str().map(str::to_owned)
            })
            .collect();
        assert_eq!(said, "Hello");
        assert!(!text.contains("[DONE]"));
        // A stream that breaks ends in an error, and never as if it were whole.
        app.upstream.always(Reply::Stream(Reply::chunks(&["Hel", "lo"], None)[..2].to_vec(), StreamEnd::Broken));
        let text = send(&app, &key, &message("m1", json!({ "stream": true }))).await.expect(200).text();
        assert!(text.contains("event: error") && !text.contains("message_stop"), "{text}");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn errors_are_in_anthropics_words() {
    run(async |app| {
        let key = app.with_model().await;
        let answer = app.post(MESSAGES).body("{}").send().await.expect(401);
        let told = answer.json();
        assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
        assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!("authentication_error")));
        assert!(told["request_id"].as_str().unwrap().starts_with("req_"));
        for (body, param) in [
            ("{".to_owned(), "JSON"),
            (message("m1", json!({ "messages": [] })), "messages"),
            (message("m1", json!({ "max_tokens": null })), "max_tokens"),
            (message("m1", json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] })), "tools"),
        ] {
            let told = send(&app, &key, &body).await.expect(400).json();
            assert_eq!(told["error"]["type"], "invalid_request_error", "{told}");
            assert!(told["error"]["message"].as_str().unwrap().contains(param), "{told}");
        }
        let told = send(&app, &key, &message("nobody", json!({}))).await.expect(404).json();
        assert_eq!(told["error"]["type"], "not_found_error");
        let poor = app.provision("0").await;
        let told = send(&app, &poor, &message("m1", json!({}))).await.expect(402).json();
        assert_eq!(told["error"]["type"], "billing_error");
    });
}

#[test]
fn a_provider_of_anthropics_kind_is_spoken_to_in_its_own_words() {
    run(async |app| {
        let key = with_claude(&app).await;
        app.upstream.always(claude_says("Bonjour"));
        let body =
            r#"{"model":"claude","messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"hi"}]}"#;
        let told = chat(&app, &key, body).send().await.expect(200).json();
        assert_eq!(told["choices"][0]["message"]["content"], "Bonjour");
        assert_eq!((&told["model"], &told["choices"][0]["finish_reason"]), (&json!("claude"), &json!("stop")));
        assert_eq!((&told["usage"]["prompt_tokens"], &told["usage"]["completion_tokens"]), (&json!(15), &json!(20)));
        let sent = app.upstream.sent.borrow_mut().pop().unwrap();
        assert_eq!(sent.url, "http://127.0.0.1:9/anth/v1/messages");
        let header = |name| sent.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        assert_eq!((header("x-api-key"), header("anthropic-version")), (Some("sk-ant"), Some("2023-06-01")));
        assert_eq!(header("authorization"), None);
        let body: Value = serde_json::from_slice(sent.body.as_deref().unwrap()).unwrap();
        assert_eq!(body["model"], "claude-3-5-haiku-20241022");
        // The model's own maximum where the client says none.
        assert_eq!(body["max_tokens"], 1_000);
        assert_eq!(body["messages"].as_array().unwrap().len(), 1);
        assert!(body["system"].to_string().contains("Be kind."), "{body}");
        // 10 tokens at $0.01, 5 cached ones at $0.001, 20 at $0.03 a thousand.
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 100 - 5 - 600);
        // Nor does the model: Anthropic wants a limit all the same (G11).
        let path = "/admin/v1/models/claude";
        app.admin("PATCH", path).body(r#"{"max_output_tokens":0}"#).send().await.expect(200);
        let body = r#"{"model":"claude","messages":[{"role":"user","content":"hi"}]}"#;
        chat(&app, &key, body).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap()["max_tokens"], 4_096);
    });
}

#[test]
fn what_it_writes_to_its_cache_is_charged_as_such() {
    run(async |app| {
        let key = with_claude(&app).await;
        let path = "/admin/v1/models/claude";
        app.admin("PATCH", path).json(&json!({ "cache_write_per_1k": 0.0125 })).send().await.expect(200);
        let mut told: Value = serde_json::from_str(&match claude_says("ok") {
            Reply::Whole(_, body, _) => body,
            _ => unreachable!(),
        })
        .unwrap();
        told["usage"]["cache_creation_input_tokens"] = json!(1_000);
        app.upstream.always(Reply::Whole(200, told.to_string(), ""));
        let body = hello("claude").replacen("hello there", &"word ".repeat(1_000), 1);
        chat(&app, &key, &body).send().await.expect(200);
        // 10 tokens at $0.01, 5 read at $0.001, 1,000 written at $0.0125, 20 out at $0.03 a thousand.
        assert_eq!(app.balance_micros(&key).await, 10_000_000 - 100 - 5 - 12_500 - 600);
        let receipt = last_receipt(&app, &key).await["receipt"].clone();
        assert_eq!(receipt["usage"]["cache_write"], 1_000);
        assert_eq!(receipt["price"]["cache_write_pico_usd_per_token"], 12_500_000);
        // The catalogue knows that Anthropic charges a quarter more.
        let model = json!({ "id": "c2", "provider_id": "anth", "upstream_model": "claude-3-5-haiku-20241022", "enabled": true });
        app.admin("POST", "/admin/v1/models").json(&model).send().await.expect(200);
        let stored = app.admin("GET", "/admin/v1/models").send().await.expect(200).json();
        let stored = stored["items"].as_array().unwrap().iter().find(|m| m["id"] == "c2").unwrap().clone();
        let rate = |name: &str| stored[name].as_f64().unwrap();
        assert!((rate("cache_write_per_1k") - 1.25 * rate("input_per_1k")).abs() < 1e-12, "{stored}");
    });
}

#[test]
fn its_streams_and_its_errors_are_understood() {
    run(async |app| {
        let key = with_claude(&app).await;
        app.upstream.always(Reply::Stream(claude_events(&["Bon", "jour"]), StreamEnd::Eof));
        let answer = chat(&app, &key, &hello_stream("claude")).send().await.expect(200);
        assert_eq!(answer.events().last().unwrap(), "[DONE]");
        assert!(answer.text().contains("Bon") && answer.text().contains(r#""model":"claude""#));
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&json!(10), &json!(20)));
        // Cut in the middle: an error, and what it told of its input is what is charged.
        let mut events = claude_events(&["Bon", "jour"]);
        events.truncate(3);
        app.upstream.always(Reply::Stream(events, StreamEnd::Eof));
        let text = chat(&app, &key, &hello_stream("claude")).send().await.expect(200).text();
        assert!(text.contains("error") && !text.contains("[DONE]"), "{text}");
        let record = last_receipt(&app, &key).await;
        assert_eq!((&record["outcome"], &record["input_tokens"]), (&json!("stream_broken"), &json!(10)));
        for (status, kind, text, expected) in [
            (400, "invalid_request_error", "temperature: too hot", 400),
            (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", 400),
            (529, "overloaded_error", "Overloaded", 429),
            (401, "authentication_error", "invalid x-api-key", 502),
        ] {
            let body = json!({ "type": "error", "error": { "type": kind, "message": text } });
            app.upstream.always(Reply::Whole(status, body.to_string(), ""));
            let told = chat(&app, &key, &hello("claude")).send().await.expect(expected).json();
            if expected == 400 {
                assert_eq!(told["error"], text);
            }
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn a_message_on_its_own_kind_loses_nothing() {
    run(async |app| {
        let key = with_claude(&app).await;
        app.upstream.always(claude_says("ok"));
        let cached = json!([{ "type": "text", "text": "long", "cache_control": { "type": "ephemeral" } }]);
        let body = message("claude", json!({ "system": cached, "top_k": 5, "metadata": { "user_id": "u1" } }));
        let told = send(&app, &key, &body).await.expect(200).json();
        assert_eq!(
            (&told["usage"]["input_tokens"], &told["usage"]["cache_read_input_tokens"]),
            (&json!(10), &json!(5))
        );
        let sent = app.upstream.bodies().pop().unwrap();
        assert_eq!(sent["system"][0]["cache_control"]["type"], "ephemeral");
        assert_eq!((&sent["top_k"], &sent["max_tokens"]), (&json!(5), &json!(100)));
        // A provider of another kind is not shown what it does not know.
        app.add_provider("p1").await;
        add_model(&app, "m1", "p1", json!({})).await;
        app.upstream.always(Reply::chat("ok", 1, 1));
        send(&app, &key, &body.replace("\"claude\"", "\"m1\"")).await.expect(200);
        let sent = app.upstream.bodies().pop().unwrap().to_string();
        assert!(!sent.contains("cache_control") && !sent.contains("top_k"), "{sent}");
    });
}

#[test]
fn tokens_are_counted_without_a_call_and_without_a_charge() {
    run(async |app| {
        let key = app.with_model().await;
        let count = async |body: &Value| {
            let answer = app.post("/v1/messages/count_tokens").bearer(&key.key).json(body).send().await.expect(200);
            answer.json()["input_tokens"].as_u64().unwrap()
        };
        let ask = |text: &str| json!({ "model": "claude-x", "messages": [{ "role": "user", "content": text }] });
        let short = count(&ask("hello")).await;
        assert!((1..60).contains(&short), "{short}");
        let long = count(&ask(&"word ".repeat(4_000))).await;
        assert!((5_000..5_060).contains(&long), "{long}");
        let escaped = ask(&"模".repeat(4_000)).to_string().replace('模', "\\u6a21");
        let answer = app.post("/v1/messages/count_tokens").bearer(&key.key).body(&escaped).send().await.expect(200);
        assert_eq!(answer.json()["input_tokens"], count(&ask(&"模".repeat(4_000))).await);
        let mut tools = ask("hello");
        tools["tools"] = json!([{ "name": "f", "description": "x".repeat(400), "input_schema": { "type": "object" } }]);
        assert!(count(&tools).await >= short + 100);
        assert!(app.upstream.take_called().is_empty());
        assert_eq!(app.balance_micros(&key).await, 10_000_000);
        let answer = app.post("/v1/messages/count_tokens").bearer(&key.key).body("{}").send().await.expect(400);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("model:"), "{}", answer.text());
    });
}

#[test]
fn what_a_client_asks_of_anthropic_in_headers_is_told_to_anthropic_alone() {
    run(async |app| {
        let key = with_claude(&app).await;
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        app.upstream.always_at("anth", claude_says("hi"));
        app.upstream.always_at("p1", Reply::chat("hi", 1, 1));
        let send = async |path: &str, model: &str, version: &str, beta: &str| {
            let call = app.post(path).bearer(&key.key).body(&message(model, json!({})));
            let call = call.rare(|head| {
                version.clone_into(&mut head.anthropic_version);
                beta.clone_into(&mut head.anthropic_beta);
            });
            call.send().await
        };
        let sent = |name: &str| -> Vec<String> {
            let request = app.upstream.sent.borrow_mut().pop().unwrap();
            request.headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.clone()).collect()
        };
        let beta = "context-1m-2025-08-07,interleaved-thinking-2025-05-14";
        send(MESSAGES, "claude", "2023-06-01", beta).await.expect(200);
        assert_eq!(sent("anthropic-beta"), [beta]);
        send(MESSAGES, "claude", "2030-01-02", "").await.expect(200);
        assert_eq!(sent("anthropic-version"), ["2030-01-02"], "once");
        send(MESSAGES, "claude", "2023-01-01", "").await.expect(200);
        assert_eq!(sent("anthropic-version"), ["2023-06-01"], "answers of older versions are not read here");
        send(MESSAGES, "claude", "", "").await.expect(200);
        assert_eq!(sent("anthropic-beta"), [""; 0]);
        // Nobody else is told, and on other surfaces they mean nothing.
        send(MESSAGES, "m1", "", beta).await.expect(200);
        assert_eq!(sent("anthropic-beta"), [""; 0]);
        send("/v1/chat/completions", "claude", "nonsense", beta).await.expect(200);
        assert_eq!(sent("anthropic-beta"), [""; 0]);
        for (version, beta) in [("", "a\r\nx-evil: 1"), ("", &*"b".repeat(2_000)), ("latest", "")] {
            let told = send(MESSAGES, "claude", version, beta).await.expect(400).json();
            assert_eq!(told["error"]["type"], "invalid_request_error", "{told}");
            assert!(told["error"]["message"].as_str().unwrap().starts_with("anthropic-"), "{told}");
        }
        assert!(app.upstream.sent.borrow().is_empty(), "what is wrong is not sent");
    });
}

#[test]
fn effort_and_thoughts_go_only_where_they_are_taken() {
    run(async |app| {
        let key = app.with_model().await;
        for (id, kind) in [("strict", "openai"), ("lenient", "vllm")] {
            let base_url = format!("http://127.0.0.1:9/{id}/v1");
            let provider = json!({ "id": id, "type": kind, "base_url": base_url, "api_key": "sk" });
            app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        }
        for (model, provider, upstream) in
            [("plain", "strict", "gpt-4o"), ("thinker", "strict", "gpt-5"), ("open", "lenient", "qwen-own")]
        {
            add_model(&app, model, provider, json!({ "upstream_model": upstream })).await;
        }
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let thought =
            json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }] });
        let called = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
        let result = json!({ "type": "function_call_output", "call_id": "c", "output": "x" });
        for (model, effort, thoughts) in
            [("plain", None, None), ("thinker", Some("low"), None), ("open", Some("low"), Some("hm"))]
        {
            let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 }, "max_tokens": 4_000 });
            send(&app, &key, &message(model, thinking)).await.expect(200);
            let sent = app.upstream.bodies().pop().unwrap();
            assert_eq!(sent["reasoning_effort"].as_str(), effort, "{model}");
            let asked = json!({ "model": model, "reasoning": { "effort": "low" }, "input": [
                { "type": "message", "role": "user", "content": "Hi" }, thought, called, result] });
            app.post("/v1/responses").bearer(&key.key).json(&asked).send().await.expect(200);
            let sent = app.upstream.bodies().pop().unwrap();
            assert_eq!(sent["reasoning_effort"].as_str(), effort, "{model}");
            assert_eq!(sent["messages"][1]["reasoning_content"].as_str(), thoughts, "{model}: {sent}");
        }
    });
}

#[test]
fn what_costs_more_than_its_price_is_not_bought() {
    run(async |app| {
        let key = with_claude(&app).await;
        app.upstream.always(claude_says("Hi!"));
        let content =
            json!([{ "type": "text", "text": "long", "cache_control": { "type": "ephemeral", "ttl": "1h" } }]);
        let messages = json!([{ "role": "user", "content": content }]);
        send(&app, &key, &message("claude", json!({ "messages": messages }))).await.expect(200);
        let sent = app.upstream.bodies().pop().unwrap();
        assert_eq!(sent["messages"][0]["content"][0]["cache_control"], json!({ "type": "ephemeral" }), "{sent}");
        app.add_provider("p1").await;
        app.add_model("m1", "p1", 5).await;
        app.upstream.always(Reply::chat("Hi!", 100, 10));
        let body =
            json!({ "model": "m1", "messages": [{ "role": "user", "content": "x" }], "service_tier": "priority" });
        chat(&app, &key, &body.to_string()).send().await.expect(200);
        assert_eq!(app.upstream.bodies().pop().unwrap()["service_tier"], "auto");
    });
}
