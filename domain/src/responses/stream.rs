//! A chat completion stream as the events of a Response.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::assemble::Assembler;
use super::completion::{Completion, text_of};
use super::echo::Echo;
use crate::chat::stream::StreamEnd;
use crate::ids::ResponseId;

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
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
}

impl ChatToResponsesStream {
    /// A transformer for the answer to one request. `created_at_s` is Unix time in seconds.
    #[must_use]
    pub fn new(echo: Echo, id: ResponseId, created_at_s: u64) -> Self {
        Self {
            assembler: Assembler::new(echo, id, created_at_s),
            partial: Vec::new(),
            has_begun: false,
            has_ended: false,
        }
    }

    /// Takes a chunk, cut anywhere, and appends the events that it makes to `out`.
    ///
    /// The first call, even with an empty chunk, says `response.created`.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        let mut rest = chunk;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest)
            && !self.has_ended
        {
            let (line, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                self.take_line(line, out);
                continue;
            }
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(line);
            self.take_line(&joined, out);
            joined.clear();
            self.partial = joined;
        }
        if self.has_ended {
            self.partial = Vec::new();
        } else if self.partial.len() + rest.len() > MAX_LINE_BYTES {
            self.fail("upstream_invalid_response", BAD_CHUNK, out);
        } else {
            self.partial.extend_from_slice(rest);
        }
    }

    /// Ends the stream. Unless it has said its last event, appends an error and `response.failed`.
    pub fn finish(&mut self, end: StreamEnd<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        if self.has_ended {
            return;
        }
        // A last line that lacks only its end still counts; half an object does not.
        let line = std::mem::take(&mut self.partial);
        if data_of(&line).is_some_and(|data| data == DONE || serde_json::from_slice::<IgnoredAny>(data).is_ok()) {
            self.take_line(&line, out);
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

    fn take_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if line.starts_with(b":") {
            // Keeps the connection alive on this side too.
            out.extend_from_slice(b":\n\n");
            return;
        }
        let Some(data) = data_of(line) else { return };
        if data == DONE {
            self.has_ended = true;
            self.assembler.end(out);
        } else if data.starts_with(b"{") {
            self.take_data(data, out);
        }
    }

    fn take_data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let Ok(completion) = serde_json::from_slice::<Completion<'_>>(data) else {
            self.fail("upstream_invalid_response", BAD_CHUNK, out);
            return;
        };
        if let Some(error) = completion.error.filter(|error| error.get() != "null") {
            self.fail_with(error, out);
        } else if self.assembler.take(&completion, out).is_err() {
            self.fail("response_too_large", TOO_LARGE, out);
        }
    }

    fn fail_with(&mut self, error: &RawValue, out: &mut Vec<u8>) {
        #[derive(Deserialize)]
        struct ErrorFrame<'a> {
            #[serde(borrow)]
            message: Option<&'a RawValue>,
            #[serde(borrow)]
            code: Option<&'a RawValue>,
        }
        let frame = serde_json::from_str::<ErrorFrame<'_>>(error.get());
        let (message, code) = match &frame {
            Ok(frame) => (text_of(frame.message), text_of(frame.code)),
            Err(_) => (text_of(Some(error)), "".into()),
        };
        let message = if message.is_empty() { "The model's provider reported an error.".into() } else { message };
        let code = if code.is_empty() { "upstream_error".into() } else { code };
        self.fail(&code, &message, out);
    }

    fn fail(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        self.has_ended = true;
        self.partial = Vec::new();
        self.assembler.fail(code, message, out);
    }
}

/// The value of a `data` line; `None` for other lines.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}
