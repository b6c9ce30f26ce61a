//! The sandbox's model: an OpenAI-compatible upstream that needs no account, no network and no
//! luck.
//!
//! The same request always gets the same answer. It echoes the user, calls the tools it is given,
//! fits the schemas it is given, and counts a token for every word.

pub mod media;
mod request;
mod schema;
mod wire;

use sha2::{Digest, Sha256};

use crate::chat::request::{ChatRequest, InvalidRequest};
use crate::hex;
use request::{Format, Prompt, ToolPlan};
use wire::{Choice, Completion, ErrorBody, Identity, Message, ToolCall};

/// The models that it lists; it answers to any name.
pub const MODELS: [&str; 7] = [
    "sandbox-embed",
    "sandbox-image",
    "sandbox-large",
    "sandbox-small",
    "sandbox-speech",
    "sandbox-transcription",
    "sandbox-video",
];

/// How the text of every answer begins.
pub const GREETING: &str = "I am the sandbox model.";

/// Longest part of the user's text that is repeated, in words.
const MAX_ECHO_WORDS: usize = 256;

/// What the sandbox answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxReply {
    /// HTTP status: 200 or 400.
    pub status: u16,
    /// The answer.
    pub body: SandboxBody,
}

/// An answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxBody {
    /// `application/json`
    Json(Vec<u8>),
    /// `text/event-stream`, one event an item.
    Events(Vec<Vec<u8>>),
}

/// Answers a chat completion request. `created_s` is the time that the answer carries, in seconds
/// since 1970.
#[must_use]
pub fn answer(body: &[u8], created_s: u64) -> SandboxReply {
    match compose(body, created_s) {
        Ok(body) => SandboxReply { status: 200, body },
        Err(fault) => SandboxReply { status: 400, body: SandboxBody::Json(wire::to_json(&ErrorBody::new(&fault))) },
    }
}

fn compose(body: &[u8], created_s: u64) -> Result<SandboxBody, InvalidRequest> {
    let request = ChatRequest::parse(body)?;
    let prompt = Prompt::parse(body)?;
    let digest = digest_hex(body);
    let completion = Completion {
        identity: Identity {
            id: format!("chatcmpl-{}", digest.get(..24).unwrap_or_default()),
            created: created_s,
            model: request.model().to_owned(),
        },
        choices: (0..request.n())
            .map(|index| compose_choice(&prompt, &request, &digest, index))
            .collect::<Result<_, _>>()?,
        prompt_tokens: prompt.count_tokens(),
    };
    Ok(if request.stream() {
        SandboxBody::Events(wire::to_events(&completion, request.include_usage()))
    } else {
        SandboxBody::Json(wire::to_body(&completion))
    })
}

fn compose_choice(
    prompt: &Prompt,
    request: &ChatRequest<'_>,
    digest: &str,
    index: u64,
) -> Result<Choice, InvalidRequest> {
    if let Some(ToolPlan { name, arguments }) = prompt.plan_tool_call()? {
        let id = format!("call_{}", digest_hex(format!("{digest}/{index}").as_bytes()).get(..24).unwrap_or_default());
        let tokens = 1 + count_words(&arguments);
        let message = Message::calling(ToolCall::new(id, name, arguments));
        return Ok(Choice { index, message, finish_reason: "tool_calls", tokens });
    }
    let text = match prompt.format() {
        Format::Text => compose_text(prompt, index),
        Format::JsonObject => serde_json::json!({ "answer": compose_text(prompt, index) }).to_string(),
        Format::Schema(schema) => schema::example(schema).to_string(),
    };
    let limit = request.max_output_tokens().and_then(|tokens| usize::try_from(tokens).ok());
    let kept = limit.map_or(text.as_str(), |words| take_words(&text, words));
    let finish_reason = if kept.len() < text.len() { "length" } else { "stop" };
    Ok(Choice { index, tokens: count_words(kept), message: Message::saying(kept.to_owned()), finish_reason })
}

fn compose_text(prompt: &Prompt, index: u64) -> String {
    let mut text = String::from(GREETING);
    match prompt.tool_result() {
        Some(result) => text.push_str(&format!(" The tool answered: {}", take_words(result, MAX_ECHO_WORDS))),
        None => text.push_str(&format!(" You said: {}", take_words(prompt.user_text(), MAX_ECHO_WORDS))),
    }
    match prompt.image_count() {
        0 => {}
        1 => text.push_str(" I received 1 image."),
        images => text.push_str(&format!(" I received {images} images.")),
    }
    if index > 0 {
        text.push_str(&format!(" This is choice {}.", index + 1));
    }
    text
}

/// The sandbox's tokens: words between white space.
fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The beginning of a text, up to so many words.
fn take_words(text: &str, words: usize) -> &str {
    let text = text.trim();
    let mut rest = text;
    for _ in 0..words {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default();
    }
    text.get(..text.len() - rest.len()).unwrap_or(text)
}

fn digest_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    hex::push_hex(&Sha256::digest(bytes), &mut text);
    text
}

#[cfg(test)]
mod tests;
