//! What Stripe tells. Each event is applied once, in whatever order they come: an event writes facts, which never contradict
//! each other for their order, and then the payment is settled.

use guildhall_domain::billing::event::{Dispute, DisputeState, Event, News, Refund, Reversal};
use guildhall_domain::billing::fee::{from_cents, to_cents};
use guildhall_domain::billing::objects::{Charge, CheckoutSession, HasId, Intent, Metadata, PaymentMethod, Ref};
use guildhall_domain::money::MicroUsd;

use super::Desk;
use super::charge::note_decline;
use super::settle::settle;
use super::stripe::{StripeError, explain_decline};
use crate::error::ApiError;
use crate::store::money::billing::{forget_card_everywhere, refresh_card};
use crate::store::money::payments::{
    PaymentRow, find_payment_by_id, find_payment_by_intent, find_payment_by_session, insert_event, mark_paid,
    mark_unpaid, put_dispute, set_refunded,
};

/// Applies an event, and settles the payment that it tells of.
///
/// # Errors
/// When something fails: Stripe sends the event again, and what was done already is not done twice.
pub async fn apply(desk: &Desk, event: &Event) -> Result<(), ApiError> {
    let row = find(desk, &event.news).await?;
    match (&row, &event.news) {
        (Some(row), news) => note(desk, row, news, event.created_s).await?,
        (None, News::CardDetached(method)) => note_detached(desk, method).await?,
        (None, News::CardUpdated(method)) => note_updated(desk, method).await?,
        (None, News::Other) => {}
        (None, _) => desk.log(format_args!("{} {}: no payment of ours", event.id, event.kind)),
    }
    let payment_id = row.as_ref().map(|row| row.id.as_str());
    insert_event(&event.id, &event.kind, payment_id, desk.now_ms()).run(desk.db()).await?;
    if let Some(row) = row {
        settle(desk, &row.account_id, &row.id).await?;
    }
    Ok(())
}

async fn note(desk: &Desk, row: &PaymentRow, news: &News, told_at_s: i64) -> Result<(), ApiError> {
    let (account_id, id) = (row.account_id.as_str(), row.id.as_str());
    match news {
        News::Checkout(session) => note_checkout(desk, row, session).await,
        News::CheckoutFailed(_) => {
            mark_unpaid(account_id, id, "failed", "The payment did not arrive.", None).run(desk.db()).await?;
            Ok(())
        }
        News::CheckoutExpired(_) => {
            mark_unpaid(account_id, id, "expired", "", None).run(desk.db()).await?;
            Ok(())
        }
        News::Paid(intent) => note_paid(desk, row, intent).await,
        // At a page the customer tries another card.
        News::PaymentFailed(intent) if matches!(row.kind.as_str(), "charge" | "auto") => {
            let failure = explain_decline(intent.last_payment_error.as_ref());
            note_decline(desk, row, &failure, Some(&intent.id)).await
        }
        News::Refunded(charge) => note_refund(desk, row, charge, told_at_s).await,
        News::RefundFailed(refund) => note_failed_refund(desk, row, refund, told_at_s).await,
        News::Disputed(dispute) => note_dispute(desk, row, dispute, told_at_s).await,
        News::PaymentFailed(_) | News::CardDetached(_) | News::CardUpdated(_) | News::Other => Ok(()),
    }
}

/// What a checkout says of its payment.
///
/// # Errors
/// When the database fails.
pub async fn note_checkout(desk: &Desk, row: &PaymentRow, session: &CheckoutSession) -> Result<(), ApiError> {
    let is_saved = session.mode == "setup" && session.status.as_deref() == Some("complete");
    let is_paid = session.payment_status == "paid"
        && is_full(desk, row, session.amount_total.unwrap_or(0), session.currency.as_deref());
    if is_saved || is_paid {
        let intent = session.payment_intent.as_ref().or(session.setup_intent.as_ref()).map(Ref::id);
        mark_paid(&row.account_id, &row.id, intent, None).run(desk.db()).await?;
    }
    Ok(())
}

async fn note_paid(desk: &Desk, row: &PaymentRow, intent: &Intent) -> Result<(), ApiError> {
    if is_full(desk, row, intent.amount_received, intent.currency.as_deref()) {
        let receipt = intent.charge().and_then(|charge| charge.receipt_url.as_deref());
        mark_paid(&row.account_id, &row.id, Some(&intent.id), receipt).run(desk.db()).await?;
    }
    Ok(())
}

/// Whether all of it came. Money that is not what was asked for is credited by nobody but a person.
fn is_full(desk: &Desk, row: &PaymentRow, cents: i64, currency: Option<&str>) -> bool {
    let is_full = to_cents(MicroUsd(row.total_micros)).is_some_and(|asked| asked == cents)
        && currency.is_none_or(|currency| currency.eq_ignore_ascii_case("usd"));
    if !is_full {
        desk.log(format_args!("payment {}: {cents} cents of {currency:?} are not what was asked for", row.id));
    }
    is_full
}

