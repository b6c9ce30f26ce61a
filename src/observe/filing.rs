//! Filing: what calls leave behind, from the wallets' records into the database, exactly once.
//!
//! All that comes of a record is written in one transaction with its usage row, and everything but that row asks first
//! whether the row is there: a record that arrives twice, even twice at once, counts once.

use std::collections::{BTreeMap, HashSet};

use durable_objects::wallet::protocol::{BATCH_MAX, Command, PAGE_MAX, QueuedRecord, Reply, Wallet, name};
use guildhall_domain::latency::bucket_of;
use guildhall_domain::reward::{reward, token_bucket};
use serde::Serialize;

use crate::app::App;
use crate::meter::money::flush;
use crate::observe::events::{Event, publish};
use crate::ports::{PortError, Ports, ask};
use crate::store::money::usage::{UsageId, UsageRow, insert_usage, list_filed, write_off};
use crate::store::ops::logs::{KeyName, list_key_names};
use crate::store::ops::rewards::{file_arms, file_provider_attempts, insert_rewards};
use crate::store::ops::rollups::{file_call_rollups, file_key_rollups};
use crate::store::statement::FromRows as _;

/// Records of one transaction, in bytes: a bound text may have 2 MB.
const CHUNK_MAX_BYTES: usize = 512 << 10;
/// Within this time a record has surely come through the queue, unless something is wrong.
const UNDER_WAY_MS: i64 = 30_000;
/// Wallets that one read asks for records that are still under way.
const OWNERS_MAX: usize = 32;
const DAY_MS: i64 = 86_400_000;

/// Files records, then tells the wallets, which send again what they are not told of.
///
/// # Errors
/// When the database or a wallet fails; filing again is harmless.
pub async fn file_records(ports: &Ports, records: Vec<QueuedRecord>) -> Result<(), PortError> {
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for queued in records {
        if bytes > 0 && bytes + queued.record.len() > CHUNK_MAX_BYTES {
            file_rows(ports, std::mem::take(&mut rows)).await?;
            bytes = 0;
        }
        bytes += queued.record.len();
        rows.extend(read_rows(&queued)?);
        acknowledged.entry(queued.wallet).or_default().push(queued.id);
    }
    file_rows(ports, rows).await?;
    for (wallet, ids) in acknowledged {
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
    match ask::<Wallet>(&*ports.objects, &name(owner), &Command::PendingRecords { limit: PAGE_MAX }).await? {
        Reply::Records { records } if records.is_empty() => Ok(()),
        // They come newest first, and are filed as they happened.
        Reply::Records { records } => file_records(ports, records.into_iter().rev().collect()).await,
        other => Err(PortError(format!("pending records: {other:?}"))),
    }
}

/// The rows of a record, as they are to be filed: nearly always as they came.
fn read_rows(queued: &QueuedRecord) -> Result<Vec<UsageRow>, PortError> {
    let mut rows: Vec<UsageRow> =
        serde_json::from_str(&queued.record).map_err(|e| PortError(format!("usage record: {e}")))?;
    write_off(&mut rows, queued.written_off);
    Ok(rows)
}

async fn file_rows(ports: &Ports, mut rows: Vec<UsageRow>) -> Result<(), PortError> {
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert(row.id.clone()));
    if rows.is_empty() {
        return Ok(());
    }
    let samples = to_json(&rows.iter().map(Sample::of).collect::<Vec<_>>())?;
    let tries: Vec<_> = rows.iter().flat_map(Try::all_of).collect();
    // Not the ids of the new ones, which are nearly all: a row for each would cost as much as filing it.
    let mut statements = vec![
        list_filed(&samples).statement,
        file_call_rollups(&samples).statement,
        file_key_rollups(&samples).statement,
    ];
    if !tries.is_empty() {
        let tries = to_json(&tries)?;
        statements.extend([
            file_provider_attempts(&tries).statement,
            file_arms(&tries).statement,
            insert_rewards(&tries).statement,
        ]);
    }
    let keys: HashSet<_> = rows.iter().map(|row| row.api_key_id.as_str()).collect();
    statements.push(list_key_names(&to_json(&keys)?).statement);
    // Last: the others ask whether it is there.
    statements.push(insert_usage(&to_json(&rows)?).statement);
    let mut sets = ports.db.run(statements).await?.into_iter();
    let known: Vec<UsageId> = Vec::from_rows(sets.next().unwrap_or_default())?;
    // The insertion gives nothing; before it came the names.
    let names: Vec<KeyName> = Vec::from_rows(sets.nth_back(1).unwrap_or_default())?;
    let known: HashSet<_> = known.into_iter().map(|row| row.id).collect();
    rows.retain(|row| !known.contains(&row.id));
    let name_of = |id: &str| names.iter().find(|key| key.id == id).map_or("", |key| key.name.as_str());
    let happened = rows.iter().map(|row| Event::of_call(row, name_of(&row.api_key_id))).collect();
    publish(ports, happened).await;
    Ok(())
}

fn to_json(list: &impl Serialize) -> Result<String, PortError> {
    serde_json::to_string(list).map_err(|e| PortError(format!("usage record: {e}")))
}

/// What of a call is summed.
#[derive(Serialize)]
struct Sample<'r> {
    id: &'r str,
    ended_ms: i64,
    mode: &'r str,
    model: &'r str,
    provider: &'r str,
    key: &'r str,
    is_error: u8,
    bucket: u8,
    latency_ms: i64,
    charged_micros: i64,
    input_tokens: u64,
    output_tokens: u64,
}

impl<'r> Sample<'r> {
    fn of(row: &'r UsageRow) -> Self {
        Self {
            id: &row.id,
            ended_ms: row.ended_at_ms(),
            mode: &row.mode,
            model: &row.routed_model,
            provider: &row.routed_provider,
            key: &row.api_key_id,
            is_error: u8::from(row.is_error()),
            bucket: bucket_of(u64::try_from(row.latency_ms).unwrap_or(0)),
            latency_ms: row.latency_ms,
            charged_micros: row.charged_micros,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
        }
    }
}

/// One attempt, with what it was worth.
#[derive(Serialize)]
struct Try<'r> {
    request_id: &'r str,
    attempt: usize,
    at_ms: i64,
    day: i64,
    mode: &'r str,
    model_id: &'r str,
    provider_id: &'r str,
    estimated_tokens: u64,
    token_bucket: &'static str,
    latency_budget_ms: i64,
    latency_ms: i64,
    cost_micros: i64,
    success: u8,
    error_class: &'r str,
    reward: f64,
}

impl<'r> Try<'r> {
    fn all_of(row: &'r UsageRow) -> impl Iterator<Item = Self> {
        let at_ms = row.ended_at_ms();
        row.attempts.iter().enumerate().map(move |(attempt, tried)| Self {
            request_id: &row.id,
            attempt,
            at_ms,
            day: at_ms / DAY_MS,
            mode: &row.mode,
            model_id: &tried.model_id,
            provider_id: &tried.provider_id,
            estimated_tokens: tried.estimated_tokens,
            token_bucket: token_bucket(tried.estimated_tokens),
            latency_budget_ms: tried.latency_budget_ms,
            latency_ms: tried.latency_ms,
            cost_micros: tried.cost_micros,
            success: u8::from(tried.success),
            error_class: &tried.error_class,
            reward: reward(tried.success, tried.cost_micros, tried.latency_ms, tried.latency_budget_ms),
        })
    }
}
