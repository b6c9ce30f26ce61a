//! What is left.

use durable_objects::wallet::protocol::{Balance as WalletBalance, Command, Reply as WalletReply, Wallet, name};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::http::dialect::Dialect;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::money::flush;
use crate::ports::ask;
use crate::routes;

routes! {
    tag "Billing", dialect Tokaroo;
    /// Get the balance.
    ///
    /// Tokaroo's and `ToolRouter`'s fields together. Every call that ended before this request is settled in it.
    Get "/v1/balance" Access::Account(Scope::Own) => get_balance;
    /// Get the balance (`ToolRouter`'s path).
    Get "/v1/billing/balance" Access::Account(Scope::Own), dialect = Dialect::Shared => get_balance;
}

/// A balance.
#[derive(Serialize, JsonSchema)]
pub struct Balance {
    /// Settled money, in US dollars.
    pub balance_usd: f64,
    /// What can be spent: the balance less what long-running calls hold.
    pub available_usd: f64,
    /// Always `usd`.
    pub currency: &'static str,
}

async fn get_balance(cx: Cx, (): ()) -> Result<Reply<Balance>, ApiError> {
    let account = cx.caller.account_id()?;
    flush(&cx.app, &cx.ports, account).await?;
    match ask::<Wallet>(&*cx.ports.objects, &name(account), &Command::Balance).await? {
        WalletReply::Balance(WalletBalance { balance, available, .. }) => {
            Ok(Reply(Balance { balance_usd: balance.to_usd(), available_usd: available.to_usd(), currency: "usd" }))
        }
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}
