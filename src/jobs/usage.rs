//! Usage records: from the wallets' outboxes, over the queue, into the database. Every step may happen twice; the
//! record's id makes it count once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use durable_objects::wallet::protocol::{BATCH_MAX, Command, QueuedRecord, Wallet};
use guildhall_domain::money::MicroUsd;

use crate::ports::{PortError, Ports, ask};
use crate::store::money::usage::{UsageRow, insert_usage, write_off};

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
                    records.push(insert_usage(&correct(&queued)?).statement);
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

/// The records as they are to be filed: nearly always as they came.
fn correct(queued: &QueuedRecord) -> Result<Cow<'_, str>, PortError> {
    if queued.written_off == MicroUsd::ZERO {
        return Ok(Cow::Borrowed(&queued.record));
    }
    let failed = |error: serde_json::Error| PortError(format!("usage record: {error}"));
    let mut rows: Vec<UsageRow> = serde_json::from_str(&queued.record).map_err(failed)?;
    write_off(&mut rows, queued.written_off);
    serde_json::to_string(&rows).map(Cow::Owned).map_err(failed)
}
