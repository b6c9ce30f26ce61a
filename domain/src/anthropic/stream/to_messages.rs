//! Chunks of a chat completion as Anthropic's events.

use crate::anthropic::TranslateError;
use crate::anthropic::error::write_error;
use crate::anthropic::fields::{Fields, Style, Value, read_body};
use crate::anthropic::ids::{to_message_id, to_tool_use_id};
use crate::anthropic::outcome::{matched_stop_of_choice, read_chat_usage, write_message_usage, write_stop};
use crate::anthropic::writer::{Writer, inside};
use crate::chat::lines::{Line, Lines};
use crate::chat::stream::{MAX_LINE_BYTES, StreamFault};
use crate::json::Kind;
use crate::pricing::TokenUsage;

/// Longest line that is waited for: the house's rewriter has put a model's name into one of
/// [`MAX_LINE_BYTES`].
const MAX_REWRITTEN_LINE_BYTES: usize = 2 * MAX_LINE_BYTES;
/// Most calls in one answer.
const MAX_CALLS: usize = 512;
/// How much of a call's id is remembered, in characters.
const MAX_ID_CHARS: usize = 128;

const INCOMPLETE: &str = "The model's provider ended the stream before it was complete.";
const INVALID: &str = "The model's provider sent a chunk that is not valid.";

/// Translates the house's chat completion stream into a Messages stream for the client.
///
/// It ends in `message_stop` if the stream said `[DONE]`, and in an `error` event otherwise; nothing follows either.
#[derive(Debug)]
pub struct ChatToMessagesStream {
    lines: Lines,
    events: Events,
}

#[derive(Debug)]
struct Events {
    asked_model: String,
    has_begun: bool,
    next_block: u64,
    open: Option<Open>,
    calls: Vec<Call>,
    finish_reason: Option<String>,
    /// The literal of the caller's text that ended it.
    matched_stop: Option<Vec<u8>>,
    usage: TokenUsage,
    has_ended: bool,
}

/// The content block that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    block: u64,
    kind: OpenKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenKind {
    /// With its place among the `reasoning_details`, if it has one.
    Thinking(Option<u64>),
    Text,
    Call,
}

/// A call that was begun.
#[derive(Debug)]
struct Call {
    /// Its place among the `tool_calls`, if the server says.
    index: Option<u64>,
    id: String,
    block: u64,
}

impl ChatToMessagesStream {
    /// A translator whose message names `asked_model`.
    #[must_use]
    pub fn new(asked_model: &str) -> Self {
        Self {
            lines: Lines::new(MAX_REWRITTEN_LINE_BYTES),
            events: Events {
                asked_model: asked_model.to_owned(),
                has_begun: false,
                next_block: 0,
                open: None,
                calls: Vec::new(),
                finish_reason: None,
                matched_stop: None,
                usage: TokenUsage::default(),
                has_ended: false,
            },
        }
    }

    /// Takes a chunk of the stream and appends the events that it makes, which may be none.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.events.has_ended {
            return;
        }
        let events = &mut self.events;
        if self.lines.push_said(chunk, |line| events.take_line(line, out)).is_err() {
            self.events.fail("api_error", INVALID, out);
        }
    }

    /// Ends the stream: appends an `error` event unless it has ended already.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.events.has_ended {
            return;
        }
        let events = &mut self.events;
        // Half a line at the end says nothing but that there is no end.
        let _ = Line::read(&self.lines.take_rest()).map(|line| events.take_line(line, out));
        self.events.fail("api_error", INCOMPLETE, out);
    }

    /// Whether the last event is in the output.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.events.has_ended
    }
}

impl Events {
    fn take_line(&mut self, line: Line<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if self.has_ended {
            return Ok(());
        }
        match line {
            Line::Comment if self.has_begun => write_event("ping", out, |_| {}),
            Line::Comment => {}
            Line::Data(b"[DONE]") => self.end(out),
            Line::Data(data) if data.starts_with(b"{") => {
                self.take_chunk(data, out).map_err(|_| StreamFault::InvalidJson)?;
            }
            Line::Data(_) => {}
        }
        Ok(())
    }

