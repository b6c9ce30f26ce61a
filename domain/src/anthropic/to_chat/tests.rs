use serde_json::{Value, json};

use super::to_chat_request;
use crate::anthropic::{
    JSON_ANSWER_TOOL, Takes, TranslateError, TranslateErrorKind, drop_extensions, to_messages_request,
};

fn translate(request: &Value) -> Value {
    serde_json::from_slice(&to_chat_request(request.to_string().as_bytes()).unwrap()).unwrap()
}

fn refuse(request: &Value) -> TranslateError {
    to_chat_request(request.to_string().as_bytes()).unwrap_err()
}

/// A request with these members beside the necessary ones.
fn with(members: &Value) -> Value {
    let mut request = json!({"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    request
}

fn chat(messages: &Value) -> Value {
    translate(&with(&json!({"messages": messages})))["messages"].clone()
}

#[test]
fn the_simplest_request() {
    assert_eq!(
        translate(&with(&json!({"system": "s"}))),
        json!({"model": "auto", "max_completion_tokens": 9, "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}]})
    );
}

#[test]
fn blocks_become_parts() {
    let cache = json!({"type": "ephemeral", "ttl": "1h"});
    let request = translate(&with(&json!({
        "system": [{"type": "text", "text": "a", "cache_control": cache}, {"type": "text", "text": "b"}],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "t"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
                "cache_control": cache},
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
                "title": "T", "context": "C", "citations": {"enabled": true}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "c"}]}},
            {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        ]}],
    })));
    assert_eq!(
        request["messages"],
        json!([
            {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": cache},
                {"type": "text", "text": "b"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "cache_control": cache},
                {"type": "image_url", "image_url": {"url": "https://x/y"}},
                {"type": "file", "file": {"filename": "T", "file_data": "data:application/pdf;base64,AA=="},
                    "context": "C", "citations": {"enabled": true}},
                {"type": "text", "text": "plain"},
                {"type": "text", "text": "c"},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://x/y.pdf"}},
            ]},
        ])
    );
}

#[test]
fn tool_uses_and_results_become_calls_and_tool_messages() {
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://x/y"}});
    let messages = chat(&json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "redacted_thinking", "data": "D"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": [1]}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
            {"type": "tool_use", "id": "toolu_3", "name": "h", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "see"}, image],
                "is_error": true, "cache_control": {"type": "ephemeral"}},
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"},
            {"type": "text", "text": "go on"}]},
    ]));
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let format = "anthropic-claude-v1";
    assert_eq!(
        messages,
        json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Let me see.", "reasoning_content": "hm",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": "S", "format": format, "index": 0},
                    {"type": "reasoning.encrypted", "data": "D", "format": format, "index": 1}],
                "tool_calls": [call("call_1", "f", "{\"x\":[1]}"), call("call_2", "g", "{}"), call("call_3", "h", "{}")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "tool", "tool_call_id": "call_2", "content": "see", "is_error": true,
                "cache_control": {"type": "ephemeral"}},
            {"role": "tool", "tool_call_id": "call_3", "content": "No result: the tool call was not answered.",
                "is_error": true},
            {"role": "user", "content": [
                {"type": "text", "text": "Returned by the tool call call_2:", "tool_call_id": "call_2"},
                {"type": "image_url", "image_url": {"url": "https://x/y"}, "tool_call_id": "call_2"},
                {"type": "text", "text": "go on"}]},
        ])
    );
}

#[test]
fn calls_of_openai_clients_are_fixed_up() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let messages = chat(&json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": null, "tool_calls": [call("call_a"), call("call_b")]},
        {"role": "tool", "tool_call_id": "call_b", "content": "x"},
    ]));
    assert_eq!(messages[1]["tool_calls"], json!([call("call_a"), call("call_b")]));
    assert_eq!(messages[1]["content"], Value::Null);
    assert_eq!(messages[2]["tool_call_id"], "call_a");
    assert_eq!(messages[2]["is_error"], true);
    assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "call_b", "content": "x"}));
}

#[test]
fn turns_of_one_role_are_one() {
    let tool_use = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let result = |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id}]});
    let messages = chat(&json!([
        {"role": "assistant", "content": [tool_use("toolu_1")]}, {"role": "assistant", "content": [tool_use("toolu_2")]},
        result("toolu_1"), result("toolu_2"), {"role": "assistant", "content": "done"},
        {"role": "system", "content": "new rule"}, {"role": "user", "content": "ok"},
    ]));
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "assistant", "system", "user"]);
    assert_eq!(messages[1], json!({"role": "tool", "tool_call_id": "call_1", "content": ""}));
}

#[test]
fn system_turns_that_follow_the_system_text_belong_to_it() {
    let said = |text: &str| json!({"role": "system", "content": text});
    let request = translate(&with(&json!({"system": "a", "messages": [
        said("b"), {"role": "user", "content": "Hi"}, said("c"), said("d")]})));
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        request["messages"],
        json!([
            {"role": "system", "content": [text("a"), text("b")]}, {"role": "user", "content": "Hi"},
            {"role": "system", "content": [text("c"), text("d")]}])
    );
    assert_eq!(chat(&json!([said("only")])), json!([said("only")]));
}

