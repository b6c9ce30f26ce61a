//! What nobody told: payments whose answer or event was lost are asked after, every hour.

use super::Desk;
use super::charge::note_outcome;
use super::events::note_checkout;
use super::settle::settle;
use crate::http::error::ApiError;
use crate::ports::PortError;
use crate::store::money::payments::{PaymentRow, list_open, mark_unpaid, note_look, prune_events};

/// Payments of one hour; the others have their turn in the next.
const BATCH: i64 = 100;
/// Younger ones are somebody's business still.
const YOUNG_MS: i64 = 120_000;
/// A page that is this old is over: Stripe closes them after 24 hours.
const PAGE_MS: i64 = 26 * 3_600_000;
/// A charge that Stripe does not know after this time never reached it.
const CHARGE_MS: i64 = 30 * 60_000;
/// Stripe sends an event again for three days.
const EVENT_MS: i64 = 90 * 86_400_000;

/// Looks after the payments that have something left to do. What fails is logged, and tried again in an hour.
///
/// # Errors
/// When the database fails.
pub async fn reconcile(desk: &Desk) -> Result<(), PortError> {
    let now_ms = desk.now_ms();
    for row in list_open(now_ms - YOUNG_MS, BATCH).run(desk.db()).await? {
        note_look(&row.account_id, &row.id, now_ms).run(desk.db()).await?;
        if let Err(error) = look_after(desk, &row, now_ms).await {
            let cause = error.cause.as_deref().unwrap_or(&error.message);
            desk.log(format_args!("payment {}: {cause}", row.id));
        }
    }
    prune_events(now_ms - EVENT_MS).run(desk.db()).await.map(drop)
}

async fn look_after(desk: &Desk, row: &PaymentRow, now_ms: i64) -> Result<(), ApiError> {
    if row.status == "pending" {
        match row.kind.as_str() {
            "charge" | "auto" if row.leased_until_ms > now_ms => return Ok(()),
            "charge" | "auto" => ask_after_charge(desk, row, now_ms).await?,
            _ => ask_after_page(desk, row, now_ms).await?,
        }
    }
    settle(desk, &row.account_id, &row.id).await.map(drop)
}

async fn ask_after_page(desk: &Desk, row: &PaymentRow, now_ms: i64) -> Result<(), ApiError> {
    if let Some(session_id) = &row.session_id {
        let session = desk.stripe()?.read_checkout(session_id).await?;
        note_checkout(desk, row, &session).await?;
        if session.status.as_deref() != Some("expired") {
            return Ok(());
        }
    }
    if row.session_id.is_some() || now_ms - row.created_at_ms > PAGE_MS {
        mark_unpaid(&row.account_id, &row.id, "expired", "", None).run(desk.db()).await?;
    }
    Ok(())
}

/// Looks for a charge without making it: its owner may have paid otherwise by now.
async fn ask_after_charge(desk: &Desk, row: &PaymentRow, now_ms: i64) -> Result<(), ApiError> {
    let stripe = desk.stripe()?;
    if let Some(intent_id) = &row.intent_id {
        return note_outcome(desk, row, &stripe.read_intent(intent_id).await?).await;
    }
    let intents = stripe.list_intents(row.customer_id.as_deref().unwrap_or_default()).await?;
    let is_ours = |of: Option<&String>| of.is_some_and(|id| *id == row.id);
    match intents.iter().find(|intent| is_ours(intent.metadata.get("payment_id"))) {
        Some(intent) => note_outcome(desk, row, intent).await,
        None if now_ms - row.created_at_ms > CHARGE_MS => {
            let failure = "The payment never reached the payment provider; nothing was charged.";
            mark_unpaid(&row.account_id, &row.id, "failed", failure, None).run(desk.db()).await?;
            Ok(())
        }
        None => Ok(()),
    }
}
