//! A chat completion stream on its way back to the client, chunk by chunk.
//!
//! The upstream's server-sent events are cut into lines whatever the chunks; complete lines leave
//! in the call in which they arrived. Each `data:` object gets the model that was asked for; usage
//! is remembered, and hidden if the client did not ask for it; all else is forwarded byte for byte.
//! Only an upstream that said `[DONE]` ends in a `[DONE]`.

mod frame;

use std::fmt;

use super::measure::estimate_tokens;
use crate::json::push_string;
use crate::pricing::TokenUsage;
use frame::FrameRewriter;
pub(crate) use frame::MAX_ERROR_CHARS;

/// Longest line that is waited for; a longer one is a fault.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DONE: &[u8] = b"[DONE]";

/// Why a stream can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A line over [`MAX_LINE_BYTES`].
    LineTooLong,
    /// A `data:` line that begins an object and is not JSON, or makes no sense where it stands.
    InvalidJson,
    /// The upstream sent an error in place of a chunk. It was not forwarded.
    UpstreamError {
        /// The upstream's own words, at most 500 characters: for the log, or for the client if the
        /// caller so decides.
        message: String,
        /// The upstream's code or type, if it gave one.
        code: Option<String>,
    },
}

impl StreamFault {
    /// The code that the client is told.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LineTooLong | Self::InvalidJson => "upstream_invalid_response",
            Self::UpstreamError { .. } => "upstream_error",
        }
    }
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => f.write_str("the upstream sent a line of over 1 MiB"),
            Self::InvalidJson => f.write_str("the upstream sent a chunk that is not JSON"),
            Self::UpstreamError { message, .. } => {
                write!(f, "the upstream sent an error: {message}")
            }
        }
    }
}

impl std::error::Error for StreamFault {}

/// How an upstream's stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd<'e> {
    /// The upstream closed it in good order.
    Eof,
    /// It broke: a reset, a timeout, a [`StreamFault`]. The texts go to the client.
    Failed {
        /// `error.code`
        code: &'e str,
        /// `error.message`
        message: &'e str,
    },
}

/// The transformer of one stream.
#[derive(Debug)]
pub struct StreamRewriter {
    frames: FrameRewriter,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// What became of the lines so far.
    lines: Lines,
    is_done: bool,
    fault: Option<StreamFault>,
    bytes_in: u64,
}

/// Where the output stands between two lines.
#[derive(Debug)]
struct Lines {
    is_first: bool,
    /// The last line ended in a carriage return, and a line feed may still belong to it; tells
    /// whether that line was kept.
    open_return: Option<bool>,
    /// An event was dropped: its blank line is to follow it.
    drop_blank: bool,
    /// The last line that was kept is not blank: the event it belongs to is still open.
    is_mid_event: bool,
}

impl StreamRewriter {
    /// A transformer that puts `asked_model` into every chunk and, if `hide_usage`, leaves out all
    /// that tells usage.
    #[must_use]
    pub fn new(asked_model: &str, hide_usage: bool) -> Self {
        Self {
            frames: FrameRewriter::new(asked_model, hide_usage),
            partial: Vec::new(),
            lines: Lines { is_first: true, open_return: None, drop_blank: false, is_mid_event: false },
            is_done: false,
            fault: None,
            bytes_in: 0,
        }
    }

