//! OpenAI's Responses API on top of chat completions.
//!
//! A [`Request`] becomes a chat completion body, and the answer to it comes back as a Response object ([`to_response`])
//! or as the stream of events that builds one ([`ChatToResponsesStream`]). Both go through one assembler, so they say
//! the same. What the answer repeats of the request travels in the [`Echo`].
//!
//! JSON that only passes (schemas, texts, images) stays the client's own bytes: models write the members of a schema in
//! the schema's order.

mod assemble;
mod choice;
mod close;
mod completion;
mod content;
mod echo;
mod events;
mod fields;
mod format;
mod history;
mod input;
mod items;
mod output;
mod request;
mod stored;
mod stream;
mod tools;
mod whole;

#[cfg(test)]
mod tests;

pub use echo::Echo;
pub use request::{Request, Translated};
pub use stored::{ItemOrder, ItemPage, MAX_PAGE_ITEMS, StoredTurn, to_deleted, to_input_items};
pub use stream::{ChatToResponsesStream, MAX_LINE_BYTES};
pub use whole::to_response;

/// Most items in a request's `input`, and in all earlier turns together.
pub const MAX_INPUT_ITEMS: usize = crate::chat::request::MAX_MESSAGES;
/// Most earlier turns that a request may stand on, and most answers that its item references may point to.
pub const MAX_TURNS: usize = 1_000;
/// Most text that a stream gathers for its last event. The closing events of one text repeat it four times.
pub const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// Most items in an answer's output.
pub const MAX_OUTPUT_ITEMS: usize = 1_024;
