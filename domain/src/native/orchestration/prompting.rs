//! The chat completions of the phases.
//!
//! Each keeps the caller's conversation and parameters. The caller's system messages come first in
//! the one system message that every chat template takes; what an earlier phase wrote joins the last
//! user message, in tags, so that roles keep alternating.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::super::envelope::{content_text, to_chat_body};
use super::super::think::strip_think;
use super::super::{ANY_MODEL, truncate};
use super::prompts;

/// Most bytes of an earlier phase's text that a later one is shown.
const MAX_QUOTE_BYTES: usize = 256 * 1024;

/// Parameters that shape the caller's answer, and only hinder what is written for other models.
const ANSWER_PARAMETERS: [&str; 7] =
    ["response_format", "stop", "prediction", "modalities", "audio", "logprobs", "top_logprobs"];
/// Parameters that bound the caller's answer; the judge has to come to its number.
const LENGTH_PARAMETERS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// Who writes in a phase.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Planner,
    Critic,
    PlanRefiner,
    Improver,
    Judge,
}

impl Writer {
    const fn prompt(self) -> &'static str {
        match self {
            Self::Planner => prompts::PLANNER,
            Self::Critic => prompts::CRITIC,
            Self::PlanRefiner => prompts::PLAN_REFINER,
            Self::Improver => prompts::IMPROVER,
            Self::Judge => prompts::JUDGE,
        }
    }

    /// Whether the text may become the caller's answer.
    const fn answers_caller(self) -> bool {
        matches!(self, Self::Planner | Self::PlanRefiner | Self::Improver)
    }

    fn keep_parameters(self, own: &Map<String, Value>) -> Map<String, Value> {
        let mut parameters = own.clone();
        if !self.answers_caller() {
            parameters.retain(|key, _| !ANSWER_PARAMETERS.contains(&key.as_str()));
        }
        if self == Self::Judge {
            parameters.retain(|key, _| !LENGTH_PARAMETERS.contains(&key.as_str()));
        }
        // The conversation may hold calls, which some providers only take with their tools; but this
        // phase is to write.
        if parameters.contains_key("tools") {
            parameters.insert("tool_choice".to_owned(), json!("none"));
        }
        parameters
    }
}

/// The caller's own request, for a call whose answer is an answer.
pub(super) fn compose_original(messages: &[Value], parameters: &Map<String, Value>, model: Option<&str>) -> Vec<u8> {
    to_chat_body(model.unwrap_or(ANY_MODEL), messages, parameters, false)
}

/// A phase's request: the caller's, in the writer's role, with `addition` at its end.
pub(super) fn compose_phase(
    writer: Writer,
    messages: &[Value],
    parameters: &Map<String, Value>,
    model: Option<&str>,
    addition: &str,
) -> Vec<u8> {
    let (systems, turns): (Vec<&Value>, Vec<&Value>) =
        messages.iter().partition(|message| matches!(message["role"].as_str(), Some("system" | "developer")));
    let instructions: Vec<String> = systems.into_iter().map(content_text).filter(|text| !text.is_empty()).collect();
    let instructions = instructions.join("\n\n");
    let mut addition = addition.to_owned();
    let mut system = writer.prompt().to_owned();
    if !instructions.is_empty() {
        if writer == Writer::Judge {
            // The judge weighs by them; it does not follow them.
            addition = quote("instructions", &instructions) + &addition;
        } else {
            system = format!("{instructions}\n\n{system}");
        }
    }
    let mut composed = vec![json!({"role":"system","content":system})];
    composed.extend(turns.into_iter().cloned());
    if !addition.is_empty() {
        append_user_text(&mut composed, &addition);
    }
    to_chat_body(model.unwrap_or(ANY_MODEL), &composed, &writer.keep_parameters(parameters), false)
}

/// An earlier phase's text as a later one is shown it.
pub(super) fn quote(tag: &str, text: &str) -> String {
    let text = strip_think(text);
    format!("<{tag}>\n{}\n</{tag}>\n\n", truncate(&text, MAX_QUOTE_BYTES))
}

/// Answers under numbers from 1, and without names.
pub(super) fn quote_numbered<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut out = String::new();
    for (index, text) in texts.enumerate() {
        let text = strip_think(text);
        let number = index + 1;
        // Writing to a `String` can't fail.
        let _ = write!(out, "<response number=\"{number}\">\n{}\n</response>\n\n", truncate(&text, MAX_QUOTE_BYTES));
    }
    out
}

/// Adds text to the last message if it is a user's, else a message of its own.
fn append_user_text(messages: &mut Vec<Value>, text: &str) {
    let last = messages.last_mut().filter(|message| message["role"] == "user");
    match last.and_then(|message| message.get_mut("content")) {
        Some(Value::String(content)) => {
            content.push_str("\n\n");
            content.push_str(text);
        }
        Some(Value::Array(parts)) => parts.push(json!({"type":"text","text":text})),
        _ => messages.push(json!({"role":"user","content":text})),
    }
}
