//! A chat completion stream on its way back to the client, chunk by chunk.
//!
//! The upstream's server-sent events are cut into lines whatever the chunks; complete lines leave
//! in the call in which they arrived, names and ids with the data of their event. Each `data:`
//! object gets the model that was asked for; usage is remembered, and hidden if the client did not
//! ask for it; events without data are left out; all else is forwarded byte for byte. Only an
//! answer that came to its end ends in a `[DONE]`: the upstream said it, or closed in good order behind
//! the `finish_reason` of every choice.

mod frame;

pub use super::fault::{MAX_LINE_BYTES, StreamFault};
use super::lines::{Lines, Piece, data_of};
use crate::json::push_string;
use crate::pricing::TokenUsage;
use frame::FrameRewriter;
pub(crate) use frame::MAX_ERROR_CHARS;

const DONE: &[u8] = b"[DONE]";
const DATA: &[u8] = b"data: ";

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
    /// The open event's lines that wait for its data: its name, its id.
    held: Vec<u8>,
    /// The open event's data so far, as one line, where its first line is no JSON by itself.
    pieces: Vec<u8>,
    /// Whether the open event is called an error.
    is_error: bool,
    data: Data,
    /// The input to tell beside the output seen, where the upstream tells no usage.
    input_to_tell: Option<u64>,
}

