//! A rewritten request differs from the client's in what the edit says, and in nothing else.

use guildhall_domain::chat::request::{ChatRequest, MaxOutputField, UpstreamEdit};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::json_values::{text, to_text, value};

fn message() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({"role": "user", "content": text})),
        (text(), value()).prop_map(|(text, extra)| json!({"role": "assistant", "content": text, "x": extra})),
        text().prop_map(|text| json!({"role": "user", "content": [{"type": "text", "text": text}]})),
    ]
}

fn limit() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop_oneof![Just(Value::Null), (1..2_000_u64).prop_map(Value::from)])
}

fn stream_options() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"include_usage": false})),
        Just(json!({"include_usage": true, "x": [1]})),
        value().prop_map(|value| json!({"a": value})),
    ])
}

prop_compose! {
    fn request()(
        messages in prop::collection::vec(message(), 1..4),
        model in prop::option::of("[a-z/\"\\\\]{1,8}"),
        stream in prop::option::of(any::<bool>()),
        max_tokens in limit(),
        max_completion_tokens in limit(),
        stream_options in stream_options(),
        extra in prop::collection::vec(("x_[a-z]{0,4}", value()), 0..3),
    ) -> Value {
        let mut members = Map::from_iter(extra);
        members.insert("messages".into(), messages.into());
        for (key, value) in [
            ("model", model.map(Value::from)),
            ("stream", stream.map(Value::from)),
            ("max_tokens", max_tokens),
            ("max_completion_tokens", max_completion_tokens),
            ("stream_options", stream_options),
        ] {
            if let Some(value) = value {
                members.insert(key.into(), value);
            }
        }
        members.into()
    }
}

/// The edit as it would be done on values.
fn edit_value(request: &Value, edit: &UpstreamEdit<'_>) -> Value {
    let mut request = request.clone();
    request["model"] = edit.model.into();
    let mut given = Vec::new();
    for key in ["max_tokens", "max_completion_tokens"] {
        given.extend(request.get(key).and_then(Value::as_u64));
    }
    if let Some(tokens) = given.into_iter().max().into_iter().chain(edit.max_output_tokens).min() {
        let (known, other) = match edit.max_output_field {
            MaxOutputField::MaxTokens => ("max_tokens", "max_completion_tokens"),
            MaxOutputField::MaxCompletionTokens => ("max_completion_tokens", "max_tokens"),
        };
        request[known] = tokens.into();
        request.as_object_mut().unwrap().remove(other);
    }
    if request["stream"] == true {
        if !request["stream_options"].is_object() {
            request["stream_options"] = json!({});
        }
        request["stream_options"]["include_usage"] = true.into();
    }
    // Indexing for reading must not have put anything in.
    if request["stream"].is_null() {
        request.as_object_mut().unwrap().remove("stream");
    }
    request
}

proptest! {
    #[test]
    fn rewriting_is_editing_the_value(
        request in request(),
        is_pretty: bool,
        cap in prop::option::of(1..2_000_u64),
        model in "[a-zA-Z0-9/\"\\\\-]{1,20}",
        is_new_field: bool,
    ) {
        let max_output_field =
            if is_new_field { MaxOutputField::MaxCompletionTokens } else { MaxOutputField::MaxTokens };
        let edit = UpstreamEdit { model: &model, max_output_tokens: cap, max_output_field, keeps_tier: true };
        let text = to_text(&request, is_pretty);
        // Floats are compared as serde_json reads them.
        let request: Value = serde_json::from_str(&text).unwrap();
        let parsed = ChatRequest::parse(text.as_bytes()).unwrap();
        let rewritten = parsed.rewrite(&edit);
        let found: Value = serde_json::from_slice(&rewritten).unwrap();
        prop_assert_eq!(found, edit_value(&request, &edit));
        let again = ChatRequest::parse(&rewritten).unwrap();
        prop_assert_eq!(again.model(), model.as_str());
        prop_assert_eq!(again.stream(), parsed.stream());
        prop_assert!(!again.stream() || again.include_usage());
        prop_assert_eq!(again.max_output_tokens(), parsed.max_output_tokens().into_iter().chain(cap).min());
        prop_assert!(parsed.input_tokens_lower() <= parsed.input_tokens_estimate());
        prop_assert!(parsed.input_tokens_estimate() <= parsed.input_tokens_upper());
    }

    #[test]
    fn no_bytes_make_it_panic(value in value(), cut in any::<prop::sample::Index>()) {
        let text = json!({"messages": value}).to_string();
        let _ = ChatRequest::parse(text.as_bytes());
        let _ = ChatRequest::parse(&text.as_bytes()[..cut.index(text.len())]);
    }
}
