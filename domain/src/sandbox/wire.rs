//! OpenAI's shapes as the sandbox writes them, in OpenAI's order of members.

use serde::Serialize;

use crate::chat::request::InvalidRequest;

/// Stands in for the version of a real model's back end.
const FINGERPRINT: &str = "fp_sandbox";
/// Characters of tool arguments in one stream chunk.
const ARGUMENT_CHUNK_CHARS: usize = 16;

/// What the answer and each of its chunks begin with.
pub(super) struct Identity {
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
}

/// An answer before it has a form.
pub(super) struct Completion {
    pub identity: Identity,
    pub choices: Vec<Choice>,
    pub prompt_tokens: u64,
}

#[derive(Serialize)]
pub(super) struct Choice {
    pub index: u64,
    pub message: Message,
    pub finish_reason: &'static str,
    #[serde(skip)]
    pub tokens: u64,
}

#[derive(Serialize)]
pub(super) struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall; 1]>,
}

impl Message {
    pub(super) const fn saying(text: String) -> Self {
        Self { role: "assistant", content: Some(text), refusal: None, tool_calls: None }
    }

    pub(super) const fn calling(call: ToolCall) -> Self {
        Self { role: "assistant", content: None, refusal: None, tool_calls: Some([call]) }
    }
}

#[derive(Serialize)]
pub(super) struct ToolCall {
    id: String,
    r#type: &'static str,
    function: CalledFunction,
}

impl ToolCall {
    pub(super) const fn new(id: String, name: String, arguments: String) -> Self {
        Self { id, r#type: "function", function: CalledFunction { name, arguments } }
    }
}

#[derive(Serialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Clone, Copy, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl Usage {
    fn of(completion: &Completion) -> Self {
        let completion_tokens = completion.choices.iter().map(|choice| choice.tokens).sum();
        let prompt_tokens = completion.prompt_tokens;
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

#[derive(Serialize)]
struct Body<'c> {
    id: &'c str,
    object: &'static str,
    created: u64,
    model: &'c str,
    choices: &'c [Choice],
    usage: Usage,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct Chunk<'c> {
    id: &'c str,
    object: &'static str,
    created: u64,
    model: &'c str,
    system_fingerprint: &'static str,
    choices: &'c [ChunkChoice<'c>],
    /// Absent unless asked for; then `null` in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'c> {
    index: u64,
    delta: Delta<'c>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolDelta<'c>; 1]>,
}

#[derive(Serialize)]
struct ToolDelta<'c> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionDelta<'c>,
}

#[derive(Serialize)]
struct FunctionDelta<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    arguments: &'c str,
}

#[derive(Serialize)]
pub(in crate::sandbox) struct ErrorBody<'e> {
    error: ErrorDetail<'e>,
}

#[derive(Serialize)]
struct ErrorDetail<'e> {
    message: &'e str,
    r#type: &'static str,
    param: Option<&'e str>,
    code: Option<&'static str>,
}

impl<'e> ErrorBody<'e> {
    pub(super) fn new(fault: &'e InvalidRequest) -> Self {
        let param = fault.param.as_deref();
        Self { error: ErrorDetail { message: &fault.message, r#type: "invalid_request_error", param, code: None } }
    }
}

pub(in crate::sandbox) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // These shapes have string keys and finite numbers only: writing them can't fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The answer in one piece.
pub(super) fn to_body(completion: &Completion) -> Vec<u8> {
    to_json(&Body {
        id: &completion.identity.id,
        object: "chat.completion",
        created: completion.identity.created,
        model: &completion.identity.model,
        choices: &completion.choices,
        usage: Usage::of(completion),
        system_fingerprint: FINGERPRINT,
    })
}

/// The answer as server-sent events: a role, a delta for every word or stretch of arguments, an
/// end, usage if asked for.
pub(super) fn to_events(completion: &Completion, include_usage: bool) -> Vec<Vec<u8>> {
    let usage = include_usage.then_some(None);
    let mut events = Vec::new();
    for choice in &completion.choices {
        let mut send = |delta: Delta<'_>, finish_reason: Option<&'static str>| {
            let choices = [ChunkChoice { index: choice.index, delta, finish_reason }];
            events.push(to_event(&completion.identity, &choices, usage));
        };
        send(Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, None);
        for word in split_words(choice.message.content.as_deref().unwrap_or_default()) {
            send(Delta { content: Some(word), ..Delta::default() }, None);
        }
        for call in choice.message.tool_calls.iter().flatten() {
            send_call(call, |delta| send(delta, None));
        }
        send(Delta::default(), Some(choice.finish_reason));
    }
    if include_usage {
        events.push(to_event(&completion.identity, &[], Some(Some(Usage::of(completion)))));
    }
    events.push(b"data: [DONE]\n\n".to_vec());
    events
}

fn send_call(call: &ToolCall, mut send: impl FnMut(Delta<'_>)) {
    let mut send_delta = |id, r#type, name, arguments: &str| {
        let call = ToolDelta { index: 0, id, r#type, function: FunctionDelta { name, arguments } };
        send(Delta { tool_calls: Some([call]), ..Delta::default() });
    };
    send_delta(Some(&call.id), Some(call.r#type), Some(&call.function.name), "");
    let mut rest = call.function.arguments.as_str();
    while !rest.is_empty() {
        let end = rest.char_indices().nth(ARGUMENT_CHUNK_CHARS).map_or(rest.len(), |(end, _)| end);
        let (part, behind) = rest.split_at(end);
        send_delta(None, None, None, part);
        rest = behind;
    }
}

fn to_event(identity: &Identity, choices: &[ChunkChoice<'_>], usage: Option<Option<Usage>>) -> Vec<u8> {
    let chunk = Chunk {
        id: &identity.id,
        object: "chat.completion.chunk",
        created: identity.created,
        model: &identity.model,
        system_fingerprint: FINGERPRINT,
        choices,
        usage,
    };
    [b"data: ".as_slice(), &to_json(&chunk), b"\n\n"].concat()
}

/// Cuts a text before each word but the first, so that the pieces put together are the text.
fn split_words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c: char| !c.is_whitespace())?;
        let after = rest.get(word..)?.find(char::is_whitespace);
        let (piece, behind) = rest.split_at(after.map_or(rest.len(), |after| word + after));
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_put_together_are_the_text() {
        assert_eq!(split_words("a b  c\nd").collect::<Vec<_>>(), ["a", " b", "  c", "\nd"]);
        assert_eq!(split_words(" é").collect::<Vec<_>>(), [" é"]);
        assert_eq!(split_words("").count(), 0);
    }
}
