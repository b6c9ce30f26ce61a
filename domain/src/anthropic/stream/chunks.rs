//! Writing the chunks of a chat completion stream.

use crate::anthropic::ids::to_completion_id;
use crate::anthropic::outcome::write_chat_usage;
use crate::anthropic::to_chat::THINKING_FORMAT;
use crate::anthropic::writer::{Writer, inside};
use crate::pricing::TokenUsage;

/// How a completion ends.
pub(super) struct End<'e> {
    pub finish_reason: &'e str,
    /// The literal of the caller's text that ended it.
    pub matched_stop: Option<&'e [u8]>,
}

/// The chunks of one completion.
#[derive(Debug)]
pub(super) struct Chunks {
    asked_model: String,
    created_s: i64,
    /// How each chunk begins, up to its `choices`; empty until the first.
    head: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(asked_model: &str, created_s: i64) -> Self {
        Self { asked_model: asked_model.to_owned(), created_s, head: Vec::new() }
    }

    /// Appends the first chunk, once.
    pub(super) fn begin(&mut self, message_id: &str, out: &mut Vec<u8>) {
        if !self.head.is_empty() {
            return;
        }
        let mut head = b"data: ".to_vec();
        let mut w = Writer::new(&mut head);
        w.open_object().member_text("id", &to_completion_id(message_id)).member_text("object", "chat.completion.chunk");
        w.member("created", self.created_s.to_string().as_bytes()).member_text("model", &self.asked_model);
        head.push(b',');
        self.head = head;
        self.write_delta(out, |w| _ = w.member_text("role", "assistant").member_text("content", ""));
    }

    /// Appends a text that is given with its quotes, unless it is empty.
    pub(super) fn write_text(&mut self, literal: &[u8], out: &mut Vec<u8>) {
        if !inside(literal).is_empty() {
            self.write_delta(out, |w| _ = w.member("content", literal));
        }
    }

    /// Appends thinking that is given with its quotes, unless it is empty.
    pub(super) fn write_thinking(&mut self, detail: u64, literal: &[u8], out: &mut Vec<u8>) {
        if !inside(literal).is_empty() {
            self.write_detail(detail, Some(literal), out, |w| {
                w.member_text("type", "reasoning.text").member("text", literal);
            });
        }
    }

    /// Appends one of the `reasoning_details`, and its text as `reasoning_content`.
    pub(super) fn write_detail(
        &mut self,
        index: u64,
        text: Option<&[u8]>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Writer<'_>),
    ) {
        self.write_delta(out, |w| {
            w.member_if("reasoning_content", text).key("reasoning_details").open_array().open_object();
            write(w);
            w.member_text("format", THINKING_FORMAT).member_count("index", index).close_object().close_array();
        });
    }

    /// Appends the beginning of a call.
    pub(super) fn write_call(&mut self, call: u64, id: &str, name: &[u8], out: &mut Vec<u8>) {
        self.write_delta(out, |w| {
            w.key("tool_calls").open_array().open_object().member_count("index", call).member_text("id", id);
            w.member_text("type", "function").key("function").open_object();
            w.member("name", name).member_text("arguments", "");
            w.close_object().close_object().close_array();
        });
    }

    /// Appends a piece of a call's arguments.
    pub(super) fn write_arguments(&mut self, call: u64, literal: &[u8], out: &mut Vec<u8>) {
        self.write_delta(out, |w| {
            w.key("tool_calls").open_array().open_object().member_count("index", call).key("function");
            w.open_object().member("arguments", literal).close_object().close_object().close_array();
        });
    }

    /// Appends the last chunks and `[DONE]`.
    pub(super) fn write_end(&mut self, end: &End<'_>, usage: Option<&TokenUsage>, out: &mut Vec<u8>) {
        self.write_choice(out, |_| {}, Some(end));
        if let Some(usage) = usage {
            out.extend_from_slice(&self.head);
            let mut w = Writer::new(out);
            w.member("choices", b"[]");
            write_chat_usage(usage, &mut w);
            w.close_object();
            out.extend_from_slice(b"\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Appends a chunk with these members of a delta.
    fn write_delta(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
        self.write_choice(out, write, None);
    }

    fn write_choice(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>), end: Option<&End<'_>>) {
        self.begin("", out);
        out.extend_from_slice(&self.head);
        let mut w = Writer::new(out);
        w.key("choices").open_array().open_object().member_count("index", 0).key("delta").open_object();
        write(&mut w);
        w.close_object().member("logprobs", b"null").key("finish_reason");
        match end {
            Some(end) => _ = w.text(end.finish_reason).member_if("stop_reason", end.matched_stop),
            None => _ = w.raw(b"null"),
        }
        w.close_object().close_array().close_object();
        out.extend_from_slice(b"\n\n");
    }
}
