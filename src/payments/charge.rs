//! Charges of a saved card: at most one in flight per account, over all isolates.
//!
//! The row is written first, under a unique index; whoever writes it makes the charge, and holds a lease on it. When the
//! answer is lost the row stays, and whoever wants the same charge sends the very same call again: Stripe gives the first
//! answer. Whoever wants something else looks for it at Stripe, and never makes it: its owner may have given it up.

use guildhall_domain::billing::auto_pay::rest_ms;
use guildhall_domain::billing::objects::Intent;
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::month_of;

use super::settle::settle;
use super::stripe::{NewCharge, StripeError, explain_decline};
use super::{Desk, read_billing};
use crate::error::{ApiError, Kind};
use crate::store::money::billing::{count_decline, rest_auto_pay};
use crate::store::money::payments::{
    PaymentRow, drop_payment, find_in_flight, find_payment, find_uncredited, insert_payment, lease_payment, mark_paid,
    mark_unpaid,
};
use crate::store::statement::Changed;

/// How long whoever makes a charge is left alone: longer than Stripe may take, tries included.
const LEASE_MS: i64 = 60_000;
/// A charge that Stripe does not know so long after its last lease ended never reached it.
const QUIET_MS: i64 = 90_000;
/// Stripe forgets a call's name after 24 hours: from then on the same call would be another charge.
const SAME_CALL_MS: i64 = 23 * 3_600_000;
const DESCRIPTION: &str = "Prepaid credit";

/// A charge to make.
pub struct Wanted<'a> {
    /// Who pays, and whose wallet gets it.
    pub account_id: &'a str,
    /// `charge` or `auto`.
    pub kind: &'static str,
    /// The product it is made for.
    pub product: &'static str,
    /// How much.
    pub amount: MicroUsd,
    /// Its id: the same one for the same request.
    pub id: PaymentId,
}

impl Wanted<'_> {
    /// Whether a row is this charge, and so may be made for it.
    #[must_use]
    pub fn is(&self, row: &PaymentRow) -> bool {
        row.kind == self.kind && row.total_micros == self.amount.0
    }
}

/// What came of trying to begin a charge.
pub enum Begun {
    /// This one is ours to make.
    Ours(PaymentRow),
    /// Another one is in flight.
    Other(PaymentRow),
    /// Its id was used already: the request has come before.
    Known(PaymentRow),
    /// Nothing was written, and none is in flight: the month's limit leaves no room for it, or another has just ended.
    Refused,
}

/// Writes the row of a charge, with the lease on it.
///
/// # Errors
/// 402 without a card; when the database fails.
pub async fn begin(desk: &Desk, wanted: &Wanted<'_>) -> Result<Begun, ApiError> {
    let billing = read_billing(desk, wanted.account_id).await?;
    let (Some(customer), Some(method)) = (&billing.customer_id, &billing.payment_method_id) else {
        return Err(ApiError::new(Kind::NoCard, "There is no saved card to charge"));
    };
    let now_ms = desk.now_ms();
    let (account_id, id, amount) = (wanted.account_id, wanted.id.as_str(), wanted.amount.0);
    let month = month_of(now_ms);
    let row = insert_payment(
        account_id,
        id,
        account_id,
        wanted.kind,
        wanted.product,
        amount,
        amount,
        &month,
        Some(customer),
        Some(method),
        false,
        now_ms + LEASE_MS,
        now_ms,
    );
    let Changed(inserted) = row.run(desk.db()).await?;
    let known = find_payment(account_id, id).run(desk.db()).await?;
    match known {
        Some(row) if inserted > 0 => Ok(Begun::Ours(row)),
        Some(row) => Ok(Begun::Known(row)),
        None => Ok(find_in_flight(account_id).run(desk.db()).await?.map_or(Begun::Refused, Begun::Other)),
    }
}

/// A charge that was taken over: its row, with our lease on it.
pub struct Taken {
    /// The row.
    pub row: PaymentRow,
    /// When the lease of whoever had it before ended.
    left_ms: i64,
}

