//! A chat completion stream on its way back to the client, chunk by chunk.
//!
//! The upstream's server-sent events are cut into lines whatever the chunks; complete lines leave
//! in the call in which they arrived. Each `data:` object gets the model that was asked for; usage
//! is remembered, and hidden if the client did not ask for it; all else is forwarded byte for byte.
//! Only an upstream that said `[DONE]` ends in a `[DONE]`.

mod frame;

pub use super::fault::{MAX_LINE_BYTES, StreamFault};
use super::lines::{Lines, Piece, data_of};
use super::measure::estimate_tokens;
use crate::json::push_string;
use crate::pricing::TokenUsage;
use frame::FrameRewriter;
pub(crate) use frame::MAX_ERROR_CHARS;

const DONE: &[u8] = b"[DONE]";

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
    lines: Lines,
    state: State,
    fault: Option<StreamFault>,
    bytes_in: u64,
}

/// Where the output stands between two lines.
#[derive(Debug)]
struct State {
    frames: FrameRewriter,
    is_done: bool,
    /// Whether the last line was kept.
    was_kept: bool,
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
            lines: Lines::new(MAX_LINE_BYTES),
            state: State {
                frames: FrameRewriter::new(asked_model, hide_usage),
                is_done: false,
                was_kept: false,
                drop_blank: false,
                is_mid_event: false,
            },
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
        out.reserve(chunk.len());
        let state = &mut self.state;
        let result = self.lines.push(chunk, |piece| state.take(piece, out));
        if let Err(fault) = &result {
            self.fault = Some(fault.clone());
            self.lines = Lines::new(0);
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
        if std::mem::take(&mut self.state.is_mid_event) {
            out.push(b'\n');
        }
        if self.state.is_done {
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
        self.state.frames.usage()
    }

    /// Output tokens seen so far, for when the upstream does not say: chunks that carried text, or
    /// a quarter of the text's bytes, whichever is more.
    #[must_use]
    pub fn output_tokens_seen(&self) -> u64 {
        let written = self.state.frames.written();
        written.written.max(estimate_tokens(written.text_bytes))
    }

    /// Whether the model has begun to answer: until then another may take over, and the client misses nothing.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.state.frames.written().is_said
    }

    /// Whether the upstream said `[DONE]`.
    #[must_use]
    pub const fn saw_done(&self) -> bool {
        self.state.is_done
    }

    /// Bytes taken from the upstream.
    #[must_use]
    pub const fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// At the end of the upstream: a last line that lacks only its terminator still counts; half an
    /// object does not.
    fn finish_last_line(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let line = self.lines.take_rest();
        // Of other text nobody can tell whether it is whole.
        let may_be_whole = data_of(&line).is_some_and(|data| data.starts_with(b"{") || data.trim_ascii_end() == DONE);
        if !may_be_whole {
            return Ok(());
        }
        match self.state.rewrite(&line, b"\n", out) {
            Ok(_) | Err(StreamFault::InvalidJson | StreamFault::LineTooLong) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

impl State {
    fn take(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        match piece {
            Piece::Line(line, end) => self.was_kept = self.rewrite(line, end, out)?,
            Piece::LateFeed if self.was_kept => out.push(b'\n'),
            Piece::LateFeed => {}
        }
        Ok(())
    }

    /// Takes a line; tells whether it was kept.
    fn rewrite(&mut self, line: &[u8], end: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        // Nothing follows `[DONE]` but the blank line that ends its event.
        if self.is_done && !(line.is_empty() && self.is_mid_event) {
            return Ok(false);
        }
        if line.is_empty() {
            if std::mem::replace(&mut self.drop_blank, false) && !self.is_mid_event {
                return Ok(false);
            }
            out.extend_from_slice(end);
            self.is_mid_event = false;
            return Ok(true);
        }
        self.drop_blank = false;
        match data_of(line) {
            Some(data) if data.starts_with(b"{") => {
                if !self.frames.rewrite(line, line.len() - data.len(), out)? {
                    self.drop_blank = true;
                    return Ok(false);
                }
            }
            Some(data) => {
                self.is_done |= data.trim_ascii_end() == DONE;
                out.extend_from_slice(line);
            }
            None => out.extend_from_slice(line),
        }
        out.extend_from_slice(end);
        self.is_mid_event = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
