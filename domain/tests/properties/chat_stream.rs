//! A rewritten stream is the same however its bytes were cut, and says the same but for model and
//! usage.

use guildhall_domain::chat::stream::{StreamEnd, StreamFault, StreamRewriter};
use guildhall_domain::pricing::TokenUsage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::json_values::{text, value};

const END_OF_STREAM_ERROR: &str = "upstream_incomplete";

fn chunk() -> impl Strategy<Value = Value> {
    let usage = prop_oneof![
        3 => Just(None),
        2 => Just(Some(Value::Null)),
        1 => (1..99_u64).prop_map(|n| Some(json!({"prompt_tokens": n, "completion_tokens": 2}))),
    ];
    let model = prop_oneof![4 => Just(Some("up")), 1 => Just(Some("other")), 1 => Just(None)];
    let choices = prop_oneof![
        4 => text().prop_map(|text| json!([{"index": 0, "delta": {"content": text, "usage": null}}])),
        1 => value().prop_map(|value| json!([{"model": value, "delta": {}}])),
        1 => Just(json!([])),
    ];
    (usage, model, choices, 1..13_u64, "[a-z]{1,3}", value()).prop_map(
        |(usage, model, choices, created, extra_key, extra)| {
            let mut chunk = Map::new();
            chunk.insert("choices".into(), choices);
            chunk.insert("created".into(), created.into());
            chunk.insert(format!("x_{extra_key}"), extra);
            if let Some(model) = model {
                chunk.insert("model".into(), model.into());
            }
            if let Some(usage) = usage {
                chunk.insert("usage".into(), usage);
            }
            chunk.into()
        },
    )
}

/// An object's text with its members in another order, as upstreams differ.
fn turned(value: &Value, by: usize) -> String {
    let mut members: Vec<String> =
        value.as_object().unwrap().iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    let by = by % members.len();
    members.rotate_left(by);
    format!("{{{}}}", members.join(","))
}

fn event() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (chunk(), 0..5_usize, prop_oneof!["", "event: message\n", "event: message\nid: 7\n"], any::<bool>()).prop_map(
            |(chunk, by, name, has_space)| {
                format!("{name}data:{}{}\n\n", if has_space { " " } else { "" }, turned(&chunk, by))
            },
        ),
        1 => Just(": keep alive\n\n".to_owned()),
        1 => Just("event: ping\ndata: pong\n\n".to_owned()),
        1 => Just("\n".to_owned()),
    ]
}

prop_compose! {
    fn stream()(
        events in prop::collection::vec(event(), 0..8),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        has_mark: bool,
        end in prop_oneof![
            4 => Just("data: [DONE]\n\n"), 1 => Just(""), 1 => Just("data: [DONE]"), 1 => Just("data: {\"id\":"),
            1 => Just("data: {\"error\":{\"message\":\"boom\"}}\n\ndata: [DONE]\n\n"),
        ],
    ) -> String {
        let text = (events.concat() + end).replace('\n', line_end);
        if has_mark { format!("\u{feff}{text}") } else { text }
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    out: String,
    fault: Option<StreamFault>,
    usage: Option<TokenUsage>,
    output_tokens: u64,
    is_done: bool,
}

fn run<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, hide_usage: bool) -> Outcome {
    let mut rewriter = StreamRewriter::new("auto", hide_usage);
    let mut out = Vec::new();
    let fault = chunks.into_iter().find_map(|chunk| rewriter.push(chunk, &mut out).err());
    match &fault {
        Some(fault) => rewriter.finish(StreamEnd::Failed { code: fault.code(), message: "no" }, &mut out),
        None => rewriter.finish(StreamEnd::Eof, &mut out),
    }
    Outcome {
        out: String::from_utf8(out).unwrap(),
        fault,
        usage: rewriter.usage(),
        output_tokens: rewriter.output_tokens_seen(),
        is_done: rewriter.saw_done(),
    }
}

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

/// The objects of an event stream's data lines.
fn objects(stream: &str) -> Vec<Value> {
    stream
        .trim_start_matches('\u{feff}')
        .split(['\n', '\r'])
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok())
        .filter(Value::is_object)
        .collect()
}

/// What the client ought to see of a chunk.
fn expected(mut chunk: Value, hide_usage: bool) -> Option<Value> {
    let members = chunk.as_object_mut().unwrap();
    if members.contains_key("model") {
        members.insert("model".into(), "auto".into());
    }
    if hide_usage {
        let usage = members.remove("usage").unwrap_or_default();
        if usage.is_object() && members["choices"] == json!([]) {
            return None;
        }
    }
    Some(chunk)
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        stream in stream(),
        hide_usage: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = run([stream.as_bytes()], hide_usage);
        prop_assert_eq!(&run(cut(stream.as_bytes(), &cuts), hide_usage), &whole);
        prop_assert_eq!(&run(stream.as_bytes().chunks(1), hide_usage), &whole);
    }

    #[test]
    fn chunks_say_the_same_but_for_model_and_usage(stream in stream(), hide_usage: bool) {
        let outcome = run([stream.as_bytes()], hide_usage);
        let (given, mut seen) = (objects(&stream), objects(&outcome.out));
        let says_done = outcome.out.split(['\n', '\r']).any(|line| line == "data: [DONE]");
        prop_assert_eq!(says_done, outcome.is_done);
        if outcome.is_done {
            prop_assert_eq!(&outcome.fault, &None);
        } else {
            let last = seen.pop().unwrap();
            let code = outcome.fault.as_ref().map_or(END_OF_STREAM_ERROR, StreamFault::code);
            prop_assert_eq!(&last["error"]["code"], code);
            prop_assert!(outcome.out.ends_with("}}\n\n"));
        }
        let given = given.into_iter().filter(|chunk| chunk.get("error").is_none());
        let expected: Vec<_> = given.filter_map(|chunk| expected(chunk, hide_usage)).collect();
        prop_assert_eq!(seen, expected);
        let events = outcome.out.replace("\r\n", "\n").replace('\r', "\n");
        let is_empty = |event: &str| !event.contains("data:") && (event.contains("event:") || event.contains("id:"));
        prop_assert!(!events.split("\n\n").any(is_empty), "{}", outcome.out);
    }

    #[test]
    fn no_bytes_make_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..6)) {
        let mut rewriter = StreamRewriter::new("auto", true);
        let mut out = Vec::new();
        for chunk in &chunks {
            let _ = rewriter.push(chunk, &mut out);
        }
        rewriter.finish(StreamEnd::Eof, &mut out);
    }
}
