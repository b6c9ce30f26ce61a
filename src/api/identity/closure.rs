//! The end of an account.

use durable_objects::wallet::protocol::{Balance, Command, Reply as WalletReply, Wallet, name};
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::auth::keys::close_gate;
use crate::error::{ApiError, Kind};
use crate::http::input::Json;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::payments::forfeit::forfeit;
use crate::payments::{Desk, remove_card};
use crate::ports::ask;
use crate::routes;
use crate::store::identity::erasure::{erase_account, list_left_behind, list_live_keys};
use crate::store::market::withdrawals::find_unfinished;
use crate::store::money::payments::find_in_flight;
use crate::store::statement::run_all;

routes! {
    tag "Account", dialect ToolRouter;
    /// Delete the account.
    ///
    /// For good, with a session of its owner. All keys are revoked and all sessions ended; names, metadata, workspaces, kept
    /// responses, the saved card and, where the person owns nothing else, their address are erased. The books (usage, ledger
    /// and payments) are kept under the account's id. Accounts that went up in this one go with it. Refused while money is
    /// left, unless it is forfeited, and while a video is being made, a card is being charged or a withdrawal is under way. A
    /// payment that comes later is refunded.
    Delete "/v1/account" Access::Session, serves_merged = true => delete_account;
}

/// What is to go.
#[derive(Deserialize, JsonSchema)]
pub struct Closure {
    /// The account's id, so that nobody does this by accident.
    #[serde(default)]
    confirm: String,
    /// Gives up what is left of the balance. Paid credits are not refunded.
    #[serde(default)]
    forfeit_balance: bool,
}

/// It is gone.
#[derive(Serialize, JsonSchema)]
pub struct Closed {
    /// Always true.
    deleted: bool,
    /// The account's id, under which the books are kept.
    id: String,
    /// What was left and is given up, in US dollars.
    forfeited_usd: f64,
}

/// Keys whose gates are closed before the answer, those in use first; isolates learn of others within two seconds.
const GATES_MAX: i64 = 200;
/// Accounts that went up in it and go with it by one request.
const LEFT_BEHIND_MAX: usize = 50;

async fn delete_account(cx: Cx, Json(closure): Json<Closure>) -> Result<Reply<Closed>, ApiError> {
    let session = cx.caller.session()?;
    let account_id = session.account_id.as_str();
    if closure.confirm != account_id {
        return Err(ApiError::invalid("confirm", "confirm must be the id of the account"));
    }
    let (left_behind, is_all) = list_with_it(&cx, account_id).await?;
    let mut left = MicroUsd::ZERO;
    for id in left_behind.iter().map(String::as_str).chain([account_id]) {
        left = MicroUsd(left.0.saturating_add(require_rest(&cx, id).await?.0));
    }
    if left > MicroUsd::ZERO && !closure.forfeit_balance {
        let text = "Money is left; spend it, or give it up with forfeit_balance";
        return Err(ApiError::new(Kind::Conflict, text).with("balance_usd", left.to_usd()));
    }
    // First: with the last account its person is forgotten, and nobody could ask for these again.
    for id in &left_behind {
        erase(&cx, id, &session.person_id).await?;
    }
    if !is_all {
        let text = "Many accounts went up in this one; some of them are closed. Send the request again";
        return Err(ApiError::new(Kind::Unavailable, text).retry_after_s(1));
    }
    erase(&cx, account_id, &session.person_id).await?;
    // What leases hold comes back within seconds; the hour's job takes it then, and what is left of the other accounts.
    if let Err(error) = forfeit(&cx.ports, account_id).await {
        cx.ports.background.log(&format!("balance of {account_id}: {error}"));
    }
    Ok(Reply(Closed { deleted: true, id: account_id.to_owned(), forfeited_usd: left.to_usd() }))
}

/// The accounts that went up in this one, and whether these are all.
async fn list_with_it(cx: &Cx, account_id: &str) -> Result<(Vec<String>, bool), ApiError> {
    let limit = i64::try_from(LEFT_BEHIND_MAX + 1).map_err(ApiError::internal)?;
    let found = list_left_behind(account_id, limit).run(&*cx.ports.db).await?;
    let is_all = found.len() <= LEFT_BEHIND_MAX;
    Ok((found.into_iter().map(|account| account.id).take(LEFT_BEHIND_MAX).collect(), is_all))
}

/// Refuses an account in which money is on its way; gives what is left in it.
async fn require_rest(cx: &Cx, account_id: &str) -> Result<MicroUsd, ApiError> {
    let (payment, withdrawal) =
        run_all(&*cx.ports.db, (find_in_flight(account_id), find_unfinished(account_id))).await?;
    if payment.is_some() {
        return Err(ApiError::new(Kind::Conflict, "A payment is under way; wait for its end"));
    }
    if withdrawal.is_some() {
        return Err(ApiError::new(Kind::Conflict, "A withdrawal is under way; wait for its end"));
    }
    let left = read_balance(cx, account_id).await?;
    if left.held_calls > MicroUsd::ZERO {
        return Err(ApiError::new(Kind::Conflict, "Work is under way that holds money; wait for its end"));
    }
    Ok(left.balance)
}

/// Removes the card and erases the account. When this fails, the session still stands and the request can be sent again.
async fn erase(cx: &Cx, account_id: &str, person_id: &str) -> Result<(), ApiError> {
    remove_card(&Desk::of(cx), account_id).await?;
    let keys = list_live_keys(account_id, GATES_MAX).run(&*cx.ports.db).await?;
    // All or nothing.
    cx.ports.db.run(erase_account(account_id, person_id, cx.started_ms)).await?;
    cx.app.credentials.forget_account(account_id);
    for key in keys {
        close_gate(cx, &key.id).await;
    }
    Ok(())
}

async fn read_balance(cx: &Cx, account_id: &str) -> Result<Balance, ApiError> {
    flush(&cx.app, &cx.ports, account_id).await?;
    match ask::<Wallet>(&*cx.ports.objects, &name(account_id), &Command::Balance).await? {
        WalletReply::Balance(balance) => Ok(balance),
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}
