//! OpenAI chat completions as they pass through: requests, answers, streams.

pub(crate) mod calls;
mod fault;
pub(crate) mod lines;
mod measure;
pub(crate) mod tokens;
pub(crate) mod usage;

pub mod choices;
pub mod gemma;
pub mod quirks;
pub mod request;
pub mod response;
pub mod stream;
pub mod tool_names;
