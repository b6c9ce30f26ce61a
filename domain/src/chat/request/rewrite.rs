//! The request as an upstream gets it: a few values spliced in, everything else the client's own
//! bytes.

use super::ChatRequest;
use crate::json::{Kind, push_string};

/// What an upstream gets instead of the client's own values.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamEdit<'e> {
    /// The upstream's name of the model.
    pub model: &'e str,
    /// Cap on output tokens per choice: put in where the client's own limit is absent or larger.
    pub max_output_tokens: Option<u64>,
    /// The one name under which the provider gets a limit, whichever the client used.
    pub max_output_field: MaxOutputField,
    /// Whether a dearer `service_tier` stays: where the client pays for it itself.
    pub keeps_tier: bool,
}

/// The two names that OpenAI-compatible servers know for one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxOutputField {
    /// `max_tokens`: the older name, known to nearly all servers.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: the one that OpenAI's reasoning models insist on.
    MaxCompletionTokens,
}

impl MaxOutputField {
    /// How the member begins.
    const fn key(self) -> &'static str {
        match self {
            Self::MaxTokens => "\"max_tokens\":",
            Self::MaxCompletionTokens => "\"max_completion_tokens\":",
        }
    }
}

/// New text for a stretch of the body.
#[derive(Clone, Copy)]
struct Splice<'e> {
    start: usize,
    end: usize,
    before: &'static str,
    value: NewValue<'e>,
    after: &'static str,
}

#[derive(Clone, Copy)]
enum NewValue<'e> {
    Text(&'e str),
    Number(u64),
    /// JSON that stands in `before` already.
    None,
}

/// Model, two limits, the service tier, and the stream options.
const MAX_SPLICES: usize = 5;
/// Bytes that all splices add at most, the model's name and its escapes aside.
const SPLICE_BYTES: usize = 160;

/// The splices of one edit, without a heap.
struct Splices<'e> {
    items: [Splice<'e>; MAX_SPLICES],
    len: usize,
}

impl<'e> Splices<'e> {
    const fn new() -> Self {
        let unused = Splice { start: 0, end: 0, before: "", value: NewValue::None, after: "" };
        Self { items: [unused; MAX_SPLICES], len: 0 }
    }

    fn add(&mut self, splice: Splice<'e>) {
        if let Some(slot) = self.items.get_mut(self.len) {
            *slot = splice;
            self.len += 1;
        }
    }

    fn replace(&mut self, range: std::ops::Range<usize>, value: NewValue<'e>, text: &'static str) {
        self.add(Splice { start: range.start, end: range.end, before: text, value, after: "" });
    }

    /// A new member in front of the others; `messages` is always one of those, so a comma always
    /// follows.
    fn insert(&mut self, at: usize, key: &'static str, value: NewValue<'e>) {
        self.add(Splice { start: at, end: at, before: key, value, after: "," });
    }

    fn sorted(&mut self) -> &[Splice<'e>] {
        let used = self.items.get_mut(..self.len).unwrap_or_default();
        // Stable: insertions at one place stay in order, and before what is replaced there.
        used.sort_by_key(|splice| (splice.start, splice.end));
        used
    }
}

pub(super) fn rewrite(request: &ChatRequest<'_>, edit: &UpstreamEdit<'_>) -> Vec<u8> {
    let mut splices = Splices::new();
    match request.model_value {
        Some(value) => splices.replace(value.range(), NewValue::Text(edit.model), ""),
        None => splices.insert(request.inside, "\"model\":", NewValue::Text(edit.model)),
    }
    limit_output(request, edit.max_output_tokens, edit.max_output_field, &mut splices);
    if let Some(tier) = request.dear_tier.filter(|_| !edit.keeps_tier) {
        splices.replace(tier.range(), NewValue::None, "\"auto\"");
    }
    if request.is_stream {
        force_usage(request, &mut splices);
    }
    let mut out = Vec::with_capacity(request.body.len() + edit.model.len() + SPLICE_BYTES);
    let mut copied = 0;
    for splice in splices.sorted() {
        out.extend_from_slice(&request.body[copied..splice.start]);
        out.extend_from_slice(splice.before.as_bytes());
        match splice.value {
            NewValue::Text(text) => push_string(text, &mut out),
            NewValue::Number(number) => push_number(number, &mut out),
            NewValue::None => {}
        }
        out.extend_from_slice(splice.after.as_bytes());
        copied = splice.end;
    }
    out.extend_from_slice(&request.body[copied..]);
    out
}

/// Writes the limit, the client's own or the smaller cap, under the name that the provider knows: another name is refused, or
/// limits nothing.
fn limit_output<'e>(request: &ChatRequest<'_>, cap: Option<u64>, field: MaxOutputField, splices: &mut Splices<'e>) {
    let Some(tokens) = request.max_output_tokens().into_iter().chain(cap).min() else { return };
    let [first, second] = request.limits;
    match first {
        None => splices.insert(request.inside, field.key(), NewValue::Number(tokens)),
        Some(limit) if limit.field != field => {
            splices.replace(limit.start..limit.value.end(), NewValue::Number(tokens), field.key());
        }
        Some(limit) if limit.tokens != Some(tokens) => {
            splices.replace(limit.value.range(), NewValue::Number(tokens), "");
        }
        Some(_) => {}
    }
    // Both together are refused by `OpenAI`, too.
    if let Some(limit) = second {
        splices.replace(limit.separator..limit.value.end(), NewValue::None, "");
    }
}

/// Makes the upstream report usage at the end of a stream; the client's other stream options stay.
fn force_usage<'e>(request: &ChatRequest<'_>, splices: &mut Splices<'e>) {
    const OPTIONS: &str = "{\"include_usage\":true}";
    let options = &request.stream_options;
    match (options.value, options.include_usage) {
        (_, Some(include_usage)) => splices.replace(include_usage.range(), NewValue::None, "true"),
        (Some(value), None) if value.kind() == Kind::Object => {
            let member = if options.is_empty { "\"include_usage\":true" } else { "\"include_usage\":true," };
            let inside = value.start + 1;
            splices.replace(inside..inside, NewValue::None, member);
        }
        (Some(null), None) => splices.replace(null.range(), NewValue::None, OPTIONS),
        (None, None) => {
            splices.insert(request.inside, "\"stream_options\":{\"include_usage\":true}", NewValue::None);
        }
    }
}

/// Appends a number in decimal, without a `String` in between.
fn push_number(number: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a `Vec` can't fail.
    let _ = write!(out, "{number}");
}
