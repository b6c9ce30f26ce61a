//! A whole chat completion on its way back to the client.

use super::measure::{Choices, estimate_tokens, measure_choices};
use super::usage::{push_usage, read_usage};
use crate::answer::InvalidAnswer;
use crate::json::{JsonError, Kind, Reader, push_string};
use crate::pricing::TokenUsage;

const NULL: &[u8] = b"null";

/// An upstream's answer as the client gets it, and what it tells about its cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The answer, its `model` the one that was asked for and its `usage` an estimate unless the upstream counted; all else
    /// the upstream's bytes.
    pub body: Vec<u8>,
    /// Tokens as the upstream counted them, unless it did not or its numbers can't be believed.
    pub usage: Option<TokenUsage>,
    /// Output tokens guessed from the bytes that the model wrote, for when `usage` is absent.
    pub output_tokens_estimate: u64,
}

/// Puts the model that was asked for into an upstream's answer, and reads the answer's usage on the
/// way; where there is none, puts in `input_estimate` tokens of input and what the model wrote.
///
/// # Errors
/// [`InvalidAnswer`].
pub fn rewrite_completion(body: &[u8], asked_model: &str, input_estimate: u64) -> Result<Completion, InvalidAnswer> {
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
    // Where in `out` a `null` stands for a usage that can't be believed.
    let mut gap = None;
    let mut choices = Choices::default();
    let mut has_model = false;
    let mut has_error = false;
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            // Once is enough.
            b"model" if has_model => {
                reader.read_value()?;
                out.extend_from_slice(&body[copied..member.separator]);
                copied = reader.position();
            }
            b"model" => {
                let value = reader.read_value()?;
                out.extend_from_slice(&body[copied..value.start]);
                push_string(asked_model, &mut out);
                copied = value.end();
                has_model = true;
            }
            b"usage" => {
                reader.peek()?;
                let start = reader.position();
                usage = read_usage(&mut reader)?;
                if usage.is_none() {
                    out.extend_from_slice(&body[copied..start]);
                    gap = Some(out.len());
                    out.extend_from_slice(NULL);
                    copied = reader.position();
                }
            }
            b"choices" => choices = measure_choices(&mut reader)?,
            b"error" => has_error = matches!(reader.read_value()?.kind(), Kind::Object | Kind::String),
            _ => {
                reader.read_value()?;
            }
        }
    }
    let closed = reader.position();
    reader.finish()?;
    if has_error && choices.count == 0 {
        return Err(InvalidAnswer::UpstreamError);
    }
    if choices.count == 0 {
        return Err(InvalidAnswer::Empty);
    }
    let output_tokens_estimate = estimate_tokens(choices.text_bytes);
    if usage.is_none() {
        let mut estimate = Vec::new();
        let estimated = TokenUsage { input: input_estimate, output: output_tokens_estimate, ..TokenUsage::default() };
        push_usage(&estimated, &mut estimate);
        if let Some(gap) = gap {
            out.splice(gap..gap + NULL.len(), estimate);
        } else {
            // The choices stand before it.
            out.extend_from_slice(&body[copied..closed - 1]);
            out.extend_from_slice(b",\"usage\":");
            out.extend_from_slice(&estimate);
            copied = closed - 1;
        }
    }
    out.extend_from_slice(&body[copied..]);
    if !has_model {
        let mut model = b"\"model\":".to_vec();
        push_string(asked_model, &mut model);
        model.push(b',');
        out.splice(inside..inside, model);
    }
    Ok(Completion { body: out, usage, output_tokens_estimate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(body: &str) -> (String, Option<TokenUsage>, u64) {
        let completion = rewrite_completion(body.as_bytes(), "auto", 9).unwrap();
        (String::from_utf8(completion.body).unwrap(), completion.usage, completion.output_tokens_estimate)
    }

    #[test]
    fn the_model_is_replaced_and_usage_read() {
        let body = r#"{ "id":"1", "model" : "gpt-4o-2024", "choices":[{"message":{"content":"{\"model\":\"x\"}"}}],
            "usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}, "z":{"model":"n"} }"#;
        let (out, usage, estimate) = rewrite(body);
        assert_eq!(out, body.replace("\"gpt-4o-2024\"", "\"auto\""));
        assert_eq!(usage, Some(TokenUsage { input: 10, output: 5, cache_read: 4, cache_write: 0 }));
        assert_eq!(estimate, 4);
    }

    #[test]
    fn an_absent_model_is_put_in() {
        let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}"#;
        let put = |members: &str| format!(r#"{{"model":"auto",{members},{usage}}}"#);
        assert_eq!(rewrite(r#" { "choices":[{}]}"#).0, format!(" {}", put(r#" "choices":[{}]"#)));
        assert_eq!(rewrite(r#"{"model":null,"choices":[{}]}"#).0, put(r#""choices":[{}]"#));
    }

    #[test]
    fn a_model_given_twice_is_left_out_the_second_time() {
        let body =
            r#"{"model":"a" , "mod\u0065l":"b","usage":{"input_tokens":1,"output_tokens":1},"choices":[{}],"model":1}"#;
        let expected = r#"{"model":"auto" ,"usage":{"input_tokens":1,"output_tokens":1},"choices":[{}]}"#;
        assert_eq!(rewrite(body).0, expected);
    }

    #[test]
    fn usage_that_is_missing_or_absurd_is_estimated() {
        let estimate = r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#;
        let choices = r#""choices":[{"message":{"content":"eight ab"}}]"#;
        for (body, expected) in [
            (
                format!("{{\"model\":\"x\",{choices} \n}} "),
                format!("{{\"model\":\"auto\",{choices} \n,\"usage\":{estimate}}} "),
            ),
            (
                format!("{{\"usage\" : null ,{choices}}}"),
                format!("{{\"model\":\"auto\",\"usage\" : {estimate} ,{choices}}}"),
            ),
            (
                format!("{{{choices},\"usage\":{{\"prompt_tokens\":-1,\"completion_tokens\":5}},\"model\":\"x\"}}"),
                format!("{{{choices},\"usage\":{estimate},\"model\":\"auto\"}}"),
            ),
            // The last one is what readers take.
            (
                format!("{{\"usage\":[1],{choices},\"usage\":{{}}}}"),
                format!("{{\"model\":\"auto\",\"usage\":null,{choices},\"usage\":{estimate}}}"),
            ),
        ] {
            assert_eq!(rewrite(&body), (expected, None, 2), "{body}");
        }
    }

    #[test]
    fn what_is_no_completion_is_refused() {
        let refuse = |body: &[u8]| rewrite_completion(body, "auto", 9).unwrap_err();
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
        assert!(rewrite_completion(br#"{"error":null,"choices":[{}]}"#, "auto", 9).is_ok());
    }
}
