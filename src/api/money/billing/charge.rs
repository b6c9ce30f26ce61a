//! Charges of the saved card.

use durable_objects::wallet::protocol::{Command, Reply as WalletReply, Wallet, name};
use guildhall_domain::billing::fee::Product;
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::Json;
use crate::http::output::NoStore;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::payments::activation::issue_first_key;
use crate::payments::auto_pay::amount_of;
use crate::payments::charge::{Wanted, charge_now};
use crate::payments::checkout::check_amount;
use crate::payments::{Desk, read_billing};
use crate::ports::ask;
use crate::routes;
use crate::store::money::payments::find_payment;

routes! {
    tag "Billing", dialect Tokaroo;
    /// Charge the saved card, and add the credit at once.
    ///
    /// One charge at a time: a second one meanwhile is 409 and charges nothing. With the activation's requirements met and no
    /// key yet, the answer has the account's first key, shown this once. After a 503 the same request may be sent again: the
    /// card is not charged twice for it.
    Post "/v1/billing/charge" Access::Session, body_max_bytes = 1 << 16 => charge_card;
    /// Charge the saved card (the other path).
    Post "/v1/billing/topup" Access::Session, body_max_bytes = 1 << 16 => charge_card;
}

/// What is to be charged.
#[derive(Deserialize, JsonSchema)]
pub struct ChargeBody {
    /// US dollars and whole cents; by default what auto pay charges.
    #[schemars(with = "Option<f64>")]
    amount_usd: Option<Number>,
    /// The name of the first key, if there is to be one. Default `First key`.
    activate_key_name: Option<String>,
}

/// The card was charged.
#[derive(Serialize, JsonSchema)]
pub struct Charged {
    /// Always true.
    ok: bool,
    /// The balance with the new credit, in US dollars.
    balance_usd: f64,
    /// The first key, if this payment was the last that it needed.
    activated_key: Option<ActivatedKey>,
    /// The payment, as `GET /v1/billing/payments` lists it.
    payment_id: String,
}

/// A first key.
#[derive(Serialize, JsonSchema)]
pub struct ActivatedKey {
    /// The key; shown this once.
    key: String,
    /// Its name.
    name: String,
    /// What is shown of it later.
    prefix: String,
}

const NAME_MAX_CHARS: usize = 100;
/// Tries of a card under one `Idempotency-Key`.
const ATTEMPTS_MAX: u32 = 20;

async fn charge_card(cx: Cx, Json(body): Json<ChargeBody>) -> Result<NoStore<Charged>, ApiError> {
    let account_id = cx.caller.account_id()?.to_owned();
    let key_name = body.activate_key_name.unwrap_or_else(|| "First key".to_owned());
    if key_name.trim().is_empty() || key_name.chars().count() > NAME_MAX_CHARS {
        let text = format!("activate_key_name must have 1 to {NAME_MAX_CHARS} characters");
        return Err(ApiError::invalid("activate_key_name", text));
    }
    let desk = Desk::of(&cx);
    let amount = match body.amount_usd {
        Some(amount) => MicroUsd::from_usd(&amount)
            .map_err(|error| ApiError::invalid("amount_usd", format!("amount_usd: {error}")))?,
        None => amount_of(&read_billing(&desk, &account_id).await?).max(Product::Tokaroo.least()),
    };
    check_amount(amount, Product::Tokaroo)?;
    let wanted = Wanted {
        account_id: &account_id,
        kind: "charge",
        product: Product::Tokaroo.name(),
        amount,
        id: name_payment(&cx, &account_id).await?,
    };
    let row = charge_now(&desk, &wanted).await.map_err(|error| to_passing(&cx, error))?;
    let issued = issue_first_key(&cx, &account_id, &key_name).await?;
    flush(&cx.app, &cx.ports, &account_id).await?;
    match ask::<Wallet>(&*cx.ports.objects, &name(&account_id), &Command::Balance).await? {
        WalletReply::Balance(balance) => Ok(NoStore(Charged {
            ok: true,
            balance_usd: balance.balance.to_usd(),
            activated_key: issued.map(|key| ActivatedKey { key: key.key, name: key_name, prefix: key.masked }),
            payment_id: row.id,
        })),
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}

/// A 409 under the owner's own key would be kept as that key's answer, and it passes.
fn to_passing(cx: &Cx, mut error: ApiError) -> ApiError {
    if error.kind == Kind::Conflict && cx.idempotency_key.is_some() {
        error.kind = Kind::Unavailable;
    }
    error
}

/// The same request, by its owner's own key for it, is the same payment; after one that failed it is the next attempt.
async fn name_payment(cx: &Cx, account_id: &str) -> Result<PaymentId, ApiError> {
    let Some(key) = &cx.idempotency_key else { return Ok(PaymentId::from_random(cx.draw())) };
    for attempt in 0..ATTEMPTS_MAX {
        let again = if attempt == 0 { String::new() } else { format!(":{attempt}") };
        let digest = cx.app.hasher.digest(&format!("payment{again}:{}:{account_id}:{key}", account_id.len()));
        let mut random = [0; 16];
        random.copy_from_slice(&digest[..16]);
        let id = PaymentId::from_random(random);
        match find_payment(account_id, id.as_str()).run(&*cx.ports.db).await? {
            Some(row) if row.status == "failed" => {}
            Some(_) | None => return Ok(id),
        }
    }
    let text = format!("The card was refused {ATTEMPTS_MAX} times for this Idempotency-Key; use another one");
    Err(ApiError::new(Kind::PaymentFailed, text))
}
