//! A provider's answer: its text, and the envelope that the client gets it in.

use std::fmt;

use serde_json::Value;

use super::envelope::content_text;
use crate::json::push_string;
use crate::money::MicroUsd;

/// Why an answer can't be given to the client (502); the text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerFault {
    /// What is wrong with it.
    pub message: String,
}

impl AnswerFault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AnswerFault {}

/// What the model says in an OpenAI chat completion: the first choice's content; where that is
/// empty, its reasoning, its refusal, the calls that it makes (as JSON), or the whole answer.
///
/// Reasoning is not put in front of content: nobody could tell the two apart again.
#[must_use]
pub fn extract_text(answer: &Value) -> String {
    let message = answer.pointer("/choices/0/message").unwrap_or(&Value::Null);
    let content = content_text(message);
    if !content.is_empty() {
        return content;
    }
    let text = |key: &str| message.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let spoken = text("reasoning_content").or_else(|| text("reasoning")).or_else(|| text("refusal"));
    if let Some(spoken) = spoken {
        return spoken.to_owned();
    }
    match message.get("tool_calls") {
        Some(calls @ Value::Array(list)) if !list.is_empty() => calls.to_string(),
        _ if message.is_object() => String::new(),
        _ => answer.to_string(),
    }
}

/// The answer of `/v1/chat` and `/v1/plan`. `response` is JSON text and goes out byte for byte.
#[must_use]
pub fn render_answer(negotiated_model: &str, cost: MicroUsd, routing_reason: &str, response: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(response.len() + negotiated_model.len() + routing_reason.len() + 96);
    out.extend_from_slice(b"{\"negotiated_model\":");
    push_string(negotiated_model, &mut out);
    out.extend_from_slice(b",\"estimated_cost_usd\":");
    out.extend_from_slice(cost.to_usd_string().as_bytes());
    out.extend_from_slice(b",\"routing_reason\":");
    push_string(routing_reason, &mut out);
    out.extend_from_slice(b",\"response\":");
    out.extend_from_slice(response);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_the_content_before_all_else() {
        let answer = |message: Value| extract_text(&json!({"choices":[{"message":message}]}));
        assert_eq!(answer(json!({"content":"a","reasoning_content":"r"})), "a");
        assert_eq!(answer(json!({"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]})), "ab");
        assert_eq!(answer(json!({"content":null,"reasoning_content":"r"})), "r");
        assert_eq!(answer(json!({"content":"","refusal":"no"})), "no");
        assert_eq!(answer(json!({"tool_calls":[{"id":"c"}]})), "[{\"id\":\"c\"}]");
        assert_eq!(answer(json!({"content":""})), "");
        assert_eq!(extract_text(&json!({"text":"t"})), "{\"text\":\"t\"}");
    }

    #[test]
    fn the_envelope_has_four_keys_and_the_answers_own_bytes() {
        let out = render_answer("m\"1", MicroUsd(10_500), "routed-weight-5", b"{ \"a\":1.0 }");
        let text = String::from_utf8(out).unwrap();
        let expected = "{\"negotiated_model\":\"m\\\"1\",\"estimated_cost_usd\":0.0105,\
                        \"routing_reason\":\"routed-weight-5\",\"response\":{ \"a\":1.0 }}";
        assert_eq!(text, expected);
    }
}
