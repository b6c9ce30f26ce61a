//! What an upstream's failure means for the request and for the provider.

use memchr::memmem;
use serde::{Deserialize, Serialize};
use time::PrimitiveDateTime;
use time::macros::format_description;

/// Longest time that a provider is believed to be unavailable, in milliseconds: one hour, then it
/// is asked again.
pub const MAX_RETRY_AFTER_MS: u64 = 3_600_000;

/// How much of an error body is looked at, in bytes.
const MAX_SEARCHED_BYTES: usize = 8_192;

/// What providers say, in lower case, when a request does not fit a model's context.
const CONTEXT_PHRASES: [&str; 10] = [
    "context_length",
    "context length",
    "maximum context",
    "prompt is too long",
    "prompt_too_long",
    "input is too long",
    "token limit",
    "too many tokens",
    "context window",
    "context limit",
];

/// What providers say, in lower case, when a prompt is not to their liking.
const MODERATION_PHRASES: [&str; 5] = ["flagged", "moderation", "content policy", "content_policy", "content_filter"];

/// What providers say, in lower case, when they refuse a key.
const KEY_PHRASES: [&str; 5] =
    ["api key not valid", "api_key_invalid", "incorrect api key", "invalid api key", "api key expired"];

/// How much of an error body may say so of a key, in bytes: further on, some repeat what the client wrote.
const KEY_SEARCHED_BYTES: usize = 256;

/// The classes of upstream failures, by what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The request is at fault: the client gets the answer, nobody else is asked.
    ClientError,
    /// The provider limits us: set it aside, ask the next.
    RateLimited,
    /// The provider failed: ask the next.
    Transient,
    /// The provider refuses our credential or our account: our own fault, ask the next.
    Auth,
    /// The provider has no such model or path: this model is registered wrongly, the provider is
    /// well; ask the next.
    NotFound,
    /// The request does not fit this model's context: ask a model with a larger one.
    ContextOverflow,
}

impl ErrorClass {
    /// As records say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::Transient => "transient",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::ContextOverflow => "context_overflow",
        }
    }
}

/// Classifies an upstream's answer other than success.
///
/// A connection that fails without any answer is [`ErrorClass::Transient`].
#[must_use]
pub fn classify_status(status: u16, body: &[u8]) -> ErrorClass {
    match status {
        429 => ErrorClass::RateLimited,
        // Some say so of a prompt that their moderation has refused.
        403 if tells_moderation(body) => ErrorClass::ClientError,
        // 402: our account there is empty.
        401..=403 => ErrorClass::Auth,
        // Redirects are not followed with a credential: the base URL is wrong.
        300..=399 | 404 | 405 => ErrorClass::NotFound,
        400 | 413 | 422 if tells_context_overflow(body) => ErrorClass::ContextOverflow,
        // Gemini and xAI say so of a key that they don't know.
        400 if tells_bad_key(body) => ErrorClass::Auth,
        408 | 409 | 425 => ErrorClass::Transient,
        400..=499 => ErrorClass::ClientError,
        _ => ErrorClass::Transient,
    }
}

/// Classifies an error by the type that Anthropic's API, or a stream of it, gives it; `None` for types that say
/// no more than the status does.
#[must_use]
pub fn classify_error_type(error_type: &str, message: &str) -> Option<ErrorClass> {
    Some(match error_type {
        // An account there that is empty is told as a fault of the request.
        "invalid_request_error" if message.contains("credit balance is too low") => ErrorClass::Auth,
        "invalid_request_error" | "request_too_large" if tells_context_overflow(message.as_bytes()) => {
            ErrorClass::ContextOverflow
        }
        "invalid_request_error" | "request_too_large" => ErrorClass::ClientError,
        "authentication_error" | "permission_error" | "billing_error" => ErrorClass::Auth,
        "not_found_error" => ErrorClass::NotFound,
        "rate_limit_error" | "overloaded_error" => ErrorClass::RateLimited,
        "api_error" | "timeout_error" => ErrorClass::Transient,
        _ => return None,
    })
}

fn tells_context_overflow(body: &[u8]) -> bool {
    let text = lower(body);
    CONTEXT_PHRASES.iter().any(|phrase| has(&text, phrase)) || (has(&text, "max_tokens") && has(&text, "too large"))
}

fn tells_moderation(body: &[u8]) -> bool {
    let text = lower(body);
    MODERATION_PHRASES.iter().any(|phrase| has(&text, phrase))
}