/// A refund tells that the charge was paid, too: the event that says so may come later.
async fn note_refund(desk: &Desk, row: &PaymentRow, charge: &Charge, told_at_s: i64) -> Result<(), ApiError> {
    if charge.paid && is_full(desk, row, charge.amount, charge.currency.as_deref()) {
        let intent = charge.payment_intent.as_ref().map(Ref::id);
        mark_paid(&row.account_id, &row.id, intent, charge.receipt_url.as_deref()).run(desk.db()).await?;
    }
    let refunded = micros(charge.amount_refunded)?;
    set_refunded(&row.account_id, &row.id, refunded, told_at_s).run(desk.db()).await?;
    Ok(())
}

/// How much is refunded without it only the charge says: refunds that failed and others may have crossed.
async fn note_failed_refund(desk: &Desk, row: &PaymentRow, refund: &Refund, told_at_s: i64) -> Result<(), ApiError> {
    let Some(charge) = &refund.reversal.charge else { return Ok(()) };
    let charge = desk.stripe()?.read_charge(charge.id()).await?;
    let now_s = desk.now_ms() / 1_000;
    let refunded = micros(charge.amount_refunded)?;
    set_refunded(&row.account_id, &row.id, refunded, told_at_s.max(now_s)).run(desk.db()).await?;
    Ok(())
}

async fn note_dispute(desk: &Desk, row: &PaymentRow, dispute: &Dispute, told_at_s: i64) -> Result<(), ApiError> {
    let state: DisputeState = dispute.state();
    let Reversal { id, amount, .. } = &dispute.reversal;
    let amount = micros(*amount)?;
    put_dispute(id, &row.id, amount, state.name(), dispute.is_decided(), told_at_s).run(desk.db()).await?;
    Ok(())
}

async fn note_detached(desk: &Desk, method: &PaymentMethod) -> Result<(), ApiError> {
    forget_card_everywhere(&method.id).run(desk.db()).await?;
    Ok(())
}

async fn note_updated(desk: &Desk, method: &PaymentMethod) -> Result<(), ApiError> {
    if let (Some(customer), Some(card)) = (&method.customer, &method.card) {
        let show = refresh_card(&method.id, customer.id(), &card.brand, &card.last4, card.exp_month, card.exp_year);
        show.run(desk.db()).await?;
    }
    Ok(())
}

fn micros(cents: i64) -> Result<i64, ApiError> {
    let amount = from_cents(cents).ok_or_else(|| ApiError::invalid("data.object", "an amount that does not fit"))?;
    Ok(amount.0)
}

/// The payment that an event tells of: by our own id where it carries one, else by Stripe's.
async fn find(desk: &Desk, news: &News) -> Result<Option<PaymentRow>, ApiError> {
    match news {
        News::Checkout(session) | News::CheckoutFailed(session) | News::CheckoutExpired(session) => {
            match by_metadata(desk, &session.metadata).await? {
                Some(row) => Ok(Some(row)),
                None => Ok(find_payment_by_session(&session.id).run(desk.db()).await?),
            }
        }
        News::Paid(intent) | News::PaymentFailed(intent) => match by_metadata(desk, &intent.metadata).await? {
            Some(row) => Ok(Some(row)),
            None => Ok(find_payment_by_intent(&intent.id).run(desk.db()).await?),
        },
        News::Refunded(charge) => match by_metadata(desk, &charge.metadata).await? {
            Some(row) => Ok(Some(row)),
            None => by_intent(desk, charge.payment_intent.as_ref()).await,
        },
        News::RefundFailed(refund) => by_intent(desk, refund.reversal.payment_intent.as_ref()).await,
        News::Disputed(dispute) => by_intent(desk, dispute.reversal.payment_intent.as_ref()).await,
        News::CardDetached(_) | News::CardUpdated(_) | News::Other => Ok(None),
    }
}

async fn by_metadata(desk: &Desk, metadata: &Metadata) -> Result<Option<PaymentRow>, ApiError> {
    match metadata.get("payment_id") {
        Some(id) => Ok(find_payment_by_id(id).run(desk.db()).await?),
        None => Ok(None),
    }
}

/// An object that carries only Stripe's name of the payment. One that we do not know by it yet, because the event that tells
/// us is still on its way, is asked for.
async fn by_intent(desk: &Desk, intent: Option<&Ref<HasId>>) -> Result<Option<PaymentRow>, ApiError> {
    let Some(intent) = intent else { return Ok(None) };
    if let Some(row) = find_payment_by_intent(intent.id()).run(desk.db()).await? {
        return Ok(Some(row));
    }
    match desk.stripe()?.read_intent(intent.id()).await {
        Ok(intent) => {
            let row = by_metadata(desk, &intent.metadata).await?;
            if let Some(row) = row.as_ref().filter(|_| intent.status == "succeeded") {
                note_paid(desk, row, &intent).await?;
            }
            Ok(row)
        }
        Err(StripeError::Missing) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
