use super::*;
use crate::answer::InvalidAnswer;

#[test]
fn a_response_repeats_its_request() {
    let request = json!({
        "model": "asked", "input": "hi", "instructions": "Be brief.", "max_output_tokens": 9, "temperature": 0.2,
        "top_p": 0.5, "tools": [{ "type": "function", "name": "f", "parameters": {} }], "tool_choice": "required",
        "parallel_tool_calls": false, "reasoning": { "effort": "low" }, "store": false, "metadata": { "a": "b" },
        "user": "u", "text": { "format": { "type": "json_object" }, "verbosity": "high" }, "prompt_cache_key": "k",
        "safety_identifier": "s", "top_logprobs": 2, "max_tool_calls": 3, "service_tier": "auto",
    });
    let completion = json!({
        "id": "x", "model": "other", "service_tier": "flex",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
            "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 2 } },
    });
    let response =
        to_response(completion.to_string().as_bytes(), &echo(&request), response_id(), CREATED_AT_S).unwrap();
    let response: Value = serde_json::from_slice(&response).unwrap();
    let expected = json!({
        "id": "resp_abababababababababababababababab", "object": "response", "created_at": CREATED_AT_S,
        "status": "completed", "error": null, "incomplete_details": null, "background": false,
        "instructions": "Be brief.", "max_output_tokens": 9, "max_tool_calls": 3, "model": "asked",
        "output": [{
            "type": "message", "id": "msg_abababababababababababababababab0000", "status": "completed",
            "role": "assistant",
            "content": [{ "type": "output_text", "text": "Hello", "annotations": [], "logprobs": [] }],
        }],
        "parallel_tool_calls": false, "previous_response_id": null, "prompt_cache_key": "k",
        "reasoning": { "effort": "low", "summary": null }, "safety_identifier": "s", "service_tier": "flex",
        "store": false, "temperature": 0.2, "text": { "format": { "type": "json_object" }, "verbosity": "high" },
        "tool_choice": "required", "tools": [{ "type": "function", "name": "f", "parameters": {} }],
        "top_logprobs": 2, "top_p": 0.5, "truncation": "disabled", "user": "u", "metadata": { "a": "b" },
        "usage": { "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 0 },
            "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 15 },
    });
    assert_eq!(response, expected);
}

#[test]
fn what_the_client_left_out_has_its_meaning() {
    let response = respond(&json!({ "content": "x" }), "stop", &simple_echo());
    let expected = json!({
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": true, "store": true, "metadata": {},
        "text": { "format": { "type": "text" } }, "reasoning": { "effort": null, "summary": null },
        "temperature": null, "instructions": null, "usage": null, "service_tier": null, "truncation": "disabled",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(response.get(name), Some(value), "{name}");
    }
}

#[test]
fn items_come_in_the_order_of_the_api() {
    let message = json!({
        "reasoning_content": "hm", "content": "text", "refusal": "no",
        "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            { "id": "", "type": "function", "function": { "name": "g", "arguments": { "a": 1 } } },
            { "id": "c1", "type": "function", "function": { "name": "h", "arguments": "" } },
        ],
    });
    let output = respond(&message, "tool_calls", &simple_echo())["output"].clone();
    let id = |prefix: &str, index: usize| format!("{prefix}_abababababababababababababababab{index:04}");
    let call = |index: usize, call_id: &str, name: &str, arguments: &str| {
        json!({ "type": "function_call", "id": id("fc", index), "call_id": call_id, "name": name,
            "arguments": arguments, "status": "completed" })
    };
    let expected = json!([
        { "type": "reasoning", "id": id("rs", 0), "summary": [], "status": "completed",
          "content": [{ "type": "reasoning_text", "text": "hm" }] },
        { "type": "message", "id": id("msg", 1), "status": "completed", "role": "assistant", "content": [
            { "type": "output_text", "text": "text", "annotations": [], "logprobs": [] },
            { "type": "refusal", "refusal": "no" },
        ] },
        call(2, "c1", "f", "{}"),
        // Ids that are missing or taken are replaced: results must find their calls.
        call(3, &id("call", 3), "g", "{\"a\":1}"),
        call(4, &id("call", 4), "h", ""),
    ]);
    assert_eq!(output, expected);
}

#[test]
fn thoughts_are_a_summary_for_clients_that_asked_for_one() {
    let asking = echo(&json!({ "input": "hi", "reasoning": { "summary": "auto" } }));
    let item = respond(&json!({ "reasoning": "hm", "content": "x" }), "stop", &asking)["output"][0].clone();
    let expected = json!({ "type": "reasoning", "id": "rs_abababababababababababababababab0000",
        "summary": [{ "type": "summary_text", "text": "hm" }], "status": "completed" });
    assert_eq!(item, expected);
}

#[test]
fn an_answer_cut_short_is_incomplete() {
    for (finish, reason) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let message = json!({ "reasoning_content": "hm", "content": "x" });
        let response = respond(&message, finish, &simple_echo());
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"], json!({ "reason": reason }));
        assert_eq!(
            (&response["output"][0]["status"], &response["output"][1]["status"]),
            (&json!("completed"), &json!("incomplete"))
        );
    }
    assert_eq!(respond(&json!({ "content": "x" }), "stop", &simple_echo())["incomplete_details"], Value::Null);
}

