//! A chat completion stream as the events of a Response.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::assemble::Assembler;
use super::completion::{Completion, text_of};
use super::echo::Echo;
use crate::chat::lines::{Line, Lines};
use crate::chat::stream::StreamEnd;
use crate::ids::ResponseId;
use crate::json::{Raw, Reader};

/// Longest line that is waited for: one of the rewriter's, its model name changed.
pub const MAX_LINE_BYTES: usize = crate::chat::stream::MAX_LINE_BYTES + 64 * 1024;

const DONE: &[u8] = b"[DONE]";

/// What becomes of a stream whose upstream breaks its own format.
const BAD_CHUNK: &str = "The model's provider sent a chunk that can't be read.";
const TOO_LARGE: &str = "The answer is too large for this API.";
const CUT_OFF: &str = "The model's provider ended the stream before it was complete.";

/// The transformer of one stream.
///
/// Takes what [`crate::chat::stream::StreamRewriter`] puts out: events that end in `[DONE]` or in an error.
#[derive(Debug)]
pub struct ChatToResponsesStream {
    assembler: Assembler,
    lines: Lines,
    has_begun: bool,
    has_ended: bool,
}

impl ChatToResponsesStream {
    /// A transformer for the answer to one request. `created_at_s` is Unix time in seconds.
    #[must_use]
    pub fn new(echo: Echo, id: ResponseId, created_at_s: u64) -> Self {
        Self {
            assembler: Assembler::new(echo, id, created_at_s),
            lines: Lines::new(MAX_LINE_BYTES),
            has_begun: false,
            has_ended: false,
        }
    }

    /// Takes a chunk, cut anywhere, and appends the events that it makes to `out`.
    ///
    /// The first call, even with an empty chunk, says `response.created`.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        if self.has_ended {
            return;
        }
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(0));
        let result = lines.push_said(chunk, |line| {
            self.take_line(line, out);
            Ok(())
        });
        if self.has_ended {
            return;
        }
        self.lines = lines;
        if result.is_err() {
            self.fail("upstream_invalid_response", BAD_CHUNK, out);
        }
    }

    /// Ends the stream. Unless it has said its last event, appends an error and `response.failed`.
    pub fn finish(&mut self, end: StreamEnd<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        if self.has_ended {
            return;
        }
        // A last line that lacks only its end still counts; half an object does not.
        let rest = self.lines.take_rest();
        let is_whole = |data: &[u8]| data == DONE || serde_json::from_slice::<IgnoredAny>(data).is_ok();
        if let Some(Line::Data(data)) = Line::read(&rest)
            && is_whole(data)
        {
            self.take_line(Line::Data(data), out);
        }
        if !self.has_ended {
            let (code, message) = match end {
                StreamEnd::Eof => ("upstream_incomplete", CUT_OFF),
                StreamEnd::Failed { code, message } => (code, message),
            };
            self.fail(code, message, out);
        }
    }

    /// Whether the last event has been said.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The Response of the last event; `None` before it.
    #[must_use]
    pub fn response(&self) -> Option<Vec<u8>> {
        self.has_ended.then(|| self.assembler.to_json())
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.assembler.begin(out);
        }
    }

    fn take_line(&mut self, line: Line<'_>, out: &mut Vec<u8>) {
        match line {
            _ if self.has_ended => {}
            // Keeps the connection alive on this side too.
            Line::Comment => out.extend_from_slice(b":\n\n"),
            Line::Data(DONE) => {
                self.has_ended = true;
                self.assembler.end(out);
            }
            Line::Data(data) if data.starts_with(b"{") => self.take_data(data, out),
            Line::Data(_) => {}
        }
    }

    fn take_data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let Ok(completion) = Completion::read(data) else {
            self.fail("upstream_invalid_response", BAD_CHUNK, out);
            return;
        };
        if let Some(error) = completion.error {
            self.fail_with(error, out);
        } else if self.assembler.take(&completion, out).is_err() {
            self.fail("response_too_large", TOO_LARGE, out);
        }
    }

    fn fail_with(&mut self, error: Raw<'_>, out: &mut Vec<u8>) {
        let (mut message, mut code) = (text_of(Some(error)), Cow::Borrowed(""));
        // It was read before: it has no fault.
        let mut reader = Reader::new(error.bytes);
        let is_object = reader.enter_object().unwrap_or(false);
        while is_object && let Ok(Some(member)) = reader.next_member() {
            let Ok(value) = reader.read_value() else { break };
            match member.key.as_ref() {
                b"message" => message = text_of(Some(value)),
                b"code" => code = text_of(Some(value)),
                _ => {}
            }
        }
        let message = if message.is_empty() { "The model's provider reported an error.".into() } else { message };
        let code = if code.is_empty() { "upstream_error".into() } else { code };
        self.fail(&code, &message, out);
    }

    fn fail(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.has_ended = true;
        self.lines = Lines::new(0);
        self.assembler.fail(code, message, out);
    }
}
