//! The Responses API over random answers: events build what the last one says, whole and streamed answers are the
//! same, and cuts change nothing.

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::chat::stream::StreamEnd;
use guildhall_domain::ids::ResponseId;
use guildhall_domain::responses::{ChatToResponsesStream, Echo, Request, to_response};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json_values::{text, value};

const DONE: &str = "data: [DONE]\n\n";

fn echo(has_summary: bool) -> Echo {
    let summary = if has_summary { json!("auto") } else { Value::Null };
    let body = json!({
        "model": "m", "input": "hi", "reasoning": { "summary": summary },
        "tools": [
            { "type": "function", "name": "f" }, { "type": "custom", "name": "c" },
            { "type": "namespace", "name": "n", "tools": [{ "type": "function", "name": "f" }] },
        ],
    })
    .to_string();
    Request::parse(body.as_bytes()).unwrap().translate(&[], &[]).unwrap().echo
}

fn id() -> ResponseId {
    ResponseId::from_random([3; 16])
}

fn call() -> impl Strategy<Value = Value> {
    let arguments = prop_oneof![text(), text().prop_map(|text| json!({ "input": text }).to_string())];
    (prop_oneof![Just("f"), Just("c"), Just("n__f"), Just("gone")], "[a-z]{0,2}", arguments).prop_map(
        |(name, id, arguments)| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }),
    )
}

prop_compose! {
    fn message()(
        reasoning in text(), content in text(), refusal in text(), calls in prop::collection::vec(call(), 0..4),
    ) -> Value {
        json!({ "reasoning_content": reasoning, "content": content, "refusal": refusal, "tool_calls": calls })
    }
}

fn finish_reason() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("stop"), 1 => Just("length"), 1 => Just("content_filter"), 2 => Just("tool_calls")]
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A text in two pieces.
fn halves(text: &str, cut: prop::sample::Index) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (a, b) = chars.split_at(cut.index(chars.len() + 1));
    (a.iter().collect(), b.iter().collect())
}

/// A message as a server streams it.
fn stream_of(message: &Value, finish: &str, cut: prop::sample::Index) -> String {
    let chunk = |delta: Value| data(&json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }));
    let mut out = String::new();
    for name in ["reasoning_content", "content", "refusal"] {
        let (a, b) = halves(message[name].as_str().unwrap(), cut);
        out += &chunk(json!({ name: a }));
        out += &chunk(json!({ name: b }));
    }
    for (index, call) in message["tool_calls"].as_array().unwrap().iter().enumerate() {
        let (a, b) = halves(call["function"]["arguments"].as_str().unwrap(), cut);
        let name = &call["function"]["name"];
        out += &chunk(
            json!({ "tool_calls": [{ "index": index, "id": call["id"], "function": { "name": name, "arguments": a } }] }),
        );
        out += &chunk(json!({ "tool_calls": [{ "index": index, "function": { "arguments": b } }] }));
    }
    out += &data(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }] }));
    out += &data(&usage());
    out + DONE
}

fn usage() -> Value {
    json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 } })
}

fn run<'c>(echo: Echo, chunks: impl IntoIterator<Item = &'c [u8]>) -> String {
    let mut stream = ChatToResponsesStream::new(echo, id(), 1);
    let mut out = Vec::new();
    for chunk in chunks {
        stream.push(chunk, &mut out);
    }
    stream.finish(StreamEnd::Eof, &mut out);
    assert!(stream.has_ended());
    String::from_utf8(out).unwrap()
}

fn events(out: &str) -> Vec<Value> {
    out.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

/// Rebuilds the output from the events as clients' libraries do, and refuses what they refuse.
fn replay(events: &[Value]) -> Value {
    let mut output: Vec<Value> = Vec::new();
    let mut is_done: Vec<bool> = Vec::new();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
        let kind = event["type"].as_str().unwrap().trim_start_matches("response.");
        let place = event["output_index"].as_u64().unwrap_or_default() as usize;
        if let Some(item_id) = event.get("item_id") {
            assert_eq!((item_id, is_done[place]), (&output[place]["id"], false), "{event}");
        }
        let part = event["content_index"].as_u64().unwrap_or_default() as usize;
        match kind {
            "created" => assert_eq!(number, 0),
            "in_progress" => assert_eq!(number, 1),
            "output_item.added" => {
                assert_eq!(place, output.len());
                assert!(output.iter().all(|item| item["id"] != event["item"]["id"]));
                let call_id = event["item"].get("call_id");
                assert!(call_id.is_none() || output.iter().all(|item| item.get("call_id") != call_id));
                output.push(event["item"].clone());
                is_done.push(false);
            }
            "output_item.done" => {
                let mut last = event["item"].clone();
                assert_ne!(last["status"], "in_progress");
                let status = std::mem::replace(&mut last["status"], "in_progress".into());
                assert_eq!(output[place], last);
                output[place]["status"] = status;
                is_done[place] = true;
            }
            "content_part.added" => {
                let parts = output[place]["content"].as_array_mut().unwrap();
                assert_eq!(part, parts.len());
                parts.push(event["part"].clone());
            }
            "reasoning_summary_part.added" => output[place]["summary"] = json!([event["part"]]),
            "content_part.done" => assert_eq!(output[place]["content"][part], event["part"]),
            "reasoning_summary_part.done" => assert_eq!(output[place]["summary"][0], event["part"]),
            "completed" | "incomplete" | "failed" => assert_eq!(number + 1, events.len()),
            "error" => assert_eq!(number + 2, events.len()),
            _ => {
                let (of, step) = kind.rsplit_once('.').unwrap();
                let target = match of {
                    "output_text" | "reasoning_text" => &mut output[place]["content"][part]["text"],
                    "refusal" => &mut output[place]["content"][part]["refusal"],
                    "reasoning_summary_text" => &mut output[place]["summary"][0]["text"],
                    "function_call_arguments" => &mut output[place]["arguments"],
                    "custom_tool_call_input" => &mut output[place]["input"],
                    other => unreachable!("{other}"),
                };
                let text = target.as_str().unwrap().to_owned();
                if step == "delta" {
                    *target = (text + event["delta"].as_str().unwrap()).into();
                } else {
                    let names = ["text", "refusal", "arguments", "input"];
                    assert_eq!(names.iter().find_map(|name| event.get(name)), Some(&json!(text)));
                }
            }
        }
    }
    output.into()
}

