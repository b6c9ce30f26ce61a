//! `@@tokenhub` directives: a policy written into the messages themselves.
//!
//! One line, `@@tokenhub mode=cheap budget=0.01`, or a block, `@@tokenhub` alone on the rest of its
//! line, a `key=value` a line, and `@@end`. Only a user's message is obeyed, and only the first
//! directive; all of them are taken out of all messages, so that none reaches a model. The marker in
//! the middle of prose, with no `key=value` behind it, is prose.

use serde_json::Value;

use super::envelope::part_text;
use super::members::ParseError;
use super::policy::{Policy, parse_mode};
use super::{MAX_BUDGET_MICROS, MAX_LATENCY_MS};
use crate::money::MicroUsd;
use crate::routing::MAX_WEIGHT;

const MARKER: &str = "@@tokenhub";
const END: &str = "@@end";
/// How far into a message a directive may begin.
const MAX_OFFSET_BYTES: usize = 2_048;
/// Longest block.
const MAX_BLOCK_BYTES: usize = 16 * 1024;
/// How often a text is gone over: taking a directive out can join the halves of another.
const MAX_PASSES: usize = 8;

/// What a directive says; what it leaves out is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directive {
    /// The policy.
    pub policy: Policy,
    /// JSON, not yet read as a schema.
    pub output_schema: Option<Value>,
}

/// Takes the directives out of the messages and reads the first.
///
/// # Errors
/// [`ParseError`]: its output schema is not JSON.
pub(super) fn take_directives(messages: &mut [Value]) -> Result<Directive, ParseError> {
    let first = messages.iter().filter(|message| message["role"] == "user").find_map(read_first);
    let directive = first.transpose()?.unwrap_or_default();
    for message in messages {
        match message.get_mut("content") {
            Some(Value::String(text)) => strip(text),
            Some(Value::Array(parts)) => strip_parts(parts),
            _ => {}
        }
    }
    Ok(directive)
}

/// The first directive that counts in a message.
fn read_first(message: &Value) -> Option<Result<Directive, ParseError>> {
    let content = message.get("content")?;
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut offset = 0;
    for text in content.as_str().into_iter().chain(parts.iter().filter_map(part_text)) {
        let mut from = 0;
        while let Some(found) = find(text, from) {
            if offset + found.start >= MAX_OFFSET_BYTES {
                return None;
            }
            match found.body {
                Body::Line(line) => return Some(read_line(line)),
                Body::Block(block) => return Some(read_block(block)),
                Body::Unclosed => from = found.end,
            }
        }
        offset += text.len();
    }
    None
}

/// A directive in a text.
struct Found<'t> {
    start: usize,
    /// Behind its last byte, the newline included.
    end: usize,
    body: Body<'t>,
}

enum Body<'t> {
    /// What stands behind the marker.
    Line(&'t str),
    /// The lines up to the end.
    Block(&'t str),
    /// A block that nothing ends: its marker alone.
    Unclosed,
}

/// The next directive. Behind a marker nothing is read twice: white space and the first word, neither of which
/// reaches over a marker that has white space behind it, and a whole line only where it is the directive.
fn find(text: &str, from: usize) -> Option<Found<'_>> {
    let mut from = from;
    loop {
        let start = from + text.get(from..)?.find(MARKER)?;
        let behind = start + MARKER.len();
        let rest = text.get(behind..)?;
        let word_at = rest.find(|c: char| c == '\n' || !c.is_whitespace());
        let word = rest.get(word_at.unwrap_or(rest.len())..).unwrap_or_default();
        if word.is_empty() || word.starts_with('\n') {
            let line_end = text.len().min(text.len() - word.len() + 1);
            let (body, end) = find_end(text, line_end).unwrap_or((Body::Unclosed, line_end));
            return Some(Found { start, end, body });
        }
        from = behind;
        if word_at != Some(0) && has_pair(word) {
            let (line, end) = match rest.find('\n') {
                Some(at) => (rest.get(..at)?, behind + at + 1),
                None => (rest, text.len()),
            };
            return Some(Found { start, end, body: Body::Line(line) });
        }
    }
}

/// Whether the first word of a text is a `key=value`.
fn has_pair(text: &str) -> bool {
    text.split(char::is_whitespace).next().and_then(|word| word.find('=')).is_some_and(|at| at > 0)
}

