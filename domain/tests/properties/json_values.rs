//! Random JSON values.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Text with everything that needs care in JSON and in event streams.
pub fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\"model\":\"up\"".to_owned()),
        Just("\"usage\":{}".to_owned()),
        Just("\\".to_owned()),
        Just("\n\r\t\u{0}".to_owned()),
        Just("é模🦀\u{2028}".to_owned()),
        Just("data: [DONE]".to_owned()),
        "[a-z ]{0,12}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Any value, a few levels deep.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..5)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Names of members, among them those that mean something at the top.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("model".to_owned()), Just("usage".to_owned()), Just("choices".to_owned()), "[a-z]{0,6}", text()]
}

/// A value's text, either tight or spread over lines.
pub fn to_text(value: &Value, is_pretty: bool) -> String {
    if is_pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() }
}
