//! One `data:` object of a stream.

use super::StreamFault;
use crate::chat::measure::{Choices, estimate_tokens, measure_choices};
use crate::chat::usage::{push_usage, read_usage};
use crate::json::{JsonError, Kind, Member, Raw, Reader, push_string};
use crate::pricing::TokenUsage;

/// Longest text of an upstream's error that is kept.
pub(crate) const MAX_ERROR_CHARS: usize = 500;
/// Longest beginning of lines that is remembered, and longest id.
const MAX_HEAD_BYTES: usize = 4_096;

/// An id that says nothing.
const EMPTY: &[u8] = b"\"\"";

/// Rewrites the objects of one stream and adds up what they tell.
#[derive(Debug)]
pub(super) struct FrameRewriter {
    /// The model asked for, as JSON.
    model_json: Vec<u8>,
    hide_usage: bool,
    head: Head,
    usage: Option<TokenUsage>,
    written: Choices,
    /// The chunks' id and time, as JSON; empty until one tells them.
    id: Vec<u8>,
    created: Vec<u8>,
}

/// How lines of this stream begin, up to their `choices`: the same id, time and model, byte for
/// byte, line after line.
///
/// A line with the same beginning is known to stand in its top-level object where the beginning
/// ends, so its reading resumes there and the rewritten beginning is copied. A line that begins
/// otherwise is read from its start.
#[derive(Debug, Default)]
struct Head {
    seen: Vec<u8>,
    rewritten: Vec<u8>,
}

/// The state of one line.
struct Pass<'l> {
    line: &'l [u8],
    reader: Reader<'l>,
    /// All of the line before this offset is in the output or dropped.
    copied: usize,
    /// Whether a member before this one was kept, so that a comma is due.
    has_kept: bool,
    /// Whether a member was dropped: then the line's beginning is no example for others.
    has_dropped: bool,
    has_model: bool,
    has_usage: bool,
    choices: Option<Choices>,
    error: UpstreamError,
}

/// What an upstream says in place of a chunk.
#[derive(Default)]
struct UpstreamError {
    is_error: bool,
    message: Option<String>,
    code: Option<String>,
}

impl FrameRewriter {
    pub(super) fn new(asked_model: &str, hide_usage: bool) -> Self {
        let mut model_json = Vec::with_capacity(asked_model.len() + 2);
        push_string(asked_model, &mut model_json);
        Self {
            model_json,
            hide_usage,
            head: Head::default(),
            usage: None,
            written: Choices::default(),
            id: Vec::new(),
            created: Vec::new(),
        }
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.usage.or(self.written.usage)
    }

    /// Whether an event told its usage where clients look for it.
    pub(super) const fn has_told_usage(&self) -> bool {
        self.usage.is_some()
    }

    pub(super) fn output_tokens_seen(&self) -> u64 {
        self.written.written.max(estimate_tokens(self.written.text_bytes))
    }

    /// Whether an event was about the answer.
    pub(super) const fn has_begun(&self) -> bool {
        self.written.count > 0
    }

    /// Whether the model has said something, and be it that it has come to its end.
    pub(super) const fn has_answer(&self) -> bool {
        self.written.is_said
    }

    /// Whether every choice that began has come to its end.
    pub(super) const fn is_finished(&self) -> bool {
        self.written.is_finished()
    }

    /// Appends an event that tells the usage; so much input and the output seen, where the upstream has not told any.
    pub(super) fn write_usage(&self, input: u64, out: &mut Vec<u8>) {
        let mut push = |name: &[u8], value: &[u8]| {
            if !value.is_empty() {
                out.extend_from_slice(name);
                out.extend_from_slice(value);
                out.push(b',');
            }
        };
        push(b"data: {\"object\":", b"\"chat.completion.chunk\"");
        push(b"\"id\":", &self.id);
        push(b"\"created\":", &self.created);
        out.extend_from_slice(b"\"model\":");
        out.extend_from_slice(&self.model_json);
        out.extend_from_slice(b",\"choices\":[],\"usage\":");
        let estimate = || TokenUsage { input, output: self.output_tokens_seen(), ..TokenUsage::default() };
        push_usage(&self.usage().unwrap_or_else(estimate), out);
        out.extend_from_slice(b"}\n\n");
    }

