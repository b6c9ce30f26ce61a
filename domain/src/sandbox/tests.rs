use super::*;
use serde_json::{Value, json};

fn ask(request: &Value) -> (u16, Value) {
    let reply = answer(request.to_string().as_bytes(), 1_700_000_000);
    let SandboxBody::Json(body) = reply.body else { panic!("a stream") };
    (reply.status, serde_json::from_slice(&body).unwrap())
}

fn ask_stream(request: &Value) -> Vec<Value> {
    let SandboxBody::Events(events) = answer(request.to_string().as_bytes(), 1_700_000_000).body else {
        panic!("no stream")
    };
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, b"data: [DONE]\n\n");
    let json_of = |event: &Vec<u8>| {
        let text = std::str::from_utf8(event).unwrap();
        serde_json::from_str(text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap()
    };
    chunks.iter().map(json_of).collect()
}

fn user(text: &str) -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
}

fn with(mut request: Value, members: Value) -> Value {
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    request
}

fn weather() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])
}

#[test]
fn it_echoes_and_counts_words() {
    let (status, body) = ask(&user("Hello there"));
    assert_eq!(status, 200);
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "auto");
    assert_eq!(body["created"], 1_700_000_000);
    assert_eq!(body["choices"][0]["message"]["content"], "I am the sandbox model. You said: Hello there");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"], json!({"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}));
    assert_eq!(ask(&user("Hello there")).1, body);
    assert_ne!(ask(&user("Hello you")).1["id"], body["id"]);
}

#[test]
fn limits_choices_and_images_are_honoured() {
    let (_, body) = ask(&with(user("Hello there"), json!({"max_tokens": 3, "n": 2})));
    assert_eq!(body["choices"][0]["message"]["content"], "I am the");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["choices"].as_array().unwrap().len(), 2);
    assert_eq!(body["usage"]["completion_tokens"], 6);
    let (_, body) = ask(&with(user("Hello"), json!({"n": 2})));
    assert!(body["choices"][1]["message"]["content"].as_str().unwrap().ends_with("This is choice 2."));
    let (_, body) = ask(&json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}));
    assert_eq!(body["choices"][0]["message"]["content"], "I am the sandbox model. You said: Look I received 1 image.");
    assert_eq!(body["usage"]["prompt_tokens"], 86);
}

#[test]
fn tools_are_called_and_their_answers_told() {
    let (_, body) = ask(&with(user("Weather?"), json!({"tools": weather()})));
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    assert_eq!(call["function"]["arguments"], r#"{"city":"sandbox"}"#);

    let follow_up = json!({"messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny, 20 °C"}], "tools": weather()});
    let (_, body) = ask(&follow_up);
    assert_eq!(body["choices"][0]["message"]["content"], "I am the sandbox model. The tool answered: sunny, 20 °C");

    let (_, body) = ask(&with(user("Weather?"), json!({"tools": weather(), "tool_choice": "none"})));
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[test]
fn the_chosen_tool_is_called() {
    let mut tools = weather();
    tools.as_array_mut().unwrap().push(json!({"type": "function", "function": {"name": "second"}}));
    let choose = |name: &str| {
        let choice = json!({"type": "function", "function": {"name": name}});
        ask(&with(user("x"), json!({"tools": tools, "tool_choice": choice})))
    };
    let (_, body) = choose("second");
    let function = &body["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&function["name"], &function["arguments"]), (&json!("second"), &json!("{}")));
    let (status, body) = choose("third");
    assert_eq!((status, &body["error"]["param"]), (400, &json!("tool_choice")));
}

#[test]
fn response_formats_are_fitted() {
    let content = |format: Value| -> Value {
        let (_, body) = ask(&with(user("x"), json!({"response_format": format})));
        serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
    };
    assert!(content(json!({"type": "json_object"}))["answer"].is_string());
    let schema = json!({"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    assert_eq!(content(format), json!({"age": 1}));
}

#[test]
fn streams_say_the_same() {
    let request = with(user("Hello there"), json!({"stream": true}));
    let chunks = ask_stream(&request);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "I am the sandbox model. You said: Hello there");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));

    let chunks = ask_stream(&with(request, json!({"stream_options": {"include_usage": true}})));
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], 11);
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[test]
fn streamed_tool_calls_join_to_arguments() {
    let chunks = ask_stream(&with(user("x"), json!({"stream": true, "tools": weather()})));
    let calls: Vec<_> = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0")).collect();
    assert_eq!(calls[0]["function"]["name"], "get_weather");
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
    let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, r#"{"city":"sandbox"}"#);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn bad_requests_get_openai_errors() {
    let (status, body) = ask(&json!({"messages": []}));
    assert_eq!(status, 400);
    assert_eq!(
        body["error"],
        json!({"message": "messages must not be empty.", "type": "invalid_request_error", "param": "messages", "code": null})
    );
    assert_eq!(answer(b"nope", 0).status, 400);
    assert_eq!(ask(&with(user("x"), json!({"tools": [{"function": {"name": 5}}]}))).0, 400);
}

#[test]
fn long_texts_are_cut() {
    let (_, body) = ask(&user(&"w ".repeat(5_000)));
    assert_eq!(body["usage"]["completion_tokens"], 7 + 256);
    assert_eq!(take_words("  a  b c ", 2), "a  b");
    assert_eq!(take_words("a", 9), "a");
    assert_eq!(take_words("a b", 0), "");
}

#[test]
fn streams_pass_through_the_gateway() {
    use crate::chat::stream::StreamRewriter;
    let request = with(user("Hello"), json!({"stream": true, "stream_options": {"include_usage": true}}));
    let SandboxBody::Events(events) = answer(request.to_string().as_bytes(), 0).body else { panic!("no stream") };
    let mut rewriter = StreamRewriter::new("fast", true);
    let mut out = Vec::new();
    for event in &events {
        rewriter.push(event, &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    assert!(rewriter.saw_done() && !text.contains("usage") && !text.contains("auto"));
    assert_eq!(rewriter.usage().map(|usage| (usage.input, usage.output)), Some((1, 8)));
    assert_eq!(rewriter.output_tokens_seen(), 10);
}
