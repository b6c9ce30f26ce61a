//! What nobody told: payments whose answer or event was lost are asked after, every hour.

use super::Desk;
use super::charge::{look_up, take_over};
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
            "charge" | "auto" => {
                // Looked for and never made: its owner may have paid otherwise by now.
                if let Some(taken) = take_over(desk, row).await? {
                    look_up(desk, &taken).await?;
                }
                return Ok(());
            }
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