/// Takes over a charge whose maker was lost; `None` while there may still be one.
///
/// # Errors
/// When the database fails.
pub async fn take_over(desk: &Desk, row: &PaymentRow) -> Result<Option<Taken>, ApiError> {
    let (now_ms, left_ms) = (desk.now_ms(), row.leased_until_ms);
    if left_ms > now_ms {
        return Ok(None);
    }
    let lease = lease_payment(&row.account_id, &row.id, left_ms, now_ms + LEASE_MS);
    let Changed(taken) = lease.run(desk.db()).await?;
    let row = PaymentRow { leased_until_ms: now_ms + LEASE_MS, ..row.clone() };
    Ok((taken > 0).then_some(Taken { row, left_ms }))
}

/// Looks at Stripe for a charge that was taken over, without making it; gives the row as it then is. One that Stripe does
/// not know has failed, unless it may still be on its way there.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn look_up(desk: &Desk, taken: &Taken) -> Result<PaymentRow, ApiError> {
    let row = &taken.row;
    let (account_id, id) = (row.account_id.as_str(), row.id.as_str());
    let found = find_intent(desk, row).await;
    // It is nobody's again, since when it was nobody's.
    lease_payment(account_id, id, row.leased_until_ms, taken.left_ms).run(desk.db()).await?;
    match found? {
        Some(intent) => note_outcome(desk, row, &intent).await?,
        None if desk.now_ms() - taken.left_ms > QUIET_MS => {
            let failure = "The payment never reached the payment provider; nothing was charged.";
            mark_unpaid(account_id, id, "failed", failure, None).run(desk.db()).await?;
        }
        None => {}
    }
    settle(desk, account_id, id).await
}

async fn find_intent(desk: &Desk, row: &PaymentRow) -> Result<Option<Intent>, StripeError> {
    let stripe = desk.stripe()?;
    if let Some(intent_id) = &row.intent_id {
        return stripe.read_intent(intent_id).await.map(Some);
    }
    let intents = match stripe.list_intents(row.customer_id.as_deref().unwrap_or_default()).await {
        Err(StripeError::Missing) => Vec::new(),
        intents => intents?,
    };
    Ok(intents.into_iter().find(|intent| intent.metadata.get("payment_id") == Some(&row.id)))
}

/// Makes a charge that is ours, or finds out what became of it; gives the row as it then is.
///
/// # Errors
/// 503 when nobody knows yet whether the card was charged; it is not charged again for the same payment.
pub async fn make(desk: &Desk, row: &PaymentRow) -> Result<PaymentRow, ApiError> {
    let (account_id, id) = (row.account_id.as_str(), row.id.as_str());
    if desk.now_ms() - row.created_at_ms > SAME_CALL_MS {
        return Err(ApiError::new(Kind::Unavailable, "The outcome of an earlier payment is being looked up"));
    }
    let (customer, method) = (row.customer_id.as_deref(), row.payment_method_id.as_deref());
    let charge = NewCharge {
        customer: customer.unwrap_or_default(),
        payment_method: method.unwrap_or_default(),
        amount: MicroUsd(row.total_micros),
        description: DESCRIPTION,
        metadata: &[("payment_id", id), ("account_id", account_id), ("product", &row.product)],
    };
    match desk.stripe()?.charge(&format!("payment:{id}"), &charge).await {
        Ok(intent) => note_outcome(desk, row, &intent).await?,
        Err(StripeError::Card { message, intent, .. }) => {
            let intent_id = intent.map(|intent| intent.id);
            note_decline(desk, row, &message, intent_id.as_deref()).await?;
        }
        Err(error @ (StripeError::Missing | StripeError::Refused { .. })) => {
            desk.log(format_args!("payment {id}: {error}"));
            let failure = "The saved card cannot be charged any more; save it again.";
            mark_unpaid(account_id, id, "failed", failure, None).run(desk.db()).await?;
            if row.kind == "auto" {
                rest_auto_pay(account_id, desk.now_ms() + rest_ms(1)).run(desk.db()).await?;
            }
        }
        Err(error) => {
            // Whoever comes next need not wait for the lease to end.
            _ = lease_payment(account_id, id, row.leased_until_ms, desk.now_ms()).run(desk.db()).await;
            return Err(ApiError::from(error).with("payment_id", id));
        }
    }
    settle(desk, account_id, id).await
}

