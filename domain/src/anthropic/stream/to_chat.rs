//! Anthropic's events as chunks of a chat completion.

use super::chunks::{Chunks, End};
use crate::anthropic::fields::{Fields, Style, Value, read_body};
use crate::anthropic::ids::to_answered_call_id;
use crate::anthropic::outcome::{MessageUsage, matched_stop, to_finish_reason};
use crate::anthropic::writer::{Writer, inside};
use crate::anthropic::{JSON_ANSWER_TOOL, TranslateError};
use crate::chat::lines::{Line, Lines, Piece};
use crate::chat::stream::{MAX_ERROR_CHARS, MAX_LINE_BYTES, StreamFault};
use crate::json::{Kind, Reader};
use crate::pricing::TokenUsage;

/// Most content blocks that are open at one time. Anthropic's come one after the other.
const MAX_OPEN_BLOCKS: usize = 64;

/// Translates an upstream's Messages stream into a chat completion stream, for the house's rewriter to
/// read on.
///
/// Its end is `[DONE]` if, and only if, the upstream said `message_stop`.
#[derive(Debug)]
pub struct MessagesToChatStream {
    lines: Lines,
    events: Events,
    fault: Option<StreamFault>,
}

/// What the events so far have told.
#[derive(Debug)]
struct Events {
    chunks: Chunks,
    include_usage: bool,
    open: Vec<Block>,
    calls_count: u64,
    details_count: u64,
    usage: MessageUsage,
    stop_reason: Option<String>,
    matched_stop: Option<Vec<u8>>,
    /// The open event's data so far, where its first line is no JSON by itself.
    pieces: Vec<u8>,
    is_done: bool,
}

#[derive(Debug)]
struct Block {
    index: u64,
    kind: BlockKind,
    /// Whether its input came with its start, so that none follows.
    is_whole: bool,
    /// Whether some of its input was forwarded.
    has_input: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Text,
    /// Its place among the `reasoning_details`.
    Thinking(u64),
    /// Its place among the `tool_calls`.
    Call(u64),
    JsonAnswer,
    /// Of tools that run at Anthropic's: nothing of it is forwarded.
    Other,
}

impl MessagesToChatStream {
    /// A translator whose chunks name `asked_model` and the time `created_s` (seconds since 1970), and which
    /// tells usage in a last chunk if `include_usage`.
    #[must_use]
    pub fn new(asked_model: &str, created_s: i64, include_usage: bool) -> Self {
        Self {
            lines: Lines::new(MAX_LINE_BYTES),
            events: Events {
                chunks: Chunks::new(asked_model, created_s),
                include_usage,
                open: Vec::new(),
                calls_count: 0,
                details_count: 0,
                usage: MessageUsage::default(),
                stop_reason: None,
                matched_stop: None,
                pieces: Vec::new(),
                is_done: false,
            },
            fault: None,
        }
    }

    /// Takes a chunk from the upstream and appends to `out` the chunks that it makes, which may be none.
    ///
    /// # Errors
    /// [`StreamFault`]: what came before it is in `out`; cancel the upstream. The code of a
    /// [`StreamFault::UpstreamError`] is Anthropic's type, for
    /// [`classify_error_type`](crate::routing::classify_error_type). The same fault is returned from then on.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.events.is_done {
            return Ok(());
        }
        let events = &mut self.events;
        let result = self.lines.push(chunk, |piece| match piece {
            Piece::Line(b"", _) => events.end_event(out),
            Piece::Line(line, _) => events.take_line(line, out),
            Piece::LateFeed => Ok(()),
        });
        // What follows the end does not matter, however long its lines are.
        if self.events.is_done { Ok(()) } else { self.keep_fault(result) }
    }

    /// At the end of the upstream: takes a last line that lacks only its line end. Appends no `[DONE]` unless that
    /// line is `message_stop`.
    ///
    /// # Errors
    /// As [`MessagesToChatStream::push`]; half an object is none.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let events = &mut self.events;
        let result = events.take_line(&self.lines.take_rest(), out).and_then(|()| events.end_event(out));
        self.keep_fault(if result == Err(StreamFault::InvalidJson) { Ok(()) } else { result })
    }

    /// Tokens as the upstream has counted them so far: the input from its first event on, the output at
    /// its end.
    #[must_use]
    pub fn usage(&self) -> Option<TokenUsage> {
        self.events.usage.total()
    }

    /// Whether the upstream said `message_stop`.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.events.is_done
    }

    fn keep_fault(&mut self, result: Result<(), StreamFault>) -> Result<(), StreamFault> {
        if let Err(fault) = &result {
            self.fault = Some(fault.clone());
            self.lines = Lines::new(0);
        }
        result
    }
}

