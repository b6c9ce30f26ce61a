use super::*;

#[test]
fn a_text_is_the_users_message() {
    let body = chat_body(&json!({ "model": "gpt-x", "input": "hi", "instructions": "Be brief." }));
    let expected = json!({
        "model": "gpt-x",
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
    });
    assert_eq!(body, expected);
}

#[test]
fn a_model_left_out_is_auto() {
    assert_eq!(chat_body(&json!({ "input": "hi" }))["model"], "auto");
}

#[test]
fn parameters_get_their_chat_names() {
    let body = chat_body(&json!({
        "model": "m", "input": "hi", "max_output_tokens": 99, "temperature": 0.2, "top_p": 0.9, "stream": true,
        "reasoning": { "effort": "high", "summary": "auto" }, "text": { "verbosity": "low" },
        "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex",
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 3,
        "metadata": { "a": "b" }, "store": true, "max_tool_calls": 4, "stream_options": { "include_obfuscation": false },
        "something_new": 1,
    }));
    let expected = json!({
        "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_completion_tokens": 99,
        "temperature": 0.2, "top_p": 0.9, "stream": true, "stream_options": { "include_usage": true },
        "reasoning_effort": "high", "verbosity": "low", "user": "u", "safety_identifier": "s",
        "prompt_cache_key": "k", "service_tier": "flex", "logprobs": true, "top_logprobs": 3,
    });
    assert_eq!(body, expected);
}

#[test]
fn null_is_the_same_as_left_out() {
    let names = [
        "model",
        "instructions",
        "max_output_tokens",
        "temperature",
        "top_p",
        "stream",
        "reasoning",
        "text",
        "user",
        "include",
        "top_logprobs",
        "metadata",
        "store",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "background",
        "conversation",
        "prompt",
        "truncation",
        "previous_response_id",
        "service_tier",
    ];
    let mut request = json!({ "input": "hi" });
    for name in names {
        request[name] = Value::Null;
    }
    assert_eq!(chat_body(&request), json!({ "model": "auto", "messages": [{ "role": "user", "content": "hi" }] }));
    assert!(Request::parse(request.to_string().as_bytes()).unwrap().store());
}

#[test]
fn logprobs_are_asked_for_only_where_the_client_wants_to_see_them() {
    let body = chat_body(&json!({ "input": "hi", "top_logprobs": 3 }));
    assert_eq!((body.get("logprobs"), body.get("top_logprobs")), (None, None));
}

#[test]
fn text_formats_become_response_formats() {
    let format = |format: Value| chat_body(&json!({ "input": "hi", "text": { "format": format } }));
    assert_eq!(format(json!({ "type": "text" })).get("response_format"), None);
    assert_eq!(format(json!({ "type": "json_object" }))["response_format"], json!({ "type": "json_object" }));
    let schema = json!({ "type": "json_schema", "name": "n", "description": "d", "schema": { "type": "object" }, "strict": true });
    let expected = json!({ "type": "json_schema", "json_schema": { "name": "n", "description": "d", "schema": { "type": "object" }, "strict": true } });
    assert_eq!(format(schema)["response_format"], expected);
}

#[test]
fn schemas_keep_the_order_of_their_members() {
    let schema = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"number"}}}"#;
    let request = format!(
        r#"{{"input":"hi","text":{{"format":{{"type":"json_schema","name":"n","schema":{schema}}}}},
            "tools":[{{"type":"function","name":"f","parameters":{schema}}}]}}"#
    );
    let body = Request::parse(request.as_bytes()).unwrap().translate(&[], &[]).unwrap().chat_body;
    assert_eq!(String::from_utf8(body).unwrap().matches(schema).count(), 2);
}

#[test]
fn what_is_not_here_is_refused_by_name() {
    let cases = [
        ("background", json!(true)),
        ("conversation", json!("conv_1")),
        ("conversation", json!({ "id": "conv_1" })),
        ("prompt", json!({ "id": "pmpt_1" })),
        ("truncation", json!("auto")),
        ("context_management", json!([{ "type": "compaction" }])),
        ("moderation", json!({ "model": "x" })),
        ("previous_response_id", json!("resp_of_somebody_else")),
        ("previous_response_id", json!("resp_00000000000000000000000000000000")),
        ("max_output_tokens", json!(0)),
        ("max_output_tokens", json!("9")),
        ("temperature", json!("hot")),
        ("top_p", json!([])),
        ("top_logprobs", json!(21)),
        ("stream", json!(1)),
        ("store", json!("yes")),
        ("instructions", json!(["x"])),
        ("user", json!(5)),
        ("model", json!(5)),
        ("metadata", json!("x")),
        ("include", json!("x")),
        ("reasoning", json!("high")),
        ("text", json!("plain")),
        ("input", json!([])),
        ("input", json!(5)),
    ];
    for (name, value) in cases {
        let mut request = json!({ "input": "hi" });
        request[name] = value.clone();
        assert_eq!(fault(&request).0, name, "{value}");
    }
    assert!(try_translate(&json!({ "input": "hi", "background": false, "truncation": "disabled" })).is_ok());
    assert_eq!(fault(&json!({ "model": "m" })), ("input".into(), "input is required.".into()));
    let nested = [
        (json!({ "reasoning": { "effort": 5 } }), "reasoning.effort"),
        (json!({ "text": { "verbosity": 5 } }), "text.verbosity"),
        (json!({ "text": { "format": { "type": "xml" } } }), "text.format.type"),
        (json!({ "text": { "format": { "type": "json_schema", "name": "n" } } }), "text.format.schema"),
        (json!({ "text": { "format": { "type": "json_schema", "schema": {} } } }), "text.format.name"),
    ];
    for (mut request, param) in nested {
        request["input"] = "hi".into();
        assert_eq!(fault(&request).0, param);
    }
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in [&b""[..], b"{", b"[]", b"{} {}", b"{\"input\":\"a\",\"input\":\"b\"}", b"{\"input\":\"\xff\"}"] {
        let fault = Request::parse(body).unwrap_err();
        assert_eq!(fault.param, None, "{body:?}");
        assert!(fault.message.starts_with("The request body "), "{fault}");
    }
}
