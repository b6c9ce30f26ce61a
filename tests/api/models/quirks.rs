//! Models that talk otherwise: names of tools, and Gemma's tokens.

use guildhall::ports::StreamEnd;
use serde_json::{Value, json};

use super::kit::{CHAT, MODELS, add_model, assert_balanced, chat, rich_key};
use crate::support::{Key, Reply, TestApp, run};

/// `m1` knows `search` as `web_search`.
async fn with_names(app: &TestApp) -> Key {
    app.add_provider("p1").await;
    add_model(app, "m1", "p1", json!({ "tool_name_map": { "search": "web_search" } })).await;
    rich_key(app, "10").await
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

fn call(name: &str) -> Value {
    json!({ "id": "call_1", "type": "function", "function": { "name": name, "arguments": "{\"q\":\"web_search\"}" } })
}

/// An upstream that calls a tool.
fn calls(name: &str) -> Reply {
    let message = json!({ "role": "assistant", "content": null, "tool_calls": [call(name)] });
    completion(&message, "tool_calls")
}

fn completion(message: &Value, finish_reason: &str) -> Reply {
    let body = json!({ "id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "up",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 } });
    Reply::Whole(200, body.to_string(), "")
}

/// A stream of these deltas, in pieces of so many bytes.
fn stream(deltas: &[Value], finish_reason: &str, piece_bytes: usize) -> Reply {
    let chunk = |delta: &Value, finish_reason: Value| {
        json!({ "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }] })
    };
    let mut chunks: Vec<_> = deltas.iter().map(|delta| chunk(delta, Value::Null)).collect();
    chunks.push(chunk(&json!({}), json!(finish_reason)));
    chunks.push(json!({ "id": "chatcmpl-up", "model": "up", "choices": [],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 } }));
    let mut text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    text.push_str("data: [DONE]\n\n");
    Reply::Stream(text.as_bytes().chunks(piece_bytes).map(<[u8]>::to_vec).collect(), StreamEnd::Eof)
}

/// The text and the calls of a stream put together.
fn read_stream(events: &[String]) -> (String, Vec<(String, String)>, String) {
    assert_eq!(events.last().unwrap(), "[DONE]");
    let (mut text, mut calls, mut finish_reason) = (String::new(), Vec::<(String, String)>::new(), String::new());
    for event in &events[..events.len() - 1] {
        let chunk: Value = serde_json::from_str(event).unwrap();
        let choice = &chunk["choices"][0];
        text += choice["delta"]["content"].as_str().unwrap_or_default();
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            calls.resize(calls.len().max(at + 1), (String::new(), String::new()));
            calls[at].0 += call["function"]["name"].as_str().unwrap_or_default();
            calls[at].1 += call["function"]["arguments"].as_str().unwrap_or_default();
        }
        finish_reason += choice["finish_reason"].as_str().unwrap_or_default();
    }
    (text, calls, finish_reason)
}

#[test]
fn tools_have_the_models_names_there_and_the_clients_here() {
    run(async |app| {
        let key = with_names(&app).await;
        let request = |name: &str| {
            json!({ "model": "m1", "tools": [function(name), function("other")], "max_tokens": 100,
                "tool_choice": { "type": "function", "function": { "name": name } },
                "messages": [{ "role": "user", "content": "search" },
                    { "role": "assistant", "content": null, "tool_calls": [call(name)] },
                    { "role": "tool", "tool_call_id": "call_1", "name": name, "content": "found" }] })
        };
        app.upstream.then(calls("web_search"));
        let answer = chat(&app, &key, &request("search").to_string()).send().await.expect(200).json();
        assert_eq!(app.upstream.bodies()[0], request("web_search"));
        assert_eq!(answer["choices"][0]["message"]["tool_calls"], json!([call("search")]));

        let mut streamed = request("search");
        streamed["stream"] = json!(true);
        for piece_bytes in [1, 50, 100_000] {
            let begin = json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "web_search", "arguments": "" } }] });
            let rest =
                json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"name\":\"web_search\"}" } }] });
            app.upstream.then(stream(&[begin, rest], "tool_calls", piece_bytes));
            let answer = chat(&app, &key, &streamed.to_string()).send().await.expect(200);
            let expected = ("search".to_owned(), "{\"name\":\"web_search\"}".to_owned());
            assert_eq!(read_stream(&answer.events()), (String::new(), vec![expected], "tool_calls".to_owned()));
            assert_eq!(app.upstream.bodies().pop().unwrap()["tools"][0]["function"]["name"], "web_search");
        }
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn every_surface_is_a_translation_and_has_the_names_too() {
    run(async |app| {
        let key = with_names(&app).await;
        let schema = json!({ "type": "object" });
        let user = json!([{ "role": "user", "content": "hi" }]);
        let surfaces = [
            (
                "/v1/messages",
                json!({ "model": "m1", "max_tokens": 100, "messages": user,
                    "tools": [{ "name": "search", "input_schema": schema }] }),
                "/content/0/name",
            ),
            (
                "/v1/responses",
                json!({ "model": "m1", "input": "hi",
                    "tools": [{ "type": "function", "name": "search", "parameters": schema }] }),
                "/output/0/name",
            ),
            (
                "/v1/chat",
                json!({ "request": { "messages": user, "model_hint": "m1", "parameters": { "tools": [function("search")] } } }),
                "/response/choices/0/message/tool_calls/0/function/name",
            ),
        ];
        for (path, body, place) in surfaces {
            app.upstream.then(calls("web_search"));
            let answer = app.post(path).bearer(&key.key).json(&body).send().await.expect(200).json();
            let sent = app.upstream.bodies().pop().unwrap();
            assert_eq!(sent["tools"][0]["function"]["name"], "web_search", "{path}");
            assert_eq!(answer.pointer(place), Some(&json!("search")), "{path}: {answer}");
        }
        let message = json!({ "model": "m1", "max_tokens": 100, "messages": user, "stream": true,
            "tools": [{ "name": "search", "input_schema": schema }] });
        let begin = json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "web_search", "arguments": "{}" } }] });
        app.upstream.then(stream(&[begin], "tool_calls", 30));
        let text = app.post("/v1/messages").bearer(&key.key).json(&message).send().await.expect(200).text();
        assert!(text.contains(r#""name":"search""#) && !text.contains("web_search"), "{text}");
    });
}

