use serde_json::{Value, json};

use super::*;
use crate::money::MicroUsd;
use crate::pricing::TokenUsage;

fn canonical(body: &str) -> Option<String> {
    canonicalise(body.as_bytes(), "m").map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn the_same_request_is_the_same_text() {
    let same = [
        r#"{"messages":[{"role":"user","content":"a/é"}],"temperature":0,"top_p":1}"#,
        r#"{ "top_p": 1.0, "temperature": 0.0, "messages": [ { "content": "a\/\u00e9", "role": "user" } ] }"#,
        r#"{"model":"other","temperature":-0.0,"top_p":1e0,"messages":[{"role":"user","content":"a/é"}],"stream":true,
            "stream_options":{"include_usage":true},"user":"u","metadata":{"a":"b"},"store":false,"n":null}"#,
    ];
    let expected = r#"{"messages":[{"content":"a/é","role":"user"}],"model":"m","temperature":0,"top_p":1}"#;
    for body in same {
        assert_eq!(canonical(body).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn what_changes_the_answer_changes_the_text() {
    let bodies = [
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":[1]}"#,
        r#"{"a":1.5}"#,
        r#"{"a":true}"#,
        r#"{"a":{"b":null}}"#,
        r#"{"a":{}}"#,
        r#"{"a":18446744073709551616}"#,
        r#"{"a":18446744073709551617}"#,
        r#"{"b":1}"#,
        r#"{"a":[1,2]}"#,
        r#"{"a":[2,1]}"#,
    ];
    let texts: std::collections::BTreeSet<_> = bodies.iter().map(|body| canonical(body).unwrap()).collect();
    assert_eq!(texts.len(), bodies.len());
    assert_ne!(canonicalise(b"{}", "m"), canonicalise(b"{}", "n"));
    // Two names of one limit.
    assert_eq!(canonical(r#"{"max_tokens":5}"#), canonical(r#"{"max_completion_tokens":5,"max_tokens":4}"#));
    assert_ne!(canonical(r#"{"max_tokens":5}"#), canonical(r#"{"max_tokens":6}"#));
}

#[test]
fn what_cannot_be_normalised_is_not() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for body in [
        "[]",
        "",
        "{",
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"\u0062":2}}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":1e999}"#,
        "{} {}",
        &deep,
    ] {
        assert_eq!(canonical(body), None, "{body}");
    }
}

#[test]
fn the_last_question_is_split_off() {
    let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"wh\u0061t?"}],"model":"m"}"#;
    let (text, rest) = split_last_user_text(body.as_bytes()).unwrap();
    assert_eq!(text, "what?");
    assert_eq!(String::from_utf8(rest).unwrap(), body.replace(r#""wh\u0061t?""#, "null"));
    let parts = r#"{"messages":[{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"role":"user"}]}"#;
    assert_eq!(split_last_user_text(parts.as_bytes()).unwrap().0, "a\nb");
    for other in [
        r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{}}]}]}"#,
        r#"{"messages":[]}"#,
        "{}",
    ] {
        assert!(split_last_user_text(other.as_bytes()).is_none(), "{other}");
    }
}

#[test]
fn requests_say_what_they_want_of_the_cache() {
    let control = CacheControl::parse("No-Cache, max-age=\"60\", stale-if-error=9");
    assert_eq!(control, CacheControl { no_cache: true, max_age_s: Some(60), ..CacheControl::default() });
    let control = control.with(CacheControl::parse("force,max-age=5, max-age=x"));
    assert_eq!((control.force, control.no_cache, control.max_age_s), (true, true, Some(5)));
    assert_eq!(CacheControl::parse("gzip;;,=,max-age=-1"), CacheControl::default());
}

#[test]
fn settings_and_wishes_decide_who_takes_part() {
    let with = |exact| CacheSettings { exact, ..CacheSettings::default() };
    let part = |exact, header: &str, is_repeatable| {
        let part = with(exact).admit(CacheControl::parse(header), is_repeatable);
        (part.reads, part.keeps)
    };
    use ExactCaching::{All, Deterministic, Off};
    for (exact, header, is_repeatable, expected) in [
        (Deterministic, "", true, (true, true)),
        (Deterministic, "", false, (false, false)),
        (Deterministic, "force", false, (true, true)),
        (Deterministic, "no-cache", true, (false, true)),
        (Deterministic, "max-age=0", true, (false, true)),
        (Deterministic, "no-store", true, (false, false)),
        (All, "", false, (true, true)),
        (All, "no-store, force", false, (false, false)),
        (Off, "force", true, (false, false)),
    ] {
        assert_eq!(part(exact, header, is_repeatable), expected, "{exact:?} {header:?} {is_repeatable}");
    }
    let settings = CacheSettings::default();
    let fresh = |header: &str, age_ms| settings.is_fresh(CacheControl::parse(header), age_ms);
    assert!(
        fresh("", 3_599_999) && !fresh("", 3_600_000) && fresh("max-age=10", 9_999) && !fresh("max-age=10", 10_000)
    );
    assert!(settings.is_near(0.95) && !settings.is_near(0.949));
    assert!(CacheSettings { threshold: 10_000, ..settings }.is_near(0.999_999));
}