/// The block that begins at `from`, and the offset behind it. No block reaches over another marker,
/// so that a text is searched once.
fn find_end(text: &str, from: usize) -> Option<(Body<'_>, usize)> {
    let rest = super::truncate(text.get(from..)?, MAX_BLOCK_BYTES);
    let rest = rest.get(..rest.find(MARKER).unwrap_or(rest.len()))?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        let own = line.trim_start();
        if let Some(tail) =
            own.strip_prefix(END).filter(|tail| tail.is_empty() || tail.starts_with(char::is_whitespace))
        {
            let kept = tail.trim_start_matches([' ', '\t', '\r']);
            let tail_bytes = if kept.starts_with('\n') { 0 } else { kept.len() };
            return Some((Body::Block(rest.get(..at)?), from + at + line.len() - tail_bytes));
        }
        at += line.len();
    }
    None
}

fn read_line(line: &str) -> Result<Directive, ParseError> {
    let mut directive = Directive::default();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let token_end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (token, mut behind) = rest.split_at(token_end);
        if let Some((key, value)) = token.split_once('=') {
            let mut value = value;
            // A schema may have spaces in it: it reaches as far as its JSON.
            if key == "output_schema" {
                let json = rest.get(key.len() + 1..).unwrap_or_default();
                (value, behind) = json.split_at(json_len(json).unwrap_or(value.len()));
            }
            directive.take(key, value)?;
        }
        rest = behind.trim_start();
    }
    Ok(directive)
}

fn read_block(block: &str) -> Result<Directive, ParseError> {
    let mut directive = Directive::default();
    for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
        directive.take(key.trim(), value.trim())?;
    }
    Ok(directive)
}

/// Bytes of the JSON value that a text begins with.
fn json_len(text: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

impl Directive {
    /// Values out of range and unknown keys say nothing.
    fn take(&mut self, key: &str, value: &str) -> Result<(), ParseError> {
        match key {
            "mode" => self.policy.mode = parse_mode(value).or(self.policy.mode),
            "budget" => {
                let budget = MicroUsd::from_usd_str(value).ok();
                let budget = budget.filter(|budget| (1..=MAX_BUDGET_MICROS).contains(&budget.0));
                self.policy.max_budget = budget.or(self.policy.max_budget);
            }
            "latency" => {
                let latency = value.parse().ok().filter(|latency| (1..=MAX_LATENCY_MS).contains(latency));
                self.policy.max_latency_ms = latency.or(self.policy.max_latency_ms);
            }
            "min_weight" => {
                let weight = value.parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
                self.policy.min_weight = weight.unwrap_or(self.policy.min_weight);
            }
            "output_schema" => {
                let schema = serde_json::from_str(value);
                let fault = |_| ParseError::new("output_schema", "invalid output_schema directive JSON");
                self.output_schema = Some(schema.map_err(fault)?);
            }
            _ => {}
        }
        Ok(())
    }
}

fn strip_parts(parts: &mut Vec<Value>) {
    let mut has_changed = false;
    for part in parts.iter_mut() {
        if let Some(Value::String(text)) = part.get_mut("text") {
            let before = text.len();
            strip(text);
            has_changed |= text.len() < before;
        }
    }
    // Servers refuse parts without text; but a message keeps one part.
    if has_changed && parts.len() > 1 {
        let mut others = parts.iter().filter(|part| part_text(part) != Some("")).count();
        parts.retain(|part| {
            let is_kept = part_text(part) != Some("") || others == 0;
            others += usize::from(is_kept && others == 0);
            is_kept
        });
    }
}

/// Takes every directive out of a text.
fn strip(text: &mut String) {
    for _ in 0..MAX_PASSES {
        let mut kept = String::new();
        let mut from = 0;
        while let Some(found) = find(text, from) {
            kept.push_str(text.get(from..found.start).unwrap_or_default());
            from = found.end;
            if from == text.len() {
                kept.truncate(kept.trim_end().len());
            }
        }
        if from == 0 {
            return;
        }
        kept.push_str(text.get(from..).unwrap_or_default());
        *text = kept;
    }
}

#[cfg(test)]
mod tests;
