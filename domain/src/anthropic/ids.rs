//! Ids of tool calls and of answers.
//!
//! Anthropic's are `toolu_` and characters of `[a-zA-Z0-9_-]`, and its API refuses others; in chat
//! completions they are `call_…` by habit and any text in truth.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const CALL: &str = "call_";
const TOOL_USE: &str = "toolu_";
/// Begins the ids that are made of chat ids which Anthropic would refuse.
const ENCODED: &str = "chat_";
/// Longest id of an answer, in characters, its prefix aside.
const MAX_ANSWER_ID_CHARS: usize = 200;

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// An Anthropic id for a chat id: one of its own for every text.
///
/// `call_X` is `toolu_X`; a text that Anthropic would take stays; all else is encoded.
/// [`to_call_id`] undoes it.
pub(super) fn to_tool_use_id(call_id: &str) -> String {
    match call_id.strip_prefix(CALL) {
        Some(rest) if is_plain(rest) && !rest.starts_with(ENCODED) => format!("{TOOL_USE}{rest}"),
        None if is_plain(call_id) && !call_id.starts_with(TOOL_USE) => call_id.to_owned(),
        _ => format!("{TOOL_USE}{ENCODED}{}", URL_SAFE_NO_PAD.encode(call_id)),
    }
}

/// The chat id of an Anthropic id.
///
/// `toolu_X` is `call_X`, what [`to_tool_use_id`] encoded is decoded, all else stays.
pub(super) fn to_call_id(tool_use_id: &str) -> String {
    let Some(rest) = tool_use_id.strip_prefix(TOOL_USE) else {
        return tool_use_id.to_owned();
    };
    rest.strip_prefix(ENCODED)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|call_id| to_tool_use_id(call_id) == tool_use_id)
        .unwrap_or_else(|| format!("{CALL}{rest}"))
}

/// The id that a chat client is told for an upstream's call: always `call_…`.
pub(super) fn to_answered_call_id(upstream_id: &str, index: u64) -> String {
    if upstream_id.is_empty() {
        return format!("{CALL}{index}");
    }
    if upstream_id.starts_with(CALL) {
        return upstream_id.to_owned();
    }
    let rest = upstream_id.strip_prefix("tooluse_").or_else(|| upstream_id.strip_prefix(TOOL_USE));
    format!("{CALL}{}", rest.unwrap_or(upstream_id))
}

/// `chatcmpl-X` for `msg_X`. It is repeated in every chunk of a stream: an upstream is not to make it long.
pub(super) fn to_completion_id(message_id: &str) -> String {
    let id = message_id.strip_prefix("msg_").unwrap_or(message_id);
    format!("chatcmpl-{}", id.chars().take(MAX_ANSWER_ID_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_go_there_and_back() {
        for (call_id, tool_use_id) in [
            ("call_01AbC", "toolu_01AbC"),
            ("chatcmpl-tool-0f", "chatcmpl-tool-0f"),
            ("functions.get:0", "toolu_chat_ZnVuY3Rpb25zLmdldDow"),
            ("toolu_1", "toolu_chat_dG9vbHVfMQ"),
            ("call_chat_eA", "toolu_chat_Y2FsbF9jaGF0X2VB"),
            ("call_", "toolu_chat_Y2FsbF8"),
            ("", "toolu_chat_"),
        ] {
            assert_eq!(to_tool_use_id(call_id), tool_use_id);
            assert_eq!(to_call_id(tool_use_id), call_id);
        }
        // Not of our making: not base64, or of a text that needs no encoding.
        assert_eq!(to_call_id("toolu_chat_!"), "call_chat_!");
        assert_eq!(to_call_id("toolu_chat_YWJj"), "call_chat_YWJj");
    }

    #[test]
    fn answered_calls_are_named_call() {
        for (upstream, id) in [
            ("toolu_01", "call_01"),
            ("tooluse_X", "call_X"),
            ("call_a", "call_a"),
            ("weird:0", "call_weird:0"),
            ("", "call_3"),
        ] {
            assert_eq!(to_answered_call_id(upstream, 3), id);
        }
    }

    #[test]
    fn answers_keep_their_number() {
        assert_eq!(to_completion_id("msg_01X"), "chatcmpl-01X");
        assert_eq!(to_completion_id("other"), "chatcmpl-other");
        assert_eq!(to_completion_id(&"é".repeat(5_000)), format!("chatcmpl-{}", "é".repeat(200)));
    }
}
