//! The response cache, without its storage: which requests may be answered from it, what they are called there, and how
//! a kept answer is given again.

mod assemble;
mod canonical;
mod control;
mod entry;
mod replay;
mod settings;

pub use assemble::{complete_stream, complete_whole};
pub use canonical::{canonicalise, split_last_user_text};
pub use control::CacheControl;
pub use entry::{Entry, InvalidEntry};
pub use replay::{Replay, replay_stream, replay_whole};
pub use settings::{CacheSettings, ExactCaching, Participation, THRESHOLD_DEFAULT, THRESHOLD_LEAST, THRESHOLD_MOST};

/// Longest request that is looked up, in bytes: normalising it has to stay cheap beside the call.
pub const REQUEST_MAX_BYTES: usize = 1 << 20;
/// Longest answer that is kept, in bytes.
pub const ANSWER_MAX_BYTES: usize = 256 << 10;
/// Longest event stream from which an answer is put together, in bytes: events are many times as long as what they tell.
pub const STREAM_MAX_BYTES: usize = 2 << 20;
/// How long an answer is kept unless the account says otherwise, in seconds.
pub const TTL_DEFAULT_S: u32 = 3_600;
/// Shortest time for which an answer can be kept, in seconds.
pub const TTL_LEAST_S: u32 = 60;
/// Longest time for which an answer can be kept, in seconds.
pub const TTL_MOST_S: u32 = 7 * 24 * 3_600;

#[cfg(test)]
mod tests;
