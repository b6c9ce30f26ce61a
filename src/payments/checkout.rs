//! Pages where customers pay, or save a card.

use guildhall_domain::billing::fee::{PAYMENT_MAX, Product, to_cents};
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::month_of;

use super::pages::make_room;
use super::stripe::{NewCheckout, StripeError};
use super::{Desk, ensure_customer, renew_customer};
use crate::error::ApiError;
use crate::store::money::payments::{insert_payment, note_session};

/// A payment to ask for.
pub struct NewPayment<'a> {
    /// `checkout`, `deposit` or `setup`.
    pub kind: &'static str,
    /// What for.
    pub product: Product,
    /// Who pays.
    pub account_id: &'a str,
    /// Whose wallet gets it.
    pub wallet: &'a str,
    /// What the wallet gets; nothing to save a card.
    pub amount: MicroUsd,
    /// Whether the card is saved for later charges.
    pub saves_card: bool,
    /// Where the customer goes afterwards.
    pub success_url: &'a str,
    /// Where the customer goes instead.
    pub cancel_url: &'a str,
    /// What the same request would be called again; random digits for a new one.
    pub id: PaymentId,
}

/// A page that waits for its customer.
pub struct OpenedCheckout {
    /// Our payment.
    pub payment_id: String,
    /// Where the customer goes.
    pub url: String,
    /// Stripe's session.
    pub session_id: String,
    /// What is paid beside the credit.
    pub fee: MicroUsd,
}

/// Checks an amount of money that a card is to pay.
///
/// # Errors
/// 400 that names `amount_usd`.
pub fn check_amount(amount: MicroUsd, product: Product) -> Result<(), ApiError> {
    let least = product.least();
    if amount < least || amount > PAYMENT_MAX {
        let (least, most) = (least.to_usd_string(), PAYMENT_MAX.to_usd_string());
        return Err(ApiError::invalid("amount_usd", format!("amount_usd must be between {least} and {most}")));
    }
    if to_cents(amount).is_none() {
        return Err(ApiError::invalid("amount_usd", "amount_usd must be a whole number of cents"));
    }
    Ok(())
}

/// Opens a page. Nothing is paid by it; the event that tells of the payment credits the wallet.
///
/// # Errors
/// 503 when Stripe does not answer.
pub async fn open_checkout(desk: &Desk, new: &NewPayment<'_>) -> Result<OpenedCheckout, ApiError> {
    let now_ms = desk.now_ms();
    make_room(desk, new.account_id).await?;
    let customer = ensure_customer(desk, new.account_id).await?;
    let fee = if new.amount > MicroUsd::ZERO { new.product.fee(new.amount) } else { MicroUsd::ZERO };
    let total = new.amount.checked_add(fee).ok_or_else(|| ApiError::internal("a fee that does not fit"))?;
    let id = new.id.as_str();
    let row = insert_payment(
        new.account_id,
        id,
        new.wallet,
        new.kind,
        new.product.name(),
        new.amount.0,
        total.0,
        &month_of(now_ms),
        Some(&customer),
        None,
        new.saves_card,
        0,
        now_ms,
    );
    // Before Stripe hears of it: an event finds the row, whatever happens to us.
    row.run(desk.db()).await?;
    let all_lines = [("Credit", new.amount), ("Processing fee", fee)];
    let lines: Vec<_> = all_lines.into_iter().filter(|(_, price)| *price > MicroUsd::ZERO).collect();
    let metadata = [("payment_id", id), ("account_id", new.account_id), ("product", new.product.name())];
    let session = |customer| NewCheckout {
        customer,
        lines: &lines,
        saves_card: new.saves_card,
        success_url: new.success_url,
        cancel_url: new.cancel_url,
        metadata: &metadata,
    };
    let stripe = desk.stripe()?;
    let session = match stripe.create_checkout(&format!("payment:{id}"), &session(&customer)).await {
        Err(StripeError::Missing) => {
            let customer = renew_customer(desk, new.account_id, &customer).await?;
            stripe.create_checkout(&format!("payment:{id}:again"), &session(&customer)).await?
        }
        session => session?,
    };
    note_session(new.account_id, id, &session.id).run(desk.db()).await?;
    Ok(OpenedCheckout { payment_id: id.to_owned(), url: session.url.unwrap_or_default(), session_id: session.id, fee })
}