    /// Takes a chunk from the upstream and appends to `out` what the client gets for it, which may
    /// be nothing.
    ///
    /// # Errors
    /// [`StreamFault`]: what came before it is in `out`; cancel the upstream and call
    /// [`StreamRewriter::finish`]. The same fault is returned from then on.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.bytes_in += chunk.len() as u64;
        out.reserve(self.partial.len() + chunk.len());
        let result = self.take_chunk(chunk, out);
        if let Err(fault) = &result {
            self.fault = Some(fault.clone());
            self.partial = Vec::new();
        }
        result
    }

    /// Ends the stream. Unless the upstream said `[DONE]`, appends an error event, and never a
    /// `[DONE]`.
    pub fn finish(&mut self, end: StreamEnd<'_>, out: &mut Vec<u8>) {
        let end = match end {
            StreamEnd::Eof => self.finish_last_line(out).map_or(
                StreamEnd::Failed { code: "upstream_error", message: "The model's provider reported an error." },
                |()| end,
            ),
            StreamEnd::Failed { .. } => end,
        };
        if self.lines.is_mid_event {
            out.push(b'\n');
            self.lines.is_mid_event = false;
        }
        if self.is_done {
            return;
        }
        let (code, message) = match end {
            StreamEnd::Eof => ("upstream_incomplete", "The model's provider ended the stream before it was complete."),
            StreamEnd::Failed { code, message } => (code, message),
        };
        out.extend_from_slice(b"data: {\"error\":{\"message\":");
        push_string(message, out);
        out.extend_from_slice(b",\"type\":\"upstream_error\",\"param\":null,\"code\":");
        push_string(code, out);
        out.extend_from_slice(b"}}\n\n");
    }

    /// Tokens as the upstream counted them, once it said.
    #[must_use]
    pub const fn usage(&self) -> Option<TokenUsage> {
        self.frames.usage()
    }

    /// Output tokens seen so far, for when the upstream does not say: chunks that carried text, or
    /// a quarter of the text's bytes, whichever is more.
    #[must_use]
    pub fn output_tokens_seen(&self) -> u64 {
        let written = self.frames.written();
        written.written.max(estimate_tokens(written.text_bytes))
    }

    /// Whether the model has begun to write: from then on another provider can't take over.
    #[must_use]
    pub const fn has_content(&self) -> bool {
        self.frames.written().written > 0
    }

    /// Whether the upstream said `[DONE]`.
    #[must_use]
    pub const fn saw_done(&self) -> bool {
        self.is_done
    }

    /// Bytes taken from the upstream.
    #[must_use]
    pub const fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    fn take_chunk(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let mut rest = chunk;
        while !rest.is_empty() {
            if let Some(was_kept) = self.lines.open_return.take()
                && let Some(behind) = rest.strip_prefix(b"\n")
            {
                rest = behind;
                if was_kept {
                    out.push(b'\n');
                }
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                break;
            };
            let (line, terminated) = rest.split_at(end);
            // A carriage return at the end of a chunk ends its line at once; should a line feed
            // follow, it goes after.
            let terminator_len = if terminated.starts_with(b"\r\n") { 2 } else { 1 };
            let (terminator, behind) = terminated.split_at(terminator_len);
            let was_kept = self.take_line(line, terminator, out)?;
            if terminator == b"\r" && behind.is_empty() {
                self.lines.open_return = Some(was_kept);
            }
            rest = behind;
        }
        if self.partial.len() + rest.len() > MAX_LINE_BYTES {
            return Err(StreamFault::LineTooLong);
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Takes a line whose end has come, joined to its beginning; tells whether it was kept.
    fn take_line(&mut self, line: &[u8], terminator: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        if self.partial.len() + line.len() > MAX_LINE_BYTES {
            return Err(StreamFault::LineTooLong);
        }
        if self.partial.is_empty() {
            return self.rewrite_line(line, terminator, out);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(line);
        let result = self.rewrite_line(&joined, terminator, out);
        joined.clear();
        self.partial = joined;
        result
    }

    fn rewrite_line(&mut self, line: &[u8], terminator: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        let mut line = line;
        if std::mem::replace(&mut self.lines.is_first, false) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        // Nothing follows `[DONE]` but the blank line that ends its event.
        if self.is_done && !(line.is_empty() && self.lines.is_mid_event) {
            return Ok(false);
        }
        if line.is_empty() {
            if std::mem::replace(&mut self.lines.drop_blank, false) && !self.lines.is_mid_event {
                return Ok(false);
            }
            out.extend_from_slice(terminator);
            self.lines.is_mid_event = false;
            return Ok(true);
        }
        self.lines.drop_blank = false;
        match data_of(line) {
            Some(data) if data.starts_with(b"{") => {
                if !self.frames.rewrite(line, line.len() - data.len(), out)? {
                    self.lines.drop_blank = true;
                    return Ok(false);
                }
            }
            Some(data) => {
                self.is_done |= data.trim_ascii_end() == DONE;
                out.extend_from_slice(line);
            }
            None => out.extend_from_slice(line),
        }
        out.extend_from_slice(terminator);
        self.lines.is_mid_event = true;
        Ok(true)
    }

    /// At the end of the upstream: a last line that lacks only its terminator still counts; half an
    /// object does not.
    fn finish_last_line(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let line = std::mem::take(&mut self.partial);
        // Of other text nobody can tell whether it is whole.
        let may_be_whole = data_of(&line).is_some_and(|data| data.starts_with(b"{") || data.trim_ascii_end() == DONE);
        if !may_be_whole {
            return Ok(());
        }
        match self.rewrite_line(&line, b"\n", out) {
            Ok(_) | Err(StreamFault::InvalidJson | StreamFault::LineTooLong) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

/// The value of a `data` line, without the spaces before it; `None` for other lines.
pub(crate) fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start)
}

#[cfg(test)]
mod tests;