/// What became of the open event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// None came yet.
    Awaited,
    /// It is in the output, its blank line is not.
    Written,
    Dropped,
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
                held: Vec::new(),
                pieces: Vec::new(),
                is_error: false,
                data: Data::Awaited,
                input_to_tell: None,
            },
            fault: None,
            bytes_in: 0,
        }
    }

    /// Before `[DONE]`, tells these tokens of input and the output seen, unless the upstream tells its usage.
    #[must_use]
    pub fn with_estimate(mut self, input_tokens: u64) -> Self {
        self.state.input_to_tell = Some(input_tokens);
        self
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

    /// Ends the stream. Unless the answer came to its end, appends an error event, and never a
    /// `[DONE]`.
    pub fn finish(&mut self, end: StreamEnd<'_>, out: &mut Vec<u8>) {
        let end = match end {
            StreamEnd::Eof => match self.finish_event(out) {
                Err(StreamFault::UpstreamError { .. }) => {
                    StreamEnd::Failed { code: "upstream_error", message: "The model's provider reported an error." }
                }
                // Half an object is none.
                Ok(()) | Err(_) => end,
            },
            StreamEnd::Failed { .. } => end,
        };
        if std::mem::replace(&mut self.state.data, Data::Awaited) == Data::Written {
            out.push(b'\n');
        }
        if self.state.is_done {
            return;
        }
        // Some servers have no word for the end.
        let is_closed = end == StreamEnd::Eof && self.fault.is_none() && self.state.frames.is_finished();
        if is_closed && self.state.finish_answer(out).is_ok() {
            out.extend_from_slice(b"data: [DONE]\n\n");
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
    pub fn usage(&self) -> Option<TokenUsage> {
        self.state.frames.usage()
    }

    /// Output tokens seen so far, for when the upstream does not say: chunks that carried text, or
    /// a quarter of the text's bytes, whichever is more.
    #[must_use]
    pub fn output_tokens_seen(&self) -> u64 {
        self.state.frames.output_tokens_seen()
    }

    /// Whether the upstream has begun to answer, and be it with who speaks: until then another may take over, and the client
    /// misses nothing.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.state.frames.has_begun()
    }

    /// Whether the answer came to its end.
    #[must_use]
    pub const fn saw_done(&self) -> bool {
        self.state.is_done
    }

    /// Whether the upstream said `[DONE]` without having given an answer.
    #[must_use]
    pub fn gave_nothing(&self) -> bool {
        self.fault == Some(StreamFault::Empty)
    }

    /// Bytes taken from the upstream.
    #[must_use]
    pub const fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// At the end of the upstream: a last line that lacks only its terminator still counts, and so does an event without
    /// its blank line; half an object does not.
    fn finish_event(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let line = self.lines.take_rest();
        // Of other text nobody can tell whether it is whole.
        let may_be_whole = data_of(&line).is_some_and(|data| data.starts_with(b"{") || data.trim_ascii_end() == DONE);
        let state = &mut self.state;
        let is_open = state.is_error || !state.pieces.is_empty();
        let mut result = Ok(());
        if may_be_whole || is_open && !line.is_empty() {
            result = state.take(Piece::Line(&line, b"\n"), out);
        }
        if result.is_ok() && (is_open || !state.pieces.is_empty()) {
            result = state.take(Piece::Line(b"", b"\n"), out);
        }
        self.fault = result.clone().err();
        result
    }
}

impl State {
    fn take(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        match piece {
            Piece::Line(line, end) => self.was_kept = self.take_line(line, end, out)?,
            Piece::LateFeed if !self.was_kept => {}
            Piece::LateFeed if self.held.is_empty() => out.push(b'\n'),
            Piece::LateFeed => self.held.push(b'\n'),
        }
        Ok(())
    }

    /// Takes a line; tells whether it was kept as it is.
    fn take_line(&mut self, line: &[u8], end: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        // Nothing follows `[DONE]` but the blank line that ends its event.
        if self.is_done && !(line.is_empty() && self.data == Data::Written) {
            return Ok(false);
        }
        if line.is_empty() {
            return self.end_event(end, out);
        }
        match data_of(line) {
            Some(data) if self.is_error => Err(self.frames.read_named_error(data)),
            Some(data) if !self.pieces.is_empty() => self.join(b"\n", data),
            Some(data) if !data.is_empty() => self.take_data(line, data, end, out),
            _ => self.take_field(line, end, out),
        }
    }

    fn take_data(&mut self, line: &[u8], data: &[u8], end: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        let is_object = data.starts_with(b"{");
        if !is_object && data.trim_ascii_end() == DONE {
            self.finish_answer(out)?;
        }
        let length = out.len();
        out.extend_from_slice(&self.held);
        if is_object {
            let rewritten = self.frames.rewrite(line, line.len() - data.len(), out);
            if rewritten != Ok(true) {
                out.truncate(length);
                return match rewritten {
                    // It may go on in the event's next line.
                    Err(StreamFault::InvalidJson) => self.join(DATA, data),
                    rewritten => {
                        self.held.clear();
                        self.data = Data::Dropped;
                        rewritten
                    }
                };
            }
        } else {
            out.extend_from_slice(line);
        }
        out.extend_from_slice(end);
        self.held.clear();
        self.data = Data::Written;
        Ok(true)
    }

    /// Takes a comment, or a line that means nothing without data.
    fn take_field(&mut self, line: &[u8], end: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        // Nobody can go on in such a stream, and once OpenAI's own client has seen an id, it takes the blank line after a
        // comment for an event without data, and fails.
        if line == b"id" || line.starts_with(b"id:") {
            return Ok(false);
        }
        let is_comment = line.starts_with(b":");
        if line.strip_prefix(b"event:").is_some_and(|name| name.trim_ascii() == b"error") {
            self.is_error = true;
        }
        if self.data == Data::Written || is_comment && self.held.is_empty() {
            out.extend_from_slice(line);
            out.extend_from_slice(end);
            return Ok(true);
        }
        self.check_size(line.len())?;
        self.held.extend_from_slice(line);
        self.held.extend_from_slice(end);
        Ok(true)
    }

    /// Takes a line of data that is not whole by itself.
    fn join(&mut self, joint: &[u8], data: &[u8]) -> Result<bool, StreamFault> {
        self.check_size(data.len())?;
        self.pieces.extend_from_slice(joint);
        self.pieces.extend_from_slice(data);
        Ok(false)
    }

    const fn check_size(&self, more_bytes: usize) -> Result<(), StreamFault> {
        let is_over = self.held.len() + self.pieces.len() + more_bytes > MAX_LINE_BYTES;
        if is_over { Err(StreamFault::LineTooLong) } else { Ok(()) }
    }

    /// Takes the blank line that ends an event.
    fn end_event(&mut self, end: &[u8], out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        if std::mem::take(&mut self.is_error) {
            return Err(self.frames.read_named_error(b""));
        }
        if !self.pieces.is_empty() {
            self.write_pieces(out)?;
        }
        let is_kept = match std::mem::replace(&mut self.data, Data::Awaited) {
            // Where no line came before it, it is no event's.
            Data::Awaited => self.held.is_empty(),
            data => data == Data::Written,
        };
        self.held.clear();
        if is_kept {
            out.extend_from_slice(end);
        }
        Ok(is_kept)
    }

    /// Writes an object that came in several lines as one.
    fn write_pieces(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let line = std::mem::take(&mut self.pieces);
        let length = out.len();
        out.extend_from_slice(&self.held);
        let at = out.len();
        if !self.frames.rewrite(&line, DATA.len(), out).inspect_err(|_| out.truncate(length))? {
            out.truncate(length);
            self.data = Data::Dropped;
            return Ok(());
        }
        // In JSON, line ends stand between its words only.
        for byte in out.iter_mut().skip(at).filter(|byte| **byte == b'\n') {
            *byte = b' ';
        }
        out.push(b'\n');
        self.data = Data::Written;
        Ok(())
    }

    /// The upstream says that its answer is over.
    fn finish_answer(&mut self, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        if !self.frames.has_answer() {
            return Err(StreamFault::Empty);
        }
        self.is_done = true;
        if let (Some(input), false) = (self.input_to_tell, self.frames.has_told_usage()) {
            if self.data == Data::Written {
                out.push(b'\n');
            }
            self.frames.write_usage(input, out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
