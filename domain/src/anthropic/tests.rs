//! Nothing here may take more than linear time or memory: large inputs of every kind.

use std::fmt::Write;

use serde_json::{Value, json};

use super::*;

#[test]
fn large_conversations_are_translated_in_one_go() {
    let mut messages = vec![json!({"role": "user", "content": "Hi"})];
    let call = |id: String| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    // Many calls at once, then the same id over and over.
    let calls: Vec<Value> = (0..4_000).map(|n| call(format!("call_{n}"))).collect();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    for n in (0..4_000).rev() {
        messages.push(json!({"role": "tool", "tool_call_id": format!("call_{n}"), "content": "x"}));
    }
    for _ in 0..2_000 {
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call("call_0".to_owned())]}));
        messages.push(json!({"role": "tool", "tool_call_id": "call_0", "content": "x"}));
    }
    let chat = json!({"messages": messages}).to_string();
    let translated = to_messages_request(chat.as_bytes(), "claude-sonnet-4-5", 100).unwrap();
    assert!(translated.len() < 2 * chat.len());
    let mut request: Value = serde_json::from_slice(&translated).unwrap();
    assert_eq!(request["messages"].as_array().unwrap().len(), 3 + 4_000);
    assert_eq!(request["messages"][4_001]["content"][0]["id"], "toolu_0_2001");
    request["model"] = "auto".into();
    let back: Value = serde_json::from_slice(&to_chat_request(request.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(back["messages"].as_array().unwrap().len(), 2 + 4_000 + 4_000);
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(to_messages_request(deep.as_bytes(), "m", 1).is_err());
    assert!(to_chat_request(deep.as_bytes()).is_err());
    assert!(to_chat_completion(deep.as_bytes(), "m", 1).is_err());
    assert!(to_message(deep.as_bytes(), "m", "msg_01").is_err());
}

#[test]
fn objects_are_bounded() {
    let mut members = String::new();
    for n in 0..300 {
        write!(members, "\"k{n}\":1,").unwrap();
    }
    let chat = format!("{{{members}\"messages\":[]}}");
    assert!(to_messages_request(chat.as_bytes(), "m", 1).unwrap_err().message.contains("at most 256 members"));
}

#[test]
fn a_picture_takes_no_more_room_than_it_has_bytes() {
    let picture = "A".repeat(3 << 20);
    let mut out = Vec::new();
    super::writer::Writer::new(&mut out).open_object().member_text("url", &picture).close_object();
    assert!(out.capacity() < picture.len() + 2048, "{}", out.capacity());
    let mut out = Vec::new();
    super::writer::Writer::new(&mut out)
        .open_array()
        .joined([br#""data:""#.as_slice(), picture.as_bytes()])
        .close_array();
    assert!(out.capacity() < picture.len() + 2048, "{}", out.capacity());
}
