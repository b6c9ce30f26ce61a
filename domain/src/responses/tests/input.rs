use super::*;

#[test]
fn messages_of_every_role_and_form() {
    let items = json!([
        { "role": "system", "content": "s" },
        { "type": "message", "role": "developer", "content": [
            { "type": "input_text", "text": "a" }, { "type": "input_text", "text": "b" }
        ] },
        { "role": "user", "content": [{ "type": "input_text", "text": "one" }] },
        { "type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
            { "type": "output_text", "text": "yes", "annotations": [], "logprobs": [] },
            { "type": "refusal", "refusal": ", but no" }
        ] },
        { "role": "assistant", "content": "plain" },
        { "role": "user", "content": "two" },
    ]);
    let expected = json!([
        { "role": "system", "content": "s\n\na\nb" },
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": "yes, but no" },
        { "role": "assistant", "content": "plain" },
        { "role": "user", "content": "two" },
    ]);
    assert_eq!(messages(items), expected);
}

#[test]
fn one_system_message_leads() {
    let of = |instructions: &str, items: Value| {
        let body = json!({ "instructions": instructions, "input": items }).to_string().replace("LONE", "\\ud800");
        let translated = Request::parse(body.as_bytes()).unwrap().translate(&[], &[]).unwrap();
        String::from_utf8(translated.chat_body).unwrap()
    };
    let said = |role: &str, text: &str| json!({ "type": "message", "role": role, "content": text });
    let body = of("Be \"brief\".", json!([said("developer", "é"), said("user", "hi"), said("developer", "later")]));
    let expected = r#"[{"role":"system","content":"Be \"brief\".\n\né"},{"role":"user","content":"hi"},{"role":"system","content":"later"}]"#;
    assert!(body.contains(expected), "{body}");
    // A text that can't be decoded is not lost.
    let body = of("a", json!([said("developer", "LONE"), said("user", "hi")]));
    assert!(body.contains(r#"{"role":"system","content":"a"},{"role":"system","content":"\ud800"}"#), "{body}");
}

#[test]
fn images_files_and_audio_stay_parts() {
    let items = json!([{ "role": "user", "content": [
        { "type": "input_text", "text": "see" },
        { "type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "high" },
        { "type": "input_image", "image_url": "https://example.com/a.png", "file_id": null },
        { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA" },
        { "type": "input_file", "file_data": null, "file_url": "https://example.com/a.pdf" },
        { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } },
    ] }]);
    let expected = json!([{ "role": "user", "content": [
        { "type": "text", "text": "see" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "high" } },
        { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA" } },
        { "type": "file", "file": { "file_data": "https://example.com/a.pdf" } },
        { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } },
    ] }]);
    assert_eq!(messages(items), expected);
}

#[test]
fn calls_and_thoughts_of_one_turn_are_one_message() {
    let items = json!([
        { "role": "user", "content": "go" },
        { "type": "reasoning", "id": "rs_1", "summary": [], "content": [{ "type": "reasoning_text", "text": "think" }] },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Looking." }] },
        { "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "ls", "arguments": "{\"p\":\"/\"}" },
        { "type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "a\"b" },
        { "type": "function_call", "call_id": "c3", "name": "now", "arguments": "" },
        { "type": "function_call_output", "call_id": "c1", "output": "etc" },
        { "type": "custom_tool_call_output", "call_id": "c2", "output": [
            { "type": "input_text", "text": "done" }, { "type": "input_text", "text": "twice" }
        ] },
        { "type": "function_call_output", "call_id": "c3", "output": "noon" },
    ]);
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let expected = json!([
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": "Looking.", "reasoning_content": "think", "tool_calls": [
            call("c1", "ls", "{\"p\":\"/\"}"), call("c2", "patch", "{\"input\":\"a\\\"b\"}"), call("c3", "now", "{}")
        ] },
        { "role": "tool", "tool_call_id": "c1", "content": "etc" },
        { "role": "tool", "tool_call_id": "c2", "content": "done\ntwice" },
        { "role": "tool", "tool_call_id": "c3", "content": "noon" },
    ]);
    assert_eq!(messages(items), expected);
}

#[test]
fn thoughts_are_carried_only_where_calls_are_being_worked_on() {
    let reasoning = |text: &str| json!({ "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": text }], "encrypted_content": null });
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "{}" });
    let output = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": "x" });
    let items = json!([
        { "role": "user", "content": "a" }, reasoning("old"), call("c1"), output("c1"),
        reasoning("aloud"), { "role": "assistant", "content": "b" },
        { "role": "user", "content": "c" }, reasoning("new"), call("c2"), output("c2"), reasoning("alone"),
    ]);
    let found = messages(items);
    let thoughts: Vec<&Value> = found.as_array().unwrap().iter().filter_map(|m| m.get("reasoning_content")).collect();
    assert_eq!(thoughts, [&json!("new")]);
    assert_eq!(found.as_array().unwrap().len(), 7);
    // Without any text, as other servers' encrypted thoughts are.
    let empty = json!([{ "type": "reasoning", "id": "r", "summary": [], "encrypted_content": "xyz" }, { "role": "user", "content": "a" }]);
    assert_eq!(messages(empty), json!([{ "role": "user", "content": "a" }]));
}

