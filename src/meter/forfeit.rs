//! The money of closed accounts.

use durable_objects::wallet::protocol::{Command, RefusalCode, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;

use crate::ports::{PortError, Ports, ask};
use crate::store::identity::erasure::{list_unforfeited, note_forfeited};

/// Closed accounts of one run.
const ACCOUNTS_MAX: i64 = 100;

/// Takes what is left in a closed account's wallet out of it, as soon as nothing holds it any more; tells whether that is
/// done. The calls that ran when the account was closed are charged first.
///
/// # Errors
/// When the wallet or the database does not answer.
pub async fn forfeit(ports: &Ports, account_id: &str) -> Result<bool, PortError> {
    let wallet = name(account_id);
    let Reply::Balance(left) = ask::<Wallet>(&*ports.objects, &wallet, &Command::Balance).await? else {
        return Err(PortError("forfeit: no balance".into()));
    };
    if left.held_calls > MicroUsd::ZERO || left.held_leases > MicroUsd::ZERO {
        return Ok(false);
    }
    let now_ms = ports.clock.now_ms();
    if left.balance > MicroUsd::ZERO {
        let reason = "forfeited when the account was closed".to_owned();
        let debit = Command::Debit { id: format!("forfeit_{now_ms}"), amount: left.balance, reason };
        match ask::<Wallet>(&*ports.objects, &wallet, &debit).await? {
            Reply::Moved { .. } => {}
            // Something has taken of it meanwhile.
            Reply::Refused { code: RefusalCode::Insufficient | RefusalCode::IdReused, .. } => return Ok(false),
            other => return Err(PortError(format!("forfeit: {other:?}"))),
        }
    }
    note_forfeited(account_id, now_ms).run(&*ports.db).await?;
    Ok(true)
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
