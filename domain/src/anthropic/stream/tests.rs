mod careless;

use serde_json::{Value, json};

use super::{ChatToMessagesStream, MessagesToChatStream};
use crate::anthropic::JSON_ANSWER_TOOL;
use crate::chat::stream::{MAX_LINE_BYTES, StreamEnd, StreamFault, StreamRewriter};
use crate::pricing::{TOKENS_MAX, TokenUsage};
use crate::routing::{ErrorClass, classify_error_type};

/// Anthropic's way of writing events.
fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_01X", "type": "message", "role": "assistant", "content": [],
        "model": "claude", "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(stop_reason: &str) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null},
            "usage": {"output_tokens": 30}}),
        json!({"type": "message_stop"}),
    ]
}

/// A stream with text, thinking and two calls.
fn rich() -> Vec<Value> {
    let mut all = vec![
        start(),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "signature_delta", "signature": "S"})),
        stop(0),
        block(1, json!({"type": "redacted_thinking", "data": "D"})),
        stop(1),
        block(2, json!({"type": "text", "text": ""})),
        delta(2, json!({"type": "text_delta", "text": "Hé \"llo"})),
        stop(2),
        block(3, json!({"type": "tool_use", "id": "toolu_A", "name": "f", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "1}"})),
        stop(3),
        block(4, json!({"type": "tool_use", "id": "toolu_B", "name": "g", "input": {}})),
        stop(4),
    ];
    all.extend(end("tool_use"));
    all
}

fn to_chat(text: &str) -> (Vec<Value>, bool, Result<(), StreamFault>) {
    let mut stream = MessagesToChatStream::new("auto", 7, true);
    let mut out = Vec::new();
    let result = stream.push(text.as_bytes(), &mut out).and_then(|()| stream.finish(&mut out));
    let text = String::from_utf8(out).unwrap();
    let is_done = text.ends_with("data: [DONE]\n\n");
    assert_eq!(is_done, stream.is_done());
    let chunks = text.split("\n\n").filter_map(|frame| serde_json::from_str(frame.strip_prefix("data: ")?).ok());
    (chunks.collect(), is_done, result)
}

fn to_messages(text: &str) -> Vec<Value> {
    let mut stream = ChatToMessagesStream::new("auto", "msg_01X".to_owned());
    let mut out = Vec::new();
    stream.push(text.as_bytes(), &mut out);
    stream.finish(&mut out);
    assert!(stream.has_ended());
    read_events(&String::from_utf8(out).unwrap())
}

fn read_events(text: &str) -> Vec<Value> {
    text.split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
            data
        })
        .collect()
}

fn chunk(delta: Value, finish_reason: Option<&str>) -> String {
    let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish_reason}]);
    format!("data: {}\n\n", json!({"id": "chatcmpl-01X", "choices": choices}))
}

#[test]
fn anthropics_events_become_chunks() {
    let (chunks, is_done, result) = to_chat(&events(&rich()));
    assert_eq!((is_done, result), (true, Ok(())));
    let mut out = Vec::new();
    MessagesToChatStream::new("auto", 7, true).push(b"data: {\"type\": \"ping\"}\n\n", &mut out).unwrap();
    assert_eq!(out, b": ping\n\n");
    for chunk in &chunks {
        assert_eq!(chunk["id"], "chatcmpl-01X");
        assert_eq!((&chunk["object"], &chunk["created"]), (&json!("chat.completion.chunk"), &json!(7)));
        assert_eq!(chunk["model"], "auto");
    }
    let deltas: Vec<Value> = chunks
        .iter()
        .filter(|chunk| chunk["choices"] != json!([]))
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    let detail = |detail: Value| json!([detail]);
    let format = "anthropic-claude-v1";
    let arguments = |index: u64, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let call = |index: u64, id: &str, name: &str| {
        json!({"tool_calls": [
            {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]})
    };
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "hm", "reasoning_details":
                detail(json!({"type": "reasoning.text", "text": "hm", "format": format, "index": 0}))}),
            json!({"reasoning_details":
                detail(json!({"type": "reasoning.text", "signature": "S", "format": format, "index": 0}))}),
            json!({"reasoning_details":
                detail(json!({"type": "reasoning.encrypted", "data": "D", "format": format, "index": 1}))}),
            json!({"content": "Hé \"llo"}),
            call(0, "call_A", "f"),
            arguments(0, "{\"x\":"),
            arguments(0, "1}"),
            call(1, "call_B", "g"),
            arguments(1, "{}"),
            json!({}),
        ]
    );
    let [.., last, usage] = chunks.as_slice() else { panic!("too few chunks") };
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(
        usage["usage"],
        json!({"prompt_tokens": 17, "completion_tokens": 30, "total_tokens": 47,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2}})
    );
}

