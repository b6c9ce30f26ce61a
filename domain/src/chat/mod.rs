//! OpenAI chat completions as they pass through: requests, answers, streams.

mod measure;
pub(crate) mod usage;

pub mod request;
pub mod response;
pub mod stream;
