//! Random conversations and answers in Anthropic's words.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::json_values::{text, value};

pub const MODEL: &str = "claude-sonnet-4-5";

/// What is compared is read from text once: serde_json may read a float's text a hair off.
pub fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A text that Anthropic takes: not blank, and without blanks at its end.
fn said() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("{text}."))
}

fn input() -> impl Strategy<Value = Value> {
    prop::collection::vec(("[a-z]{1,3}", value()), 0..3).prop_map(|members| Value::from(Map::from_iter(members)))
}

fn cache() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(0.3, Just(json!({"type": "ephemeral", "ttl": "5m"})))
}

/// An object with one more member, if there is one.
fn and(mut object: Value, name: &str, member: Option<Value>) -> Value {
    if let Some(member) = member {
        object[name] = member;
    }
    object
}

fn text_block() -> impl Strategy<Value = Value> {
    (said(), cache()).prop_map(|(text, cache)| and(json!({"type": "text", "text": text}), "cache_control", cache))
}

fn user_block() -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just(json!({"type": "base64", "media_type": "image/png", "data": "iVBORw0K"})),
        "[a-z]{1,5}".prop_map(|name| json!({"type": "url", "url": format!("https://x/{name}")})),
    ];
    let document = (text(), cache()).prop_map(|(title, cache)| {
        let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
        and(json!({"type": "document", "source": source, "title": title}), "cache_control", cache)
    });
    prop_oneof![
        3 => text_block(),
        1 => (image, cache()).prop_map(|(source, cache)| {
            and(json!({"type": "image", "source": source}), "cache_control", cache)
        }),
        1 => document,
    ]
}

/// One plain text is a string, as the translations write it.
fn content(blocks: Vec<Value>) -> Value {
    match blocks.as_slice() {
        [Value::Object(block)] if block["type"] == "text" && block.len() == 2 => block["text"].clone(),
        _ => blocks.into(),
    }
}

fn call_id() -> impl Strategy<Value = String> {
    prop_oneof!["toolu_[0-9A-Za-z]{4,12}", "[0-9a-bd-s]{9}[-_a-z0-9]{0,4}"]
}

prop_compose! {
    /// What the assistant says and calls, and the user's answer.
    fn round()(
        thought in prop::option::of((text(), "[A-Za-z0-9+/]{4,12}={0,2}")),
        redacted in prop::option::weighted(0.2, "[A-Za-z0-9]{4}"),
        texts in prop::collection::vec(text_block(), 1..3),
        calls in prop::collection::btree_map(call_id(), ("[a-z_]{1,6}", input(), text_block(), any::<bool>(), cache()), 0..3),
        user in prop::collection::vec(user_block(), 1..3),
    ) -> [Value; 2] {
        let mut blocks = Vec::new();
        blocks.extend(thought.map(|(thinking, signature)| {
            json!({"type": "thinking", "thinking": thinking, "signature": signature})
        }));
        blocks.extend(redacted.map(|data| json!({"type": "redacted_thinking", "data": data})));
        blocks.extend(texts);
        let mut answer = Vec::new();
        for (id, (name, input, result, is_error, cache)) in calls {
            blocks.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
            let result = json!({"type": "tool_result", "tool_use_id": id, "content": content(vec![result])});
            let result = and(result, "is_error", is_error.then(|| true.into()));
            answer.push(and(result, "cache_control", cache));
        }
        answer.extend(user);
        [json!({"role": "assistant", "content": content(blocks)}), json!({"role": "user", "content": content(answer)})]
    }
}

prop_compose! {
    /// A Messages request as the translation itself would write it.
    pub fn messages_request()(
        system in prop::option::of(prop::collection::vec(text_block(), 1..3)),
        first in prop::collection::vec(user_block(), 1..3),
        rounds in prop::collection::vec(round(), 0..4),
        tools in prop::collection::vec(("[a-z]{1,6}", text(), input(), cache()), 1..3),
        choice in prop::sample::select(vec!["auto", "any", "none", "tool"]),
        is_serial: bool,
        limits in (1..5_000_u64, any::<bool>(), 0..9_u64, prop::collection::vec(said(), 1..3)),
        user in prop::option::of(text()),
    ) -> Value {
        let mut messages = vec![json!({"role": "user", "content": content(first)})];
        messages.extend(rounds.into_iter().flatten());
        // Ids come once in a conversation.
        let mut ids = std::collections::BTreeMap::new();
        for block in messages.iter_mut().filter_map(|message| message["content"].as_array_mut()).flatten() {
            for (key, is_new) in [("id", true), ("tool_use_id", false)] {
                if let Some(id) = block.get(key).and_then(Value::as_str).map(str::to_owned) {
                    let times = ids.entry(id.clone()).or_insert(0);
                    *times += u64::from(is_new);
                    block[key] = format!("{id}x{times}").into();
                }
            }
        }
        let (max_tokens, stream, top_k, stops) = limits;
        let tools: Vec<Value> = tools.into_iter().map(|(name, description, schema, cache)| {
            let mut schema = schema;
            schema["type"] = "object".into();
            and(json!({"name": name, "description": description, "input_schema": schema}), "cache_control", cache)
        }).collect();
        let choice = and(json!({"type": choice}), "name", (choice == "tool").then(|| tools[0]["name"].clone()));
        let is_serial = is_serial && choice["type"] != "none";
        let choice = and(choice, "disable_parallel_tool_use", is_serial.then(|| true.into()));
        let request = json!({"model": MODEL, "max_tokens": max_tokens, "messages": messages, "tools": tools,
            "tool_choice": choice, "top_k": top_k, "temperature": 0.25, "stop_sequences": stops});
        let request = and(request, "system", system.map(content));
        let request = and(request, "stream", stream.then(|| true.into()));
        and(request, "metadata", user.map(|user| json!({"user_id": user})))
    }
}

