//! The events of a Response's stream, written.

use serde::Serialize;
use serde_json::value::RawValue;

use super::echo::Echo;
use super::output::{ItemView, PartView, Status};
use crate::ids::ResponseId;

/// A Response object.
#[derive(Debug, Serialize)]
pub(super) struct ResponseView<'r> {
    pub id: &'r ResponseId,
    pub object: &'static str,
    /// Unix time in seconds.
    pub created_at: u64,
    pub status: Status,
    pub error: Option<ErrorView<'r>>,
    pub incomplete_details: Option<IncompleteView>,
    pub output: Vec<ItemView<'r>>,
    pub usage: Option<UsageView>,
    pub service_tier: Option<&'r RawValue>,
    #[serde(flatten)]
    pub echo: &'r Echo,
}

#[derive(Debug, Serialize)]
pub(super) struct ErrorView<'r> {
    pub code: &'r str,
    pub message: &'r str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct IncompleteView {
    pub reason: &'static str,
}

/// Tokens, as the Responses API counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct UsageView {
    pub input_tokens: u64,
    pub input_tokens_details: InputDetails,
    pub output_tokens: u64,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct InputDetails {
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct OutputDetails {
    pub reasoning_tokens: u64,
}

/// What an event tells, each kind with its own few of these.
#[derive(Debug, Default, Serialize)]
pub(super) struct Event<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<&'e [Box<RawValue>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<PartView<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemView<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseView<'e>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView<'e>>,
}

/// An `error` event. The published types have its members at the top; what OpenAI sends, and what its libraries look
/// for, has them in `error`.
#[derive(Debug, Serialize)]
pub(super) struct FailureView<'e> {
    pub code: &'e str,
    pub message: &'e str,
    pub param: Option<&'e str>,
    pub error: FailureError<'e>,
}

#[derive(Debug, Serialize)]
pub(super) struct FailureError<'e> {
    pub r#type: &'static str,
    pub code: &'e str,
    pub message: &'e str,
    pub param: Option<&'e str>,
}

/// Writes events, numbered from 0; or none, where nobody listens.
#[derive(Debug)]
pub(super) struct EventWriter {
    is_silent: bool,
    sequence_number: u64,
}

impl EventWriter {
    pub(super) const fn new(is_silent: bool) -> Self {
        Self { is_silent, sequence_number: 0 }
    }

    pub(super) fn write(&mut self, name: &'static str, event: &Event<'_>, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Frame<'f> {
            r#type: &'static str,
            sequence_number: u64,
            #[serde(flatten)]
            event: &'f Event<'f>,
        }
        if self.is_silent {
            return;
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let frame = Frame { r#type: name, sequence_number: self.sequence_number, event };
        // Writing texts and numbers to a `Vec` can't fail.
        let _ = serde_json::to_writer(&mut *out, &frame);
        out.extend_from_slice(b"\n\n");
        self.sequence_number += 1;
    }
}
