//! Usage records: from the wallets' outboxes, over the queue, into the database. Every step may happen twice; the
//! record's id makes it count once.

use std::collections::BTreeMap;

use durable_objects::wallet::protocol::{BATCH_MAX, Command, QueuedRecord, Wallet};

use crate::ports::{PortError, Ports, ask};
use crate::store::money::usage::insert_usage;

/// Files a batch of messages, then tells the wallets, which send again what they are not told of.
///
/// # Errors
/// When the database or a wallet fails: the queue delivers the batch again.
pub async fn file_usage(ports: &Ports, messages: &[String]) -> Result<(), PortError> {
    let mut records = Vec::new();
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in messages {
        match serde_json::from_str::<Vec<QueuedRecord>>(message) {
            Ok(batch) => {
                for queued in batch {
                    records.push(insert_usage(&queued.record).statement);
                    acknowledged.entry(queued.wallet).or_default().push(queued.id);
                }
            }
            // It can never be filed; the dead letter of the log keeps it.
            Err(error) => ports.background.log(&format!("usage message refused ({error}): {message}")),
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    ports.db.run(records).await?;
    for (wallet, ids) in acknowledged {
        for ids in ids.chunks(BATCH_MAX) {
            ask::<Wallet>(&*ports.objects, &wallet, &Command::AckRecords { ids: ids.to_vec() }).await?;
        }
    }
    Ok(())
}
