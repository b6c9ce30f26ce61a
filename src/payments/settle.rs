//! Brings the wallet to where the facts of a payment say it should be.
//!
//! Every step is written down before it is taken and has a name of its own, so a crash between the row and the wallet is
//! healed by whoever settles next: the same step is taken again, and the wallet knows it.

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;

use super::{Desk, facts_of, keep_card};
use crate::http::error::ApiError;
use crate::meter::money::notice_credit;
use crate::ports::ask;
use crate::store::identity::claims::set_drain;
use crate::store::money::payments::{
    PaymentRow, close_payment, find_payment, finish_step, mark_card_saved, mark_credited, plan_step,
};

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
            credit(desk, &row).await?;
            mark_credited(account_id, id).run(desk.db()).await?;
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
    let reason = format!("payment by {}", row.kind);
    let command = Command::Credit { id: format!("payment:{}", row.id), amount: MicroUsd(row.amount_micros), reason };
    move_money(desk, row, command).await?;
    // To an account that was merged into another: the hour's job carries it on.
    set_drain(&row.wallet, Some(desk.now_ms())).run(desk.db()).await?;
    Ok(())
}

/// Takes what went back to the customer from the wallet; gives it again when that was undone.
async fn take_step(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    let id = format!("payment:{}:{}", row.id, row.step);
    let amount = MicroUsd(row.step_micros.saturating_abs());
    let command = if row.step_micros > 0 {
        Command::Reclaim { id, amount, reason: "refund or dispute".to_owned() }
    } else {
        Command::Credit { id, amount, reason: "refund failed or dispute won".to_owned() }
    };
    move_money(desk, row, command).await
}

async fn move_money(desk: &Desk, row: &PaymentRow, command: Command) -> Result<(), ApiError> {
    match ask::<Wallet>(&*desk.ports.objects, &name(&row.wallet), &command).await? {
        Reply::Moved { .. } => {
            notice_credit(&desk.app, &row.wallet);
            Ok(())
        }
        other => Err(ApiError::internal(format!("payment {}: {other:?}", row.id))),
    }
}

async fn take_card(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    let Some(intent_id) = &row.intent_id else { return Ok(()) };
    let intent = desk.stripe()?.read_intent(intent_id).await?;
    if let Some(method) = intent.card() {
        keep_card(desk, &row.account_id, method).await?;
    }
    Ok(())
}