    /// What an event that is called an error says, whatever its data.
    pub(super) fn read_named_error(&mut self, data: &[u8]) -> StreamFault {
        match self.rewrite(data, 0, &mut Vec::new()) {
            Err(fault @ StreamFault::UpstreamError { .. }) => fault,
            _ => {
                let text = String::from_utf8_lossy(data.get(..MAX_ERROR_CHARS).unwrap_or(data));
                StreamFault::UpstreamError { message: text.into_owned(), code: None }
            }
        }
    }

    /// Appends the rewritten line, without its terminator, to `out`; `false` when the line is to be
    /// dropped.
    ///
    /// `json_at` is where the object begins.
    pub(super) fn rewrite(&mut self, line: &[u8], json_at: usize, out: &mut Vec<u8>) -> Result<bool, StreamFault> {
        let length = out.len();
        let outcome = self.rewrite_object(line, json_at, out);
        let is_kept = match outcome {
            Ok(Some(fault)) => Err(fault),
            Ok(None) => Ok(out.len() > length),
            Err(_) => Err(StreamFault::InvalidJson),
        };
        if is_kept.is_err() {
            out.truncate(length);
        }
        is_kept
    }

    fn rewrite_object(
        &mut self,
        line: &[u8],
        json_at: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<StreamFault>, JsonError> {
        let length = out.len();
        let mut pass = self.begin(line, json_at, out)?;
        while let Some(member) = pass.reader.next_member()? {
            if member.key.as_ref() == b"choices" {
                self.keep_head(&mut pass, &member, length, out);
            }
            self.rewrite_member(&mut pass, &member, out)?;
        }
        pass.reader.finish()?;
        if pass.error.is_error {
            return Ok(Some(pass.error.into_fault()));
        }
        let choices = pass.choices.unwrap_or_default();
        self.written.add(&choices);
        if self.hide_usage && pass.has_usage && choices.count == 0 {
            // The chunk that tells usage and nothing else.
            out.truncate(length);
        } else {
            out.extend_from_slice(&line[pass.copied..]);
        }
        Ok(None)
    }

    fn begin<'l>(&self, line: &'l [u8], json_at: usize, out: &mut Vec<u8>) -> Result<Pass<'l>, JsonError> {
        // The comma makes sure that the last value ends there too: `1` is also the beginning of
        // `12`.
        let is_known = !self.head.seen.is_empty()
            && line.starts_with(&self.head.seen)
            && line.get(self.head.seen.len()) == Some(&b',');
        let (reader, copied) = if is_known {
            out.extend_from_slice(&self.head.rewritten);
            let copied = self.head.seen.len();
            (Reader::resume_in_object(line, copied), copied)
        } else {
            let mut reader = Reader::resume_in_object(line, json_at);
            reader.enter_object()?;
            (reader, 0)
        };
        Ok(Pass {
            line,
            reader,
            copied,
            has_kept: is_known,
            has_dropped: false,
            has_model: is_known,
            has_usage: false,
            choices: None,
            error: UpstreamError::default(),
        })
    }

    /// Remembers the line's beginning, up to the comma before `choices`.
    fn keep_head(&mut self, pass: &mut Pass<'_>, choices: &Member<'_>, length: usize, out: &mut Vec<u8>) {
        let end = choices.separator;
        let is_example = pass.has_model && !pass.has_dropped && !pass.has_usage && !pass.error.is_error;
        let is_known = pass.copied == end && self.head.seen.len() == end;
        if !is_example || is_known || pass.choices.is_some() || end > MAX_HEAD_BYTES {
            return;
        }
        out.extend_from_slice(&pass.line[pass.copied..end]);
        pass.copied = end;
        self.head.seen.clear();
        self.head.seen.extend_from_slice(&pass.line[..end]);
        self.head.rewritten.clear();
        self.head.rewritten.extend_from_slice(&out[length..]);
    }

    fn rewrite_member(&mut self, pass: &mut Pass<'_>, member: &Member<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
        match member.key.as_ref() {
            b"usage" => {
                let is_null = pass.reader.peek()? == Kind::Null;
                let start = pass.reader.position();
                let usage = read_usage(&mut pass.reader)?;
                pass.has_usage |= !is_null;
                self.usage = usage.or(self.usage);
                if self.hide_usage {
                    pass.drop_member(member, out);
                    return Ok(());
                }
                if usage.is_none() && !is_null {
                    // Nobody is charged by what can't be believed.
                    pass.keep_member(member);
                    pass.replace(start, b"null", out);
                    return Ok(());
                }
            }
            // Once is enough.
            b"model" if pass.has_model => {
                pass.reader.read_value()?;
                pass.drop_member(member, out);
                return Ok(());
            }
            b"model" => {
                let start = pass.reader.read_value()?.start;
                pass.keep_member(member);
                pass.replace(start, &self.model_json, out);
                pass.has_model = true;
                return Ok(());
            }
            b"choices" => pass.choices = Some(measure_choices(&mut pass.reader)?),
            b"error" => pass.error.read_error(&mut pass.reader)?,
            b"object" => {
                let is_error = pass.reader.read_value()?.bytes == b"\"error\"";
                pass.error.is_error |= is_error;
            }
            b"id" if self.id.len() <= EMPTY.len() => note(&mut self.id, pass.reader.read_value()?),
            b"created" if self.created.len() <= 1 => note(&mut self.created, pass.reader.read_value()?),
            // Beside `"object":"error"`, some servers put the words at the top.
            b"message" => pass.error.message = text_of(pass.reader.read_value()?).or(pass.error.message.take()),
            _ => {
                pass.reader.read_value()?;
            }
        }
        pass.keep_member(member);
        Ok(())
    }
}

