//! Money that is put into a wallet by hand, once per request.

use durable_objects::wallet::protocol::{Command, RefusalCode, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::meter::money::notice_credit;
use crate::ports::ask;
use crate::store::identity::claims::note_late_money;

/// A credit to give.
pub struct Credit<'a> {
    /// Whose wallet.
    pub account_id: &'a str,
    /// Its name: [`Cx::name_once`].
    pub id: &'a str,
    /// How much.
    pub amount: MicroUsd,
    /// For the journal.
    pub reason: &'a str,
    /// The field that says how much.
    pub field: &'static str,
}

/// Makes a deposit; gives the balance. The journal knows its name for ever, and the guard of `Idempotency-Key` for a day: the
/// same request within that day was made already, one that comes later is another, and is told that its name is taken.
///
/// # Errors
/// 400 when the wallet cannot hold it, 409 when its name was used for one of another day, 422 for another amount.
pub async fn credit_by_hand(cx: &Cx, new: &Credit<'_>) -> Result<MicroUsd, ApiError> {
    let wallet = name(new.account_id);
    let command = Command::Credit { id: new.id.to_owned(), amount: new.amount, reason: new.reason.to_owned() };
    match ask::<Wallet>(&*cx.ports.objects, &wallet, &command).await? {
        Reply::Moved { duplicate: true, .. } if !is_of_today(cx, &wallet, new.id).await? => {
            let text = "This Idempotency-Key was used for a deposit before; nothing was added. Use another key";
            Err(ApiError::new(Kind::Conflict, text))
        }
        Reply::Moved { balance, .. } => {
            notice_credit(&cx.app, new.account_id);
            // The credit is made, and matters here only if the account was closed or merged at the same moment.
            if let Err(error) = note_late_money(new.account_id, cx.ports.clock.now_ms()).run(&*cx.ports.db).await {
                cx.ports.background.log(&format!("late money of {}: {error}", new.account_id));
            }
            Ok(balance)
        }
        Reply::Refused { code: RefusalCode::IdReused, .. } => {
            let text = "This Idempotency-Key was used for another amount; nothing was added";
            Err(ApiError::new(Kind::IdempotencyMismatch, text))
        }
        Reply::Refused { code: RefusalCode::AmountInvalid, .. } => {
            Err(ApiError::invalid(new.field, "the balance would exceed what a wallet may hold"))
        }
        other => Err(ApiError::internal(format!("deposit: {other:?}"))),
    }
}

/// Whether a deposit that was made before is young enough for its request to have come again.
async fn is_of_today(cx: &Cx, wallet: &str, id: &str) -> Result<bool, ApiError> {
    let find = Command::Find { entry_id: format!("credit:{id}") };
    match ask::<Wallet>(&*cx.ports.objects, wallet, &find).await? {
        Reply::Found { at_ms, .. } => Ok(at_ms.is_some_and(|at_ms| cx.may_have_made(at_ms))),
        other => Err(ApiError::internal(format!("deposit: {other:?}"))),
    }
}