#[test]
fn logprobs_pass_as_they_are() {
    let entry = json!({ "token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": [{ "token": "x", "logprob": -0.5, "bytes": [120] }] });
    let completion = json!({ "choices": [{ "message": { "content": "x" }, "finish_reason": "stop", "logprobs": { "content": [entry] } }] });
    let response = to_response(completion.to_string().as_bytes(), &simple_echo(), response_id(), 0).unwrap();
    let response: Value = serde_json::from_slice(&response).unwrap();
    assert_eq!(response["output"][0]["content"][0]["logprobs"], json!([entry]));
}

#[test]
fn an_odd_member_that_nobody_needs_loses_no_answer() {
    let response = |members: &str| {
        let text = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"M}],"usage":null,"usage":null}"#;
        let response = to_response(text.replace('M', members).as_bytes(), &simple_echo(), response_id(), 0).unwrap();
        serde_json::from_slice::<Value>(&response).unwrap()
    };
    for members in [
        "",
        r#","logprobs":[]"#,
        r#","logprobs":{"content":{}}"#,
        r#","index":"0""#,
        r#","x":1,"x":2"#,
        r#","finish_reason":7,"finish_reason":"length""#,
    ] {
        let response = response(members);
        assert_eq!(response["output"][0]["content"][0]["text"], "a", "{members}");
        assert_eq!((&response["status"], &response["usage"]), (&json!("incomplete"), &Value::Null), "{members}");
    }
}

#[test]
fn content_in_parts_is_joined_and_no_content_is_no_item() {
    let parts =
        json!({ "content": [{ "type": "text", "text": "a" }, { "type": "other" }, { "type": "text", "text": "b" }] });
    assert_eq!(respond(&parts, "stop", &simple_echo())["output"][0]["content"][0]["text"], "ab");
    for empty in [json!({}), json!({ "content": null, "tool_calls": null }), json!({ "content": "", "tool_calls": [] })]
    {
        assert_eq!(respond(&empty, "stop", &simple_echo())["output"], json!([]));
    }
}

#[test]
fn what_is_no_completion_is_refused() {
    let refuse = |body: &str| to_response(body.as_bytes(), &simple_echo(), response_id(), 0).unwrap_err();
    assert!(matches!(refuse("<html>"), InvalidAnswer::NotJson(_)));
    assert!(matches!(refuse(r#"{"choices":5}"#), InvalidAnswer::NotJson(_)));
    assert_eq!(refuse(r#"{"choices":[]}"#), InvalidAnswer::UpstreamError);
    assert_eq!(refuse(r#"{"error":{"message":"x"}}"#), InvalidAnswer::UpstreamError);
}
