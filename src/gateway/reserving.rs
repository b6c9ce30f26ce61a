//! The money of a call, set aside before anybody is asked; and what the client is told when there is none.

use std::rc::Rc;

use guildhall_domain::money::MicroUsd;

use super::choice::Choice;
use super::table::Offer;
use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::claim_link::open_claim_url;
use crate::error::{ApiError, Kind};
use crate::meter::money::{Need, Refusal, Reservation, reserve};
use crate::payments::auto_pay;

/// Reserves what the offers need. Where there is not enough money, only what the caller has of their own is left to be
/// tried, and then only what costs nothing.
///
/// # Errors
/// 402 when the balance does not cover it, and what else [`refuse`] says.
pub async fn reserve_for(
    cx: &Cx,
    choice: &Choice,
    offers: &mut Vec<Rc<Offer>>,
    need: impl Fn(&[Rc<Offer>]) -> Need,
) -> Result<Reservation, ApiError> {
    let payer = &cx.caller.key()?.payer;
    let wanted = need(offers);
    let mut reserved = reserve(cx, payer, wanted).await;
    if let Err(Refusal::Insufficient { required, .. }) = &reserved
        && wanted.may_reload
        && payer.reloads_below().is_some()
        && auto_pay::reload(&cx.app, &cx.ports, payer.owner(), auto_pay::Need::Call(*required)).await
    {
        reserved = reserve(cx, payer, need(offers)).await;
    }
    let is_short = |refusal: &Refusal| matches!(refusal, Refusal::Insufficient { .. } | Refusal::Budget { .. });
    let reserved =
        or_cheaper(choice, offers, reserved, is_short, async |offers| reserve(cx, payer, need(offers)).await);
    reserved.await.map_err(|refusal| refuse(cx, refusal))
}

/// Where money `is_short`, has `reserve` try what the caller has of their own or costs nothing, and then only what costs
/// nothing; `offers` are those that the money is for.
///
/// # Errors
/// What `reserve` said last.
pub async fn or_cheaper<R, E>(
    choice: &Choice,
    offers: &mut Vec<Rc<Offer>>,
    mut reserved: Result<R, E>,
    is_short: impl Fn(&E) -> bool,
    reserve: impl AsyncFn(&[Rc<Offer>]) -> Result<R, E>,
) -> Result<R, E> {
    let is_cheap: [fn(&Offer) -> bool; 2] =
        [|offer| offer.price.is_free() || offer.provider.own.is_some(), |offer| offer.price.is_free()];
    for is_cheap in is_cheap {
        if !reserved.as_ref().is_err_and(&is_short) || offers.iter().all(|offer| is_cheap(offer)) {
            continue;
        }
        let cheap = choice.best_offers_of(is_cheap);
        if !cheap.is_empty() {
            *offers = cheap;
            reserved = reserve(offers).await;
        }
    }
    reserved
}

/// A place in the books for a call that costs nothing.
///
/// # Errors
/// 503 when the wallet does not answer.
pub async fn reserve_nothing(cx: &Cx) -> Result<Reservation, ApiError> {
    let nothing =
        Need { most: MicroUsd::ZERO, least: MicroUsd::ZERO, is_guess: false, until_ms: None, may_reload: false };
    let reserved = reserve(cx, &cx.caller.key()?.payer, nothing).await;
    reserved.map_err(|refusal| refuse(cx, refusal))
}

/// The client's patience, or the administrator's for it, is over.
#[must_use]
pub fn too_late() -> ApiError {
    ApiError::new(Kind::UpstreamFailed, "max_latency_ms passed before a model answered")
}

/// Why there is no money for a call.
pub fn refuse(cx: &Cx, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Insufficient { balance, required } => {
            let text = format!(
                "The balance of ${} does not cover this request, which needs at least ${}",
                balance.to_usd_string(),
                required.to_usd_string()
            );
            let error = ApiError::new(Kind::InsufficientFunds, text)
                .with("balance_usd", balance.to_usd())
                .with("required_usd", required.to_usd())
                .with("payment_url", format!("{}/billing", cx.origin));
            match &cx.caller {
                Caller::Key(key) => error.with_some("claim_url", open_claim_url(&cx.app, key, &cx.origin)),
                _ => error,
            }
        }
        Refusal::Budget { of, budget, spent } => of.exceeded(budget, spent),
        Refusal::ClientGone => ApiError::client_gone(),
        Refusal::Late => too_late(),
        Refusal::Failed(cause) => {
            ApiError::new(Kind::Unavailable, "The wallet did not answer; try again").caused_by(cause).retry_after_s(1)
        }
    }
}
