//! What an account needs before a person gets its first key of Tokaroo's: a payment, a saved card, auto pay, the terms.

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Desk, auto_pay::auto_pay_of};
use crate::app::Cx;
use crate::auth::issue::{IssuedKey, NewKey, issue_key};
use crate::error::{ApiError, Kind};
use crate::meter::money::flush;
use crate::ports::ask;
use crate::store::money::billing::{BillingRow, claim_first_key, count_first_keys, count_tokaroo_keys, find_billing};
use crate::store::money::payments::find_funding;
use crate::store::statement::run_all;

/// The terms that are accepted now.
pub const TERMS_VERSION: &str = "2026-11-01";

/// Something that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// Nothing was paid yet.
    Payment,
    /// No card is saved.
    SavedCard,
    /// Auto pay is off.
    AutoPay,
    /// The terms of today are not accepted.
    TermsAcceptance,
}

/// The checklist.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ActivationStatus {
    /// Keys of the account that are not revoked.
    pub key_count: i64,
    /// Whether there is one.
    pub has_api_key: bool,
    /// Whether the next key is the first, and so needs all of this.
    pub requires_first_key_activation: bool,
    /// The balance, in US dollars.
    pub balance_usd: f64,
    /// Whether a payment came, and stayed.
    pub funded: bool,
    /// Whether a card is saved.
    pub has_saved_card: bool,
    /// Whether auto pay is on.
    pub auto_pay_enabled: bool,
    /// What it charges, in US dollars; null while nobody has said.
    pub auto_pay_amount_usd: Option<f64>,
    /// Whether the terms of today are accepted.
    pub activation_terms_accepted: bool,
    /// When they were.
    pub activation_terms_accepted_at: Option<String>,
    /// The terms of today.
    pub activation_terms_version: String,
    /// What is missing.
    pub missing_requirements: Vec<Requirement>,
    /// Whether nothing is missing but the payment.
    pub ready_for_activation_payment: bool,
    /// Whether nothing is missing.
    pub ready_for_first_key: bool,
    /// Where to pay.
    pub payments_url: String,
    /// Where the terms are.
    pub terms_url: String,
}

/// Where an account stands.
///
/// # Errors
/// When the database or the wallet fails.
pub async fn read_activation(desk: &Desk, account_id: &str) -> Result<ActivationStatus, ApiError> {
    let reads = (
        find_billing(account_id),
        find_funding(account_id),
        count_tokaroo_keys(account_id),
        count_first_keys(account_id),
    );
    let (billing, funding, keys, first) = run_all(desk.db(), reads).await?;
    let billing = billing.unwrap_or_default();
    let (key_count, claimed) = (keys.map_or(0, |keys| keys.total), first.map_or(0, |first| first.total));
    flush(&desk.app, &desk.ports, account_id).await?;
    let balance = match ask::<Wallet>(&*desk.ports.objects, &name(account_id), &Command::Balance).await? {
        Reply::Balance(balance) => balance.balance,
        other => return Err(ApiError::internal(format!("balance: {other:?}"))),
    };
    let missing = find_missing(&billing, funding.is_some());
    let is_accepted = accepted_at_ms(&billing).is_some();
    Ok(ActivationStatus {
        key_count,
        has_api_key: key_count > 0,
        requires_first_key_activation: key_count == 0 && claimed == 0,
        balance_usd: balance.to_usd(),
        funded: funding.is_some(),
        has_saved_card: billing.payment_method_id.is_some(),
        auto_pay_enabled: billing.auto_enabled == Some(1),
        auto_pay_amount_usd: billing.auto_amount_micros.map(|amount| MicroUsd(amount).to_usd()),
        activation_terms_accepted: is_accepted,
        activation_terms_accepted_at: accepted_at_ms(&billing).map(format_rfc3339),
        activation_terms_version: TERMS_VERSION.to_owned(),
        ready_for_activation_payment: missing.iter().all(|missing| *missing == Requirement::Payment),
        ready_for_first_key: missing.is_empty(),
        missing_requirements: missing,
        payments_url: payments_url(&desk.origin),
        terms_url: format!("{}#terms", payments_url(&desk.origin)),
    })
}

/// Where a person pays.
#[must_use]
pub fn payments_url(origin: &str) -> String {
    format!("{origin}/billing")
}

fn accepted_at_ms(billing: &BillingRow) -> Option<i64> {
    billing.terms_accepted_at_ms.filter(|_| billing.terms_version.as_deref() == Some(TERMS_VERSION))
}

fn find_missing(billing: &BillingRow, is_funded: bool) -> Vec<Requirement> {
    let auto_pay = auto_pay_of(billing);
    let all = [
        (Requirement::Payment, is_funded),
        (Requirement::SavedCard, auto_pay.has_card),
        (Requirement::AutoPay, auto_pay.is_enabled),
        (Requirement::TermsAcceptance, accepted_at_ms(billing).is_some()),
    ];
    all.into_iter().filter(|(_, is_met)| !is_met).map(|(requirement, _)| requirement).collect()
}

/// The gate before a person creates a key. Only the first one of an account needs anything.
///
/// # Errors
/// 402 `billing_required` with `payment_url` and `missing_requirements`.
pub async fn require(cx: &Cx, account_id: &str) -> Result<(), ApiError> {
    let status = read_activation(&Desk::of(cx), account_id).await?;
    if !status.requires_first_key_activation || status.ready_for_first_key {
        return Ok(());
    }
    let missing = serde_json::to_value(&status.missing_requirements).unwrap_or_default();
    Err(ApiError::new(
        Kind::InsufficientFunds,
        "The first API key needs a payment, a saved card, auto pay and accepted terms",
    )
    .with("balance_usd", status.balance_usd)
    .with("payment_url", status.payments_url)
    .with("missing_requirements", missing))
}

/// Issues the account's first key if nothing is missing and nobody else has: of charges that run at once, one gets it.
///
/// # Errors
/// When the database fails otherwise.
pub async fn issue_first_key(cx: &Cx, account_id: &str, key_name: &str) -> Result<Option<IssuedKey>, ApiError> {
    let desk = Desk::of(cx);
    let status = read_activation(&desk, account_id).await?;
    if !status.requires_first_key_activation || !status.ready_for_first_key {
        return Ok(None);
    }
    let issued = issue_key(cx, &NewKey::new(account_id, KeyPrefix::Tokaroo, key_name));
    let claim = claim_first_key(account_id, &issued.id).statement;
    match desk.db().run(vec![claim, issued.write.clone()]).await {
        Ok(_) => Ok(Some(issued)),
        // Both or neither was written: somebody else's claim is there, or something is broken.
        Err(error) => match count_first_keys(account_id).run(desk.db()).await? {
            Some(first) if first.total > 0 => Ok(None),
            _ => Err(error.into()),
        },
    }
}