    fn take_chunk(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let chunk = read_body(data, Style::Chat)?;
        if let Some(error) = chunk.get("error") {
            self.take_error(error, out);
            return Ok(());
        }
        self.begin(chunk.text("id")?.as_deref().unwrap_or_default(), out);
        if let Some(usage) = chunk.get("usage").and_then(|usage| read_chat_usage(usage.raw)) {
            self.usage = usage;
        }
        let Some(choices) = chunk.get("choices") else {
            return Ok(());
        };
        for choice in choices.items()? {
            let choice = choice?.object()?;
            // A message has one choice.
            if choice.get("index").is_some_and(|index| index.raw.to_u64() != Some(0)) {
                continue;
            }
            if let Some(delta) = choice.get("delta") {
                self.take_delta(&delta.object()?, out)?;
            }
            if let Some(reason) = choice.text("finish_reason")? {
                self.finish_reason = Some(reason.into_owned());
                self.matched_stop = matched_stop_of_choice(&choice).map(<[u8]>::to_vec);
            }
        }
        Ok(())
    }

    fn take_delta(&mut self, delta: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        self.take_reasoning(delta, out)?;
        for name in ["content", "refusal"] {
            if let Some(text) = delta.get(name).filter(Value::is_string) {
                let literal = text.literal()?;
                if !inside(literal).is_empty() {
                    let block = self.open_text(out);
                    write_delta(block, "text_delta", "text", literal, out);
                }
            }
        }
        if let Some(calls) = delta.get("tool_calls") {
            for call in calls.items()? {
                self.take_call(&call?.object()?, out)?;
            }
        }
        Ok(())
    }

    fn take_reasoning(&mut self, delta: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let mut has_text = false;
        if let Some(details) = delta.get("reasoning_details").filter(|details| details.kind() == Kind::Array) {
            for detail in details.items()? {
                let detail = detail?.object()?;
                let is_ours = detail.text("format")?.is_none_or(|format| format.starts_with("anthropic"));
                let index = detail.get("index").and_then(|index| index.raw.to_u64());
                match detail.text("type")?.as_deref() {
                    Some("reasoning.encrypted") if is_ours => {
                        let data = detail.need("data")?.literal()?;
                        self.close_block(out);
                        self.open_block(OpenKind::Thinking(index), out, |w| {
                            w.member_text("type", "redacted_thinking").member("data", data);
                        });
                        self.close_block(out);
                    }
                    Some("reasoning.text") => {
                        if let Some(text) = detail.get("text") {
                            has_text = true;
                            self.write_thinking(index, text.literal()?, out);
                        }
                        if let Some(signature) = detail.get("signature").filter(|_| is_ours) {
                            let block = self.open_thinking(index, out);
                            write_delta(block, "signature_delta", "signature", signature.literal()?, out);
                            self.close_block(out);
                        }
                    }
                    _ => {}
                }
            }
        }
        let reasoning = delta.get("reasoning_content").or_else(|| delta.get("reasoning"));
        if let Some(reasoning) = reasoning.filter(|reasoning| !has_text && reasoning.is_string()) {
            self.write_thinking(None, reasoning.literal()?, out);
        }
        Ok(())
    }

    fn write_thinking(&mut self, index: Option<u64>, literal: &[u8], out: &mut Vec<u8>) {
        if !inside(literal).is_empty() {
            let block = self.open_thinking(index, out);
            write_delta(block, "thinking_delta", "thinking", literal, out);
        }
    }

    fn take_call(&mut self, call: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let index = call.get("index").and_then(|index| index.raw.to_u64());
        let id = call.text("id")?.filter(|id| !id.is_empty());
        let short_id: Option<String> = id.as_ref().map(|id| id.chars().take(MAX_ID_CHARS).collect());
        // Some servers repeat the id, some leave the index out, some give all calls the same.
        let known = match index {
            Some(_) => self.calls.iter().rfind(|known| known.index == index),
            None => self.calls.last(),
        };
        let known = known.filter(|known| short_id.as_ref().is_none_or(|id| *id == known.id));
        let function = call.get("function").map(Value::object).transpose()?;
        let block = match known {
            Some(known) => known.block,
            None => {
                let name = function.as_ref().and_then(|function| function.get("name"));
                let name = name.ok_or_else(|| call.invalid("function", "has no name"))?.literal()?;
                if self.calls.len() == MAX_CALLS {
                    return Err(call.invalid("index", "is of a call too many"));
                }
                let block_id = id.map_or_else(|| format!("toolu_{}", self.calls.len()), |id| to_tool_use_id(&id));
                self.close_block(out);
                let block = self.open_block(OpenKind::Call, out, |w| {
                    w.member_text("type", "tool_use").member_text("id", &block_id);
                    w.member("name", name).member("input", b"{}");
                });
                self.calls.push(Call { index, id: short_id.unwrap_or_default(), block });
                block
            }
        };
        // Should a server write two calls by turns, input of a closed block goes there still: clients keep it by
        // its index.
        if let Some(arguments) = function.as_ref().and_then(|function| function.get("arguments")) {
            let mut whole = Vec::new();
            let literal = match arguments.kind() {
                // From some servers it is JSON as it is.
                Kind::Object => {
                    Writer::new(&mut whole).text(&String::from_utf8_lossy(arguments.raw.bytes));
                    &whole
                }
                _ => arguments.literal()?,
            };
            if !inside(literal).is_empty() {
                write_delta(block, "input_json_delta", "partial_json", literal, out);
            }
        }
        Ok(())
    }

