//! What careless servers stream.

use serde_json::{Value, json};

use super::{block, chunk, delta, stop, to_messages};

#[test]
fn calls_are_told_apart_though_servers_are_careless() {
    let whole =
        |index: Option<u64>, id: &str| json!({"index": index, "id": id, "function": {"name": "f", "arguments": "{}"}});
    let names = |deltas: &[Value]| {
        let text: String = deltas.iter().map(|delta| chunk(json!({"tool_calls": [delta]}), None)).collect();
        let events = to_messages(&(text + "data: [DONE]\n\n"));
        let ids = events.iter().filter_map(|event| event["content_block"]["id"].as_str().map(str::to_owned));
        (ids.collect::<Vec<_>>(), events[events.len() - 2]["delta"]["stop_reason"].clone())
    };
    let expected = (vec!["toolu_a".to_owned(), "toolu_b".to_owned()], json!("tool_use"));
    assert_eq!(names(&[whole(Some(0), "call_a"), whole(Some(0), "call_b")]), expected);
    assert_eq!(names(&[whole(None, "call_a"), whole(None, "call_b")]), expected);
    let repeated = json!({"index": 0, "id": "call_a", "function": {"arguments": " "}});
    assert_eq!(names(&[whole(Some(0), "call_a"), repeated, whole(Some(1), "call_b")]), expected);
    assert_eq!(names(&[whole(Some(0), "")]).0, ["toolu_0"]);
    // Each call has its own id: results must find it.
    assert_eq!(names(&[whole(Some(0), "call_a"), whole(Some(1), "call_a")]).0, ["toolu_a", "toolu_1"]);
}

#[test]
fn arguments_may_come_as_json() {
    let call =
        json!({"tool_calls": [{"index": 0, "id": "call_A", "function": {"name": "f", "arguments": {"x": "é"}}}]});
    let told = to_messages(&format!("{}data: [DONE]\n\n", chunk(call, Some("tool_calls"))));
    let delta = told.iter().find(|event| event["type"] == "content_block_delta").unwrap();
    assert_eq!(delta["delta"], json!({"type": "input_json_delta", "partial_json": "{\"x\":\"é\"}"}));
    assert_eq!(told.last().unwrap()["type"], "message_stop");
}

/// The events of an answer with these calls, from the first block to the last.
fn blocks_of(pieces: &[Value]) -> Vec<Value> {
    let text: String = pieces.iter().map(|piece| chunk(json!({"tool_calls": [piece]}), None)).collect();
    let events = to_messages(&(text + "data: [DONE]\n\n"));
    let is_block = |event: &&Value| event["type"].as_str().unwrap().starts_with("content_block");
    events.iter().filter(is_block).cloned().collect()
}

#[test]
fn ids_may_change_and_names_may_come_late() {
    let expected = |id: &str, inputs: &[&str]| {
        let call = json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
        let inputs = inputs.iter().map(|text| delta(0, json!({"type": "input_json_delta", "partial_json": text})));
        [vec![block(0, call)], inputs.collect(), vec![stop(0)]].concat()
    };
    let changed = [
        json!({"index": 0, "id": "A", "function": {"name": "f", "arguments": ""}}),
        json!({"index": 0, "id": "B", "function": {"arguments": "{}"}}),
    ];
    assert_eq!(blocks_of(&changed), expected("A", &["{}"]));
    let late = [json!({"index": 0}), json!({"index": 0, "id": "A", "function": {"name": "f", "arguments": "{}"}})];
    assert_eq!(blocks_of(&late), expected("A", &["{}"]));
    let early = [
        json!({"index": 0, "id": "call_A", "function": {"arguments": "{\"x\":"}}),
        json!({"index": 0, "function": {"name": "", "arguments": "\"\u{e9}\n\""}}),
        json!({"index": 0, "function": {"name": "f"}}),
        json!({"index": 0, "function": {"arguments": "}"}}),
    ];
    assert_eq!(blocks_of(&early), expected("toolu_A", &["{\"x\":\"\u{e9}\n\"", "}"]));
}

#[test]
fn calls_without_names_are_none_and_their_input_is_a_fault() {
    let last = |piece: Value| {
        let text = chunk(json!({"tool_calls": [piece]}), Some("tool_calls"));
        let events = to_messages(&(text + "data: [DONE]\n\n"));
        events.into_iter().nth_back(1).unwrap()
    };
    assert_eq!(last(json!({"index": 0, "id": "A"}))["delta"]["stop_reason"], "end_turn");
    let events = to_messages(
        &(chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), None) + "data: [DONE]\n\n"),
    );
    assert_eq!(events.last().unwrap()["type"], "error");
    // Nobody makes us keep much of them.
    let piece = chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "x".repeat(1 << 20)}}]}), None);
    assert_eq!(to_messages(&piece.repeat(9)).last().unwrap()["type"], "error");
}

#[test]
fn a_message_has_an_id_of_its_own() {
    let azures = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"prompt_filter_results\":[]}\n\n";
    let events = to_messages(&(azures.to_owned() + &chunk(json!({"content": "a"}), Some("stop")) + "data: [DONE]\n\n"));
    assert_eq!(events[0]["message"]["id"], "msg_01X");
}

#[test]
fn content_may_come_in_parts() {
    let thought = json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]}]});
    let text =
        json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 7, {"type": "reference"}]});
    let events = to_messages(&(chunk(thought, None) + &chunk(text, Some("stop")) + "data: [DONE]\n\n"));
    assert_eq!(
        events[1..events.len() - 2],
        [
            block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
            stop(0),
            block(1, json!({"type": "text", "text": ""})),
            delta(1, json!({"type": "text_delta", "text": "a"})),
            delta(1, json!({"type": "text_delta", "text": "b"})),
            stop(1),
        ]
    );
}
