use serde_json::{Value, json};

use super::{MODEL, call, refuse, to_messages_request, translate, translate_for, with};
use crate::anthropic::{JSON_ANSWER_TOOL, TranslateErrorKind};

#[test]
fn tools_and_choices_are_translated() {
    let cache = json!({"type": "ephemeral"});
    let tool = json!({"type": "function", "cache_control": cache, "function": {"name": "f", "description": "d",
        "strict": true, "parameters": {"properties": {"x": {}}}}});
    let request = translate(&with(&json!({"tools": [tool]})));
    assert_eq!(
        request["tools"],
        json!([{"name": "f", "description": "d", "cache_control": cache,
            "input_schema": {"type": "object", "properties": {"x": {}}}}])
    );
    assert_eq!(request.get("tool_choice"), None);
    for (choice, is_parallel, expected) in [
        (json!("auto"), None, json!({"type": "auto"})),
        (json!("none"), Some(false), json!({"type": "none"})),
        (json!("required"), Some(false), json!({"type": "any", "disable_parallel_tool_use": true})),
        (json!({"type": "function", "function": {"name": "f"}}), Some(true), json!({"type": "tool", "name": "f"})),
        (Value::Null, Some(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (Value::Null, None, Value::Null),
    ] {
        let chat = with(&json!({"tools": [tool], "tool_choice": choice, "parallel_tool_calls": is_parallel}));
        assert_eq!(translate(&chat)["tool_choice"], expected, "{choice}");
    }
    let without = translate(&with(&json!({"tools": [], "tool_choice": "auto"})));
    assert_eq!((without.get("tools"), without.get("tool_choice")), (None, None));
}

#[test]
fn tools_that_were_called_are_declared() {
    let request = translate(&json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": null, "tool_calls": [call("call_1", "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
        {"role": "user", "content": "Sum up."}]}));
    assert_eq!(request["tools"], json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]));
    assert_eq!(request["tool_choice"], json!({"type": "none"}));
}

#[test]
fn parameters_are_translated() {
    let request = translate(&with(&json!({
        "stop": "END", "temperature": 1.7, "top_p": 0.5, "top_k": 7, "max_tokens": 5, "max_completion_tokens": 9,
        "stream": true, "stream_options": {"include_usage": true}, "user": "u-1", "n": 1, "seed": 3, "logprobs": true,
        "service_tier": "default", "cache_control": {"type": "ephemeral"}, "frequency_penalty": 1,
        "modalities": ["text"],
    })));
    assert_eq!(
        request,
        json!({"model": MODEL, "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "Hi"}],
            "stop_sequences": ["END"], "temperature": 1, "top_k": 7, "metadata": {"user_id": "u-1"},
            "service_tier": "standard_only", "cache_control": {"type": "ephemeral"}})
    );
    let request = translate(&with(&json!({"stop": ["a", "b"], "temperature": 0.2, "top_p": 1, "stream": false,
        "metadata": {"user_id": "m", "x": "y"}, "user": "u", "service_tier": "flex"})));
    assert_eq!(request["stop_sequences"], json!(["a", "b"]));
    assert_eq!(request["temperature"], json!(0.2));
    assert_eq!(request["metadata"], json!({"user_id": "m"}));
    for absent in ["top_p", "stream", "service_tier"] {
        assert_eq!(request.get(absent), None, "{absent}");
    }
    let both = with(&json!({"temperature": 0.2, "top_p": 0.5}));
    for (model, top_p) in [("claude-opus-4-20250514", Some(0.5)), ("claude-opus-4-1-20250805", None)] {
        let request = translate_for(model, &both);
        assert_eq!((&request["temperature"], request["top_p"].as_f64()), (&json!(0.2), top_p), "{model}");
    }
    assert_eq!(translate(&with(&json!({"top_p": 0.5})))["top_p"], json!(0.5));
    let newer = translate_for("claude-opus-4-7", &with(&json!({"temperature": 0.2, "top_p": 0.5, "top_k": 3})));
    assert_eq!((newer.get("temperature"), newer.get("top_p"), newer.get("top_k")), (None, None, None));
}

/// A tool that its caller calls strict is so for Anthropic's models, and for no others.
#[test]
fn a_strict_tool_of_a_messages_client_stays_strict() {
    let tool = json!({"name": "f", "input_schema": {"type": "object"}, "strict": true});
    let asked =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "tools": [tool]});
    let chat = crate::anthropic::to_chat_request(asked.to_string().as_bytes()).unwrap();
    assert_eq!(translate(&serde_json::from_slice(&chat).unwrap())["tools"], json!([tool]));
    let plain = crate::anthropic::drop_extensions(&chat, crate::anthropic::Takes::default()).unwrap();
    assert!(!String::from_utf8(plain).unwrap().contains("strict"));
}