impl Pass<'_> {
    fn keep_member(&mut self, member: &Member<'_>) {
        if self.has_dropped && !self.has_kept {
            // All members before were dropped: their comma goes too.
            self.copied = member.start;
        }
        self.has_kept = true;
    }

    /// Puts another value in the place of the one that was just read, which began at `start`.
    fn replace(&mut self, start: usize, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.line[self.copied..start]);
        out.extend_from_slice(value);
        self.copied = self.reader.position();
    }

    /// Leaves out the member that was just read, with the comma before it.
    fn drop_member(&mut self, member: &Member<'_>, out: &mut Vec<u8>) {
        if self.has_kept || !self.has_dropped {
            out.extend_from_slice(&self.line[self.copied..member.separator]);
        }
        self.copied = self.reader.position();
        self.has_dropped = true;
    }
}

impl UpstreamError {
    fn read_error(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        let kind = reader.peek()?;
        self.is_error |= matches!(kind, Kind::Object | Kind::String);
        if kind != Kind::Object {
            self.message = text_of(reader.read_value()?);
            return Ok(());
        }
        reader.enter_object()?;
        let mut error_type = None;
        while let Some(member) = reader.next_member()? {
            let value = reader.read_value()?;
            match member.key.as_ref() {
                b"message" => self.message = text_of(value),
                b"code" => self.code = text_of(value),
                b"type" => error_type = text_of(value),
                _ => {}
            }
        }
        self.code = self.code.take().or(error_type);
        Ok(())
    }

    fn into_fault(self) -> StreamFault {
        StreamFault::UpstreamError { message: self.message.unwrap_or_else(|| "no message".to_owned()), code: self.code }
    }
}

/// Keeps a short value's JSON.
fn note(kept: &mut Vec<u8>, value: Raw<'_>) {
    if matches!(value.kind(), Kind::String | Kind::Number) && value.bytes.len() <= MAX_HEAD_BYTES {
        kept.clear();
        kept.extend_from_slice(value.bytes);
    }
}

/// A string's text or a number's digits, bounded.
fn text_of(value: Raw<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => Some(value.to_text()?.chars().take(MAX_ERROR_CHARS).collect()),
        Kind::Number => Some(String::from_utf8_lossy(value.bytes).chars().take(MAX_ERROR_CHARS).collect()),
        _ => None,
    }
}