#[test]
fn stored_formats_are_unchanged() {
    let settings = r#"{"exact":"deterministic","semantic":false,"threshold":9500,"ttl_s":3600}"#;
    assert_eq!(serde_json::to_string(&CacheSettings::default()).unwrap(), settings);
    let usage = TokenUsage { input: 1, output: 2, ..TokenUsage::default() };
    let entry = Entry::new(b"{\"a\":1}".to_vec(), 5, "m", MicroUsd(7), usage).unwrap();
    let text = r#"{"v":1,"stored_ms":5,"model":"m","cost_micros":7,"usage":{"input":1,"output":2,"cache_read":0,"cache_write":0},"body":{"a":1}}"#;
    assert_eq!(String::from_utf8(entry.to_bytes()).unwrap(), text);
    assert_eq!(Entry::read(text.as_bytes()).unwrap().body.get(), "{\"a\":1}");
    assert!(Entry::read(text.replace("\"v\":1", "\"v\":2").as_bytes()).is_err() && Entry::read(b"{}").is_err());
}

const USAGE: TokenUsage = TokenUsage { input: 10, output: 5, cache_read: 4, cache_write: 0 };

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    format!(
        "data: {}\n\n",
        json!({ "id": "up", "created": 1, "model": "m", "system_fingerprint": "f", "choices": [choice] })
    )
}

fn assembled(events: &[String], may_be_cut: bool) -> Option<Value> {
    let body = complete_stream(events.concat().as_bytes(), &USAGE, may_be_cut)?;
    Some(serde_json::from_slice(&body).unwrap())
}

const DONE: &str = "data: [DONE]\n\n";

