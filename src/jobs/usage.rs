//! Usage records: from the wallets' outboxes, over the queue, into the database. Every step may happen twice; the
//! record's id makes it count once.

use durable_objects::wallet::protocol::QueuedRecord;

use crate::observe::filing::file_records;
use crate::ports::{PortError, Ports};

/// Files a batch of messages, then tells the wallets, which send again what they are not told of.
///
/// # Errors
/// When the database or a wallet fails: the queue delivers the batch again.
pub async fn file_usage(ports: &Ports, messages: &[impl AsRef<str>]) -> Result<(), PortError> {
    let mut records = Vec::new();
    for message in messages {
        match serde_json::from_str::<Vec<QueuedRecord>>(message.as_ref()) {
            Ok(batch) => records.extend(batch),
            // It can never be filed; the dead letter of the log keeps it.
            Err(error) => ports.background.log(&format!("usage message refused ({error}): {}", message.as_ref())),
        }
    }
    file_records(ports, records).await
}
