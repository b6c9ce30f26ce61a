//! The money of closed accounts.

use durable_objects::wallet::protocol::{Balance, Command, JournalLine, RefusalCode, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;

use crate::ports::{PortError, Ports, ask};
use crate::store::identity::claims::note_late_money;
use crate::store::identity::erasure::{list_unforfeited, note_forfeited};
use crate::store::ops::audit::insert_audit;
use crate::store::sql::Statement;

/// Closed accounts of one run.
const ACCOUNTS_MAX: i64 = 100;
/// Newest entries of a closed wallet among which its forfeits are looked for.
const FORFEITS_MAX: u32 = 20;

/// Takes what is left in a closed account's wallet out of it, as soon as nothing holds it any more; tells whether that is
/// done. The calls that ran when the account was closed are charged first.
///
/// # Errors
/// When the wallet or the database does not answer.
pub async fn forfeit(ports: &Ports, account_id: &str) -> Result<bool, PortError> {
    let left = read_balance(ports, account_id).await?;
    if left.held_calls > MicroUsd::ZERO || left.held_leases > MicroUsd::ZERO {
        return Ok(false);
    }
    let now_ms = ports.clock.now_ms();
    if left.balance > MicroUsd::ZERO {
        let (id, reason) = (format!("forfeit_{now_ms}"), "forfeited when the account was closed".to_owned());
        let debit = Command::Debit { id, amount: left.balance, reason };
        match ask::<Wallet>(&*ports.objects, &name(account_id), &debit).await? {
            Reply::Moved { .. } => {}
            // Something has taken of it meanwhile.
            Reply::Refused { code: RefusalCode::Insufficient | RefusalCode::IdReused, .. } => return Ok(false),
            other => return Err(PortError(format!("forfeit: {other:?}"))),
        }
    }
    let mut writes = audits_of(ports, account_id).await?;
    writes.push(note_forfeited(account_id, now_ms).statement);
    ports.db.run(writes).await?;
    // Whoever brings money later says so after it is there; what came before this was noted is found here.
    let is_done = read_balance(ports, account_id).await?.balance == MicroUsd::ZERO;
    if !is_done {
        note_late_money(account_id, now_ms).run(&*ports.db).await?;
    }
    Ok(is_done)
}

/// What the audit says of the wallet's forfeits, the ones of runs that died before they said it included. It says it once.
async fn audits_of(ports: &Ports, account_id: &str) -> Result<Vec<Statement>, PortError> {
    let recent = Command::Recent { limit: FORFEITS_MAX, before: None };
    let Reply::Recent { entries, .. } = ask::<Wallet>(&*ports.objects, &name(account_id), &recent).await? else {
        return Err(PortError(format!("forfeits of {account_id}: no entries")));
    };
    let audit = |entry: &JournalLine| {
        let id = entry.id.strip_prefix("debit:").filter(|id| id.starts_with("forfeit_"))?;
        let (detail, request_id) = (format!("{} USD", entry.amount.to_usd_string()), format!("{account_id}:{id}"));
        Some(insert_audit(entry.at_ms, "account.forfeit", account_id, &detail, &request_id).statement)
    };
    Ok(entries.iter().filter_map(audit).collect())
}

async fn read_balance(ports: &Ports, account_id: &str) -> Result<Balance, PortError> {
    match ask::<Wallet>(&*ports.objects, &name(account_id), &Command::Balance).await? {
        Reply::Balance(balance) => Ok(balance),
        other => Err(PortError(format!("balance of {account_id}: {other:?}"))),
    }
}

/// [`forfeit`] for closed accounts that are not done.
///
/// # Errors
/// As [`forfeit`]; the others are tried all the same.
pub async fn forfeit_closed(ports: &Ports) -> Result<(), PortError> {
    let mut failed = None;
    for account in list_unforfeited(ACCOUNTS_MAX).run(&*ports.db).await? {
        if let Err(error) = forfeit(ports, &account.id).await {
            failed = Some(PortError(format!("{}: {error}", account.id)));
        }
    }
    failed.map_or(Ok(()), Err)
}
