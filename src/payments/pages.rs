//! Pages that wait for their customers: an account has so many, and each is asked after when it should be over.

use super::Desk;
use super::events::note_checkout;
use super::settle::settle;
use super::stripe::StripeError;
use crate::error::ApiError;
use crate::store::money::payments::{PaymentRow, list_old_pages, mark_unpaid};

/// Pages of one account that wait at once: the oldest gives way to the next.
const WAITING_MAX: i64 = 20;

/// Makes room for one more page of an account.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn make_room(desk: &Desk, account_id: &str) -> Result<(), ApiError> {
    for row in list_old_pages(account_id, WAITING_MAX - 1).run(desk.db()).await? {
        let Some(session_id) = &row.session_id else {
            expire(desk, &row).await?;
            continue;
        };
        match desk.stripe()?.expire_checkout(session_id).await {
            Ok(_) | Err(StripeError::Missing) => expire(desk, &row).await?,
            // It was paid meanwhile, or is over.
            Err(StripeError::Refused { .. }) => ask_after(desk, &row).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Asks what became of a page. Where Stripe never told us its name, nobody was sent there.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn ask_after(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    let Some(session_id) = &row.session_id else { return expire(desk, row).await };
    match desk.stripe()?.read_checkout(session_id).await {
        Ok(session) if session.status.as_deref() == Some("expired") => expire(desk, row).await,
        Ok(session) => {
            note_checkout(desk, row, &session).await?;
            settle(desk, &row.account_id, &row.id).await.map(drop)
        }
        Err(StripeError::Missing) => expire(desk, row).await,
        Err(error) => Err(error.into()),
    }
}

async fn expire(desk: &Desk, row: &PaymentRow) -> Result<(), ApiError> {
    mark_unpaid(&row.account_id, &row.id, "expired", "", None).run(desk.db()).await?;
    Ok(())
}
