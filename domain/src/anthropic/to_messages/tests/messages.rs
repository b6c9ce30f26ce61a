use serde_json::{Value, json};

use super::{MODEL, call, to_messages_request, translate, translate_for, turns};

#[test]
fn system_messages_are_the_system_text() {
    let request = translate(&json!({"messages": [
        {"role": "system", "content": "Be \"brief\"."}, {"role": "user", "content": "Hi"}]}));
    assert_eq!(
        request,
        json!({"model": MODEL, "max_tokens": 4096, "system": "Be \"brief\".",
            "messages": [{"role": "user", "content": "Hi"}]})
    );
    let cache = json!({"type": "ephemeral"});
    let request = translate(&json!({"messages": [
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": cache}]},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "b"}]}));
    assert_eq!(
        request["system"],
        json!([{"type": "text", "text": "a", "cache_control": cache}, {"type": "text", "text": "b"}])
    );
    let request = translate(&json!({"messages": [{"role": "system", "content": "Only this"}]}));
    assert_eq!(request.get("system"), None);
    assert_eq!(request["messages"], json!([{"role": "user", "content": "Only this"}]));
}

#[test]
fn turns_alternate_and_begin_with_the_user() {
    assert_eq!(
        turns(&json!([
            {"role": "user", "content": "a"}, {"role": "user", "content": "  "}, {"role": "user", "content": "b"},
            {"role": "assistant", "content": ""}, {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"}, {"role": "assistant", "content": null, "refusal": "e"},
        ])),
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "e"}]},
        ])
    );
    assert_eq!(
        turns(&json!([{"role": "assistant", "content": "So: \n\t"}])),
        json!([{"role": "user", "content": "Continue."}, {"role": "assistant", "content": "So:"}])
    );
    let prefilled = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    let newer = translate_for("claude-opus-4-6", &prefilled);
    assert_eq!(newer["messages"][2], json!({"role": "user", "content": "Continue."}));
}

#[test]
fn calls_and_results_become_blocks() {
    let messages = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [
            call("call_1", "{\"b\": 1, \"a\": 2}"), call("odd:id", ""), call("call_3", " {} ")]},
        {"role": "tool", "tool_call_id": "odd:id", "content": [{"type": "text", "text": "x"},
            {"type": "image_url", "image_url": {"url": "https://a/b.png"}}]},
        {"role": "user", "content": "and?"},
        {"role": "tool", "tool_call_id": "call_1", "content": "42", "is_error": true},
    ]);
    assert_eq!(
        turns(&messages),
        json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1, "a": 2}},
                {"type": "tool_use", "id": "toolu_chat_b2RkOmlk", "name": "f", "input": {}},
                {"type": "tool_use", "id": "toolu_3", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42", "is_error": true},
                {"type": "tool_result", "tool_use_id": "toolu_chat_b2RkOmlk", "content": [{"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}]},
                {"type": "tool_result", "tool_use_id": "toolu_3",
                    "content": "No result: the tool call was not answered.", "is_error": true},
                {"type": "text", "text": "and?"}]},
        ])
    );
}

#[test]
fn inputs_and_schemas_keep_their_bytes() {
    let chat = r#"{"messages":[{"role":"user","content":"\u00e9"},{"role":"assistant","content":null,"tool_calls":[
        {"id":"call_1","function":{"name":"f","arguments":"{\"z\":1.0,\"a\":123456789012345678901234567890}"}}]}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"z":{},"a":{}}}}}]}"#;
    let out = to_messages_request(chat.as_bytes(), MODEL, 1).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""input":{"z":1.0,"a":123456789012345678901234567890}"#), "{text}");
    assert!(text.contains(r#""input_schema":{"type":"object","properties":{"z":{},"a":{}}}"#), "{text}");
    assert!(text.contains(r#""content":"\u00e9""#), "{text}");
}

#[test]
fn arguments_that_are_no_object_do_not_end_a_conversation() {
    for (arguments, input) in [
        ("{\"x\":", json!({"invalid_arguments": "{\"x\":"})),
        ("[1]", json!({"invalid_arguments": "[1]"})),
        ("null", json!({})),
        (" ", json!({})),
    ] {
        let turns = turns(&json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null, "tool_calls": [call("call_1", arguments)]},
            {"role": "tool", "tool_call_id": "call_1", "content": "not valid"},
        ]));
        assert_eq!(turns[1]["content"][0]["input"], input, "{arguments}");
    }
}

