//! Chat completions as this translation reads them, whole and in chunks.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{InputDetails, OutputDetails, UsageView};
use crate::chat::usage::read_usage;
use crate::json::{Raw, Reader};

/// A chat completion, or a chunk of one.
#[derive(Debug, Deserialize)]
pub(super) struct Completion<'a> {
    #[serde(borrow)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice<'a> {
    pub index: Option<u64>,
    #[serde(borrow)]
    pub delta: Option<Message<'a>>,
    #[serde(borrow)]
    pub message: Option<Message<'a>>,
    pub finish_reason: Option<String>,
    #[serde(borrow)]
    pub logprobs: Option<Logprobs<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reasoning_content: Option<&'a RawValue>,
    /// What some servers call `reasoning_content`.
    #[serde(borrow)]
    pub reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub tool_calls: Option<Vec<CallPiece<'a>>>,
}

/// A tool call, or a piece of one.
#[derive(Debug, Deserialize)]
pub(super) struct CallPiece<'a> {
    pub index: Option<u64>,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub function: Option<FunctionPiece<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionPiece<'a> {
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Logprobs<'a> {
    #[serde(borrow)]
    pub content: Option<Vec<&'a RawValue>>,
}

/// A string's text, a list's texts joined; empty for all else.
pub(super) fn text_of(raw: Option<&RawValue>) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct TextPart {
        text: Option<String>,
    }
    let Some(raw) = raw else { return Cow::Borrowed("") };
    if raw.get().starts_with('[') {
        let parts: Vec<TextPart> = serde_json::from_str(raw.get()).unwrap_or_default();
        return Cow::Owned(parts.into_iter().filter_map(|part| part.text).collect());
    }
    Raw { bytes: raw.get().as_bytes(), start: 0 }.to_text().unwrap_or_default()
}

/// A call's arguments: JSON in a string, or, from some servers, JSON as it is.
pub(super) fn arguments_of(raw: Option<&RawValue>) -> Cow<'_, str> {
    match raw {
        Some(object) if object.get().starts_with('{') => Cow::Borrowed(object.get()),
        other => text_of(other),
    }
}

/// Reads a `usage` object; `None` when it can't be believed.
pub(super) fn view_usage(raw: &RawValue) -> Option<UsageView> {
    #[derive(Deserialize)]
    struct Usage {
        #[serde(alias = "output_tokens_details")]
        completion_tokens_details: Option<Details>,
    }
    #[derive(Deserialize)]
    struct Details {
        reasoning_tokens: Option<u64>,
    }
    let usage = read_usage(&mut Reader::new(raw.get().as_bytes())).ok()??;
    let details = serde_json::from_str::<Usage>(raw.get()).ok().and_then(|usage| usage.completion_tokens_details);
    Some(UsageView {
        input_tokens: usage.input,
        input_tokens_details: InputDetails { cached_tokens: usage.cache_read, cache_write_tokens: usage.cache_write },
        output_tokens: usage.output,
        output_tokens_details: OutputDetails {
            reasoning_tokens: details.and_then(|details| details.reasoning_tokens).unwrap_or_default(),
        },
        total_tokens: usage.input.saturating_add(usage.output),
    })
}