#[test]
fn a_provider_of_anthropics_kind_has_its_names_in_its_own_words() {
    run(async |app| {
        let provider =
            json!({ "id": "anth", "type": "anthropic", "base_url": "http://127.0.0.1:9/anth", "api_key": "sk-ant" });
        app.admin("POST", "/admin/v1/providers").json(&provider).send().await.expect(200);
        add_model(&app, "claude", "anth", json!({ "tool_name_map": { "search": "web_search" } })).await;
        let key = rich_key(&app, "10").await;
        let answer = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
            "content": [{ "type": "tool_use", "id": "toolu_1", "name": "web_search", "input": {} }],
            "usage": { "input_tokens": 10, "output_tokens": 5 } });
        app.upstream.always(Reply::Whole(200, answer.to_string(), ""));
        let body = json!({ "model": "claude", "messages": [{ "role": "user", "content": "hi" }], "tools": [function("search")] });
        let told = chat(&app, &key, &body.to_string()).send().await.expect(200).json();
        assert_eq!(app.upstream.bodies()[0]["tools"][0]["name"], "web_search");
        assert_eq!(told["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "search");
    });
}

#[test]
fn a_map_is_kept_listed_changed_and_cleared() {
    run(async |app| {
        app.add_provider("p1").await;
        let map = json!({ "search": "web_search", "b": "a" });
        add_model(&app, "m1", "p1", json!({ "tool_name_map": map, "gemma4_output": true })).await;
        let listed = async || app.admin("GET", MODELS).send().await.expect(200).json()["items"][0].clone();
        let patch = async |fields: Value| {
            let answer = app.admin("PATCH", "/admin/v1/models/m1").json(&fields).send().await;
            (answer.status, answer.json())
        };
        assert_eq!((&listed().await["tool_name_map"], &listed().await["gemma4_output"]), (&map, &json!(true)));
        let (_, changed) = patch(json!({ "weight": 1 })).await;
        assert_eq!((&changed["model"]["tool_name_map"], &changed["model"]["gemma4_output"]), (&map, &json!(true)));
        for (fields, text) in [
            (
                json!({ "tool_name_map": { "a": "x", "b": "x" } }),
                r#"tool_name_map gives both "a" and "b" the name "x""#,
            ),
            (json!({ "tool_name_map": { "": "x" } }), "names in tool_name_map must have 1 to 256 bytes"),
            (json!({ "tool_name_map": { "x": "" } }), "names in tool_name_map must have 1 to 256 bytes"),
        ] {
            assert_eq!(patch(fields).await, (400, json!({ "error": text })));
        }
        for wrong in
            [json!({ "tool_name_map": { "a": 1 } }), json!({ "tool_name_map": [] }), json!({ "gemma4_output": "yes" })]
        {
            assert_eq!(patch(wrong).await.0, 400);
        }
        assert_eq!(listed().await["tool_name_map"], map, "nothing of it was taken");
        let (_, changed) = patch(json!({ "tool_name_map": null, "gemma4_output": false })).await;
        assert_eq!((changed["model"].get("tool_name_map"), changed["model"].get("gemma4_output")), (None, None));
        patch(json!({ "tool_name_map": map })).await;
        let (_, changed) = patch(json!({ "tool_name_map": {} })).await;
        assert_eq!(changed["model"].get("tool_name_map"), None, "an empty one is none");
        // A change holds for the next call.
        let key = rich_key(&app, "10").await;
        let body =
            json!({ "model": "m1", "messages": [{ "role": "user", "content": "hi" }], "tools": [function("search")] });
        for (fields, expected) in [(json!({}), "search"), (json!({ "tool_name_map": map }), "web_search")] {
            patch(fields).await;
            app.upstream.then(calls(expected));
            app.post(CHAT).bearer(&key.key).json(&body).send().await.expect(200);
            assert_eq!(app.upstream.bodies().pop().unwrap()["tools"][0]["function"]["name"], expected);
        }
    });
}

