//! What a caller and an object agree on: a binding, a command, a reply. Both sides use these types, as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One kind of object as its callers see it.
///
/// A call is an internal `POST` to the object's stub: the body is one [`Protocol::Command`] as JSON, the answer 200 with
/// one [`Protocol::Reply`] as JSON. A refusal that a caller must handle is a reply. 400 means that the body is no
/// command (a fault of the programme), 500 that storage failed and nothing was done.
pub trait Protocol {
    /// The namespace binding in `wrangler.toml`, and the `binding` that local runs use.
    const BINDING: &'static str;
    /// What a caller may ask.
    type Command: Serialize + DeserializeOwned;
    /// What the object answers.
    type Reply: Serialize + DeserializeOwned;
}

/// The queue that takes what objects must hand on. A message is the JSON array of the items of one turn; a `Wallet`'s
/// items are [`crate::wallet::protocol::QueuedRecord`], a `Job`'s [`crate::job::protocol::QueuedStep`].
pub const QUEUE_BINDING: &str = "USAGE";
