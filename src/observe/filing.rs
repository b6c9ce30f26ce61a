//! Filing: what calls leave behind, from the wallets' records into the database, exactly once.
//!
//! All that comes of a record is written in one transaction with its usage row, which is there only once: a transaction with
//! a record that is filed already fails as a whole, and is made again without it. What a batch adds to the sums is added up
//! here, so that the database is told a few rows instead of every call again.

use std::collections::{BTreeMap, HashSet, VecDeque};

use durable_objects::wallet::protocol::{BATCH_MAX, Command, PAGE_MAX, QueuedRecord, Reply, Wallet, name};
use serde::Serialize;

use crate::app::App;
use crate::meter::money::flush;
use crate::observe::events::{Event, PUBLISH_MAX, publish};
use crate::observe::sums::{Asking, Served, Try, sum_arms, sum_calls, sum_days, sum_providers};
use crate::ports::{PortError, Ports, ask};
use crate::store::money::record::UsageColumns;
use crate::store::money::usage::{UsageRow, add_days, insert_usage, list_filed, write_off};
use crate::store::ops::logs::{KeyName, list_key_names};
use crate::store::ops::rewards::{add_arms, add_provider_attempts, insert_rewards};
use crate::store::ops::rollups::{add_call_sums, add_key_sums};
use crate::store::statement::FromRows as _;

/// Records of one transaction, in bytes: a bound text may have 2 MB.
const CHUNK_MAX_BYTES: usize = 512 << 10;
/// Within this time a record has surely come through the queue, unless something is wrong.
const UNDER_WAY_MS: i64 = 30_000;
/// Wallets that one read asks for records that are still under way.
const OWNERS_MAX: usize = 32;
/// Parts of one owner's records that are filed one after the other.
const FILINGS_MAX: u32 = 20;
/// How many writes may fail while the rows that the database does not take are looked for.
const FAILURES_MAX: u32 = 64;
/// How many may before any has worked: then it is the database, and not a row.
const FAILURES_AT_FIRST_MAX: u32 = 7;

/// Files records, then tells the wallets, which send again what they are not told of.
/// One that cannot be read stays where it is, as does one that the database does not take.
///
/// # Errors
/// When the database or a wallet fails; filing again is harmless.
pub async fn file_records(ports: &Ports, records: Vec<QueuedRecord>) -> Result<(), PortError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let (mut readable, mut filing) = (Vec::new(), Filing::default());
    for queued in records {
        if bytes > 0 && bytes + queued.record.len() > CHUNK_MAX_BYTES {
            filing.file(ports, std::mem::take(&mut rows)).await?;
            bytes = 0;
        }
        match read_rows(&queued) {
            Ok(read) => rows.extend(read),
            // Its wallet keeps it, and sends it again: a later release may read it. The others are filed.
            Err(error) => {
                ports.background.log(&format!("a record of {} is not filed: {error}", queued.wallet));
                continue;
            }
        }
        bytes += queued.record.len();
        readable.push(queued);
    }
    filing.file(ports, rows).await?;
    let Filing { has_filed, left, error } = filing;
    if let (false, Some(error)) = (has_filed, error) {
        return Err(error);
    }
    let is_left = |queued: &QueuedRecord| {
        !left.is_empty() && read_rows(queued).is_ok_and(|rows| rows.iter().any(|row| left.contains(&row.id)))
    };
    let mut filed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for queued in readable.into_iter().filter(|queued| !is_left(queued)) {
        filed.entry(queued.wallet).or_default().push(queued.id);
    }
    for (wallet, ids) in filed {
        for ids in ids.chunks(BATCH_MAX) {
            ask::<Wallet>(&*ports.objects, &wallet, &Command::AckRecords { ids: ids.to_vec() }).await?;
        }
    }
    Ok(())
}

/// Files what this isolate's latest calls left and the queue has not brought yet, so that whoever reads afterwards sees
/// them. What can't be filed now comes over the queue a moment later, so nothing here is an error.
pub async fn file_pending(app: &App, ports: &Ports) {
    let since_ms = ports.clock.now_ms() - UNDER_WAY_MS;
    for owner in app.meter.settled_since(since_ms).into_iter().take(OWNERS_MAX) {
        if let Err(error) = file_pending_of(app, ports, &owner).await {
            ports.background.log(&format!("records of {owner}: {error}"));
        }
    }
}

/// Files what this isolate's latest calls of one owner left, so that whoever reads afterwards sees them.
///
/// # Errors
/// When the database or the wallet fails; what is not filed now comes over the queue.
pub async fn file_pending_of(app: &App, ports: &Ports, owner: &str) -> Result<(), PortError> {
    flush(app, ports, owner).await?;
    file_arrived(ports, owner).await
}

/// Files every record that the wallet has when it is asked.
///
/// # Errors
/// When the wallet or the database fails, or the wallet has more than can be filed at once.
pub async fn file_arrived(ports: &Ports, owner: &str) -> Result<(), PortError> {
    for _ in 0..FILINGS_MAX {
        let (records, is_all) = list_pending(ports, owner).await?;
        if !records.is_empty() {
            // They come newest first, and are filed as they happened.
            file_records(ports, records.into_iter().rev().collect()).await?;
        }
        if is_all {
            return Ok(());
        }
    }
    Err(PortError("too many records are on their way".into()))
}

