use super::*;
use serde_json::value::RawValue;

const STORED: &str = r#"{"id":"resp_abababababababababababababababab","previous":"resp_00000000000000000000000000000000","input":[{"role":"user","content":"hi"}],"response":{"id":"resp_abababababababababababababababab","previous_response_id":"resp_00000000000000000000000000000000","output":[]}}"#;

fn id(byte: u8) -> ResponseId {
    ResponseId::from_random([byte; 16])
}

/// A turn that was made and answered.
fn turn(number: u8, request: &Value, message: &Value, history: &[StoredTurn]) -> StoredTurn {
    let body = request.to_string();
    let request = Request::parse(body.as_bytes()).unwrap();
    let translated = request.translate(history, &[]).unwrap();
    let completion = json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string();
    let response = to_response(completion.as_bytes(), &translated.echo, id(number), CREATED_AT_S).unwrap();
    StoredTurn::new(translated.input, response).unwrap()
}

fn first_turn() -> StoredTurn {
    let request = json!({ "model": "m", "instructions": "old", "input": "What time is it?", "tools": [{ "type": "function", "name": "now" }] });
    let call = json!({ "id": "c1", "function": { "name": "now", "arguments": "{}" } });
    turn(1, &request, &json!({ "reasoning_content": "clock", "tool_calls": [call] }), &[])
}

fn second_request() -> Value {
    json!({ "model": "m", "instructions": "new", "previous_response_id": id(1), "input": [{ "type": "function_call_output", "call_id": "c1", "output": "noon" }] })
}

#[test]
fn the_stored_format_is_unchanged() {
    let turn: StoredTurn = serde_json::from_str(STORED).unwrap();
    assert_eq!(serde_json::to_string(&turn).unwrap(), STORED);
    assert_eq!((turn.id, turn.previous), (response_id(), Some(id(0))));
    assert!(turn.output().unwrap().is_empty());
    let again = StoredTurn::new(turn.input.clone(), turn.response.get().as_bytes().to_vec()).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), STORED);
    assert!(StoredTurn::new(Vec::new(), b"{}".to_vec()).is_err());
}

#[test]
fn a_turn_stands_on_the_turns_before_it() {
    let first = first_turn();
    let second = turn(2, &second_request(), &json!({ "content": "Noon." }), std::slice::from_ref(&first));
    assert_eq!((second.previous, second.input.len()), (Some(id(1)), 1));
    let body = json!({ "model": "m", "previous_response_id": id(2), "input": "Thanks" }).to_string();
    let request = Request::parse(body.as_bytes()).unwrap();
    assert_eq!(request.previous_response_id(), Some(id(2)));
    let translated = request.translate(&[first, second], &[]).unwrap();
    let chat: Value = serde_json::from_slice(&translated.chat_body).unwrap();
    let expected = json!([
        { "role": "user", "content": "What time is it?" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "now", "arguments": "{}" } }
        ] },
        { "role": "tool", "tool_call_id": "c1", "content": "noon" },
        { "role": "assistant", "content": "Noon." },
        { "role": "user", "content": "Thanks" },
    ]);
    assert_eq!(chat["messages"], expected);
    let response = respond(&json!({ "content": "x" }), "stop", &translated.echo);
    assert_eq!(response["previous_response_id"], json!(id(2)));
}

#[test]
fn a_chain_with_a_gap_is_refused() {
    let first = first_turn();
    let second = turn(2, &second_request(), &json!({ "content": "Noon." }), std::slice::from_ref(&first));
    let body = json!({ "previous_response_id": id(2), "input": "x" }).to_string();
    let request = Request::parse(body.as_bytes()).unwrap();
    for history in [vec![], vec![second.clone()], vec![first.clone()], vec![second.clone(), first.clone()]] {
        let fault = request.translate(&history, &[]).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some("previous_response_id"));
    }
    assert!(request.translate(&[first, second], &[]).is_ok());
}

