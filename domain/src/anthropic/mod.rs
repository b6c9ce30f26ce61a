//! Translation between OpenAI chat completions, which is what the house speaks inside, and
//! Anthropic Messages.
//!
//! | direction | request | answer | stream |
//! |---|---|---|---|
//! | chat caller, Anthropic provider | [`to_messages_request`] | [`to_chat_completion`] | [`MessagesToChatStream`] |
//! | Messages caller, any provider | [`to_chat_request`] | [`to_message`] | [`ChatToMessagesStream`] |
//!
//! Values that mean the same on both sides (texts, schemas, inputs) are copied byte for byte, never
//! rebuilt: the order of their keys and the digits of their numbers stay.
//!
//! What one side knows and the other does not travels in extra members, so that a Messages request
//! that becomes a chat request and a Messages request again has lost nothing that matters:
//! `cache_control` on parts, messages, calls and tools; `reasoning_details` on assistant messages (signed
//! and redacted thinking); `is_error` on tool messages; `tool_call_id` on user parts that came out
//! of a tool result; `thinking`, `top_k`, `output_config`, `cache_control` and a long `metadata.user_id` on the request.
//! [`drop_extensions`] takes them out for providers that refuse what they do not know.

mod calls;
mod error;
mod fields;
mod generation;
mod headers;
mod ids;
mod outcome;
mod plain;
mod stream;
mod to_chat;
mod to_completion;
mod to_message;
mod to_messages;
mod writer;

use std::fmt;

use crate::json::JsonError;

pub use error::{classify_error, error_type, render_error};
pub use headers::{ClientHeaders, VERSION};
pub use plain::{Takes, drop_extensions, drop_purchases, drop_stream_options, shorten_caches};
pub use stream::{ChatToMessagesStream, MessagesToChatStream};
pub use to_chat::{to_chat_request, to_counted_chat_request};
pub use to_completion::to_chat_completion;
pub use to_message::to_message;
pub use to_messages::to_messages_request;

/// Name of the tool through which a model answers in JSON of a given schema; see
/// [`to_messages_request`]. No caller's tool may have it.
pub const JSON_ANSWER_TOOL: &str = "guildhall_json_answer";

/// What a model reads in place of a tool's result that the caller did not send.
const MISSING_RESULT: &str = "No result: the tool call was not answered.";

/// What kept a text from being translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranslateErrorKind {
    /// The text breaks its own format: the fault of who wrote it.
    Invalid,
    /// The text is good, but the other format can't say it: another provider may serve it.
    Unsupported,
}

/// Why a text could not be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslateError {
    /// Whose fault it is.
    pub kind: TranslateErrorKind,
    /// The parameter at fault, as its API writes it: `messages[2].role` for chat completions,
    /// `messages.2.role` for Messages; `None` for the body as a whole.
    pub param: Option<String>,
    /// What is wrong, in a sentence that names the parameter: for the client, if the text is its
    /// own.
    pub message: String,
}

impl TranslateError {
    fn body(message: impl Into<String>) -> Self {
        Self { kind: TranslateErrorKind::Invalid, param: None, message: message.into() }
    }
}

impl fmt::Display for TranslateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TranslateError {}

impl From<JsonError> for TranslateError {
    fn from(error: JsonError) -> Self {
        Self::body(format!("The body is not valid JSON: {error}."))
    }
}

#[cfg(test)]
mod tests;