const GEMMA: &str =
    "<|channel>thought\nWhich <tool>?<channel|>I look.<|tool_call>call:search{q:<|\"|>{a} \"b\"<|\"|>,n:3}<tool_call|>";

async fn with_gemma(app: &TestApp) -> Key {
    app.add_provider("p1").await;
    add_model(app, "gemma", "p1", json!({ "gemma4_output": true })).await;
    add_model(app, "plain", "p1", json!({})).await;
    rich_key(app, "10").await
}

fn hello(model: &str, is_stream: bool) -> String {
    json!({ "model": model, "max_tokens": 100, "stream": is_stream, "messages": [{ "role": "user", "content": "hi" }] })
        .to_string()
}

#[test]
fn gemmas_tokens_become_calls_in_a_whole_answer() {
    run(async |app| {
        let key = with_gemma(&app).await;
        app.upstream.always(completion(&json!({ "role": "assistant", "content": GEMMA }), "stop"));
        let answer = chat(&app, &key, &hello("gemma", false)).send().await.expect(200).json();
        let message = &answer["choices"][0]["message"];
        assert_eq!(message["content"], "I look.");
        let call = &message["tool_calls"][0];
        assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("search")));
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({ "q": "{a} \"b\"", "n": 3 }));
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        let again = chat(&app, &key, &hello("gemma", false)).send().await.expect(200).json();
        assert_ne!(
            again["choices"][0]["message"]["tool_calls"][0]["id"], call["id"],
            "a conversation holds many calls"
        );
        // Other models write what they like.
        let answer = chat(&app, &key, &hello("plain", false)).send().await.expect(200).json();
        assert_eq!(answer["choices"][0]["message"]["content"], GEMMA);
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn gemmas_tokens_become_calls_in_a_stream_and_its_text_does_not_wait() {
    run(async |app| {
        let key = with_gemma(&app).await;
        let words = |size: usize| -> Vec<Value> {
            let letters: Vec<char> = GEMMA.chars().collect();
            letters.chunks(size).map(|word| json!({ "content": word.iter().collect::<String>() })).collect()
        };
        for (size, piece_bytes) in [(1, 100_000), (7, 1), (1_000, 64)] {
            app.upstream.then(stream(&words(size), "stop", piece_bytes));
            let answer = chat(&app, &key, &hello("gemma", true)).send().await.expect(200);
            let call = ("search".to_owned(), r#"{"q":"{a} \"b\"","n":3}"#.to_owned());
            assert_eq!(read_stream(&answer.events()), ("I look.".to_owned(), vec![call], "tool_calls".to_owned()));
        }
        let pieces = [json!({ "content": "One " }), json!({ "content": "two <|" }), json!({ "content": "x" })];
        app.upstream.then(stream(&pieces, "stop", 100_000));
        let events = chat(&app, &key, &hello("gemma", true)).send().await.expect(200).events();
        let content =
            |event: &String| serde_json::from_str::<Value>(event).unwrap()["choices"][0]["delta"]["content"].clone();
        let seen: Vec<_> = events[..3].iter().map(content).collect();
        assert_eq!(seen, ["One ", "two ", "<|x"], "only what may be a token's beginning is held back");
        assert_balanced(&app, &key, 10_000_000).await;
    });
}

#[test]
fn gemmas_calls_are_calls_on_every_surface() {
    run(async |app| {
        let key = with_gemma(&app).await;
        app.upstream.always(completion(&json!({ "role": "assistant", "content": GEMMA }), "stop"));
        let message =
            app.post("/v1/messages").bearer(&key.key).body(&hello("gemma", false)).send().await.expect(200).json();
        assert_eq!((&message["content"][1]["type"], &message["stop_reason"]), (&json!("tool_use"), &json!("tool_use")));
        assert_eq!(message["content"][1]["input"], json!({ "q": "{a} \"b\"", "n": 3 }));
        let body = json!({ "model": "gemma", "input": "hi" });
        let response = app.post("/v1/responses").bearer(&key.key).json(&body).send().await.expect(200).json();
        assert_eq!(response["output"][1]["type"], "function_call", "{response}");
    });
}
