//! Brings the wallet to where the facts of a payment say it should be.
//!
//! Every step is written down before it is taken and has a name of its own, so a crash between the row and the wallet is
//! healed by whoever settles next: the same step is taken again, and the wallet knows it.

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};
use guildhall_domain::billing::objects::PaymentMethod;
use guildhall_domain::money::MicroUsd;

use super::{Desk, facts_of, keep_card};
use crate::error::ApiError;
use crate::meter::money::notice_credit;
use crate::ports::ask;
use crate::store::identity::claims::note_late_money;
use crate::store::identity::erasure::find_closed;
use crate::store::money::payments::{
    PaymentRow, close_payment, find_payment, finish_step, mark_card_saved, mark_credited, mark_returned, plan_step,
};
use crate::store::ops::audit::insert_audit;

/// Steps of one settling; a payment takes a handful in its life.
const STEPS_MAX: usize = 24;

/// Settles a payment; gives its row as it then is.
///
/// # Errors
/// When the database, the wallet or Stripe fails: what is done is done, the rest is for the next one who settles.
pub async fn settle(desk: &Desk, account_id: &str, id: &str) -> Result<PaymentRow, ApiError> {
    for _ in 0..STEPS_MAX {
        let row = find_payment(account_id, id).run(desk.db()).await?;
        let row = row.ok_or_else(|| ApiError::internal(format!("payment {id} is gone")))?;
        if !row.is_open || row.status == "pending" {
            return Ok(row);
        }
        if row.status != "paid" {
            close_payment(account_id, id, row.version).run(desk.db()).await?;
            continue;
        }
        if !row.credited {
            if find_closed(&row.wallet).run(desk.db()).await?.is_none() || !give_back(desk, &row).await? {
                credit(desk, &row).await?;
                mark_credited(account_id, id).run(desk.db()).await?;
            }
        } else if row.step_micros != 0 {
            take_step(desk, &row).await?;
            finish_step(account_id, id, row.step).run(desk.db()).await?;
        } else if facts_of(&row).to_reverse().0 != row.reversed_micros {
            let wanted = facts_of(&row).to_reverse().0 - row.reversed_micros;
            plan_step(account_id, id, row.version, wanted).run(desk.db()).await?;
        } else if row.saves_card {
            take_card(desk, &row).await?;
            mark_card_saved(account_id, id).run(desk.db()).await?;
        } else {
            // Unless something has been told meanwhile: then there is another round.
            close_payment(account_id, id, row.version).run(desk.db()).await?;
        }
    }
    Err(ApiError::internal(format!("payment {id} does not settle")))
}

async fn credit(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    if row.amount_micros == 0 {
        return Ok(());
    }
    let (amount, reason) = (MicroUsd(row.amount_micros), format!("payment by {}", row.kind));
    let matures_at_ms = desk.now_ms() + desk.app.config.withdrawal_hold_ms();
    move_money(desk, row, Command::Deposit { id: deposit_id(row), amount, reason, matures_at_ms }).await
}

/// Gives a payment back that came when its account was closed already: nobody can spend it, and nobody has given it up.
/// `false` when Stripe knows no payment that could be refunded.
async fn give_back(desk: &Desk, row: &PaymentRow) -> Result<bool, ApiError> {
    let Some(intent_id) = row.intent_id.as_deref() else { return Ok(false) };
    if row.total_micros > 0 {
        desk.stripe()?.refund(&format!("late:{}", row.id), intent_id).await?;
    }
    if row.saves_card
        && let Some(method) = read_card(desk, row).await?
    {
        desk.stripe()?.detach_payment_method(&method.id).await?;
    }
    let (now_ms, detail) = (desk.now_ms(), format!("{} USD", MicroUsd(row.total_micros).to_usd_string()));
    let returned = mark_returned(&row.account_id, &row.id, now_ms / 1_000).statement;
    let audit = insert_audit(now_ms, "payment.return", &row.id, &detail, &format!("return:{}", row.id)).statement;
    desk.db().run(vec![returned, audit]).await?;
    Ok(true)
}

/// The payment's name in the wallet.
fn deposit_id(row: &PaymentRow) -> String {
    format!("payment:{}", row.id)
}

/// Takes what went back to the customer from the wallet; gives it again when that was undone.
async fn take_step(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    let id = format!("{}:{}", deposit_id(row), row.step);
    let amount = MicroUsd(row.step_micros.saturating_abs());
    let command = if row.step_micros > 0 {
        Command::Reclaim { id, amount, reason: "refund or dispute".to_owned(), of: Some(deposit_id(row)) }
    } else {
        let reason = "refund failed or dispute won".to_owned();
        let matures_at_ms = desk.now_ms() + desk.app.config.withdrawal_hold_ms();
        Command::Deposit { id, amount, reason, matures_at_ms }
    };
    move_money(desk, row, command).await
}

async fn move_money(desk: &Desk, row: &PaymentRow, command: Command) -> Result<(), ApiError> {
    match ask::<Wallet>(&*desk.ports.objects, &name(&row.wallet), &command).await? {
        Reply::Moved { .. } => {
            notice_credit(&desk.app, &row.wallet);
            note_late_money(&row.wallet, desk.now_ms()).run(desk.db()).await?;
            Ok(())
        }
        other => Err(ApiError::internal(format!("payment {}: {other:?}", row.id))),
    }
}

async fn take_card(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    match read_card(desk, row).await? {
        Some(method) => keep_card(desk, &row.account_id, &method).await,
        None => Ok(()),
    }
}

/// The card that a payment was made with, as Stripe says it.
async fn read_card(desk: &Desk, row: &PaymentRow) -> Result<Option<PaymentMethod>, ApiError> {
    let Some(intent_id) = &row.intent_id else { return Ok(None) };
    Ok(desk.stripe()?.read_intent(intent_id).await?.card().cloned())
}