#[test]
fn a_budget_that_leaves_nothing_of_the_limit_is_shrunk() {
    let sent = |budget: u64, max_tokens: u64| {
        let thinking = json!({"type": "enabled", "budget_tokens": budget});
        translate(&with(&json!({"thinking": thinking, "max_tokens": max_tokens})))["thinking"]["budget_tokens"].as_u64()
    };
    assert_eq!(sent(8_000, 8_001), Some(8_000));
    assert_eq!(sent(8_000, 8_000), Some(4_000));
    assert_eq!(sent(8_000, 2_048), Some(1_024));
    assert_eq!(sent(8_000, 2_047), None);
}

#[test]
fn an_effort_is_a_budget_within_the_limit() {
    let thinking = |members: Value| translate(&with(&members)).get("thinking").cloned();
    let budget = |tokens: u64| Some(json!({"type": "enabled", "budget_tokens": tokens}));
    assert_eq!(thinking(json!({"reasoning_effort": "medium"})), budget(2048));
    assert_eq!(thinking(json!({"reasoning_effort": "minimal"})), budget(1024));
    assert_eq!(thinking(json!({"reasoning_effort": "high", "max_tokens": 100_000})), budget(32_000));
    assert_eq!(thinking(json!({"reasoning_effort": "high", "max_tokens": 1024})), None);
    assert_eq!(thinking(json!({"reasoning_effort": "none"})), None);
    let given = json!({"type": "enabled", "budget_tokens": 1500});
    assert_eq!(thinking(json!({"reasoning_effort": "high", "thinking": given})), Some(given));
    // Thinking excludes what OpenAI's callers may send along.
    let request = translate(&with(&json!({"reasoning_effort": "low", "temperature": 0.5, "top_k": 1})));
    assert_eq!((request.get("temperature"), request.get("top_k")), (None, None));
    let tool = json!({"type": "function", "function": {"name": "f"}});
    assert_eq!(thinking(json!({"reasoning_effort": "low", "tools": [tool], "tool_choice": "required"})), None);
}

#[test]
fn newer_models_think_by_effort() {
    for (model, effort, expected) in [
        ("claude-sonnet-4-6", "minimal", "low"),
        ("claude-sonnet-4-6", "medium", "medium"),
        ("claude-sonnet-4-6", "xhigh", "high"),
        ("claude-opus-4-8", "xhigh", "xhigh"),
    ] {
        let request = translate_for(model, &with(&json!({"reasoning_effort": effort})));
        assert_eq!(request["thinking"], json!({"type": "adaptive"}));
        assert_eq!(request["output_config"], json!({"effort": expected}));
    }
}

/// What a Messages client says for one model goes to another.
#[test]
fn thinking_is_said_as_the_model_knows_it() {
    let ask = |model: &str, members: Value| {
        let mut asked = json!({"max_tokens": 10_000, "messages": [{"role": "user", "content": "Hi"}], "model": "m"});
        asked.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let chat = crate::anthropic::to_chat_request(asked.to_string().as_bytes()).unwrap();
        let request = translate_for(model, &serde_json::from_slice(&chat).unwrap());
        (request["thinking"].clone(), request["output_config"].clone())
    };
    let adaptive = json!({"type": "adaptive"});
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let effort = |effort: &str| json!({"effort": effort});
    let low = json!({"thinking": adaptive, "output_config": effort("low")});
    assert_eq!(ask("claude-haiku-4-5", low.clone()), (budget(2_000), Value::Null));
    assert_eq!(ask("claude-haiku-4-5", json!({"thinking": adaptive})), (budget(8_000), Value::Null));
    assert_eq!(ask("claude-opus-4-5", low.clone()), (budget(2_000), effort("low")));
    for model in ["claude-sonnet-4-6", "claude-opus-4-7", "other-maker"] {
        assert_eq!(ask(model, low.clone()), (adaptive.clone(), effort("low")), "{model}");
    }
    assert_eq!(ask("claude-sonnet-4-5", json!({"output_config": effort("low")})), (Value::Null, Value::Null));
    let schema = json!({"type": "json_schema", "schema": {"type": "object"}});
    let formatted = json!({"output_config": {"effort": "low", "format": schema}});
    assert_eq!(ask("claude-sonnet-4-5", formatted), (Value::Null, json!({"format": schema})));

    let enabled = json!({"thinking": budget(2_000)});
    assert_eq!(ask("claude-sonnet-4-6", enabled.clone()), (budget(2_000), Value::Null));
    assert_eq!(ask("claude-opus-4-7", enabled.clone()), (adaptive.clone(), effort("low")));
    let own = json!({"thinking": budget(2_000), "output_config": effort("max")});
    assert_eq!(ask("claude-opus-4-7", own), (adaptive, effort("max")));
    let disabled = json!({"type": "disabled"});
    assert_eq!(ask("claude-haiku-4-5", json!({"thinking": disabled})).0, disabled);
}

