use super::*;
use crate::chat::stream::StreamEnd;

fn chunk(delta: Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }))
}

fn finish(reason: &str) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }))
}

const DONE: &str = "data: [DONE]\n\n";

fn run_with(echo: Echo, input: &str, end: StreamEnd<'_>) -> (Vec<Value>, Option<Value>) {
    let mut stream = ChatToResponsesStream::new(echo, response_id(), CREATED_AT_S);
    let mut out = Vec::new();
    stream.push(input.as_bytes(), &mut out);
    stream.finish(end, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut events = Vec::new();
    for block in text.split_terminator("\n\n").filter(|block| *block != ":") {
        let (name, data) = block.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        assert_eq!(event["sequence_number"], events.len());
        events.push(event);
    }
    (events, stream.response().map(|response| serde_json::from_slice(&response).unwrap()))
}

fn run(input: &str) -> Vec<Value> {
    run_with(simple_echo(), input, StreamEnd::Eof).0
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response.").or(Some("error"))).collect()
}

/// An event without its number.
fn bare(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().unwrap().remove("sequence_number");
    event
}

#[test]
fn text_is_told_in_the_exact_sequence() {
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    let input = [
        chunk(json!({ "role": "assistant", "content": "" })),
        chunk(json!({ "content": "Hel" })),
        ": keep-alive\n\n".to_owned(),
        chunk(json!({ "content": "lo" })),
        finish("stop"),
        format!("{usage}\n\n"),
        DONE.to_owned(),
    ];
    let (events, response) = run_with(simple_echo(), &input.concat(), StreamEnd::Eof);
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(
        (&events[0]["response"]["status"], &events[0]["response"]["output"]),
        (&json!("in_progress"), &json!([]))
    );
    let id = "msg_abababababababababababababababab0000";
    let item = |status: &str, content: Value| json!({ "type": "message", "id": id, "status": status, "role": "assistant", "content": content });
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let at = json!({ "item_id": id, "output_index": 0, "content_index": 0 });
    let with = |name: &str, more: Value| {
        let mut event = at.clone();
        event["type"] = name.into();
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let bodies = [
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item("in_progress", json!([])) }),
        with("response.content_part.added", json!({ "part": part("") })),
        with("response.output_text.delta", json!({ "delta": "Hel", "logprobs": [] })),
        with("response.output_text.delta", json!({ "delta": "lo", "logprobs": [] })),
        with("response.output_text.done", json!({ "text": "Hello", "logprobs": [] })),
        with("response.content_part.done", json!({ "part": part("Hello") })),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item("completed", json!([part("Hello")])) }),
    ];
    let found: Vec<Value> = events[2..9].iter().map(bare).collect();
    assert_eq!(found, bodies);
    assert_eq!(events[9]["response"]["usage"]["total_tokens"], 3);
    assert_eq!(Some(&events[9]["response"]), response.as_ref());
}

#[test]
fn refusals_and_thoughts_have_events_of_their_own() {
    let input = [
        chunk(json!({ "reasoning_content": "h" })),
        chunk(json!({ "reasoning_content": "m" })),
        chunk(json!({ "refusal": "no" })),
        DONE.into(),
    ]
    .concat();
    let events = run(&input);
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(events[3]["part"], json!({ "type": "reasoning_text", "text": "" }));
    assert_eq!((&events[6]["text"], &events[6]["content_index"]), (&json!("hm"), &json!(0)));
    assert_eq!((&events[12]["refusal"], &events[13]["part"]["refusal"]), (&json!("no"), &json!("no")));

    let asking = echo(&json!({ "input": "hi", "reasoning": { "summary": "auto" } }));
    let (events, _) = run_with(asking, &input, StreamEnd::Eof);
    let expected = [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ];
    assert_eq!(types(&events)[2..9], expected);
    assert_eq!(events[3]["part"], json!({ "type": "summary_text", "text": "" }));
    assert_eq!((&events[6]["text"], &events[6]["summary_index"]), (&json!("hm"), &json!(0)));
}

#[test]
fn calls_are_told_apart_however_the_server_numbers_them() {
    let piece = |piece: Value| chunk(json!({ "tool_calls": [piece] }));
    let numbered = [
        piece(json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } })),
        piece(json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{\"b\":" } })),
        piece(json!({ "index": 0, "function": { "arguments": "{\"a\":1}" } })),
        piece(json!({ "index": 1, "function": { "arguments": "2}" } })),
    ];
    let unnumbered = [
        piece(json!({ "id": "a", "function": { "name": "f", "arguments": "{\"a\":" } })),
        piece(json!({ "function": { "arguments": "1}" } })),
        piece(json!({ "id": "b", "function": { "name": "g", "arguments": "{\"b\":2}" } })),
    ];
    let all_zero = [
        piece(json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"a\":1}" } })),
        piece(json!({ "index": 0, "id": "b", "function": { "name": "g", "arguments": "{\"b\":2}" } })),
    ];
    let late_name = [
        piece(json!({ "index": 0, "id": "a", "function": { "arguments": "{\"a\":" } })),
        piece(json!({ "index": 0, "function": { "name": "f", "arguments": "1}" } })),
        piece(json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{\"b\":2}" } })),
    ];
    for input in [&numbered[..], &unnumbered, &all_zero, &late_name] {
        let events = run(&(input.concat() + &finish("tool_calls") + DONE));
        let last = &events.last().unwrap()["response"];
        let calls: Vec<(&Value, &Value, &Value)> =
            last["output"].as_array().unwrap().iter().map(|i| (&i["call_id"], &i["name"], &i["arguments"])).collect();
        let expected = [(json!("a"), json!("f"), json!("{\"a\":1}")), (json!("b"), json!("g"), json!("{\"b\":2}"))];
        assert_eq!(calls, expected.each_ref().map(|(a, b, c)| (a, b, c)));
    }
}