#[test]
fn references_are_replaced_by_what_they_name() {
    let first = first_turn();
    let reference = |prefix: &str, index: usize| json!({ "type": "item_reference", "id": format!("{prefix}_{}{index:04x}", "01".repeat(16)) });
    let body = json!({ "input": [
        { "role": "user", "content": "What time is it?" }, reference("rs", 0), reference("fc", 1),
        { "type": "function_call_output", "call_id": "c1", "output": "noon" },
    ] })
    .to_string();
    let request = Request::parse(body.as_bytes()).unwrap();
    assert_eq!(request.referenced_response_ids(), [id(1)]);
    let translated = request.translate(&[], std::slice::from_ref(&first)).unwrap();
    let chat: Value = serde_json::from_slice(&translated.chat_body).unwrap();
    assert_eq!(chat["messages"][1]["reasoning_content"], "clock");
    assert_eq!(chat["messages"][1]["tool_calls"][0]["id"], "c1");
    // What is stored stands for itself.
    assert!(translated.input[2].get().contains("\"function_call\""));
    assert_eq!(request.translate(&[], &[]).unwrap_err().param.as_deref(), Some("input[1].id"));
}

#[test]
fn nothing_is_kept_of_a_turn_that_is_not_to_be_stored() {
    assert!(translate(&json!({ "input": "hi", "store": false })).input.is_empty());
    let kept: Vec<String> = translate(&json!({ "input": "hi" })).input.iter().map(|raw| raw.get().to_owned()).collect();
    assert_eq!(kept, [r#"{"type":"message","role":"user","content":"hi"}"#]);
}

fn list(page: &ItemPage) -> Value {
    let raw = |value: Value| RawValue::from_string(value.to_string()).unwrap();
    let input = vec![
        raw(json!({ "role": "user", "content": "hi" })),
        raw(json!({ "type": "message", "id": "msg_own", "role": "assistant", "content": "yes" })),
        raw(json!({ "type": "function_call_output", "call_id": "c", "output": "x" })),
    ];
    let turn = StoredTurn { input, ..serde_json::from_str(STORED).unwrap() };
    serde_json::from_slice(&to_input_items(&turn, page).unwrap()).unwrap()
}

#[test]
fn input_items_are_listed_complete_and_in_pages() {
    let page = |limit, order, after: Option<&str>| ItemPage { limit, order, after: after.map(str::to_owned) };
    let hex = "ab".repeat(16);
    let all = list(&page(None, ItemOrder::Ascending, None));
    let expected = json!({
        "object": "list", "has_more": false, "first_id": format!("msgin_{hex}0000"), "last_id": format!("fcin_{hex}0002"),
        "data": [
            { "id": format!("msgin_{hex}0000"), "type": "message", "role": "user", "status": "completed",
              "content": [{ "type": "input_text", "text": "hi" }] },
            { "id": "msg_own", "type": "message", "role": "assistant", "status": "completed",
              "content": [{ "type": "output_text", "text": "yes", "annotations": [] }] },
            { "id": format!("fcin_{hex}0002"), "type": "function_call_output", "call_id": "c", "output": "x", "status": "completed" },
        ],
    });
    assert_eq!(all, expected);
    let newest = list(&page(Some(2), ItemOrder::Descending, None));
    assert_eq!((&newest["last_id"], &newest["has_more"]), (&json!("msg_own"), &json!(true)));
    let rest = list(&page(Some(2), ItemOrder::Descending, Some("msg_own")));
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(format!("msgin_{hex}0000")), &json!(false)));
    let turn: StoredTurn = serde_json::from_str(STORED).unwrap();
    for (limit, after, param) in [(Some(0), None, "limit"), (Some(101), None, "limit"), (None, Some("x"), "after")] {
        let fault = to_input_items(&turn, &page(limit, ItemOrder::Ascending, after)).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some(param));
    }
}

#[test]
fn a_deletion_is_confirmed() {
    let expected = r#"{"id":"resp_abababababababababababababababab","object":"response","deleted":true}"#;
    assert_eq!(String::from_utf8(to_deleted(&response_id())).unwrap(), expected);
}