#[test]
fn a_loop_without_thinking_goes_on_without() {
    let chat = |details: Value| {
        json!({"reasoning_effort": "high", "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null, "reasoning_details": details, "tool_calls": [call("call_1", "{}")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "x"}]})
    };
    assert_eq!(translate(&chat(Value::Null)).get("thinking"), None);
    let signed = json!([{"type": "reasoning.text", "text": "t", "signature": "S"}]);
    assert_eq!(translate(&chat(signed))["thinking"]["type"], "enabled");
}

#[test]
fn answers_in_json_are_forced_or_asked_for() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    let request = translate(&with(&json!({"response_format": format, "reasoning_effort": "high"})));
    assert_eq!(request["tools"][0]["name"], JSON_ANSWER_TOOL);
    assert_eq!(request["tools"][0]["input_schema"], schema);
    assert_eq!(
        request["tool_choice"],
        json!({"type": "tool", "name": JSON_ANSWER_TOOL, "disable_parallel_tool_use": true})
    );
    assert_eq!((request.get("thinking"), request.get("system")), (None, None));

    let native = translate_for("claude-opus-4-7", &with(&json!({"response_format": format})));
    assert_eq!(native["output_config"], json!({"format": {"type": "json_schema", "schema": schema}}));
    assert_eq!(native.get("tools"), None);

    let tool = json!({"type": "function", "function": {"name": "f"}});
    let asked = translate(&with(&json!({"response_format": format, "tools": [tool]})));
    assert!(asked["system"].as_str().unwrap().contains("\"properties\""));
    let object = translate(&json!({"response_format": {"type": "json_object"}, "messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}]}));
    assert_eq!(object["system"][0], json!({"type": "text", "text": "s"}));
    assert!(object["system"][1]["text"].as_str().unwrap().contains("one JSON object"));
    assert_eq!(translate(&with(&json!({"response_format": {"type": "text"}}))).get("system"), None);
}

#[test]
fn faults_name_the_parameter() {
    use TranslateErrorKind::{Invalid, Unsupported};
    let user = |parts: Value| json!({"messages": [{"role": "user", "content": parts}]});
    let assistant = |call: Value| json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [call]}]});
    for (chat, kind, param) in [
        (json!({}), Invalid, "messages"),
        (json!({"messages": []}), Invalid, "messages"),
        (json!({"messages": [{"role": "user", "content": " "}]}), Invalid, "messages"),
        (json!({"messages": [{"role": "boss"}]}), Invalid, "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), Invalid, "messages[0].content"),
        (user(json!([{"type": "odd"}])), Invalid, "messages[0].content[0].type"),
        (user(json!([{"type": "input_audio"}])), Unsupported, "messages[0].content[0].type"),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "ftp://x"}}])),
            Invalid,
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": "data:image/bmp;base64,AA"}])),
            Unsupported,
            "messages[0].content[0].image_url",
        ),
        (
            user(json!([{"type": "file", "file": {"file_id": "f"}}])),
            Unsupported,
            "messages[0].content[0].file.file_data",
        ),
        (
            json!({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}),
            Invalid,
            "messages[0].content[0].type",
        ),
        (assistant(call("", "{}")), Invalid, "messages[0].tool_calls[0].id"),
        (assistant(json!({"id": "c", "type": "custom"})), Unsupported, "messages[0].tool_calls[0].type"),
        (
            json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}),
            Invalid,
            "messages[0].tool_call_id",
        ),
        (with(&json!({"n": 2})), Unsupported, "n"),
        (with(&json!({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}})), Unsupported, "modalities"),
        (with(&json!({"stop": "\n"})), Unsupported, "stop"),
        (with(&json!({"stop": ["a", 5]})), Invalid, "stop[1]"),
        (with(&json!({"temperature": "hot"})), Invalid, "temperature"),
        (with(&json!({"max_tokens": 0})), Invalid, "max_tokens"),
        (with(&json!({"tools": [{"type": "custom"}]})), Unsupported, "tools[0].type"),
        (with(&json!({"tools": [{"type": "function", "function": {}}]})), Invalid, "tools[0].function.name"),
        (
            with(&json!({"tools": [{"type": "function", "function": {"name": JSON_ANSWER_TOOL}}]})),
            Invalid,
            "tools[0].function.name",
        ),
        (
            with(&json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "maybe"})),
            Invalid,
            "tool_choice",
        ),
        (with(&json!({"reasoning_effort": "huge"})), Invalid, "reasoning_effort"),
        (with(&json!({"response_format": {"type": "xml"}})), Invalid, "response_format.type"),
    ] {
        let error = refuse(&chat);
        assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
        assert!(error.message.starts_with(param), "{error}");
    }
    for body in [&b"{"[..], b"[]", b"{\"messages\":\"\xff\"}", b"{} {}"] {
        assert_eq!(to_messages_request(body, MODEL, 1).unwrap_err().param, None);
    }
    let twice = json!({"messages": [
        {"role": "assistant", "content": null, "tool_calls": [call("call_1", "{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a"},
        {"role": "tool", "tool_call_id": "call_1", "content": "b"}]});
    assert_eq!(refuse(&twice).param.as_deref(), Some("messages[2].tool_call_id"));
}
