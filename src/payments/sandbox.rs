//! What the sandbox's pages do in place of Stripe's. The event that comes of a payment goes through [`events::apply`], as if
//! Stripe had sent it. Nothing of this exists in live mode, or where Stripe is configured.

use guildhall_domain::billing::event::read_event;
use guildhall_domain::billing::sandbox::{EVENTS, PaidBy, Shelf, TestCard, pay_checkout};
use guildhall_domain::hex::to_hex;
use serde_json::Value;

use super::stripe::local::{keep, load};
use super::{Desk, events};
use crate::error::ApiError;
use crate::store::money::billing::{find_billing, forget_card};
use crate::store::money::payments::{PaymentRow, list_payments};

/// Payments that the page of an account shows.
const SHOWN: i64 = 20;

/// What came of a form.
pub enum Paid {
    /// It is paid, or the card is saved.
    Done,
    /// The card was refused.
    Refused(&'static str),
    /// The page is over.
    Over,
}

/// What the page of an account shows.
pub struct AccountPage {
    /// The saved card: brand and last four digits.
    pub card: Option<(String, String)>,
    /// The newest payments.
    pub payments: Vec<PaymentRow>,
    /// Where it goes back to.
    pub return_url: String,
    account_id: String,
    payment_method_id: Option<String>,
}

/// An object of the sandbox's.
///
/// # Errors
/// 404 when there is none, and wherever payments are real.
pub async fn read(desk: &Desk, id: &str, kind: &str) -> Result<Value, ApiError> {
    if desk.is_sandbox() {
        let mut shelf = Shelf::new();
        load(&desk.ports, &mut shelf, &[id.to_owned()]).await?;
        if let Some(object) = shelf.remove(id).filter(|object| object["object"] == kind) {
            return Ok(object);
        }
    }
    Err(ApiError::not_found("Page"))
}

/// Pays a checkout with one of the sandbox's cards.
///
/// # Errors
/// 404 for an unknown page; when the database or the wallet fails.
pub async fn pay(desk: &Desk, session_id: &str, card: TestCard, save: bool) -> Result<Paid, ApiError> {
    let session = read(desk, session_id, "checkout.session").await?;
    let mut shelf = Shelf::from([(session_id.to_owned(), session)]);
    load(&desk.ports, &mut shelf, &[EVENTS.to_owned()]).await?;
    let fresh = format!("test_{}", to_hex(&desk.draw::<12>()));
    match pay_checkout(&shelf, session_id, card, save, &fresh, desk.now_ms() / 1_000) {
        PaidBy::Refused(why) => Ok(Paid::Refused(why)),
        PaidBy::Over => Ok(Paid::Over),
        PaidBy::Paid { writes, event } => {
            keep(&desk.ports, &writes).await?;
            let event = read_event(event.to_string().as_bytes()).map_err(ApiError::internal)?;
            events::apply(desk, &event).await?;
            Ok(Paid::Done)
        }
    }
}

/// Reads the page of an account.
///
/// # Errors
/// 404 for an unknown page; when the database fails.
pub async fn read_account(desk: &Desk, portal_id: &str) -> Result<AccountPage, ApiError> {
    let portal = read(desk, portal_id, "billing_portal.session").await?;
    let customer = read(desk, portal["customer"].as_str().unwrap_or_default(), "customer").await?;
    let account_id = customer["metadata"]["account_id"].as_str().unwrap_or_default().to_owned();
    let billing = find_billing(&account_id).run(desk.db()).await?.unwrap_or_default();
    let payments = list_payments(&account_id, i64::from(u32::MAX) << 16, "", SHOWN).run(desk.db()).await?;
    Ok(AccountPage {
        card: billing.card_brand.zip(billing.card_last4),
        payments,
        return_url: portal["return_url"].as_str().unwrap_or_default().to_owned(),
        account_id,
        payment_method_id: billing.payment_method_id,
    })
}

/// Removes the card that the page of an account shows.
///
/// # Errors
/// As [`read_account`].
pub async fn remove_card(desk: &Desk, portal_id: &str) -> Result<(), ApiError> {
    let page = read_account(desk, portal_id).await?;
    if let Some(method) = &page.payment_method_id {
        desk.stripe()?.detach_payment_method(method).await?;
        forget_card(&page.account_id, method).run(desk.db()).await?;
        desk.app.credentials.forget_account(&page.account_id);
    }
    Ok(())
}

/// Answers Stripe's questions to somebody whom we will pay: from then on they can be paid. Gives where the page goes back to.
///
/// # Errors
/// 404 for an unknown page; when the database fails.
pub async fn finish_onboarding(desk: &Desk, link_id: &str) -> Result<String, ApiError> {
    let link = read(desk, link_id, "account_link").await?;
    let account_id = link["account"].as_str().unwrap_or_default();
    let mut account = read(desk, account_id, "account").await?;
    for field in ["details_submitted", "payouts_enabled", "charges_enabled"] {
        account[field] = true.into();
    }
    keep(&desk.ports, &[(account_id.to_owned(), account)]).await?;
    Ok(link["return_url"].as_str().unwrap_or_default().to_owned())
}
