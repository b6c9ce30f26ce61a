//! Streams of one format as streams of the other, chunk by chunk.

mod chunks;
mod to_chat;
mod to_messages;

pub use to_chat::MessagesToChatStream;
pub use to_messages::ChatToMessagesStream;

#[cfg(test)]
mod tests;
