//! How an answer ended, and what it took.

use super::fields::{Fields, Value};
use super::writer::Writer;
use crate::chat::usage::read_usage;
use crate::json::{Raw, Reader};
use crate::pricing::{TOKENS_MAX, TokenUsage};

/// The `finish_reason` of a `stop_reason`; `has_calls` tells whether the client sees tool calls.
pub(super) fn to_finish_reason(stop_reason: Option<&str>, has_calls: bool) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("refusal") => "content_filter",
        Some("tool_use") | None if has_calls => "tool_calls",
        // end_turn, stop_sequence, pause_turn, and a forced call that the client sees as content.
        _ => "stop",
    }
}

/// The `stop_reason` of a `finish_reason`.
fn to_stop_reason(finish_reason: Option<&str>, has_calls: bool) -> &'static str {
    match finish_reason {
        Some("length") => "max_tokens",
        Some("content_filter") => "refusal",
        // Some servers end a turn of calls with `stop`.
        _ if has_calls => "tool_use",
        _ => "end_turn",
    }
}

/// The literal of the caller's text that ended a message, for the `stop_reason` of a choice: `OpenAI` has no word for it,
/// vLLM has this one.
pub(super) fn matched_stop<'a>(message: &Fields<'a, '_>) -> Option<&'a [u8]> {
    let is_matched = message.text("stop_reason").is_ok_and(|reason| reason.as_deref() == Some("stop_sequence"));
    message.get("stop_sequence").filter(|stop| is_matched && stop.is_string()).map(|stop| stop.raw.bytes)
}

/// The same of a choice. A number there is a token, and no text of the caller's.
pub(super) fn matched_stop_of_choice<'a>(choice: &Fields<'a, '_>) -> Option<&'a [u8]> {
    choice.get("stop_reason").filter(Value::is_string).map(|stop| stop.raw.bytes)
}

/// Writes a message's `stop_reason` and `stop_sequence`; `matched` is the literal of the caller's text that ended it.
pub(super) fn write_stop(finish_reason: Option<&str>, has_calls: bool, matched: Option<&[u8]>, w: &mut Writer<'_>) {
    let reason = to_stop_reason(finish_reason, has_calls);
    let matched = matched.filter(|_| reason == "end_turn");
    w.member_text("stop_reason", if matched.is_some() { "stop_sequence" } else { reason });
    w.member("stop_sequence", matched.unwrap_or(b"null"));
}

/// The counts of a Messages answer: whole in an answer, spread over two events of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessageUsage {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

impl MessageUsage {
    /// Takes the counts that are there; later ones stand for the whole, and replace earlier ones. Input does not become 0:
    /// some servers write that at the end, where they told it at the beginning.
    pub(super) fn take(&mut self, holder: &Fields<'_, '_>) {
        let Some(usage) = holder.get("usage").and_then(|usage| usage.object().ok()) else {
            return;
        };
        let told = |name| usage.get(name).and_then(|value| value.raw.to_u64());
        self.output = told("output_tokens").or(self.output);
        for (name, count) in [
            ("input_tokens", &mut self.input),
            ("cache_read_input_tokens", &mut self.cache_read),
            ("cache_creation_input_tokens", &mut self.cache_write),
        ] {
            *count = told(name).filter(|later| *later > 0 || count.is_none()).or(*count);
        }
    }

    /// The counts with the cached tokens as a part of the input; `None` until there are any, and when they can't be believed.
    /// 0 and 0 is how some say "not counted".
    pub(super) fn total(&self) -> Option<TokenUsage> {
        let (cache_read, cache_write) = (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let input = self.input?.saturating_add(cache_read).saturating_add(cache_write);
        let output = self.output.unwrap_or(0);
        let is_believed = (1..=TOKENS_MAX).contains(&input.max(output));
        is_believed.then_some(TokenUsage { input, output, cache_read, cache_write })
    }
}

/// Reads the `usage` of a chat completion or of one of its chunks.
pub(super) fn read_chat_usage(usage: Raw<'_>) -> Option<TokenUsage> {
    read_usage(&mut Reader::new(usage.bytes)).ok().flatten()
}

/// Writes a chat completion's `usage` member.
pub(super) fn write_chat_usage(usage: &TokenUsage, w: &mut Writer<'_>) {
    w.key("usage").open_object();
    w.member_count("prompt_tokens", usage.input);
    w.member_count("completion_tokens", usage.output);
    w.member_count("total_tokens", usage.total());
    w.key("prompt_tokens_details").open_object();
    w.member_count("cached_tokens", usage.cache_read);
    w.member_count("cache_write_tokens", usage.cache_write);
    w.close_object().close_object();
}

/// Writes a message's `usage` member.
pub(super) fn write_message_usage(usage: &TokenUsage, w: &mut Writer<'_>) {
    let cached = usage.cache_read.saturating_add(usage.cache_write);
    w.key("usage").open_object();
    w.member_count("input_tokens", usage.input.saturating_sub(cached));
    w.member_count("cache_creation_input_tokens", usage.cache_write);
    w.member_count("cache_read_input_tokens", usage.cache_read);
    w.member_count("output_tokens", usage.output);
    w.close_object();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_counterpart() {
        for (stop_reason, has_calls, finish_reason) in [
            (Some("end_turn"), false, "stop"),
            (Some("stop_sequence"), false, "stop"),
            (Some("pause_turn"), false, "stop"),
            (Some("max_tokens"), true, "length"),
            (Some("model_context_window_exceeded"), false, "length"),
            (Some("tool_use"), true, "tool_calls"),
            (Some("tool_use"), false, "stop"),
            (Some("refusal"), false, "content_filter"),
            (None, true, "tool_calls"),
            (None, false, "stop"),
        ] {
            assert_eq!(to_finish_reason(stop_reason, has_calls), finish_reason, "{stop_reason:?}");
        }
        for (finish_reason, has_calls, stop_reason) in [
            (Some("stop"), false, "end_turn"),
            (Some("stop"), true, "tool_use"),
            (Some("tool_calls"), true, "tool_use"),
            (Some("function_call"), true, "tool_use"),
            (Some("length"), true, "max_tokens"),
            (Some("content_filter"), false, "refusal"),
            (None, false, "end_turn"),
        ] {
            assert_eq!(to_stop_reason(finish_reason, has_calls), stop_reason, "{finish_reason:?}");
        }
    }
}