/// Deltas in any order, as no server should send them.
fn any_delta() -> impl Strategy<Value = Value> {
    let piece = (prop::option::of(0..3_u64), prop::option::of(call()), text()).prop_map(|(index, call, more)| {
        let mut piece = call.unwrap_or_else(|| json!({ "function": { "arguments": more } }));
        if let Some(index) = index {
            piece["index"] = index.into();
        }
        json!({ "tool_calls": [piece] })
    });
    prop_oneof![
        2 => text().prop_map(|text| json!({ "content": text })),
        2 => text().prop_map(|text| json!({ "reasoning_content": text })),
        1 => text().prop_map(|text| json!({ "refusal": text })),
        3 => piece,
        1 => message(),
    ]
}

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

proptest! {
    #[test]
    fn a_stream_ends_in_what_the_whole_answer_says(
        message in message(), finish in finish_reason(), at: prop::sample::Index, has_summary: bool,
    ) {
        let mut completion = usage();
        completion["choices"] = json!([{ "index": 0, "message": message, "finish_reason": finish }]);
        let whole = to_response(completion.to_string().as_bytes(), &echo(has_summary), id(), 1).unwrap();
        let out = run(echo(has_summary), [stream_of(&message, finish, at).as_bytes()]);
        let last = out.trim_end().rsplit_once("\"response\":").unwrap().1;
        // Byte for byte, but for the brace that ends the event.
        prop_assert_eq!(last.strip_suffix('}').unwrap(), String::from_utf8(whole).unwrap());
    }

    #[test]
    fn events_build_what_the_last_one_says(
        deltas in prop::collection::vec(any_delta(), 0..12), finish in finish_reason(), is_whole: bool, has_summary: bool,
    ) {
        let chunks = deltas.iter().map(|delta| data(&json!({ "choices": [{ "index": 0, "delta": delta }] })));
        let mut input: String = chunks.collect();
        if is_whole {
            input += &data(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }] }));
            input += DONE;
        }
        let events = events(&run(echo(has_summary), [input.as_bytes()]));
        let built = replay(&events);
        let response = &events.last().unwrap()["response"];
        let is_failed = response["status"] == "failed";
        prop_assert_eq!(is_failed, !is_whole);
        if is_whole {
            prop_assert_eq!(&response["output"], &built);
        }
    }

    #[test]
    fn cuts_change_nothing(
        message in message(), finish in finish_reason(), at: prop::sample::Index,
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        tail in prop_oneof![3 => Just(""), 1 => Just("data: {\"error\":{\"message\":\"boom\"}}\n\n")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input = (": hello\n\n".to_owned() + &stream_of(&message, finish, at).replace(DONE, tail)).replace('\n', line_end);
        let whole = run(echo(false), [input.as_bytes()]);
        prop_assert_eq!(&run(echo(false), cut(input.as_bytes(), &cuts)), &whole);
        prop_assert_eq!(&run(echo(false), input.as_bytes().chunks(1)), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..6), body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        run(echo(false), chunks.iter().map(Vec::as_slice));
        let _ = Request::parse(&body);
        let _ = to_response(&body, &echo(false), id(), 1);
    }

    #[test]
    fn no_values_make_it_panic_and_what_passes_is_a_chat_request(
        values in prop::collection::vec(value(), 6), kind in "(message|function_call|function_call_output|reasoning|[a-z]{0,3})",
    ) {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let request = json!({
            "input": [{ "role": "user", "content": "x" }, { "type": kind, "role": "user", "content": next(), "call_id": "c", "name": "f", "arguments": "{}", "output": next() }],
            "tools": next(), "tool_choice": next(), "text": next(), "reasoning": next(),
        });
        let body = request.to_string();
        if let Ok(translated) = Request::parse(body.as_bytes()).and_then(|request| request.translate(&[], &[])) {
            prop_assert!(ChatRequest::parse(&translated.chat_body).is_ok());
        }
        let chunk = data(&json!({ "choices": [{ "delta": { "content": next(), "tool_calls": next() }, "logprobs": next() }] }));
        run(echo(true), [chunk.as_bytes()]);
    }
}
