//! The saved card, and auto pay by it.

use guildhall_domain::billing::auto_pay::{AMOUNT_DEFAULT, AMOUNT_RANGE};
use guildhall_domain::billing::fee::{Product, to_cents};
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::Json;
use crate::http::output::{NoStore, Reply};
use crate::http::route::Access;
use crate::payments::activation::payments_url;
use crate::payments::auto_pay::amount_of;
use crate::payments::checkout::{NewPayment, open_checkout};
use crate::payments::{Desk, read_billing, remove_card};
use crate::routes;
use crate::store::money::billing::{BillingRow, set_auto_pay};

routes! {
    tag "Billing", dialect Tokaroo;
    /// Read what may be shown of the saved card.
    Get "/v1/billing/card" Access::Session => get_card;
    /// Open a page to save a card without a payment.
    Post "/v1/billing/card" Access::Session, body_max_bytes = 1 << 16 => save_card;
    /// Remove the saved card.
    ///
    /// Here at once, and at Stripe. Auto pay charges nothing from then on.
    Delete "/v1/billing/card" Access::Session, serves_merged = true => delete_card;
    /// Read the auto pay settings.
    Get "/v1/billing/auto-pay" Access::Session => get_auto_pay;
    /// Change the auto pay settings.
    ///
    /// What is left out stays. It charges the amount when a call finds too little money, and when the balance is below the
    /// threshold of `/v1/billing/preferences`. After three declines in a row it waits for its owner to set it, or to save a card.
    Put "/v1/billing/auto-pay" Access::Session, body_max_bytes = 1 << 16 => put_auto_pay;
}

/// The saved card.
#[derive(Serialize, JsonSchema)]
pub struct SavedCard {
    /// Null when there is none.
    card: Option<CardFace>,
}

/// What may be shown of a card.
#[derive(Serialize, JsonSchema)]
pub struct CardFace {
    brand: String,
    last4: String,
    exp_month: i64,
    exp_year: i64,
}

/// A page that waits for a card.
#[derive(Serialize, JsonSchema)]
pub struct CardPage {
    /// Where the customer goes.
    url: String,
    /// Stripe's session.
    session_id: String,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
pub struct CardRemoved {
    /// Always true.
    ok: bool,
}

/// Auto pay.
#[derive(Serialize, JsonSchema)]
pub struct AutoPaySettings {
    /// Whether it is on.
    enabled: bool,
    /// What it charges, in US dollars.
    amount_usd: f64,
}

/// What changes.
#[derive(Deserialize, JsonSchema)]
pub struct AutoPayPatch {
    /// On or off.
    enabled: Option<bool>,
    /// US dollars and whole cents, 5 to 500.
    #[schemars(with = "Option<f64>")]
    amount_usd: Option<Number>,
}

async fn get_card(cx: Cx, (): ()) -> Result<Reply<SavedCard>, ApiError> {
    let row = read_billing(&Desk::of(&cx), cx.caller.account_id()?).await?;
    Ok(Reply(SavedCard { card: row.payment_method_id.is_some().then(|| to_face(row)) }))
}

fn to_face(row: BillingRow) -> CardFace {
    CardFace {
        brand: row.card_brand.unwrap_or_default(),
        last4: row.card_last4.unwrap_or_default(),
        exp_month: row.card_exp_month.unwrap_or(0),
        exp_year: row.card_exp_year.unwrap_or(0),
    }
}

async fn save_card(cx: Cx, (): ()) -> Result<NoStore<CardPage>, ApiError> {
    let (account_id, url) = (cx.caller.account_id()?, payments_url(&cx.origin));
    let new = NewPayment {
        kind: "setup",
        product: Product::Tokaroo,
        account_id,
        wallet: account_id,
        amount: MicroUsd::ZERO,
        saves_card: true,
        success_url: &url,
        cancel_url: &url,
        id: PaymentId::from_random(cx.draw()),
    };
    let opened = open_checkout(&Desk::of(&cx), &new).await?;
    Ok(NoStore(CardPage { url: opened.url, session_id: opened.session_id }))
}

async fn delete_card(cx: Cx, (): ()) -> Result<Reply<CardRemoved>, ApiError> {
    let account_id = cx.caller.account_id()?;
    if remove_card(&Desk::of(&cx), account_id).await? {
        cx.app.credentials.forget_account(account_id);
    }
    Ok(Reply(CardRemoved { ok: true }))
}

async fn get_auto_pay(cx: Cx, (): ()) -> Result<Reply<AutoPaySettings>, ApiError> {
    let row = read_billing(&Desk::of(&cx), cx.caller.account_id()?).await?;
    Ok(Reply(to_settings(&row)))
}

fn to_settings(row: &BillingRow) -> AutoPaySettings {
    AutoPaySettings { enabled: row.auto_enabled == Some(1), amount_usd: amount_of(row).to_usd() }
}

async fn put_auto_pay(cx: Cx, Json(patch): Json<AutoPayPatch>) -> Result<Reply<AutoPaySettings>, ApiError> {
    let (desk, account_id) = (Desk::of(&cx), cx.caller.account_id()?);
    let mut amount = patch.amount_usd.as_ref().map(read_amount).transpose()?;
    let row = read_billing(&desk, account_id).await?;
    if patch.enabled == Some(true) {
        if row.payment_method_id.is_none() {
            return Err(ApiError::new(Kind::NoCard, "Auto pay needs a saved card"));
        }
        // Whoever turns it on has chosen what it charges.
        amount = amount.or(row.auto_amount_micros.or(Some(AMOUNT_DEFAULT.0)));
    }
    set_auto_pay(account_id, patch.enabled.map(i64::from), amount, None).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(account_id);
    Ok(Reply(to_settings(&read_billing(&desk, account_id).await?)))
}

fn read_amount(amount: &Number) -> Result<i64, ApiError> {
    let amount =
        MicroUsd::from_usd(amount).map_err(|error| ApiError::invalid("amount_usd", format!("amount_usd: {error}")))?;
    let (least, most) = (Product::Tokaroo.least(), AMOUNT_RANGE.1);
    if amount < least || amount > most || to_cents(amount).is_none() {
        let text = format!("amount_usd must be {} to {}, in whole cents", least.to_usd_string(), most.to_usd_string());
        return Err(ApiError::invalid("amount_usd", text));
    }
    Ok(amount.0)
}
