//! Errors in Anthropic's shape: the upstream's read, our own written.

use super::fields::{Style, read_body};
use super::writer::Writer;
use crate::routing::{ErrorClass, classify_error_type, classify_status};

/// Longest error body that is parsed, in bytes; of a longer one only the status counts.
const MAX_BODY_BYTES: usize = 65_536;
/// Anthropic's own status for "overloaded".
const OVERLOADED: u16 = 529;

/// Classifies an Anthropic upstream's answer other than success, by the type of its error and by its
/// status.
#[must_use]
pub fn classify_error(status: u16, body: &[u8]) -> ErrorClass {
    read_error_class(body).unwrap_or_else(|| match status {
        OVERLOADED => ErrorClass::RateLimited,
        _ => classify_status(status, body),
    })
}

fn read_error_class(body: &[u8]) -> Option<ErrorClass> {
    let body = read_body(body.get(..MAX_BODY_BYTES).unwrap_or(body), Style::Messages).ok()?;
    let value = body.get("error")?;
    let error = value.object().ok()?;
    let error_type = error.text("type").ok()??;
    let message = error.text("message").ok().flatten().unwrap_or_default();
    classify_error_type(&error_type, &message)
}

/// Anthropic's name for errors of a status.
#[must_use]
pub const fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | OVERLOADED => "overloaded_error",
        504 => "timeout_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

/// The body of an error for a Messages client.
#[must_use]
pub fn render_error(status: u16, message: &str, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + request_id.len() + 96);
    let mut w = Writer::new(&mut out);
    w.open_object();
    write_error(error_type(status), message, &mut w);
    w.member_text("request_id", request_id).close_object();
    out
}

/// Writes the members that an error's body and an error event share.
pub(super) fn write_error(error_type: &str, message: &str, w: &mut Writer<'_>) {
    w.member_text("type", "error").key("error").open_object();
    w.member_text("type", error_type).member_text("message", message).close_object();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn types_tell_more_than_statuses() {
        use ErrorClass::{Auth, ClientError, ContextOverflow, NotFound, RateLimited, Transient};
        for (status, error_type, message, class) in [
            (400, "invalid_request_error", "messages: Field required", ClientError),
            (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", ContextOverflow),
            (400, "invalid_request_error", "prompt_too_long", ContextOverflow),
            (
                400,
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
                ContextOverflow,
            ),
            (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", Auth),
            (401, "authentication_error", "invalid x-api-key", Auth),
            (403, "permission_error", "", Auth),
            (402, "billing_error", "", Auth),
            (404, "not_found_error", "model: claude-x", NotFound),
            (413, "request_too_large", "Request exceeds the maximum size", ClientError),
            (429, "rate_limit_error", "", RateLimited),
            (500, "api_error", "", Transient),
            (504, "timeout_error", "", Transient),
            (529, "overloaded_error", "Overloaded", RateLimited),
            (400, "something_new", "", ClientError),
            (500, "something_new", "", Transient),
        ] {
            let body = json!({"type": "error", "error": {"type": error_type, "message": message}, "request_id": "r"});
            assert_eq!(classify_error(status, body.to_string().as_bytes()), class, "{error_type} {message}");
        }
        assert_eq!(classify_error(529, b"<html>"), RateLimited);
        assert_eq!(classify_error(502, b"{\"error\":\"x\"}"), Transient);
        assert_eq!(classify_error(400, b"prompt is too long"), ContextOverflow);
    }

    #[test]
    fn errors_have_anthropics_names() {
        for (status, name) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (422, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ] {
            assert_eq!(error_type(status), name, "{status}");
        }
        let body: Value = serde_json::from_slice(&render_error(429, "slow \"down\"", "req_1")).unwrap();
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow \"down\""},
                "request_id": "req_1"})
        );
    }
}
