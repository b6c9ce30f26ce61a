//! Chunks of a chat completion as Anthropic's events.

use crate::anthropic::TranslateError;
use crate::anthropic::error::write_error;
use crate::anthropic::fields::{Fields, Style, Value, read_body};
use crate::anthropic::ids::to_tool_use_id;
use crate::anthropic::outcome::{matched_stop_of_choice, read_chat_usage, write_message_usage, write_stop};
use crate::anthropic::to_message::thoughts_of;
use crate::anthropic::writer::{Writer, inside};
use crate::chat::calls::{Call, Calls};
use crate::chat::lines::{Line, Lines};
use crate::chat::stream::{MAX_LINE_BYTES, StreamFault};
use crate::json::Kind;
use crate::pricing::TokenUsage;

/// Longest line that is waited for: the house's rewriter has put a model's name into one of
/// [`MAX_LINE_BYTES`].
const MAX_REWRITTEN_LINE_BYTES: usize = 2 * MAX_LINE_BYTES;
/// Most calls in one answer.
const MAX_CALLS: usize = 512;
/// Most bytes of ids, names and early arguments that are kept of calls.
const MAX_KEPT_BYTES: usize = 4 << 20;

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
    id: String,
    has_begun: bool,
    next_block: usize,
    open: Option<Open>,
    calls: Calls,
    finish_reason: Option<String>,
    /// The literal of the caller's text that ended it.
    matched_stop: Option<Vec<u8>>,
    usage: TokenUsage,
    has_ended: bool,
}

/// The content block that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    block: usize,
    kind: OpenKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenKind {
    /// With its place among the `reasoning_details`, if it has one.
    Thinking(Option<u64>),
    Text,
    Call,
}

impl ChatToMessagesStream {
    /// A translator whose message has this id, and names `asked_model`.
    #[must_use]
    pub fn new(asked_model: &str, id: String) -> Self {
        Self {
            lines: Lines::new(MAX_REWRITTEN_LINE_BYTES),
            events: Events {
                asked_model: asked_model.to_owned(),
                id,
                has_begun: false,
                next_block: 0,
                open: None,
                calls: Calls::default(),
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
        self.begin(out);
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
            match delta.get(name) {
                Some(text) if text.is_string() => self.write_text(text.literal()?, out),
                Some(parts) if parts.kind() == Kind::Array => self.take_parts(&parts, out)?,
                _ => {}
            }
        }
        if let Some(calls) = delta.get("tool_calls") {
            for call in calls.items()? {
                self.take_call(&call?.object()?, out)?;
            }
        }
        Ok(())
    }

    fn take_parts(&mut self, parts: &Value<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        for part in parts.items()? {
            let Ok(part) = part?.object() else { continue };
            if let Some(thoughts) = thoughts_of(&part)? {
                self.write_thinking(None, &thoughts, out);
            }
            if let Some(text) = part.get("text").filter(Value::is_string) {
                self.write_text(text.literal()?, out);
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

    fn write_text(&mut self, literal: &[u8], out: &mut Vec<u8>) {
        if !inside(literal).is_empty() {
            let block = self.open_text(out);
            write_delta(block, "text_delta", "text", literal, out);
        }
    }

    fn take_call(&mut self, call: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let index = call.get("index").and_then(|index| index.raw.to_u64());
        let function = call.get("function").map(Value::object).transpose()?;
        let id = call.text("id")?.unwrap_or_default();
        let name = function.as_ref().map(|function| function.text("name")).transpose()?.flatten().unwrap_or_default();
        let place = self.calls.place_of(index, &id, &name);
        if self.calls.list.len() > MAX_CALLS || self.calls.kept_bytes > MAX_KEPT_BYTES {
            return Err(call.invalid("index", "is of a call too many"));
        }
        let block = self.open_call(place, out);
        let Some(arguments) = function.as_ref().and_then(|function| function.get("arguments")) else { return Ok(()) };
        let mut whole = Vec::new();
        let literal = match arguments.kind() {
            // From some servers it is JSON as it is.
            Kind::Object => {
                Writer::new(&mut whole).text(&String::from_utf8_lossy(arguments.raw.bytes));
                &whole
            }
            _ => arguments.literal()?,
        };
        match block {
            // Should a server write two calls by turns, input of a closed block goes there still: clients keep it by
            // its index.
            Some(block) if !inside(literal).is_empty() => {
                write_delta(block, "input_json_delta", "partial_json", literal, out);
            }
            Some(_) => {}
            None => self.calls.keep_early(place, &String::from_utf8_lossy(inside(literal))),
        }
        Ok(())
    }

    /// The block of a call, with the arguments that came before it; `None` until the call has a name.
    fn open_call(&mut self, place: usize, out: &mut Vec<u8>) -> Option<usize> {
        let call = self.calls.list.get_mut(place)?;
        if call.item.is_some() || call.name.is_empty() {
            return call.item;
        }
        let Call { id, name, early, .. } = std::mem::take(call);
        let block_id = to_tool_use_id(&self.calls.take_id(&id, format!("call_{place}")));
        self.close_block(out);
        let block = self.open_block(OpenKind::Call, out, |w| {
            w.member_text("type", "tool_use").member_text("id", &block_id);
            w.member_text("name", &name).member("input", b"{}");
        });
        if !early.is_empty() {
            write_delta(block, "input_json_delta", "partial_json", format!("\"{early}\"").as_bytes(), out);
        }
        *self.calls.list.get_mut(place)? = Call { id, name, early: String::new(), item: Some(block) };
        Some(block)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let (id, model) = (&self.id, &self.asked_model);
        write_event("message_start", out, |w| {
            w.key("message").open_object().member_text("id", id).member_text("type", "message");
            w.member_text("role", "assistant").member_text("model", model).member("content", b"[]");
            w.member("stop_reason", b"null").member("stop_sequence", b"null");
            write_message_usage(&TokenUsage::default(), w);
            w.close_object();
        });
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        // Arguments of nobody knows what.
        if self.calls.list.iter().any(|call| !call.early.is_empty()) {
            return self.fail("api_error", INVALID, out);
        }
        self.close_block(out);
        let usage = self.usage;
        let finish_reason = self.finish_reason.as_deref();
        let has_calls = self.calls.list.iter().any(|call| call.item.is_some());
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

    fn open_thinking(&mut self, index: Option<u64>, out: &mut Vec<u8>) -> usize {
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

    fn open_text(&mut self, out: &mut Vec<u8>) -> usize {
        if let Some(Open { block, kind: OpenKind::Text }) = self.open {
            return block;
        }
        self.close_block(out);
        self.open_block(OpenKind::Text, out, |w| _ = w.member_text("type", "text").member_text("text", ""))
    }

    fn open_block(&mut self, kind: OpenKind, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) -> usize {
        let block = self.next_block;
        self.next_block += 1;
        self.open = Some(Open { block, kind });
        write_event("content_block_start", out, |w| {
            w.member_count("index", block as u64).key("content_block").open_object();
            write(w);
            w.close_object();
        });
        block
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        if let Some(open) = self.open.take() {
            write_event("content_block_stop", out, |w| _ = w.member_count("index", open.block as u64));
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

fn write_delta(block: usize, kind: &str, member: &str, literal: &[u8], out: &mut Vec<u8>) {
    write_event("content_block_delta", out, |w| {
        w.member_count("index", block as u64).key("delta").open_object();
        w.member_text("type", kind).member(member, literal).close_object();
    });
}
