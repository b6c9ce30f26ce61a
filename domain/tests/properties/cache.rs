//! The response cache: the one way of writing a request, and answers that are kept and given again.

use guildhall_domain::cache::{CacheControl, Replay, canonicalise, complete_stream, replay_stream, replay_whole};
use guildhall_domain::pricing::TokenUsage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::json_values::{text, to_text, value};

/// The same value with its members in another order, as text.
fn shuffle(value: &Value, seed: u64) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shuffle(item, seed)).collect();
            format!("[ {} ]", items.join(" , "))
        }
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(key, value)| format!("{} :{}", json!(key), shuffle(value, seed))).collect();
            let by = usize::try_from(seed).unwrap_or(0) % members.len().max(1);
            members.rotate_left(by);
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[a-z]{1,4}", value()), 0..6).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn order_and_spaces_do_not_matter_and_values_do(members in members(), seed in any::<u64>(), is_pretty in any::<bool>()) {
        let body = Value::Object(members.clone());
        let canonical = canonicalise(to_text(&body, is_pretty).as_bytes(), "m").unwrap();
        prop_assert_eq!(&canonicalise(shuffle(&body, seed).as_bytes(), "m"), &Some(canonical.clone()));
        prop_assert_eq!(&canonicalise(&canonical, "m"), &Some(canonical.clone()), "it is its own");
        let mut other = members;
        other.insert("added".to_owned(), json!(seed));
        prop_assert_ne!(canonicalise(Value::Object(other).to_string().as_bytes(), "m"), Some(canonical));
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), header in ".{0,60}") {
        _ = canonicalise(&bytes, "m");
        _ = complete_stream(&bytes, &TokenUsage::default(), true);
        _ = replay_stream(&bytes, &Replay { id: "i", created_s: 0, model: "m" }, true);
        _ = CacheControl::parse(&header);
    }

    #[test]
    fn what_is_kept_streams_and_comes_whole_alike(
        content in text(), reasoning in text(), arguments in text(), is_call in any::<bool>(),
    ) {
        let mut message = json!({ "role": "assistant", "content": content });
        if !reasoning.is_empty() {
            message["reasoning_content"] = json!(reasoning);
        }
        if is_call {
            let function = json!({ "name": "f", "arguments": arguments });
            message["tool_calls"] = json!([{ "id": "c", "type": "function", "function": function }]);
        }
        let finish = if is_call { "tool_calls" } else { "stop" };
        let kept = json!({
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 },
        });
        let kept = kept.to_string().into_bytes();
        let replay = Replay { id: "i", created_s: 5, model: "auto" };
        let mut whole: Value = serde_json::from_slice(&replay_whole(&kept, &replay).unwrap()).unwrap();
        let events = replay_stream(&kept, &replay, true).unwrap();
        let streamed = complete_stream(&events, &TokenUsage::default(), false).unwrap();
        if content.is_empty() {
            // A stream has no way to say that a text is there and empty.
            whole["choices"][0]["message"]["content"] = Value::Null;
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&streamed).unwrap(), whole);
    }
}
