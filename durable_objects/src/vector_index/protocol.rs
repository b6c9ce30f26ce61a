//! An index of vectors as its callers see it: one object per owner and purpose, with namespaces inside.

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// The protocol of the `VectorIndex` object.
#[derive(Debug)]
pub enum VectorIndex {}

impl Protocol for VectorIndex {
    const BINDING: &'static str = "VECTOR_INDEX";
    type Command = Command;
    type Reply = Reply;
}

/// Most numbers of all vectors of an index together: 16 MiB of memory. Waking up takes three times as much for a moment,
/// and an isolate has 128 MiB for all of its objects.
pub const NUMBERS_MAX: usize = 4 << 20;
/// Most vectors of an index.
pub const VECTORS_MAX: usize = 20_000;
/// Most vectors, or ids, in one command.
pub const BATCH_MAX: usize = 100;
/// Most matches that can be asked for.
pub const TOP_K_MAX: u32 = 100;
/// Longest id and longest namespace, in bytes.
pub const NAME_MAX_BYTES: usize = 64;
/// Longest metadata of a vector, in bytes.
pub const METADATA_MAX_BYTES: usize = 10 << 10;

/// What a caller may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Stores vectors, in place of those of the same ids. When the index is full, those that expire soonest make room.
    Upsert {
        /// At most [`BATCH_MAX`].
        items: Vec<Item>,
    },
    /// Finds the nearest vectors of a namespace.
    Query {
        /// The namespace.
        namespace: String,
        /// As [`guildhall_domain::vector::write_vector`] writes it.
        vector: String,
        /// At most so many; up to [`TOP_K_MAX`].
        top_k: u32,
    },
    /// Removes vectors; those that are not there are no error.
    Delete {
        /// At most [`BATCH_MAX`].
        ids: Vec<String>,
    },
    /// Tells how full the index is.
    Stats,
}

/// A vector to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique in the index.
    pub id: String,
    /// Only queries of the same namespace find it.
    pub namespace: String,
    /// As [`guildhall_domain::vector::write_vector`] writes it.
    pub vector: String,
    /// Given back with a match, as it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// When it is forgotten; milliseconds since 1970. Without, it stays until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

/// What the index answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// The nearest, the nearest first; those as near by their ids.
    Matches {
        /// At most as many as asked for.
        matches: Vec<Match>,
    },
    /// How full the index is.
    Stats {
        /// Its vectors.
        vectors: u64,
        /// Their numbers together, of [`NUMBERS_MAX`].
        numbers: u64,
    },
    /// Nothing was done.
    Refused {
        /// Why.
        code: RefusalCode,
        /// For the log.
        message: String,
    },
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The command breaks a bound of the protocol.
    Invalid,
    /// There is no room: what is stored does not expire.
    Full,
}

/// A vector that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Its id.
    pub id: String,
    /// The cosine, from -1 to 1.
    pub score: f32,
    /// Its metadata.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}