fn message_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        said().prop_map(|text| json!({"type": "text", "text": text})),
        (call_id(), "[a-z]{1,5}", input()).prop_map(
            |(id, name, input)| json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input})
        ),
    ]
}

prop_compose! {
    pub fn message()(
        thoughts in prop::collection::vec((said(), said()), 0..3),
        text in prop::option::of(said()),
        calls in prop::collection::vec(message_block(), 0..4),
        counts in (1..99_u64, 1..99_u64, 0..99_u64, 0..99_u64),
        is_cut: bool,
    ) -> Value {
        let mut content: Vec<Value> = thoughts.into_iter().map(|(thinking, signature)| {
            json!({"type": "thinking", "thinking": thinking, "signature": signature})
        }).collect();
        content.extend(text.map(|text| json!({"type": "text", "text": text})));
        content.extend(calls.into_iter().filter(|block| block["type"] == "tool_use"));
        let has_calls = content.iter().any(|block| block["type"] == "tool_use");
        let stop_reason = if is_cut { "max_tokens" } else if has_calls { "tool_use" } else { "end_turn" };
        json!({"id": "msg_01", "type": "message", "role": "assistant", "model": "auto", "content": content,
            "stop_reason": stop_reason, "stop_sequence": null,
            "usage": {"input_tokens": counts.0, "output_tokens": counts.1, "cache_read_input_tokens": counts.2,
                "cache_creation_input_tokens": counts.3}})
    }
}

/// The events that stream a message, its strings cut into pieces.
pub fn stream_of(message: &Value, piece_chars: usize, line_end: &str, has_pings: bool) -> String {
    let pieces = |text: &str| -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(piece_chars).map(|chars| chars.iter().collect()).collect()
    };
    let mut head = message.clone();
    head["content"] = json!([]);
    head["stop_reason"] = Value::Null;
    let mut events = vec![json!({"type": "message_start", "message": head})];
    for (index, block) in message["content"].as_array().unwrap().iter().enumerate() {
        let (start, kind, member, whole) = match block["type"].as_str().unwrap() {
            "text" => {
                (json!({"type": "text", "text": ""}), "text_delta", "text", block["text"].as_str().unwrap().to_owned())
            }
            "thinking" => (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                "thinking_delta",
                "thinking",
                block["thinking"].as_str().unwrap().to_owned(),
            ),
            _ => (
                json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
                "input_json_delta",
                "partial_json",
                block["input"].to_string(),
            ),
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        events.extend(pieces(&whole).into_iter().map(|piece| delta(json!({"type": kind, member: piece}))));
        if let Some(signature) = block.get("signature") {
            events.push(delta(json!({"type": "signature_delta", "signature": signature})));
        }
        if has_pings {
            events.push(json!({"type": "ping"}));
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let usage = json!({"output_tokens": message["usage"]["output_tokens"]});
    events.push(json!({"type": "message_delta", "usage": usage,
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": null}}));
    events.push(json!({"type": "message_stop"}));
    let write = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(write).collect::<String>().replace('\n', line_end)
}

/// The message that a Messages client puts together from the events.
pub fn accumulate(stream: &str) -> Value {
    let mut message = Value::Null;
    for event in stream.split_terminator("\n\n") {
        let event = parse(event.split_once("\ndata: ").unwrap().1.as_bytes());
        let index = usize::try_from(event["index"].as_u64().unwrap_or(0)).unwrap();
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(index, content.len());
                content.push(event["content_block"].clone());
                content[index]["json"] = "".into();
            }
            "content_block_delta" => {
                let block = &mut message["content"][index];
                for (from, to) in
                    [("text", "text"), ("thinking", "thinking"), ("signature", "signature"), ("partial_json", "json")]
                {
                    if let Some(piece) = delta.get(from) {
                        block[to] = format!("{}{}", block[to].as_str().unwrap(), piece.as_str().unwrap()).into();
                    }
                }
            }
            "content_block_stop" => {
                let block = message["content"][index].as_object_mut().unwrap();
                let json = block.remove("json").unwrap();
                if block["type"] == "tool_use" {
                    block.insert("input".into(), parse(json.as_str().unwrap().as_bytes()));
                }
            }
            "message_delta" => {
                message["stop_reason"] = delta["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message
}
