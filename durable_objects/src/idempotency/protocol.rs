//! The idempotency guard as its callers see it: one object per caller and `Idempotency-Key`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::protocol::Protocol;

/// How long an answer is replayed.
pub const STORED_MS: i64 = 24 * 60 * 60 * 1_000;
/// The largest body that is kept for a replay, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// The largest sum of header names and values that is kept for a replay, in bytes.
pub const HEADERS_MAX_BYTES: usize = 32 * 1024;

/// The protocol of the `Idempotency` object.
#[derive(Debug)]
pub enum Idempotency {}

impl Protocol for Idempotency {
    const BINDING: &'static str = "IDEMPOTENCY";
    type Command = Command;
    type Reply = Reply;
}

/// The object of one caller and key. The length in front keeps `("a", "b:c")` and `("a:b", "c")` apart.
#[must_use]
pub fn name(caller: &str, key: &str) -> String {
    format!("{}:{caller}:{key}", caller.len())
}

/// What a caller may ask of the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Asks to run a request.
    Begin {
        /// A digest of what makes the request the same one (method, path, body). At most 128 bytes.
        fingerprint: String,
        /// Names this attempt, by an id that no other attempt uses. Asking again with the same token (because the
        /// answer was lost) starts the same run again. At most 128 bytes.
        token: String,
    },
    /// Says that the run which `token` started still lives. It never starts one.
    Prolong {
        /// As in `Begin`.
        token: String,
    },
    /// Keeps the answer of the request that `token` started.
    Finish {
        /// As in `Begin`.
        token: String,
        /// The answer.
        answer: Answer,
    },
    /// Frees the key without an answer, because the request had no effect and may be tried again.
    Abandon {
        /// As in `Begin`.
        token: String,
    },
}

/// What the guard answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `Begin`: run it, then `Finish` or `Abandon` with the token. To `Prolong`: run on.
    Started,
    /// To `Begin`: the same request is running.
    InFlight {
        /// When the guard gives up on that run; milliseconds since 1970.
        expires_at_ms: i64,
    },
    /// To `Begin`: the same request has run; this was the answer.
    Stored {
        /// The answer.
        answer: Answer,
    },
    /// To `Begin`: the key was used for another request.
    Mismatch,
    /// To `Begin`: the same request has run, but its answer was too large to keep. It must not run twice.
    TooLarge {
        /// The status that it was answered with.
        status: u16,
    },
    /// To `Finish` and `Abandon`: done; doing it again does nothing more.
    Closed,
    /// To `Prolong`, `Finish` and `Abandon`: the token does not (or no longer) own the key; nothing was changed.
    Stale,
    /// The command breaks a bound of the protocol.
    Refused {
        /// Which one; for the log.
        message: String,
    },
}

/// An HTTP answer to be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// Whether the body is sealed, by whoever sent it: the guard does not look into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sealed: bool,
}

/// The bytes of a body; base64 in JSON, because an answer need not be UTF-8 and base64 needs no escapes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl fmt::Debug for Body {
    /// The length only: bodies hold what users wrote, and debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(de::Error::custom)
    }
}