fn tells_bad_key(body: &[u8]) -> bool {
    let text = lower(body.get(..KEY_SEARCHED_BYTES).unwrap_or(body));
    KEY_PHRASES.iter().any(|phrase| has(&text, phrase))
}

/// The part of an error's body that is looked at, in lower case.
fn lower(body: &[u8]) -> Vec<u8> {
    body.get(..MAX_SEARCHED_BYTES).unwrap_or(body).to_ascii_lowercase()
}

fn has(text: &[u8], phrase: &str) -> bool {
    memmem::find(text, phrase.as_bytes()).is_some()
}

/// Reads a `Retry-After` header: the time to wait in milliseconds, at most [`MAX_RETRY_AFTER_MS`].
///
/// Seconds (a fraction is rounded up) and HTTP dates in the one format that may still be sent are
/// understood; a date in the past is 0. `None` for anything else.
#[must_use]
pub fn parse_retry_after(value: &str, now_ms: u64) -> Option<u64> {
    let value = value.trim();
    let wait_ms = if value.starts_with(|c: char| c.is_ascii_digit()) {
        parse_seconds(value)?
    } else {
        parse_http_date_ms(value)?.saturating_sub(now_ms)
    };
    Some(wait_ms.min(MAX_RETRY_AFTER_MS))
}

fn parse_seconds(value: &str) -> Option<u64> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    // More digits than fit mean longer than we believe anyway.
    let seconds = whole.parse::<u64>().unwrap_or(u64::MAX);
    let has_fraction = fraction.bytes().any(|b| b != b'0');
    Some(seconds.saturating_add(u64::from(has_fraction)).saturating_mul(1_000))
}

fn parse_http_date_ms(value: &str) -> Option<u64> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = PrimitiveDateTime::parse(value, format).ok()?;
    u64::try_from(date.assume_utc().unix_timestamp()).ok()?.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_classes() {
        use ErrorClass::{Auth, ClientError, ContextOverflow, NotFound, RateLimited, Transient};
        let cases: &[(u16, &str, ErrorClass)] = &[
            (400, "bad request", ClientError),
            (400, r#"{"error":{"code":"context_length_exceeded"}}"#, ContextOverflow),
            (400, "This model's Maximum Context Length is 4096 tokens", ContextOverflow),
            (400, "max_tokens is too large: 9", ContextOverflow),
            (400, "max_tokens must be positive", ClientError),
            (400, "prompt is too long: 210000 tokens > 200000", ContextOverflow),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                Auth,
            ),
            (400, r#"{"error":{"code":400,"message":"API key expired. Please renew the API key."}}"#, Auth),
            (
                400,
                r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: sk-1."}"#,
                Auth,
            ),
            (400, r#"{"error":{"status":"API_KEY_INVALID"}}"#, Auth),
            (400, r#"{"error":{"message":"Invalid API Key"}}"#, Auth),
            (422, "invalid api key", ClientError),
            (400, &format!("bad message:{}incorrect api key", " ".repeat(256)), ClientError),
            (413, "", ClientError),
            (422, "too many tokens", ContextOverflow),
            (401, "context length", Auth),
            (402, "", Auth),
            (403, "", Auth),
            (403, "Your key lacks permission", Auth),
            (403, r#"{"error":{"message":"Input was Flagged","metadata":{"reasons":["violence"]}}}"#, ClientError),
            (403, r#"{"error":{"code":"content_policy_violation"}}"#, ClientError),
            (404, "no such model", NotFound),
            (408, "", Transient),
            (415, "", ClientError),
            (429, "context length", RateLimited),
            (500, "", Transient),
            (503, "context length", Transient),
            (529, "", Transient),
            (204, "", Transient),
            (302, "", NotFound),
        ];
        for (status, body, class) in cases {
            assert_eq!(classify_status(*status, body.as_bytes()), *class, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let cases = [
            ("0", Some(0)),
            ("12", Some(12_000)),
            (" 7 ", Some(7_000)),
            ("1.5", Some(2_000)),
            ("3.000", Some(3_000)),
            ("99999999999999999999999", Some(MAX_RETRY_AFTER_MS)),
            ("86400", Some(MAX_RETRY_AFTER_MS)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("", None),
            ("soon", None),
            ("1e3", None),
            ("12s", None),
        ];
        for (value, expected) in cases {
            assert_eq!(parse_retry_after(value, now_ms), expected, "{value}");
        }
    }
}