#[test]
fn an_answer_in_json_is_streamed_as_content() {
    let mut all = vec![
        start(),
        block(0, json!({"type": "tool_use", "id": "toolu_A", "name": JSON_ANSWER_TOOL, "input": {}})),
        delta(0, json!({"type": "input_json_delta", "partial_json": "{\"x\":1}"})),
        stop(0),
    ];
    all.extend(end("tool_use"));
    let (chunks, ..) = to_chat(&events(&all));
    assert_eq!(chunks[1]["choices"][0]["delta"], json!({"content": "{\"x\":1}"}));
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn input_that_comes_with_its_start_is_whole() {
    let mut all = vec![
        start(),
        block(0, json!({"type": "tool_use", "id": "", "name": "f", "input": {"x": 1}})),
        delta(0, json!({"type": "input_json_delta", "partial_json": "{\"x\":1}"})),
        block(1, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{}"})),
    ];
    all.extend(end("tool_use"));
    let (chunks, is_done, _) = to_chat(&events(&all));
    assert!(is_done);
    let calls: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls")).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0][0]["id"], "call_0");
    assert_eq!(calls[1][0]["function"]["arguments"], "{\"x\":1}");
}

#[test]
fn only_a_message_stop_is_an_end() {
    let all = rich();
    let cut = events(&all[..all.len() - 1]);
    let (chunks, is_done, result) = to_chat(&cut);
    assert_eq!((chunks.len(), is_done, result), (10, false, Ok(())));
    let (_, is_done, _) = to_chat(&(cut.clone() + "event: message_stop\ndata: {\"type\":\"message_stop\"}"));
    assert!(is_done);
    let (_, is_done, result) = to_chat(&(cut + "data: {\"type\":\"message_st"));
    assert_eq!((is_done, result), (false, Ok(())));
    // Nothing follows the end.
    let (chunks, is_done, result) = to_chat(&(events(&all) + "data: {broken\n\n" + &events(&all)));
    assert_eq!((chunks.len(), is_done, result), (12, true, Ok(())));
}

#[test]
fn usage_is_known_before_the_end_and_hidden_on_request() {
    let mut stream = MessagesToChatStream::new("auto", 7, false);
    let mut out = Vec::new();
    assert_eq!(stream.usage(), None);
    stream.push(events(&rich()[..1]).as_bytes(), &mut out).unwrap();
    assert_eq!(stream.usage(), Some(TokenUsage { input: 17, output: 1, cache_read: 5, cache_write: 2 }));
    stream.push(events(&rich()[1..]).as_bytes(), &mut out).unwrap();
    assert!(!String::from_utf8(out).unwrap().contains("\"usage\""));
    // Zeros at the end take nothing back of the input.
    for (input, expected) in [(0, 17), (12, 19)] {
        let last = json!({"type": "message_delta", "delta": {}, "usage":
            {"input_tokens": input, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 9}});
        let mut stream = MessagesToChatStream::new("auto", 7, false);
        stream.push(events(&[start(), last]).as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(stream.usage(), Some(TokenUsage { input: expected, output: 9, cache_read: 5, cache_write: 2 }));
    }
    // What can't be believed is none.
    for (input, output) in [(0, 0), (TOKENS_MAX + 1, 1), (1, TOKENS_MAX + 1)] {
        let usage = json!({"input_tokens": input, "output_tokens": output});
        let all = [json!({"type": "message_start", "message": {"usage": usage}}), json!({"type": "message_stop"})];
        let mut stream = MessagesToChatStream::new("auto", 7, true);
        let mut out = Vec::new();
        stream.push(events(&all).as_bytes(), &mut out).unwrap();
        assert_eq!(stream.usage(), None, "{usage}");
        assert!(!String::from_utf8(out).unwrap().contains("\"usage\""), "{usage}");
    }
}

#[test]
fn faults_end_the_stream() {
    let error = events(&[json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]);
    let (chunks, is_done, result) = to_chat(&(events(&[start()]) + &error + &events(&end("end_turn"))));
    assert_eq!((chunks.len(), is_done), (1, false));
    let Err(StreamFault::UpstreamError { message, code: Some(code) }) = result else { panic!("no upstream error") };
    assert_eq!(message, "Overloaded");
    assert_eq!(classify_error_type(&code, &message), Some(ErrorClass::RateLimited));
    for wrong in [
        "data: {\"type\":",
        "data: {\"type\":5}",
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}",
        "data: {\"type\":\"content_block_start\",\"index\":-1}",
    ] {
        let (_, is_done, result) = to_chat(&format!("{wrong}\n\n{}", events(&end("end_turn"))));
        assert_eq!((is_done, result), (false, Err(StreamFault::InvalidJson)), "{wrong}");
    }
    let mut stream = MessagesToChatStream::new("auto", 7, true);
    let mut out = Vec::new();
    assert_eq!(stream.push(b"data: {\"type\":\"\xff\"}\n", &mut out), Err(StreamFault::InvalidJson));
    assert_eq!(stream.push(b"\n", &mut out), Err(StreamFault::InvalidJson));
    assert_eq!(stream.finish(&mut out), Err(StreamFault::InvalidJson));
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    assert_eq!(MessagesToChatStream::new("a", 7, true).push(&long, &mut out), Err(StreamFault::LineTooLong));
    assert!(out.is_empty());
}

#[test]
fn an_event_may_come_in_several_lines() {
    let text = events(&rich());
    let expected = to_chat(&text);
    assert_eq!(to_chat(&text.replace(",\"", ",\ndata: \"")), expected);
    // The last one need not end.
    assert_eq!(to_chat(text.replace(",\"", ",\r\ndata:\"").trim_end()), expected);
    let cut = events(&[start()]) + "data: {\"type\":\ndata: \"message_stop\"";
    assert_eq!((to_chat(&cut).1, to_chat(&cut).2), (false, Ok(())));
    let half = format!("data: {{\"a\":[{}\n", "1,".repeat(MAX_LINE_BYTES / 3));
    let mut stream = MessagesToChatStream::new("a", 7, true);
    assert_eq!(stream.push(half.as_bytes(), &mut Vec::new()), Ok(()));
    assert_eq!(stream.push(half.as_bytes(), &mut Vec::new()), Err(StreamFault::LineTooLong));
}

#[test]
fn chunks_become_anthropics_events() {
    let text = [
        chunk(json!({"role": "assistant", "content": ""}), None),
        ": keep-alive\n\n".to_owned(),
        chunk(json!({"reasoning_content": "h"}), None),
        chunk(json!({"reasoning_content": "m"}), None),
        chunk(json!({"content": "Hel"}), None),
        chunk(json!({"content": "lo\n"}), None),
        chunk(
            json!({"tool_calls": [{"index": 0, "id": "call_A", "type": "function",
            "function": {"name": "f", "arguments": ""}}]}),
            None,
        ),
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\""}}]}), None),
        chunk(
            json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}},
            {"index": 1, "id": "call_B", "function": {"name": "g", "arguments": "{}"}}]}),
            None,
        ),
        chunk(json!({}), Some("tool_calls")),
        format!(
            "data: {}\n\n",
            json!({"id": "chatcmpl-01X", "choices": [], "usage": {"prompt_tokens": 17,
            "completion_tokens": 30, "total_tokens": 47, "prompt_tokens_details": {"cached_tokens": 5}}})
        ),
        "data: [DONE]\n\n".to_owned(),
        chunk(json!({"content": "late"}), None),
    ]
    .concat();
    let call = |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let input = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    assert_eq!(
        to_messages(&text),
        [
            json!({"type": "message_start", "message": {"id": "msg_01X", "type": "message", "role": "assistant",
                "model": "auto", "content": [], "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                    "output_tokens": 0}}}),
            json!({"type": "ping"}),
            block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
            delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
            stop(0),
            block(1, json!({"type": "text", "text": ""})),
            delta(1, json!({"type": "text_delta", "text": "Hel"})),
            delta(1, json!({"type": "text_delta", "text": "lo\n"})),
            stop(1),
            block(2, call("toolu_A", "f")),
            delta(2, input("{\"x\"")),
            delta(2, input(":1}")),
            stop(2),
            block(3, call("toolu_B", "g")),
            delta(3, input("{}")),
            stop(3),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5,
                    "output_tokens": 30}}),
            json!({"type": "message_stop"}),
        ]
    );
}

