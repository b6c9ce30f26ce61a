//! A key for anybody, at once.

use durable_objects::wallet::protocol::{Command, Reply as WalletReply, Wallet, name};
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::ids::AccountId;
use guildhall_domain::money::MicroUsd;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::claim_link::{claim_token, claim_url};
use crate::auth::issue::{NewKey, issue_key};
use crate::error::ApiError;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::meter::address::count_for_address;
use crate::ports::ask;
use crate::routes;
use crate::store::identity::accounts::insert_account;

routes! {
    tag "Keys", dialect ToolRouter;
    /// Provision a free API key.
    ///
    /// No signup is needed. The key works at once, on every surface; the account behind it starts with a small free
    /// balance where the deployment gives one. Limited per address. Visit `claim_url` later to attach the account to a person;
    /// a call that the balance does not cover tells it again.
    Post "/v1/auth/provision" Access::Public, body_max_bytes = 1 << 16 => provision_key;
}

/// A new key.
#[derive(Serialize, JsonSchema)]
pub struct ProvisionedKey {
    /// The key; shown this once.
    pub api_key: String,
    /// Its masked form.
    pub key_prefix: String,
    /// Where a person claims the account.
    pub claim_url: String,
    /// The account.
    pub account_id: String,
    /// What to do next.
    pub message: &'static str,
}

async fn provision_key(cx: Cx, (): ()) -> Result<Reply<ProvisionedKey>, ApiError> {
    let per_hour = cx.app.config.provisions_per_hour;
    count_for_address(&cx.ports, "provision", &cx.address, per_hour, &cx.request_id).await?;
    let account = AccountId::from_random(cx.draw());
    let claim = claim_token(&cx.app, account.as_str());
    let issued = issue_key(&cx, &NewKey::new(account.as_str(), KeyPrefix::ToolRouter, "first key"));
    let open = insert_account(account.as_str(), cx.started_ms, &cx.app.hasher.hash(&claim));
    cx.ports.db.run(vec![open.statement, issued.write]).await?;
    grant_free_balance(&cx, account.as_str()).await?;
    Ok(Reply(ProvisionedKey {
        key_prefix: issued.masked,
        api_key: issued.key,
        claim_url: claim_url(&cx.origin, &claim),
        account_id: account.as_str().to_owned(),
        message: "Your API key is ready. To attach it to a person and add credits, have your user visit the claim URL.",
    }))
}

async fn grant_free_balance(cx: &Cx, account_id: &str) -> Result<(), ApiError> {
    let amount = cx.app.config.free_balance;
    if amount <= MicroUsd::ZERO {
        return Ok(());
    }
    let command = Command::Credit { id: "free_balance".into(), amount, reason: "free balance of a new account".into() };
    match ask::<Wallet>(&*cx.ports.objects, &name(account_id), &command).await? {
        WalletReply::Moved { .. } => Ok(()),
        other => Err(ApiError::internal(format!("free balance: {other:?}"))),
    }
}