impl Events {
    fn take_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let Some(Line::Data(data)) = Line::read(line).filter(|_| !self.is_done) else {
            return Ok(());
        };
        if !self.pieces.is_empty() {
            return self.join(data);
        }
        if !data.starts_with(b"{") {
            return Ok(());
        }
        match self.take_data(data, out) {
            // It may go on in the event's next line.
            Err(StreamFault::InvalidJson) if !is_whole(data) => self.join(data),
            result => result,
        }
    }

    /// Takes a line of data that is not whole by itself.
    fn join(&mut self, data: &[u8]) -> Result<(), StreamFault> {
        if self.pieces.len() + data.len() > MAX_LINE_BYTES {
            return Err(StreamFault::LineTooLong);
        }
        self.pieces.extend_from_slice(data);
        // In JSON, line ends stand between its words only.
        self.pieces.push(b'\n');
        Ok(())
    }

    /// Takes the blank line that ends an event.
    fn end_event(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        match std::mem::take(&mut self.pieces) {
            data if data.is_empty() => Ok(()),
            data => self.take_data(&data, out),
        }
    }

    fn take_data(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let length = out.len();
        let result = match self.take_event(data, out) {
            Ok(None) => Ok(()),
            Ok(Some(fault)) => Err(fault),
            Err(_) => Err(StreamFault::InvalidJson),
        };
        if result.is_err() {
            out.truncate(length);
        }
        result
    }

    fn take_event(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Option<StreamFault>, TranslateError> {
        let event = read_body(data, Style::Messages)?;
        match event.need("type")?.text()?.as_ref() {
            "message_start" => {
                let value = event.need("message")?;
                let message = value.object()?;
                self.usage.take(&message);
                self.chunks.begin(message.text("id")?.as_deref().unwrap_or_default(), out);
            }
            "content_block_start" => self.begin_block(&event, out)?,
            "content_block_delta" => self.take_delta(&event, out)?,
            "content_block_stop" => self.end_block(event.need("index")?.count()?, out),
            "message_delta" => {
                self.usage.take(&event);
                if let Some(delta) = event.get("delta") {
                    let delta = delta.object()?;
                    if let Some(stop_reason) = delta.text("stop_reason")? {
                        self.stop_reason = Some(stop_reason.into_owned());
                        self.matched_stop = matched_stop(&delta).map(<[u8]>::to_vec);
                    }
                }
            }
            "message_stop" => self.end(out),
            "error" => return Ok(Some(read_fault(&event)?)),
            // A comment keeps the client's connection as a ping does.
            "ping" => out.extend_from_slice(b": ping\n\n"),
            // What is to come.
            _ => {}
        }
        Ok(None)
    }

    fn begin_block(&mut self, event: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let place = event.need("index")?;
        let index = place.count()?;
        if self.open.len() == MAX_OPEN_BLOCKS || self.open.iter().any(|block| block.index == index) {
            return Err(place.path.invalid("is of a block too many"));
        }
        let value = event.need("content_block")?;
        let block = value.object()?;
        let kind = match block.need("type")?.text()?.as_ref() {
            "text" => {
                if let Some(text) = block.get("text") {
                    self.chunks.write_text(text.literal()?, out);
                }
                BlockKind::Text
            }
            "thinking" => {
                let detail = self.next_detail();
                if let Some(thinking) = block.get("thinking") {
                    self.chunks.write_thinking(detail, thinking.literal()?, out);
                }
                BlockKind::Thinking(detail)
            }
            "redacted_thinking" => {
                let detail = self.next_detail();
                let data = block.need("data")?.literal()?;
                self.chunks.write_detail(detail, None, out, |w| {
                    w.member_text("type", "reasoning.encrypted").member("data", data);
                });
                BlockKind::Other
            }
            "tool_use" if block.need("name")?.text()? == JSON_ANSWER_TOOL => BlockKind::JsonAnswer,
            "tool_use" => {
                let call = self.calls_count;
                let id = to_answered_call_id(&block.text("id")?.unwrap_or_default(), call);
                let name = block.need("name")?.literal()?;
                self.calls_count += 1;
                self.chunks.write_call(call, &id, name, out);
                BlockKind::Call(call)
            }
            _ => BlockKind::Other,
        };
        let mut opened = Block { index, kind, is_whole: false, has_input: false };
        if matches!(kind, BlockKind::Call(_) | BlockKind::JsonAnswer)
            && let Some(input) = block.get("input").filter(|input| input.kind() == Kind::Object)
            && input.object()?.members().next().is_some()
        {
            let mut literal = Vec::new();
            Writer::new(&mut literal).text(&String::from_utf8_lossy(input.raw.bytes));
            self.write_input(kind, &literal, out);
            opened.is_whole = true;
            opened.has_input = true;
        }
        self.open.push(opened);
        Ok(())
    }

    fn take_delta(&mut self, event: &Fields<'_, '_>, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let place = event.need("index")?;
        let index = place.count()?;
        let Some(block) = self.open.iter_mut().find(|block| block.index == index) else {
            return Err(place.path.invalid("is of a block that is not open"));
        };
        let kind = block.kind;
        let value = event.need("delta")?;
        let delta = value.object()?;
        match (delta.need("type")?.text()?.as_ref(), kind) {
            ("text_delta", BlockKind::Text) => self.chunks.write_text(delta.need("text")?.literal()?, out),
            ("thinking_delta", BlockKind::Thinking(detail)) => {
                self.chunks.write_thinking(detail, delta.need("thinking")?.literal()?, out);
            }
            ("signature_delta", BlockKind::Thinking(detail)) => {
                let signature = delta.need("signature")?.literal()?;
                self.chunks.write_detail(detail, None, out, |w| {
                    w.member_text("type", "reasoning.text").member("signature", signature);
                });
            }
            ("input_json_delta", BlockKind::Call(_) | BlockKind::JsonAnswer) if !block.is_whole => {
                let input = delta.need("partial_json")?.literal()?;
                if !inside(input).is_empty() {
                    block.has_input = true;
                    self.write_input(kind, input, out);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends a block. Anthropic streams no input for a call without arguments, and clients parse what they got.
    fn end_block(&mut self, index: u64, out: &mut Vec<u8>) {
        if let Some(at) = self.open.iter().position(|block| block.index == index) {
            let block = self.open.remove(at);
            if !block.has_input {
                self.write_input(block.kind, b"\"{}\"", out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        for block in std::mem::take(&mut self.open) {
            if !block.has_input {
                self.write_input(block.kind, b"\"{}\"", out);
            }
        }
        let end = End {
            finish_reason: to_finish_reason(self.stop_reason.as_deref(), self.calls_count > 0),
            matched_stop: self.matched_stop.as_deref(),
        };
        let usage = self.usage.total().filter(|_| self.include_usage);
        self.chunks.write_end(&end, usage.as_ref(), out);
        self.is_done = true;
    }

    /// Forwards input of a call; does nothing for other blocks.
    fn write_input(&mut self, kind: BlockKind, literal: &[u8], out: &mut Vec<u8>) {
        match kind {
            BlockKind::Call(call) => self.chunks.write_arguments(call, literal, out),
            BlockKind::JsonAnswer => self.chunks.write_text(literal, out),
            BlockKind::Text | BlockKind::Thinking(_) | BlockKind::Other => {}
        }
    }

    const fn next_detail(&mut self) -> u64 {
        self.details_count += 1;
        self.details_count - 1
    }
}

fn is_whole(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    reader.read_value().is_ok() && reader.finish().is_ok()
}

fn read_fault(event: &Fields<'_, '_>) -> Result<StreamFault, TranslateError> {
    let value = event.need("error")?;
    let error = value.object()?;
    let bounded = |value: Value<'_, '_>| value.text().ok().map(|text| text.chars().take(MAX_ERROR_CHARS).collect());
    Ok(StreamFault::UpstreamError {
        message: error.get("message").and_then(bounded).unwrap_or_else(|| "no message".to_owned()),
        code: error.get("type").and_then(bounded),
    })
}
