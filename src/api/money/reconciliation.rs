//! The nightly comparison of usage with the ledgers, for the administrator.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::reconciliation::reconcile;
use crate::routes;
use crate::store::money::reconciliations::{DifferenceRow, RunRow, find_last_run, list_differences};

routes! {
    tag "Money", dialect TokenHub;
    /// Read the last comparison of usage with the ledgers.
    ///
    /// It runs every night. `docs/MONEY.md` says what is compared; each difference is also an event (`ledger_difference`).
    Get "/admin/v1/reconciliation" Access::Admin => get_reconciliation;
    /// Compare usage with the ledgers now.
    ///
    /// Goes on with the comparison that is under way, or begins one. While `finished_at` is null, accounts are left: ask again.
    Post "/admin/v1/reconciliation" Access::Admin, audit = "reconciliation.run" => run_reconciliation;
}

/// How long a request compares; what is left comes with the next one.
const TIME_MAX_MS: i64 = 15_000;

/// The last comparison.
#[derive(Serialize, JsonSchema)]
pub struct Reconciliation {
    /// Null when there was none.
    run: Option<ReconciliationRun>,
    /// The first hundred accounts that differ.
    differences: Vec<Difference>,
}

/// A comparison of all accounts that have ever used anything.
#[derive(Serialize, JsonSchema)]
pub struct ReconciliationRun {
    id: i64,
    /// Who began it: `cron` or `admin`.
    origin: String,
    started_at: String,
    /// Null while accounts are left.
    finished_at: Option<String>,
    /// Accounts compared so far.
    accounts: i64,
    /// Of those, how many were charged meanwhile: their usage lies between two readings of the ledger.
    moving_accounts: i64,
    /// Accounts that differ.
    differences: i64,
    /// By how much in all, whatever the sign.
    difference_usd: f64,
}

/// An account whose usage is not what its ledger says.
#[derive(Serialize, JsonSchema)]
pub struct Difference {
    account_id: String,
    /// Charged by the wallet's journal, less what nothing covered.
    ledger_usd: f64,
    /// Charged by usage.
    usage_usd: f64,
    /// What is wrong beside the sums; empty when nothing is.
    fault: String,
    found_at: String,
}

async fn get_reconciliation(cx: Cx, (): ()) -> Result<Reply<Reconciliation>, ApiError> {
    let run = find_last_run().run(&*cx.ports.db).await?;
    show(&cx, run).await
}

async fn run_reconciliation(cx: Cx, (): ()) -> Result<Reply<Reconciliation>, ApiError> {
    let run = reconcile(&cx.ports, "admin", TIME_MAX_MS).await?;
    show(&cx, Some(run)).await
}

async fn show(cx: &Cx, run: Option<RunRow>) -> Result<Reply<Reconciliation>, ApiError> {
    let differences = match &run {
        Some(run) => list_differences(run.id).run(&*cx.ports.db).await?,
        None => Vec::new(),
    };
    let differences = differences.into_iter().map(Difference::from).collect();
    Ok(Reply(Reconciliation { run: run.map(ReconciliationRun::from), differences }))
}

impl From<RunRow> for ReconciliationRun {
    fn from(run: RunRow) -> Self {
        Self {
            id: run.id,
            origin: run.origin,
            started_at: format_rfc3339(run.started_at_ms),
            finished_at: run.finished_at_ms.map(format_rfc3339),
            accounts: run.accounts,
            moving_accounts: run.moving,
            differences: run.differences,
            difference_usd: MicroUsd(run.difference_micros).to_usd(),
        }
    }
}

impl From<DifferenceRow> for Difference {
    fn from(row: DifferenceRow) -> Self {
        Self {
            account_id: row.account_id,
            ledger_usd: MicroUsd(row.ledger_micros).to_usd(),
            usage_usd: MicroUsd(row.usage_micros).to_usd(),
            fault: row.fault,
            found_at: format_rfc3339(row.found_at_ms),
        }
    }
}