#[test]
fn results_follow_their_calls_whatever_stands_between() {
    let items = json!([
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}" },
        { "role": "developer", "content": "note" },
        { "type": "function_call_output", "call_id": "c2", "output": [
            { "type": "input_image", "image_url": "data:image/png;base64,AA" }
        ] },
        { "role": "assistant", "content": "meanwhile" },
        { "type": "function_call_output", "call_id": "c1", "output": "1" },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "again" },
    ]);
    let found = messages(items);
    let kinds: Vec<(&str, String)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["role"].as_str().unwrap(), m.get("tool_call_id").unwrap_or(&m["content"]).to_string()))
        .collect();
    assert_eq!(kinds[0].0, "assistant");
    assert_eq!(kinds[1], ("tool", "\"c2\"".into()));
    assert_eq!(kinds[2], ("tool", "\"c1\"".into()));
    let image = r#"[{"type":"text","text":"Returned by the tool call c2:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]"#;
    assert_eq!(
        kinds[3..6],
        [("system", "\"note\"".into()), ("user", image.into()), ("assistant", "\"meanwhile\"".into())]
    );
    assert_eq!((kinds[6].0, kinds[7].0, kinds.len()), ("assistant", "tool", 8));
}

#[test]
fn a_call_that_gets_no_result_holds_nothing_up_for_ever() {
    let items = json!([
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "role": "user", "content": "stop" },
        { "type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c2", "output": "2" },
        { "role": "user", "content": "end" },
    ]);
    let roles: Vec<Value> = messages(items).as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["assistant", "user", "assistant", "tool", "user"]);
}

#[test]
fn faults_name_the_item() {
    let cases = [
        (json!({ "type": "local_shell_call", "id": "x" }), "input[1].type"),
        (json!({ "type": "web_search_call", "id": "x" }), "input[1].type"),
        (json!({ "type": "item_reference", "id": "msg_elsewhere" }), "input[1].id"),
        (json!({ "id": "msg_ababababababababababababababab0000" }), "input[1].id"),
        (json!({ "type": "item_reference" }), "input[1].id"),
        (json!({}), "input[1].type"),
        (json!(5), "input[1]"),
        (json!({ "role": "tool", "content": "x" }), "input[1].role"),
        (json!({ "role": "user" }), "input[1]"),
        (json!({ "role": "user", "content": 5 }), "input[1].content"),
        (json!({ "role": "user", "content": ["x"] }), "input[1].content[0]"),
        (json!({ "role": "user", "content": [{ "text": "x" }] }), "input[1].content[0].type"),
        (json!({ "role": "user", "content": [{ "type": "input_video" }] }), "input[1].content[0].type"),
        (json!({ "role": "user", "content": [{ "type": "input_text" }] }), "input[1].content[0].text"),
        (json!({ "role": "user", "content": [{ "type": "input_text", "text": 5 }] }), "input[1].content[0].text"),
        (
            json!({ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }),
            "input[1].content[0].image_url",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_file", "file_id": "f" }] }),
            "input[1].content[0].file_data",
        ),
        (
            json!({ "role": "user", "content": [{ "type": "input_file", "file_url": 5 }] }),
            "input[1].content[0].file_url",
        ),
        (json!({ "role": "system", "content": [{ "type": "input_image", "image_url": "u" }] }), "input[1].content"),
        (json!({ "type": "function_call", "call_id": "c", "arguments": "{}" }), "input[1]"),
        (json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": {} }), "input[1].arguments"),
        (json!({ "type": "function_call", "call_id": "c", "name": "f" }), "input[1]"),
        (json!({ "type": "function_call_output", "call_id": "none", "output": "x" }), "input[1].call_id"),
        (json!({ "type": "additional_tools", "role": "developer" }), "input[1].tools"),
    ];
    for (item, param) in cases {
        let request = json!({ "input": [{ "role": "user", "content": "hi" }, item] });
        assert_eq!(fault(&request).0, param, "{request}");
    }
    let (_, message) = fault(&json!({ "input": [{ "role": "user" }] }));
    assert_eq!(message, "input[0] can't be read: missing field `content`.");
    let many = vec![json!({ "role": "user", "content": "x" }); MAX_INPUT_ITEMS + 1];
    assert_eq!(fault(&json!({ "input": many })).0, "input");
}