    fn begin(&mut self, completion_id: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let id = to_message_id(completion_id);
        let model = &self.asked_model;
        write_event("message_start", out, |w| {
            w.key("message").open_object().member_text("id", &id).member_text("type", "message");
            w.member_text("role", "assistant").member_text("model", model).member("content", b"[]");
            w.member("stop_reason", b"null").member("stop_sequence", b"null");
            write_message_usage(&TokenUsage::default(), w);
            w.close_object();
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin("", out);
        self.close_block(out);
        let usage = self.usage;
        let (finish_reason, has_calls) = (self.finish_reason.as_deref(), !self.calls.is_empty());
        let matched = self.matched_stop.as_deref();
        write_event("message_delta", out, |w| {
            w.key("delta").open_object();
            write_stop(finish_reason, has_calls, matched, w);
            w.close_object();
            write_message_usage(&usage, w);
        });
        write_event("message_stop", out, |_| {});
        self.has_ended = true;
    }

    fn take_error(&mut self, error: Value<'_, '_>, out: &mut Vec<u8>) {
        let fields = error.object().ok();
        let text = |name| fields.as_ref().and_then(|fields| fields.text(name).ok().flatten());
        let message = text("message").or_else(|| error.text().ok());
        let names = [text("type"), text("code")];
        let has = |part: &str| names.iter().flatten().any(|name| name.contains(part));
        let error_type = match () {
            () if has("rate_limit") => "rate_limit_error",
            () if has("overloaded") => "overloaded_error",
            () if has("timeout") => "timeout_error",
            () => "api_error",
        };
        self.fail(error_type, message.as_deref().unwrap_or(INCOMPLETE), out);
    }

    /// Ends the stream in an error, unless it has ended.
    fn fail(&mut self, error_type: &str, message: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        out.extend_from_slice(b"event: error\ndata: ");
        let mut w = Writer::new(out);
        w.open_object();
        write_error(error_type, message, &mut w);
        w.close_object();
        out.extend_from_slice(b"\n\n");
    }

    fn open_thinking(&mut self, index: Option<u64>, out: &mut Vec<u8>) -> u64 {
        if let Some(Open { block, kind: OpenKind::Thinking(known) }) = self.open
            && (known == index || known.is_none() || index.is_none())
        {
            return block;
        }
        self.close_block(out);
        self.open_block(OpenKind::Thinking(index), out, |w| {
            w.member_text("type", "thinking").member_text("thinking", "").member_text("signature", "");
        })
    }

    fn open_text(&mut self, out: &mut Vec<u8>) -> u64 {
        if let Some(Open { block, kind: OpenKind::Text }) = self.open {
            return block;
        }
        self.close_block(out);
        self.open_block(OpenKind::Text, out, |w| _ = w.member_text("type", "text").member_text("text", ""))
    }

    fn open_block(&mut self, kind: OpenKind, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) -> u64 {
        let block = self.next_block;
        self.next_block += 1;
        self.open = Some(Open { block, kind });
        write_event("content_block_start", out, |w| {
            w.member_count("index", block).key("content_block").open_object();
            write(w);
            w.close_object();
        });
        block
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        if let Some(open) = self.open.take() {
            write_event("content_block_stop", out, |w| _ = w.member_count("index", open.block));
        }
    }
}

fn write_event(name: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let mut w = Writer::new(out);
    w.open_object().member_text("type", name);
    write(&mut w);
    w.close_object();
    out.extend_from_slice(b"\n\n");
}

fn write_delta(block: u64, kind: &str, member: &str, literal: &[u8], out: &mut Vec<u8>) {
    write_event("content_block_delta", out, |w| {
        w.member_count("index", block).key("delta").open_object();
        w.member_text("type", kind).member(member, literal).close_object();
    });
}