#[test]
fn a_free_form_tools_input_leaves_whole() {
    let echo = echo(&json!({ "input": "hi", "tools": [{ "type": "custom", "name": "patch" }] }));
    let input = [
        chunk(
            json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "patch", "arguments": "{\"inp" } }] }),
        ),
        chunk(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "ut\":\"x\\n\"}" } }] })),
        DONE.to_owned(),
    ];
    let (events, _) = run_with(echo, &input.concat(), StreamEnd::Eof);
    let expected = [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(types(&events)[2..], expected);
    assert_eq!(
        (&events[2]["item"]["input"], &events[3]["delta"], &events[4]["input"], &events[5]["item"]["input"]),
        (&json!(""), &json!("x\n"), &json!("x\n"), &json!("x\n"))
    );
}

#[test]
fn an_answer_cut_short_ends_in_incomplete() {
    let events = run(&(chunk(json!({ "content": "x" })) + &finish("length") + DONE));
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.incomplete"), &json!("incomplete")));
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(events[events.len() - 2]["item"]["status"], "incomplete");
}

#[test]
fn failures_end_in_an_error_and_a_failed_response() {
    let first = chunk(json!({ "content": "x" }));
    let error = |code: &str| {
        format!(
            "{first}data: {{\"error\":{{\"message\":\"Boom.\",\"type\":\"upstream_error\",\"param\":null,\"code\":\"{code}\"}}}}\n\n"
        )
    };
    let broken = StreamEnd::Failed { code: "timeout", message: "Too slow." };
    let cut = "The model's provider ended the stream before it was complete.";
    let cases = [
        (error("upstream_error"), StreamEnd::Eof, "upstream_error", "server_error", "Boom."),
        (error("rate_limit_exceeded"), StreamEnd::Eof, "rate_limit_exceeded", "rate_limit_exceeded", "Boom."),
        (first.clone(), StreamEnd::Eof, "upstream_incomplete", "server_error", cut),
        (format!("{first}data: {{\"choices\":[{{"), StreamEnd::Eof, "upstream_incomplete", "server_error", cut),
        (first.clone(), broken, "timeout", "server_error", "Too slow."),
        (
            format!("{first}data: {{\"choices\":5}}\n\n"),
            StreamEnd::Eof,
            "upstream_invalid_response",
            "server_error",
            "The model's provider sent a chunk that can't be read.",
        ),
    ];
    for (input, end, code, response_code, message) in cases {
        let (events, response) = run_with(simple_echo(), &input, end);
        let [.., error, failed] = &events[..] else { panic!("{events:?}") };
        let told = json!({ "type": "error", "code": code, "message": message, "param": null,
            "error": { "type": "upstream_error", "code": code, "message": message, "param": null } });
        assert_eq!(bare(error), told, "{input}");
        assert_eq!((&failed["type"], &failed["response"]["status"]), (&json!("response.failed"), &json!("failed")));
        assert_eq!(failed["response"]["error"], json!({ "code": response_code, "message": message }));
        assert_eq!(failed["response"]["output"][0]["status"], "incomplete");
        assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "x");
        assert_eq!(response.as_ref(), Some(&failed["response"]));
    }
    assert_eq!(types(&run("data: {\"error\":\"Boom.\"}\n\n")), ["created", "in_progress", "error", "failed"]);
}

#[test]
fn nothing_follows_the_last_event() {
    let input = [chunk(json!({ "content": "x" })), DONE.into(), chunk(json!({ "content": "y" })), DONE.into()].concat();
    let mut stream = ChatToResponsesStream::new(simple_echo(), response_id(), CREATED_AT_S);
    let mut out = Vec::new();
    stream.push(b"", &mut out);
    assert!(out.starts_with(b"event: response.created\n"));
    assert!(!stream.has_ended() && stream.response().is_none());
    stream.push(input.as_bytes(), &mut out);
    assert!(stream.has_ended());
    let length = out.len();
    stream.push(input.as_bytes(), &mut out);
    stream.finish(StreamEnd::Failed { code: "timeout", message: "late" }, &mut out);
    assert_eq!(out.len(), length);
    // A last line without its end still counts.
    assert_eq!(types(&run("data: [DONE]")), ["created", "in_progress", "completed"]);
}

#[test]
fn bounds_end_the_stream_cleanly() {
    let run_until_full = |chunk: &str, most: usize| {
        let mut stream = ChatToResponsesStream::new(simple_echo(), response_id(), CREATED_AT_S);
        let mut out = Vec::new();
        let mut count = 0;
        while !stream.has_ended() && count <= most {
            out.clear();
            stream.push(chunk.as_bytes(), &mut out);
            count += 1;
        }
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\"code\":\"response_too_large\"") && text.contains("event: response.failed"));
        count
    };
    let text = chunk(json!({ "content": "x".repeat(1 << 19) }));
    assert_eq!(run_until_full(&text, 20), MAX_OUTPUT_BYTES / (1 << 19) + 1);
    let text = chunk(json!({ "content": "x" }));
    assert_eq!(
        run_until_full(&(chunk(json!({ "reasoning": "x" })) + &text), MAX_OUTPUT_ITEMS),
        MAX_OUTPUT_ITEMS / 2 + 1
    );

    let mut stream = ChatToResponsesStream::new(simple_echo(), response_id(), CREATED_AT_S);
    let mut out = Vec::new();
    stream.push(format!("data: {{\"x\":\"{}", "x".repeat(MAX_LINE_BYTES)).as_bytes(), &mut out);
    assert!(stream.has_ended());
}
