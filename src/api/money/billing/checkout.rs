//! Pages of Stripe's where customers pay, and look after their cards and receipts.

use guildhall_domain::billing::fee::Product;
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::outbound::check_url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::app::Cx;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::dialect::Dialect;
use crate::http::input::Json;
use crate::http::output::{NoStore, Reply};
use crate::http::route::Access;
use crate::payments::activation::payments_url;
use crate::payments::checkout::{NewPayment, check_amount, open_checkout};
use crate::payments::stripe::StripeError;
use crate::payments::{Desk, ensure_customer, renew_customer};
use crate::routes;

routes! {
    tag "Billing", dialect ToolRouter;
    /// Open a checkout to buy credit.
    ///
    /// Through a session there is no fee and $5 is the least; through a `ToolRouter` key the fee is 5.5 %, at least $0.80, and
    /// $1 is the least. The wallet is credited when Stripe tells of the payment. The card is saved unless `save_card` is false.
    Post "/v1/billing/checkout" Access::Owner, dialect = Dialect::Shared, body_max_bytes = 1 << 16 => create_checkout;
    /// Open the page of cards and receipts.
    Post "/v1/billing/portal" Access::Owner, body_max_bytes = 1 << 16 => create_portal;
}

/// What is to be bought.
#[derive(Deserialize, JsonSchema)]
pub struct NewCheckoutBody {
    /// The credit, in US dollars and whole cents.
    #[schemars(with = "f64")]
    amount_usd: Number,
    /// Where the customer goes afterwards: an address of this origin, or an https one. Default `/billing`.
    success_url: Option<String>,
    /// Where the customer goes instead. Default `/billing`.
    cancel_url: Option<String>,
    /// Whether the card is saved, for auto pay and direct charges. Default true.
    save_card: Option<bool>,
}

/// A page that waits for its customer.
#[derive(Serialize, JsonSchema)]
pub struct Checkout {
    /// Where the customer goes.
    url: String,
    /// Stripe's session.
    session_id: String,
    /// What the wallet gets, in US dollars.
    credit_usd: f64,
    /// What is paid beside it.
    fee_usd: f64,
    /// What is paid in all.
    total_usd: f64,
    /// The payment, as `GET /v1/billing/payments` lists it.
    payment_id: String,
}

/// Where the page goes back to.
#[derive(Deserialize, JsonSchema)]
pub struct PortalBody {
    /// An address of this origin, or an https one. Default `/billing`.
    return_url: Option<String>,
}

/// A page.
#[derive(Serialize, JsonSchema)]
pub struct Portal {
    /// Where it is, for some minutes.
    url: String,
}

async fn create_checkout(cx: Cx, Json(body): Json<NewCheckoutBody>) -> Result<Reply<Checkout>, ApiError> {
    let amount = MicroUsd::from_usd(&body.amount_usd)
        .map_err(|error| ApiError::invalid("amount_usd", format!("amount_usd: {error}")))?;
    let product = match &cx.caller {
        Caller::Session(_) => Product::Tokaroo,
        _ => Product::ToolRouter,
    };
    check_amount(amount, product)?;
    let account_id = cx.caller.account_id()?;
    let success_url = check_return(&cx, "success_url", body.success_url)?;
    let cancel_url = check_return(&cx, "cancel_url", body.cancel_url)?;
    let new = NewPayment {
        kind: "checkout",
        product,
        account_id,
        wallet: account_id,
        amount,
        saves_card: body.save_card.unwrap_or(true),
        success_url: &success_url,
        cancel_url: &cancel_url,
        id: PaymentId::from_random(cx.draw()),
    };
    let opened = open_checkout(&Desk::of(&cx), &new).await?;
    let total = amount.checked_add(opened.fee).unwrap_or(amount);
    Ok(Reply(Checkout {
        url: opened.url,
        session_id: opened.session_id,
        credit_usd: amount.to_usd(),
        fee_usd: opened.fee.to_usd(),
        total_usd: total.to_usd(),
        payment_id: opened.payment_id,
    }))
}

async fn create_portal(cx: Cx, Json(body): Json<PortalBody>) -> Result<NoStore<Portal>, ApiError> {
    let return_url = check_return(&cx, "return_url", body.return_url)?;
    let desk = Desk::of(&cx);
    let (stripe, account_id) = (desk.stripe()?, cx.caller.account_id()?);
    let customer = ensure_customer(&desk, account_id).await?;
    // Each page is a new one.
    let name = format!("portal:{}", PaymentId::from_random(cx.draw()));
    let url = match stripe.create_portal(&name, &customer, &return_url).await {
        Err(StripeError::Missing) => {
            let customer = renew_customer(&desk, account_id, &customer).await?;
            stripe.create_portal(&format!("{name}:again"), &customer, &return_url).await?
        }
        url => url?,
    };
    Ok(NoStore(Portal { url }))
}

/// An address that a customer is sent back to.
fn check_return(cx: &Cx, field: &'static str, url: Option<String>) -> Result<String, ApiError> {
    let Some(url) = url else { return Ok(payments_url(&cx.origin)) };
    let refuse = || ApiError::invalid(field, format!("{field} must be an https address, or one of {}", cx.origin));
    let is_ours =
        url.strip_prefix(&*cx.origin).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    if !is_ours && !url.starts_with("https://") {
        return Err(refuse());
    }
    if is_ours && url.len() <= 2_048 && !url.chars().any(char::is_control) {
        return Ok(url);
    }
    check_url(&url, cx.app.config.outbound).map(|url| url.to_string()).map_err(|_| refuse())
}