#[test]
fn parameters_are_translated() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let request = translate(&with(&json!({
        "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a", "b"],
        "metadata": {"user_id": "u"}, "service_tier": "standard_only", "container": "x",
        "thinking": {"type": "enabled", "budget_tokens": 8000},
        "tools": [{"name": "f", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "name": "g", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
    })));
    assert_eq!(
        request,
        json!({
            "model": "auto", "max_completion_tokens": 9, "stream": true, "stream_options": {"include_usage": true},
            "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["a", "b"],
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema},
                    "cache_control": {"type": "ephemeral"}},
                {"type": "function", "function": {"name": "g", "parameters": schema}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
            "thinking": {"type": "enabled", "budget_tokens": 8000}, "reasoning_effort": "medium",
            "user": "u", "service_tier": "default",
        })
    );
    for (choice, expected) in [("auto", "auto"), ("any", "required"), ("none", "none")] {
        let request = translate(&with(&json!({"tool_choice": {"type": choice}, "stream": false})));
        assert_eq!(request["tool_choice"], expected);
        assert_eq!(request.get("stream"), None);
    }
    let config = json!({"effort": "max", "format": {"type": "json_schema", "schema": schema}});
    let request = translate(&with(&json!({"output_config": config, "thinking": {"type": "adaptive"}})));
    assert_eq!(request["output_config"], config);
    assert_eq!(request["reasoning_effort"], "xhigh");
    assert_eq!(
        request["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})
    );
}

#[test]
fn a_user_id_too_long_for_openai_is_told_to_anthropic_alone() {
    let request = |user_id: &str| with(&json!({"metadata": {"user_id": user_id}}));
    let short = "u".repeat(64);
    let translated = translate(&request(&short));
    assert_eq!((&translated["user"], translated.get("metadata")), (&json!(short), None));
    // As Claude Code sends it: JSON in a string.
    let long = json!({"device_id": "d".repeat(64), "account_uuid": "", "session_id": "é"}).to_string();
    let chat = to_chat_request(request(&long).to_string().as_bytes()).unwrap();
    let plain: Value = serde_json::from_slice(&drop_extensions(&chat, Takes::default()).unwrap()).unwrap();
    let user = plain["user"].as_str().unwrap();
    assert!(user.len() == 64 && user.bytes().all(|byte| byte.is_ascii_hexdigit()), "{user}");
    assert_eq!(plain.get("metadata"), None);
    assert_ne!(translate(&request(&long.replace('é', "e")))["user"], user);
    let back: Value = serde_json::from_slice(&to_messages_request(&chat, "claude-sonnet-4-5", 9).unwrap()).unwrap();
    assert_eq!(back["metadata"]["user_id"], long);
}

#[test]
fn faults_name_the_parameter_as_anthropic_does() {
    use TranslateErrorKind::{Invalid, Unsupported};
    let user = |blocks: Value| with(&json!({"messages": [{"role": "user", "content": blocks}]}));
    let assistant = |blocks: Value| with(&json!({"messages": [{"role": "assistant", "content": blocks}]}));
    for (request, kind, words) in [
        (json!({"model": "m", "messages": []}), Invalid, "max_tokens: Field required"),
        (json!({"max_tokens": 1}), Invalid, "model: Field required"),
        (json!({"model": "m", "max_tokens": 1}), Invalid, "messages: Field required"),
        (with(&json!({"messages": []})), Invalid, "messages: at least one message is required"),
        (with(&json!({"messages": "x"})), Invalid, "messages: must be an array"),
        (with(&json!({"max_tokens": 0})), Invalid, "max_tokens: Input should be greater"),
        (with(&json!({"temperature": 1.5})), Invalid, "temperature: "),
        (with(&json!({"messages": [{"role": "bot", "content": "x"}]})), Invalid, "messages.0.role: Input should be"),
        (with(&json!({"messages": [{"role": "user"}]})), Invalid, "messages.0.content: Field required"),
        (with(&json!({"messages": [{"role": "assistant"}]})), Invalid, "messages.0.content: Field required"),
        (user(json!([])), Invalid, "messages.0.content: must not be empty"),
        (user(json!("")), Invalid, "messages.0.content: must not be empty"),
        (user(json!([{"type": "text"}])), Invalid, "messages.0.content.0.text: Field required"),
        (user(json!([{"type": "tool_use"}])), Unsupported, "messages.0.content.0.type: "),
        (
            user(json!([{"type": "tool_result", "tool_use_id": "toolu_x"}])),
            Invalid,
            "messages.0.content.0.tool_use_id: unexpected `tool_use_id` found in `tool_result` blocks: toolu_x",
        ),
        (
            user(json!([{"type": "image", "source": {"type": "file", "file_id": "f"}}])),
            Unsupported,
            "messages.0.content.0.source.type: ",
        ),
        (assistant(json!([{"type": "server_tool_use"}])), Unsupported, "messages.0.content.0.type: "),
        (
            assistant(json!([{"type": "tool_use", "id": "a", "name": "f", "input": "x"}])),
            Invalid,
            "messages.0.content.0.input: Input should be a valid dictionary",
        ),
        (with(&json!({"system": [{"type": "image"}]})), Invalid, "system.0.type: "),
        (
            with(&json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
            Unsupported,
            "tools.0.type: tools of type \"web_search_20250305\"",
        ),
        (with(&json!({"tools": [{"name": "f"}]})), Invalid, "tools.0.input_schema: Field required"),
        (with(&json!({"tools": [{"name": JSON_ANSWER_TOOL, "input_schema": {}}]})), Invalid, "tools.0.name: "),
        (with(&json!({"mcp_servers": [{}]})), Unsupported, "mcp_servers: "),
        (with(&json!({"tool_choice": {"type": "some"}})), Invalid, "tool_choice.type: "),
        (with(&json!({"thinking": {"type": "enabled"}})), Invalid, "thinking.budget_tokens: Field required"),
    ] {
        let error = refuse(&request);
        assert!(error.message.starts_with(words), "{error}");
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(error.param.as_deref(), words.split_once(": ").map(|(param, _)| param), "{error}");
    }
    assert_eq!(to_chat_request(b"not json").unwrap_err().param, None);
    assert!(to_chat_request(b"7").is_err());
}