#[test]
fn ids_that_come_again_are_told_apart() {
    let round = |text: &str| {
        [
            json!({"role": "assistant", "content": null, "tool_calls": [call("call_0", "{}")]}),
            json!({"role": "tool", "tool_call_id": "call_0", "content": text}),
        ]
    };
    let mut messages = vec![json!({"role": "user", "content": "Hi"})];
    messages.extend(round("a"));
    messages.extend(round("b"));
    messages.extend(round("c"));
    let turns = turns(&json!(messages));
    for (turn, id) in [(1, "toolu_0"), (3, "toolu_0_2"), (5, "toolu_0_3")] {
        assert_eq!(turns[turn]["content"][0]["id"], id);
        assert_eq!(turns[turn + 1]["content"][0]["tool_use_id"], id);
    }
}

#[test]
fn functions_of_the_old_form_are_understood() {
    let request = translate(&json!({
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        ],
        "functions": [{"name": "f", "description": "d"}],
        "function_call": {"name": "f"},
    }));
    let id = request["messages"][1]["content"][0]["id"].clone();
    assert_eq!(
        request["messages"][2]["content"][0],
        json!({"type": "tool_result", "tool_use_id": id, "content": "ok"})
    );
    assert_eq!(
        request["tools"],
        json!([{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}])
    );
    assert_eq!(request["tool_choice"], json!({"type": "tool", "name": "f"}));
}

#[test]
fn images_and_files_become_sources() {
    let cache = json!({"type": "ephemeral"});
    let part = |part: Value| turns(&json!([{"role": "user", "content": [part]}]))[0]["content"][0].clone();
    let image = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}, "cache_control": cache}));
    let base64 = |media_type: &str| json!({"type": "base64", "media_type": media_type, "data": "AA=="});
    assert_eq!(
        image("data:image/JPG;base64,AA=="),
        json!({"type": "image", "source": base64("image/jpeg"), "cache_control": cache})
    );
    assert_eq!(
        image("HTTPS://x/y"),
        json!({"type": "image", "source": {"type": "url", "url": "HTTPS://x/y"}, "cache_control": cache})
    );
    let file = |data: &str| part(json!({"type": "file", "file": {"filename": "n", "file_data": data}}));
    assert_eq!(
        file("data:application/pdf;base64,AA=="),
        json!({"type": "document", "source": base64("application/pdf"), "title": "n"})
    );
    assert_eq!(
        file("data:text/markdown;charset=utf-8;base64,aGk="),
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "n"})
    );
    assert_eq!(
        file("https://x/y.pdf"),
        json!({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "title": "n"})
    );
    assert_eq!(file("data:image/png;base64,AA=="), json!({"type": "image", "source": base64("image/png")}));
}

#[test]
fn signed_thinking_goes_back() {
    let format = "anthropic-claude-v1";
    let turns = turns(&json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "t", "reasoning_content": "ignored", "reasoning_details": [
            {"type": "reasoning.text", "text": "a", "index": 0}, {"type": "reasoning.text", "text": "b", "index": 0},
            {"type": "reasoning.text", "signature": "S", "format": format, "index": 0},
            {"type": "reasoning.encrypted", "data": "D", "format": format, "index": 1},
            {"type": "reasoning.text", "text": "unsigned", "index": 2},
            {"type": "reasoning.text", "text": "alien", "signature": "X", "format": "google-gemini-v1"},
            {"type": "reasoning.text", "text": "c", "signature": "U"}]},
    ]));
    assert_eq!(
        turns[1]["content"],
        json!([
            {"type": "thinking", "thinking": "ab", "signature": "S"},
            {"type": "redacted_thinking", "data": "D"},
            {"type": "thinking", "thinking": "c", "signature": "U"},
            {"type": "text", "text": "t"},
        ])
    );
}
