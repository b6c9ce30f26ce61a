//! What is old goes: by the hour, and when an administrator asks.

use crate::ports::{Db, PortError, Ports};
use crate::store::identity::keys::prune_grants;
use crate::store::identity::sessions::prune_sessions as prune_people_sessions;
use crate::store::identity::sign_ins::prune_sign_ins;
use crate::store::models::responses::prune_responses;
use crate::store::money::reconciliations::prune_runs;
use crate::store::money::usage::prune_usage;
use crate::store::ops::admin_sessions::prune_sessions;
use crate::store::ops::audit::prune_audit;
use crate::store::ops::outbox::prune_outbox;
use crate::store::ops::retention::find_retention;
use crate::store::ops::rewards::{prune_arms, prune_rewards};
use crate::store::ops::rollups::{STEP_FINE_MS, STEP_HOUR_MS, STEP_MINUTE_MS, prune_call_rollups, prune_key_rollups};
use crate::store::ops::workflows::prune_workflows;
use crate::store::statement::{Changed, Query};

/// The name of the time series' retention.
pub const TSDB: &str = "tsdb";
/// How long time series are kept when nobody has said, in days.
pub const TSDB_DAYS: i64 = 7;
/// How long logs of changes and attempts are kept, in days.
const LOG_DAYS: i64 = 90;
/// How long answers of `/v1/responses` are kept, in days.
const RESPONSE_DAYS: i64 = 30;
/// How long the sandbox shows its mail, in days.
const OUTBOX_DAYS: i64 = 7;
/// How long the names of grants to keys are known, in days: their requests come again within one.
const GRANT_DAYS: i64 = 2;
/// The bandit forgets what is older, in days.
pub const ARM_DAYS: i64 = 7;
/// How long the finest steps are kept, in milliseconds: no window that needs them is longer than an hour.
const FINE_MS: i64 = 2 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Parts deleted in one go; what is left comes with the next.
const PARTS_MAX: u32 = 200;

/// Deletes the points of time series that are past their retention; gives how many.
///
/// # Errors
/// When the database fails; what is deleted by then stays deleted.
pub async fn prune_series(ports: &Ports) -> Result<u64, PortError> {
    let days = find_retention(TSDB).run(&*ports.db).await?.map_or(TSDB_DAYS, |row| row.days);
    let now_ms = ports.clock.now_ms();
    let mut deleted = 0;
    for (step_ms, kept_ms) in [
        (STEP_FINE_MS, FINE_MS),
        (STEP_MINUTE_MS, days.saturating_mul(DAY_MS)),
        (STEP_HOUR_MS, days.saturating_mul(DAY_MS)),
    ] {
        let before_ms = now_ms.saturating_sub(kept_ms);
        deleted += prune(&*ports.db, || prune_call_rollups(step_ms, before_ms)).await?;
        deleted += prune(&*ports.db, || prune_key_rollups(step_ms, before_ms)).await?;
    }
    Ok(deleted)
}

/// Deletes everything that is past its time, and of calls all but the latest `calls_kept`.
///
/// # Errors
/// As [`prune_series`].
pub async fn prune_all(ports: &Ports, calls_kept: u32) -> Result<(), PortError> {
    prune_series(ports).await?;
    let (db, now_ms) = (&*ports.db, ports.clock.now_ms());
    let before_ms = now_ms - LOG_DAYS * DAY_MS;
    prune(db, || prune_audit(before_ms)).await?;
    prune(db, || prune_rewards(before_ms, calls_kept.into())).await?;
    prune(db, || prune_workflows(before_ms)).await?;
    prune(db, || prune_runs(before_ms)).await?;
    prune(db, || prune_responses(now_ms - RESPONSE_DAYS * DAY_MS)).await?;
    prune_grants(now_ms - GRANT_DAYS * DAY_MS).run(db).await?;
    prune_sessions(now_ms).run(db).await?;
    prune_people_sessions(now_ms).run(db).await?;
    prune_sign_ins(now_ms).run(db).await?;
    prune_outbox(now_ms - OUTBOX_DAYS * DAY_MS).run(db).await?;
    prune_arms(now_ms / DAY_MS - ARM_DAYS - 1).run(db).await?;
    // A row is also what keeps a record that comes again from being filed twice: for a day, whatever else is kept.
    prune(db, || prune_usage(now_ms - DAY_MS, calls_kept.into())).await?;
    Ok(())
}

/// Deletes part after part until nothing is left to delete.
async fn prune(db: &dyn Db, part: impl Fn() -> Query<Changed>) -> Result<u64, PortError> {
    let mut deleted = 0;
    for _ in 0..PARTS_MAX {
        match part().run(db).await? {
            Changed(0) => break,
            Changed(count) => deleted += count,
        }
    }
    Ok(deleted)
}
