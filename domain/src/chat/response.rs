//! A whole chat completion on its way back to the client.

use super::measure::{Choices, estimate_tokens, measure_choices};
use super::usage::read_usage;
use crate::answer::InvalidAnswer;
use crate::json::{JsonError, Kind, Reader, push_string};
use crate::pricing::TokenUsage;

/// An upstream's answer as the client gets it, and what it tells about its cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The answer, its `model` the one that was asked for, all else the upstream's bytes.
    pub body: Vec<u8>,
    /// Tokens as the upstream counted them, unless it did not or its numbers can't be believed.
    pub usage: Option<TokenUsage>,
    /// Output tokens guessed from the bytes that the model wrote, for when `usage` is absent.
    pub output_tokens_estimate: u64,
}

/// Puts the model that was asked for into an upstream's answer, and reads the answer's usage on the
/// way.
///
/// # Errors
/// [`InvalidAnswer`].
pub fn rewrite_completion(body: &[u8], asked_model: &str) -> Result<Completion, InvalidAnswer> {
    std::str::from_utf8(body).map_err(|error| JsonError { at_bytes: error.valid_up_to(), reason: "bad UTF-8" })?;
    let mut reader = Reader::new(body);
    if reader.peek()? != Kind::Object {
        return Err(InvalidAnswer::NotAnObject);
    }
    reader.enter_object()?;
    let inside = reader.position();
    let mut out = Vec::with_capacity(body.len() + asked_model.len() + 16);
    // All before this offset is in `out`.
    let mut copied = 0;
    let mut usage = None;
    let mut choices = Choices::default();
    let mut has_members = false;
    let mut has_error = false;
    while let Some(member) = reader.next_member()? {
        has_members = true;
        match member.key.as_ref() {
            b"model" => {
                let value = reader.read_value()?;
                out.extend_from_slice(&body[copied..value.start]);
                push_string(asked_model, &mut out);
                copied = value.end();
            }
            b"usage" => usage = read_usage(&mut reader)?,
            b"choices" => choices = measure_choices(&mut reader)?,
            b"error" => has_error = matches!(reader.read_value()?.kind(), Kind::Object | Kind::String),
            _ => {
                reader.read_value()?;
            }
        }
    }
    reader.finish()?;
    if has_error && choices.count == 0 {
        return Err(InvalidAnswer::UpstreamError);
    }
    if choices.count == 0 {
        return Err(InvalidAnswer::Empty);
    }
    if copied == 0 {
        out.extend_from_slice(&body[..inside]);
        out.extend_from_slice(b"\"model\":");
        push_string(asked_model, &mut out);
        out.extend_from_slice(if has_members { b"," } else { b"" });
        copied = inside;
    }
    out.extend_from_slice(&body[copied..]);
    Ok(Completion { body: out, usage, output_tokens_estimate: estimate_tokens(choices.text_bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(body: &str) -> (String, Option<TokenUsage>, u64) {
        let completion = rewrite_completion(body.as_bytes(), "auto").unwrap();
        (String::from_utf8(completion.body).unwrap(), completion.usage, completion.output_tokens_estimate)
    }

    #[test]
    fn the_model_is_replaced_and_usage_read() {
        let body = r#"{ "id":"1", "model" : "gpt-4o-2024", "choices":[{"message":{"content":"{\"model\":\"x\"}"}}],
            "usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}, "z":{"model":"n"} }"#;
        let (out, usage, estimate) = rewrite(body);
        assert_eq!(out, body.replace("\"gpt-4o-2024\"", "\"auto\""));
        assert_eq!(usage, Some(TokenUsage { input: 10, output: 5, cache_read: 4, cache_write: 0 }));
        assert_eq!(estimate, 5);
    }

    #[test]
    fn an_absent_model_is_put_in() {
        assert_eq!(rewrite(r#" { "choices":[{}]}"#).0, r#" {"model":"auto", "choices":[{}]}"#);
        assert_eq!(rewrite(r#"{"model":null,"choices":[{}]}"#).0, r#"{"model":"auto","choices":[{}]}"#);
    }

    #[test]
    fn a_model_given_twice_is_replaced_twice() {
        let body = r#"{"model":"a","mod\u0065l":"b","choices":[{}]}"#;
        assert_eq!(rewrite(body).0, r#"{"model":"auto","mod\u0065l":"auto","choices":[{}]}"#);
    }

    #[test]
    fn what_is_no_completion_is_refused() {
        let refuse = |body: &[u8]| rewrite_completion(body, "auto").unwrap_err();
        assert!(matches!(refuse(b""), InvalidAnswer::NotJson(_)));
        assert!(matches!(refuse(b"<html>"), InvalidAnswer::NotJson(_)));
        assert!(matches!(refuse(b"{\"a\":1"), InvalidAnswer::NotJson(_)));
        assert!(matches!(refuse(b"{\"a\":\"\xff\"}"), InvalidAnswer::NotJson(_)));
        assert!(matches!(refuse(b"{} {}"), InvalidAnswer::NotJson(_)));
        assert_eq!(refuse(b"[]"), InvalidAnswer::NotAnObject);
        assert_eq!(refuse(br#"{"error":{"message":"overloaded"}}"#), InvalidAnswer::UpstreamError);
        for body in ["{}", r#"{"choices":[]}"#, r#"{"id":"x","choices":null,"usage":{}}"#] {
            assert_eq!(refuse(body.as_bytes()), InvalidAnswer::Empty, "{body}");
        }
        assert!(rewrite_completion(br#"{"error":null,"choices":[{}]}"#, "auto").is_ok());
    }
}
