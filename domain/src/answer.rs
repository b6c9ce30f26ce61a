//! Why an upstream's answer of success is none.

use std::fmt;

use crate::json::JsonError;

/// An answer with status 200 that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidAnswer {
    /// Not JSON, or not UTF-8.
    NotJson(JsonError),
    /// JSON, but not an object.
    NotAnObject,
    /// An error under a status of success.
    UpstreamError,
    /// Nothing of what was asked for is in it.
    Empty,
}

impl fmt::Display for InvalidAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "the upstream's answer is not JSON: {error}"),
            Self::NotAnObject => f.write_str("the upstream's answer is not a JSON object"),
            Self::UpstreamError => f.write_str("the upstream answered with an error under a status of success"),
            Self::Empty => f.write_str("the upstream's answer holds nothing of what was asked for"),
        }
    }
}

impl std::error::Error for InvalidAnswer {}

impl From<JsonError> for InvalidAnswer {
    fn from(error: JsonError) -> Self {
        Self::NotJson(error)
    }
}
