//! The live feed as its callers see it: one object per audience.

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// Events that are kept.
pub const KEPT_MAX: usize = 1_000;
/// Events in one [`Command::Publish`] that are kept; of more, the last ones.
pub const BATCH_MAX: usize = 200;
/// The longest event, in bytes; a longer one only counts.
pub const DATA_MAX_BYTES: usize = 4 * 1024;
/// The longest name of a kind, in bytes.
pub const KIND_MAX_BYTES: usize = 64;
/// The object of the platform's administrators.
pub const ADMINS: &str = "admins";

/// The protocol of the `Events` object.
#[derive(Debug)]
pub enum Events {}

impl Protocol for Events {
    const BINDING: &'static str = "EVENTS";
    type Command = Command;
    type Reply = Reply;
}

/// What a caller may ask of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Adds events, oldest first. Answer: [`Reply::Events`] without events.
    Publish {
        /// What happened.
        events: Vec<NewEvent>,
    },
    /// Reads what came after a number, oldest first. Answer: [`Reply::Events`].
    Read {
        /// The last number that the caller has seen; none for one who only wants to know where the feed stands.
        after: Option<u64>,
        /// At most so many.
        limit: u32,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Such as `route_success`.
    pub kind: String,
    /// JSON text on one line.
    pub data: String,
}

/// Something that happened, with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rising from 1; a number that is missing belongs to an event that was not kept.
    pub id: u64,
    /// As published.
    pub kind: String,
    /// As published.
    pub data: String,
}

/// What a feed answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To every command.
    Events {
        /// Oldest first.
        events: Vec<Event>,
        /// The number of the newest event; 0 before the first.
        last: u64,
        /// How many events between the caller's number and the first one here are not kept any more.
        missed: u64,
    },
}