/// Records that the database may not have yet, newest first, and whether they are all.
///
/// # Errors
/// When the wallet does not answer.
pub async fn list_pending(ports: &Ports, owner: &str) -> Result<(Vec<QueuedRecord>, bool), PortError> {
    match ask::<Wallet>(&*ports.objects, &name(owner), &Command::PendingRecords { limit: PAGE_MAX }).await? {
        Reply::Records { records, more } => {
            // A wallet that does not say it yet has no other bound.
            let is_all = !more && records.len() < PAGE_MAX as usize;
            Ok((records, is_all))
        }
        other => Err(PortError(format!("pending records: {other:?}"))),
    }
}

/// The rows of a record, as they are to be filed: nearly always as they came.
///
/// # Errors
/// When it is of a later release.
pub fn read_rows(queued: &QueuedRecord) -> Result<Vec<UsageRow>, PortError> {
    let mut rows: Vec<UsageRow> =
        serde_json::from_str(&queued.record).map_err(|e| PortError(format!("usage record: {e}")))?;
    write_off(&mut rows, queued.written_off);
    Ok(rows)
}

/// What became of the rows of some records.
#[derive(Default)]
struct Filing {
    has_filed: bool,
    /// The ids of those that the database did not take.
    left: HashSet<String>,
    /// Why it did not take the first of them.
    error: Option<PortError>,
}

impl Filing {
    /// Files rows and tells the feed of them. Where they are not taken together it tries parts of them: one row that is
    /// not taken keeps no other out.
    async fn file(&mut self, ports: &Ports, mut rows: Vec<UsageRow>) -> Result<(), PortError> {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(row.id.clone()));
        let (mut parts, mut failures) = (VecDeque::from([rows]), 0);
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let Err(error) = write_and_tell(ports, &part).await else {
                self.has_filed = true;
                continue;
            };
            let known = read_filed(ports, &part).await?;
            failures += 1;
            if !known.is_empty() {
                self.has_filed = true;
                part.retain(|row| !known.contains(&row.id));
                parts.push_front(part);
            } else if !self.has_filed && failures == FAILURES_AT_FIRST_MAX {
                return Err(error);
            } else if part.len() == 1 || failures >= FAILURES_MAX {
                self.leave(ports, &part, error);
            } else {
                let second = part.split_off(part.len() / 2);
                parts.extend([part, second]);
            }
        }
        Ok(())
    }

    /// These rows stay with their wallets, which send them again.
    fn leave(&mut self, ports: &Ports, rows: &[UsageRow], error: PortError) {
        for row in rows {
            ports.background.log(&format!("the record of {} is not filed: {error}", row.id));
            self.left.insert(row.id.clone());
        }
        self.error.get_or_insert(error);
    }
}

async fn write_and_tell(ports: &Ports, rows: &[UsageRow]) -> Result<(), PortError> {
    let names = write_rows(ports, rows).await?;
    let told = rows.iter().skip(rows.len().saturating_sub(PUBLISH_MAX));
    let name_of = |id: &str| names.iter().find(|key| key.id == id).map_or("", |key| key.name.as_str());
    publish(ports, told.map(|row| Event::of_call(row, name_of(&row.api_key_id))).collect()).await;
    Ok(())
}

/// Writes rows and all that comes of them, or nothing if one of them is there; gives the names of the keys.
async fn write_rows(ports: &Ports, rows: &[UsageRow]) -> Result<Vec<KeyName>, PortError> {
    let keys: HashSet<_> = rows.iter().map(|row| row.api_key_id.as_str()).collect();
    let columns: Vec<_> = rows.iter().map(UsageColumns).collect();
    let tries: Vec<_> = rows.iter().flat_map(Try::all_of).collect();
    let mut statements = vec![
        list_key_names(&to_json(&keys)?).statement,
        insert_usage(&to_json(&columns)?).statement,
        add_days(&to_json(&sum_days(rows))?).statement,
        add_call_sums(&to_json(&sum_calls(rows, Served::of))?).statement,
        add_key_sums(&to_json(&sum_calls(rows, Asking::of))?).statement,
    ];
    if !tries.is_empty() {
        statements.extend([
            add_provider_attempts(&to_json(&sum_providers(&tries))?).statement,
            add_arms(&to_json(&sum_arms(&tries))?).statement,
            insert_rewards(&to_json(&tries)?).statement,
        ]);
    }
    Vec::from_rows(ports.db.run(statements).await?.into_iter().next().unwrap_or_default())
}

/// Which of these rows are filed.
async fn read_filed(ports: &Ports, rows: &[UsageRow]) -> Result<HashSet<String>, PortError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    let filed = list_filed(&to_json(&ids)?).run(&*ports.db).await?;
    Ok(filed.into_iter().map(|row| row.id).collect())
}

fn to_json(list: &(impl Serialize + ?Sized)) -> Result<String, PortError> {
    serde_json::to_string(list).map_err(|e| PortError(format!("usage record: {e}")))
}
