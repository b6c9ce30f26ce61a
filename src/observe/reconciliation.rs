//! The books held against each other: what each wallet's journal says was charged, and what usage says.
//!
//! Wallets go on charging while they are compared, so the journal is read before and after the usage. Between the two
//! readings every record that the wallet had at first is filed. What was charged only grows, so the usage of a sound account
//! lies between both readings: exactly on both when nothing moved.

use durable_objects::wallet::protocol::{Audit, Command, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;

use super::events::{Event, publish};
use super::filing::file_arrived;
use super::folding::fold_journal;
use crate::ports::{PortError, Ports, ask};
use crate::store::money::reconciliations::{
    RunRow, advance_run, begin_run, find_last_run, insert_difference, list_active_accounts, sum_charged,
};
use crate::store::statement::{Changed, FromRows as _};

/// Accounts of one transaction.
const PAGE: i64 = 25;
/// Accounts of one event of the platform: each costs three or four of the ten thousand requests that one may make, and
/// up to twenty more where its journal is folded.
const ACCOUNTS_MAX: i64 = 225;
/// How often an account that differs is looked at again, and after which pause, before it is said to differ.
const LOOKS: u32 = 3;
const LOOK_PAUSE_MS: u32 = 100;
/// A night's comparison begins when the last one began before so many milliseconds.
const NIGHT_MS: i64 = 12 * 3_600_000;

/// What came of comparing an account.
struct Finding {
    account_id: String,
    ledger: MicroUsd,
    usage: MicroUsd,
    /// It was charged meanwhile.
    is_moving: bool,
    /// Why it does not do; empty when the sums say it.
    fault: String,
    is_sound: bool,
}

/// Goes on with the comparison that is under way, or begins one; stops when an event of the platform has done its share.
/// Gives how it stands then.
///
/// # Errors
/// When the database fails. A wallet that does not answer is a finding.
pub async fn reconcile(ports: &Ports, origin: &str, time_max_ms: i64) -> Result<RunRow, PortError> {
    let began_ms = ports.clock.now_ms();
    begin_run(origin, began_ms).run(&*ports.db).await?;
    let mut run = require_run(ports).await?;
    let mut compared = 0;
    while run.finished_at_ms.is_none() && compared < ACCOUNTS_MAX && ports.clock.now_ms() - began_ms < time_max_ms {
        compared += compare_page(ports, &run).await?;
        run = require_run(ports).await?;
    }
    Ok(run)
}

/// [`reconcile`], if it is time for a night's comparison.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_nightly(ports: &Ports, time_max_ms: i64) -> Result<(), PortError> {
    let last = find_last_run().run(&*ports.db).await?;
    let now_ms = ports.clock.now_ms();
    let is_done = |run: RunRow| run.finished_at_ms.is_some() && now_ms - run.started_at_ms < NIGHT_MS;
    if !last.is_some_and(is_done) {
        reconcile(ports, "cron", time_max_ms).await?;
    }
    Ok(())
}

async fn require_run(ports: &Ports) -> Result<RunRow, PortError> {
    find_last_run().run(&*ports.db).await?.ok_or_else(|| PortError("no reconciliation".into()))
}

/// Compares the next accounts; gives how many.
async fn compare_page(ports: &Ports, run: &RunRow) -> Result<i64, PortError> {
    let accounts = list_active_accounts(&run.cursor, PAGE).run(&*ports.db).await?;
    let mut findings = Vec::new();
    for account in &accounts {
        findings.push(compare(ports, &account.id).await);
    }
    let now_ms = ports.clock.now_ms();
    let count = |fits: fn(&Finding) -> bool| findings.iter().filter(|f| fits(f)).count().try_into().unwrap_or(i64::MAX);
    let (compared, moving) = (count(|_| true), count(|finding| finding.is_moving));
    let cursor = accounts.last().map_or(run.cursor.as_str(), |account| account.id.as_str());
    let finished_at_ms = (compared < PAGE).then_some(now_ms);
    let faults: Vec<_> = findings.iter().filter(|finding| !finding.is_sound).collect();
    let insert = |Finding { account_id, ledger, usage, fault, .. }: &&Finding| {
        insert_difference(account_id, run.id, &run.cursor, ledger.0, usage.0, fault, now_ms).statement
    };
    // The differences first: they are noted only where this page is.
    let mut statements: Vec<_> = faults.iter().map(insert).collect();
    statements.push(advance_run(run.id, &run.cursor, cursor, compared, moving, finished_at_ms).statement);
    let sets = ports.db.run(statements).await?;
    // Somebody else who compared the same accounts has told of them already.
    if sets.into_iter().next_back().map(Changed::from_rows).transpose()? != Some(Changed(0)) {
        publish(ports, faults.into_iter().map(|finding| to_event(finding, now_ms)).collect()).await;
    }
    Ok(compared.max(1))
}

fn to_event(finding: &Finding, now_ms: i64) -> Event {
    let Finding { account_id, ledger, usage, fault, .. } = finding;
    let mut reason = format!("ledger {ledger} USD, usage {usage} USD");
    if !fault.is_empty() {
        reason = format!("{reason}: {fault}");
    }
    Event { account_id: account_id.clone(), reason, ..Event::new("ledger_difference", now_ms) }
}

/// Compares one account, several times if need be: a record on its way is no difference.
async fn compare(ports: &Ports, account_id: &str) -> Finding {
    let mut finding = look(ports, account_id).await;
    for _ in 1..LOOKS {
        if finding.is_sound && !finding.is_moving {
            break;
        }
        ports.clock.sleep_ms(LOOK_PAUSE_MS).await;
        finding = look(ports, account_id).await;
    }
    if finding.is_sound {
        fold_journal(ports, &finding.account_id).await;
    }
    finding
}

async fn look(ports: &Ports, account_id: &str) -> Finding {
    match try_look(ports, account_id).await {
        Ok(finding) => finding,
        Err(error) => Finding {
            account_id: account_id.to_owned(),
            ledger: MicroUsd::ZERO,
            usage: MicroUsd::ZERO,
            is_moving: false,
            fault: format!("not compared: {error}"),
            is_sound: false,
        },
    }
}

async fn try_look(ports: &Ports, account_id: &str) -> Result<Finding, PortError> {
    let before = audit(ports, account_id).await?;
    file_arrived(ports, account_id).await?;
    let usage =
        sum_charged(account_id).run(&*ports.db).await?.map_or(MicroUsd::ZERO, |sum| MicroUsd(sum.charged_micros));
    let lowest = charged_of(&before)?;
    let highest = if usage == lowest { lowest } else { charged_of(&audit(ports, account_id).await?)? };
    let fault = if before.consistent { String::new() } else { "the journal does not add up".to_owned() };
    Ok(Finding {
        account_id: account_id.to_owned(),
        ledger: if usage < lowest { lowest } else { highest },
        usage,
        is_moving: lowest != highest,
        is_sound: before.consistent && (lowest..=highest).contains(&usage),
        fault,
    })
}

/// What was taken for usage: its worth less what no money covered.
fn charged_of(audit: &Audit) -> Result<MicroUsd, PortError> {
    audit.charged.checked_sub(audit.written_off).ok_or_else(|| PortError("an audit that does not fit".into()))
}

async fn audit(ports: &Ports, account_id: &str) -> Result<Audit, PortError> {
    match ask::<Wallet>(&*ports.objects, &name(account_id), &Command::Audit).await? {
        Reply::Audit(audit) => Ok(audit),
        other => Err(PortError(format!("audit: {other:?}"))),
    }
}