/// Writes down what became of a charge.
///
/// # Errors
/// When the database fails.
pub async fn note_outcome(desk: &Desk, row: &PaymentRow, intent: &Intent) -> Result<(), ApiError> {
    let (account_id, id) = (row.account_id.as_str(), row.id.as_str());
    match intent.status.as_str() {
        "succeeded" => {
            let receipt = intent.charge().and_then(|charge| charge.receipt_url.as_deref());
            mark_paid(account_id, id, Some(&intent.id), receipt).run(desk.db()).await?;
        }
        // The bank takes its time: an event will tell.
        "processing" => {}
        _ => {
            let failure = explain_decline(intent.last_payment_error.as_ref());
            note_decline(desk, row, &failure, Some(&intent.id)).await?;
        }
    }
    Ok(())
}

/// Writes down that the card was declined, once, whoever tells of it. Auto pay rests then.
///
/// # Errors
/// When the database fails.
pub async fn note_decline(
    desk: &Desk,
    row: &PaymentRow,
    failure: &str,
    intent_id: Option<&str>,
) -> Result<(), ApiError> {
    let (account_id, id) = (row.account_id.as_str(), row.id.as_str());
    let Changed(told) = mark_unpaid(account_id, id, "failed", failure, intent_id).run(desk.db()).await?;
    if told > 0 && row.kind == "auto" {
        let declines = read_billing(desk, account_id).await?.auto_declines + 1;
        count_decline(account_id, desk.now_ms() + rest_ms(declines)).run(desk.db()).await?;
        desk.app.credentials.forget_account(account_id);
    }
    Ok(())
}

/// Charges the card as its owner asks: the same request again gives the same payment.
///
/// # Errors
/// 402 when there is no card or it is refused, 409 while another charge is in flight, 503 when nobody knows yet.
pub async fn charge_now(desk: &Desk, wanted: &Wanted<'_>) -> Result<PaymentRow, ApiError> {
    for _ in 0..2 {
        match begin(desk, wanted).await? {
            Begun::Ours(row) => {
                let Some(paid) = find_paid(desk, wanted).await.transpose() else {
                    return paid_or(make(desk, &row).await?);
                };
                drop_payment(wanted.account_id, &row.id, row.leased_until_ms).run(desk.db()).await?;
                return paid;
            }
            Begun::Known(row) if !wanted.is(&row) => {
                let text = "This Idempotency-Key was used for a charge of another amount";
                return Err(ApiError::new(Kind::IdempotencyMismatch, text).with("payment_id", row.id));
            }
            Begun::Known(row) if row.status != "pending" => {
                return paid_or(settle(desk, wanted.account_id, &row.id).await?);
            }
            Begun::Known(row) | Begun::Other(row) => {
                let Some(taken) = take_over(desk, &row).await? else { break };
                let paid = find_paid(desk, wanted).await?;
                // An answer was lost, and its owner asks again: this is that payment, not another.
                if paid.is_none() && wanted.is(&taken.row) {
                    return paid_or(make(desk, &taken.row).await?);
                }
                let found = look_up(desk, &taken).await?;
                if let Some(paid) = paid {
                    return Ok(paid);
                }
                if found.status == "pending" {
                    break;
                }
            }
            // It has no limit: another was in the way.
            Begun::Refused => {}
        }
    }
    Err(ApiError::new(Kind::Conflict, "Another charge of the card is in flight; nothing was charged for this one")
        .retry_after_s(5))
}

/// The same charge, if it is paid and only its credit was still to come: then its answer was lost, and its owner asks again.
async fn find_paid(desk: &Desk, wanted: &Wanted<'_>) -> Result<Option<PaymentRow>, ApiError> {
    Ok(settle_paid(desk, wanted.account_id).await?.filter(|paid| wanted.is(paid)))
}

/// Brings the wallet a charge that is paid and that it has not got: as long as there is one, the balance says too little.
///
/// # Errors
/// When the database, the wallet or Stripe fails.
pub async fn settle_paid(desk: &Desk, account_id: &str) -> Result<Option<PaymentRow>, ApiError> {
    match find_uncredited(account_id).run(desk.db()).await? {
        Some(row) => settle(desk, account_id, &row.id).await.map(Some),
        None => Ok(None),
    }
}

fn paid_or(row: PaymentRow) -> Result<PaymentRow, ApiError> {
    match row.status.as_str() {
        "paid" => Ok(row),
        "pending" => Err(ApiError::new(
            Kind::Unavailable,
            "The bank has not decided yet; the payment will be credited when it has",
        )
        .with("payment_id", row.id)),
        _ => Err(ApiError::new(Kind::PaymentFailed, row.failure).with("payment_id", row.id)),
    }
}