#[test]
fn a_stream_that_fails_ends_in_an_error_event() {
    let error = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    let failing = |frame: &str| {
        let events = to_messages(&(chunk(json!({"content": "a"}), None) + frame));
        events.last().unwrap().clone()
    };
    let own = "data: {\"error\":{\"message\":\"no\",\"type\":\"upstream_error\",\"code\":\"upstream_incomplete\"}}\n\n";
    assert_eq!(failing(own), error("api_error", "no"));
    let limited = "data: {\"error\":{\"message\":\"slow\",\"code\":\"rate_limit_exceeded\"}}\n\ndata: [DONE]\n\n";
    assert_eq!(failing(limited), error("rate_limit_error", "slow"));
    assert_eq!(failing("data: {\"error\":\"words\"}\n\n"), error("api_error", "words"));
    assert_eq!(failing("")["error"]["type"], "api_error");
    assert_eq!(
        failing("data: {\"id\":\n\n"),
        error("api_error", "The model's provider sent a chunk that is not valid.")
    );
    let nameless = chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}), None);
    assert_eq!(failing(&nameless)["type"], "error");
    assert_eq!(to_messages("").len(), 1);
    assert_eq!(to_messages("data: [DONE]\n\n").last().unwrap()["type"], "message_stop");
}

/// From Anthropic's events through the house and back, as a Messages client on an Anthropic provider sees it.
#[test]
fn a_stream_survives_the_way_there_and_back() {
    let mut upstream = MessagesToChatStream::new("claude", 7, true);
    let mut rewriter = StreamRewriter::new("auto", false);
    let mut client = ChatToMessagesStream::new("auto", "msg_01X".to_owned());
    let (mut chat, mut house, mut out) = (Vec::new(), Vec::new(), Vec::new());
    upstream.push(events(&rich()).as_bytes(), &mut chat).unwrap();
    rewriter.push(&chat, &mut house).unwrap();
    rewriter.finish(StreamEnd::Eof, &mut house);
    assert_eq!(rewriter.usage(), Some(TokenUsage { input: 17, output: 30, cache_read: 5, cache_write: 2 }));
    client.push(&house, &mut out);
    client.finish(&mut out);
    let is_said = |event: &Value| !["", "{}"].contains(&event["delta"]["partial_json"].as_str().unwrap_or("x"));
    let seen: Vec<Value> = read_events(&String::from_utf8(out).unwrap()).into_iter().filter(is_said).collect();
    let mut expected: Vec<Value> = rich().into_iter().filter(is_said).collect();
    // What is known only at the end moves there.
    expected[0]["message"]["model"] = "auto".into();
    expected[0]["message"]["usage"] = json!({"input_tokens": 0, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0, "output_tokens": 0});
    let end = expected.len() - 2;
    expected[end]["usage"] = json!({"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 5,
        "output_tokens": 30});
    assert_eq!(seen, expected);
}

#[test]
fn the_text_that_ended_it_is_told() {
    let end = [
        json!({"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "\n\"Q"},
            "usage": {"output_tokens": 30}}),
        json!({"type": "message_stop"}),
    ];
    let (chunks, ..) = to_chat(&events(&[&[start()], end.as_slice()].concat()));
    let last = chunks.iter().find(|chunk| !chunk["choices"][0]["finish_reason"].is_null()).unwrap();
    assert_eq!(
        (&last["choices"][0]["finish_reason"], &last["choices"][0]["stop_reason"]),
        (&json!("stop"), &json!("\n\"Q"))
    );
    let told = to_messages(&format!("data: {last}\n\ndata: [DONE]\n\n"));
    let delta = told.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(delta["delta"], json!({"stop_reason": "stop_sequence", "stop_sequence": "\n\"Q"}));
}
