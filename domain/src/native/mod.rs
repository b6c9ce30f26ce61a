//! TokenHub's native surface without its HTTP: `POST /v1/chat` and `POST /v1/plan`.
//!
//! A request is read into what it asks for ([`NativeChat`], [`Plan`]); model calls leave as OpenAI
//! chat completions; answers are shaped and wrapped in the envelope. Orchestrations of several
//! calls are a machine that can be stored between its steps ([`Orchestration`]).

mod answer;
mod chat;
mod directive;
mod envelope;
mod format;
mod members;
mod orchestration;
mod plan;
mod policy;
mod think;

pub use answer::{AnswerFault, extract_text, render_answer};
pub use chat::{NativeChat, parse_chat};
pub use envelope::{NativeRequest, bare_model_hint};
pub use format::{FormatKind, OutputFormat};
pub use members::ParseError;
pub use orchestration::{
    Answered, Ask, EventType, Failure, HistoryEvent, Orchestration, Outcome, PlanFailure, RouteWish, Step,
};
pub use plan::{Plan, PlanMode, parse_plan};
pub use policy::Policy;
pub use think::{ThinkFilter, ThinkStream};

/// The model's name that leaves the choice to the router.
pub const ANY_MODEL: &str = "*";
/// Largest budget of one call that a client may set, in micro-dollars.
pub const MAX_BUDGET_MICROS: i64 = 100_000_000;
/// Longest latency that a client may allow, in milliseconds.
pub const MAX_LATENCY_MS: u64 = 300_000;
/// Most rounds of an orchestration.
pub const MAX_ITERATIONS: u64 = 10;

/// The longest beginning of a text of at most so many bytes that ends with a whole character.
fn truncate(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