#[test]
fn a_stream_is_put_together() {
    let call = |piece: Value| json!({ "tool_calls": [piece] });
    let events = [
        ": hello\n\n".to_owned(),
        chunk(&json!({ "role": "assistant", "content": "" }), None),
        chunk(&json!({ "reasoning_content": "hm" }), None),
        chunk(&json!({ "content": "Hel" }), None),
        chunk(&json!({ "content": "lo" }), None),
        chunk(
            &call(json!({ "index": 0, "id": "c", "type": "function", "function": { "name": "f", "arguments": "{" } })),
            None,
        ),
        chunk(&call(json!({ "index": 0, "function": { "arguments": "}" } })), None),
        chunk(&json!({}), Some("tool_calls")),
        DONE.to_owned(),
    ];
    let whole = assembled(&events, false).unwrap();
    let message = json!({ "role": "assistant", "content": "Hello", "reasoning_content": "hm",
        "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] });
    assert_eq!(whole["choices"][0]["message"], message);
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
    assert_eq!((&whole["object"], &whole["system_fingerprint"]), (&json!("chat.completion"), &json!("f")));
}

#[test]
fn only_what_is_finished_and_understood_is_kept() {
    let text = chunk(&json!({ "content": "a" }), None);
    let end = |finish| [text.clone(), chunk(&json!({}), Some(finish)), DONE.to_owned()];
    assert!(assembled(&end("stop"), false).is_some());
    assert!(assembled(&end("length"), false).is_none(), "cut by a limit of ours");
    assert!(assembled(&end("length"), true).is_some(), "cut by the client's own");
    assert!(assembled(&end("content_filter"), true).is_none());
    assert!(assembled(&[text.clone(), DONE.to_owned()], true).is_none(), "without an end");
    assert!(assembled(&end("stop")[..2], true).is_none(), "without [DONE]");
    let odd = [chunk(&json!({ "audio": { "id": "a" } }), Some("stop")), DONE.to_owned()];
    assert!(assembled(&odd, true).is_none(), "what is not understood");
    let call = |id: &str| {
        let call = json!({ "index": 0, "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        chunk(&json!({ "tool_calls": [call] }), None)
    };
    let calls = |second: &str| {
        let piece = call(second).replace("\"name\":\"f\",", "").replace("{}\"", "\"");
        [call("a"), piece, chunk(&json!({}), Some("tool_calls")), DONE.to_owned()]
    };
    let told =
        |second: &str| Some(assembled(&calls(second), false)?["choices"][0]["message"]["tool_calls"][0]["id"].clone());
    assert_eq!((told("a"), told("")), (Some(json!("a")), Some(json!("a"))));
    assert_eq!(told("b"), None, "two calls under one index");
    let error = [text, "data: {\"error\":{\"message\":\"x\"}}\n\n".to_owned(), DONE.to_owned()];
    assert!(assembled(&error, true).is_none());
    let whole = |finish: &str| json!({ "choices": [{ "finish_reason": finish }] }).to_string().into_bytes();
    assert!(complete_whole(&whole("stop"), false).is_some() && complete_whole(&whole("length"), false).is_none());
    assert!(complete_whole(b"{\"choices\":[]}", true).is_none());
    let long = json!({ "choices": [{ "finish_reason": "stop", "text": "x".repeat(ANSWER_MAX_BYTES) }] }).to_string();
    assert!(complete_whole(long.as_bytes(), true).is_none());
}

#[test]
fn a_kept_answer_streams_and_comes_whole_alike() {
    let text = "é".repeat(400);
    let kept = json!({ "id": "old", "created": 1, "model": "x", "object": "chat.completion", "service_tier": "default",
        "choices": [
            { "index": 0, "message": { "role": "assistant", "content": text }, "logprobs": null, "finish_reason": "stop" },
            { "index": 1, "message": { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
              "logprobs": null, "finish_reason": "tool_calls" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 } });
    let kept_bytes = kept.to_string().into_bytes();
    let replay = Replay { id: "new", created_s: 9, model: "auto" };
    let whole: Value = serde_json::from_slice(&replay_whole(&kept_bytes, &replay).unwrap()).unwrap();
    let mut expected = kept.clone();
    for (name, value) in [("id", json!("new")), ("created", json!(9)), ("model", json!("auto"))] {
        expected[name] = value;
    }
    assert_eq!(whole, expected);
    let events = replay_stream(&kept_bytes, &replay, true).unwrap();
    let again: Value = serde_json::from_slice(&complete_stream(&events, &USAGE, false).unwrap()).unwrap();
    assert_eq!(again, expected, "the stream tells the same");
    let text = String::from_utf8(events).unwrap();
    assert!(text.ends_with(DONE) && text.contains("\"usage\""));
    let hidden = String::from_utf8(replay_stream(&kept_bytes, &replay, false).unwrap()).unwrap();
    assert!(!hidden.contains("\"usage\""));
    assert!(replay_stream(b"{}", &replay, false).is_none() && replay_whole(b"[]", &replay).is_none());
}

/// As a Messages client reads it: thought first, once and signed, then said.
#[test]
fn signed_thinking_is_given_again_in_its_order() {
    let message = json!({ "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [
        { "type": "thinking", "thinking": "hm", "signature": "S" }, { "type": "redacted_thinking", "data": "D" },
        { "type": "text", "text": "Hello" }], "stop_reason": "end_turn" });
    let kept = crate::anthropic::to_chat_completion(message.to_string().as_bytes(), "auto", 1).unwrap();
    let events = replay_stream(&kept, &Replay { id: "new", created_s: 9, model: "auto" }, true).unwrap();
    let mut stream = crate::anthropic::ChatToMessagesStream::new("auto", "msg_01X".to_owned());
    let mut out = Vec::new();
    stream.push(&events, &mut out);
    let text = String::from_utf8(out).unwrap();
    let data = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let told: Vec<Value> = data
        .filter_map(|event| match event["type"].as_str() {
            Some("content_block_start") => Some(event["content_block"]["type"].clone()),
            Some("content_block_delta") => Some(event["delta"].clone()),
            _ => None,
        })
        .collect();
    let expected = json!(["thinking", { "type": "thinking_delta", "thinking": "hm" },
        { "type": "signature_delta", "signature": "S" }, "redacted_thinking", "text",
        { "type": "text_delta", "text": "Hello" }]);
    assert_eq!(Value::Array(told), expected);
    let plain = json!({ "choices": [{ "index": 0, "message":
        { "role": "assistant", "content": "Hello", "reasoning_content": "hm" }, "finish_reason": "stop" }] });
    let events =
        replay_stream(plain.to_string().as_bytes(), &Replay { id: "", created_s: 9, model: "" }, false).unwrap();
    let text = String::from_utf8(events).unwrap();
    assert!(text.find("\"reasoning_content\"").unwrap() < text.find("Hello").unwrap());
    // Under both names it is in one chunk: readers take one of them.
    let both = plain.to_string().replace("\"reasoning_content\"", "\"reasoning\":\"hm\",\"reasoning_content\"");
    let events = replay_stream(both.as_bytes(), &Replay { id: "", created_s: 9, model: "" }, false).unwrap();
    let text = String::from_utf8(events).unwrap();
    assert!(text.lines().any(|line| line.contains("\"reasoning\"") && line.contains("\"reasoning_content\"")));
    assert_eq!(text.matches("hm").count(), 2);
}
