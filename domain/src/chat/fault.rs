//! What is wrong with an upstream's stream.

use std::fmt;

/// Longest line that is waited for, and longest event; a longer one is a fault. Images come in one.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// Why a stream can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A line or an event over [`MAX_LINE_BYTES`].
    LineTooLong,
    /// Data that begins an object and is not JSON, or makes no sense where it stands.
    InvalidJson,
    /// The upstream said `[DONE]` without having written anything or said why it stopped. It was not forwarded.
    Empty,
    /// The upstream sent an error in place of a chunk. It was not forwarded.
    UpstreamError {
        /// The upstream's own words, at most 500 characters: for the log, or for the client if the
        /// caller so decides.
        message: String,
        /// The upstream's code or type, if it gave one.
        code: Option<String>,
    },
}

impl StreamFault {
    /// The code that the client is told.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LineTooLong | Self::InvalidJson => "upstream_invalid_response",
            Self::Empty => "upstream_incomplete",
            Self::UpstreamError { .. } => "upstream_error",
        }
    }
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => f.write_str("the upstream sent an event of over 16 MiB"),
            Self::InvalidJson => f.write_str("the upstream sent a chunk that is not JSON"),
            Self::Empty => f.write_str("the upstream ended its stream without an answer"),
            Self::UpstreamError { message, .. } => {
                write!(f, "the upstream sent an error: {message}")
            }
        }
    }
}

impl std::error::Error for StreamFault {}
