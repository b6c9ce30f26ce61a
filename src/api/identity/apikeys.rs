//! The keys that the administrator issues and looks after.

use std::collections::BTreeMap;

use durable_objects::wallet::protocol::{Command, RefusalCode, Reply as WalletReply, Wallet, name};
use guildhall_domain::credential::KeyPrefix;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key_fields::{KeyFields, KeyPatch};
use crate::app::Cx;
use crate::auth::issue::{IssuedKey, NewKey, issue_key};
use crate::auth::keys::{change_key, close_gate, revoke_key, rotate_key as rotate_secret};
use crate::error::ApiError;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::meter::money::{flush, read_spent};
use crate::meter::payer::Tally;
use crate::ports::ask;
use crate::routes;
use crate::store::identity::accounts::{ensure_account, find_account};
use crate::store::identity::keys::{KeyRecord, count_keys, find_key, list_keys, reset_budget};
use crate::store::statement::run_all;

routes! {
    tag "Keys", dialect TokenHub;
    /// Create an API key.
    ///
    /// The key is shown this once. Without `account_id` the deployment's own account pays for its calls.
    Post "/admin/v1/apikeys" Access::Admin, audit = "apikey.create" => create_key;
    /// List API keys, newest first.
    ///
    /// An array; with `limit`, `offset` or `envelope=1` in the query an object with `keys`, `total`, `limit` and `offset`.
    Get "/admin/v1/apikeys" Access::Admin => list_api_keys;
    /// Change parts of an API key.
    ///
    /// What is left out stays. A key that is disabled is refused at once where it was, within two seconds everywhere.
    Patch "/admin/v1/apikeys/{id}" Access::Admin, audit = "apikey.update" => patch_key;
    /// Revoke an API key.
    ///
    /// For good: a key that is to come back is disabled instead.
    Delete "/admin/v1/apikeys/{id}" Access::Admin, audit = "apikey.revoke" => delete_key;
    /// Rotate an API key.
    ///
    /// The id and everything else stay; the old key is dead, and `rotation_days` count from now.
    Post "/admin/v1/apikeys/{id}/rotate" Access::Admin, audit = "apikey.rotate" => rotate_key;
    /// Reset an API key's budget.
    ///
    /// What was spent so far this month no longer counts.
    Post "/admin/v1/apikeys/{id}/paid" Access::Admin, audit = "apikey.budget_paid" => reset_key_budget;
}

/// What a key may do, or parts of it; what is left out stays, or takes its default: a new key may `chat` and `plan`.
#[derive(Deserialize, JsonSchema)]
pub struct AdminKeyFields {
    #[serde(flatten)]
    fields: KeyFields,
    /// Requests a second, in bursts of at most twice as many, instead of the account's limits; 0 for the account's limits,
    /// -1 for none.
    #[schemars(with = "Option<i32>")]
    rate_limit_rps: Option<Value>,
    /// Who pays for a new key's calls; left out, the deployment's own account.
    account_id: Option<String>,
}

/// A new key.
#[derive(Serialize, JsonSchema)]
pub struct NewApiKey {
    ok: bool,
    /// The key; shown this once.
    key: String,
    id: String,
    /// How it begins.
    prefix: String,
    name: String,
    /// A JSON array as text.
    scopes: String,
    /// Who pays for its calls.
    account_id: String,
    warning: &'static str,
}

/// A key with another secret.
#[derive(Serialize, JsonSchema)]
pub struct RotatedApiKey {
    ok: bool,
    /// The new key; shown this once.
    key: String,
    /// How it begins.
    prefix: String,
    warning: &'static str,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
pub struct KeyDone {
    /// Always true.
    ok: bool,
}

/// Which keys, and in which shape.
#[derive(Deserialize, JsonSchema)]
pub struct KeyQuery {
    /// Items at most: 1 to 1,000; anything else counts as 1,000.
    #[schemars(with = "Option<i64>")]
    limit: Option<String>,
    /// Items to skip; anything but a number counts as 0.
    #[schemars(with = "Option<i64>")]
    offset: Option<String>,
    /// `1` for the object even without paging.
    envelope: Option<String>,
}

/// The keys: an array, or a page.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyList {
    /// All of them, up to 1,000.
    Plain(Vec<ApiKey>),
    /// A page.
    Page {
        /// The keys.
        keys: Vec<ApiKey>,
        /// How many there are in all.
        total: i64,
        /// As asked.
        limit: i64,
        /// As asked.
        offset: i64,
    },
}

/// A key; never its secret.
#[derive(Serialize, JsonSchema)]
pub struct ApiKey {
    id: String,
    key_prefix: String,
    name: String,
    /// A JSON array as text; `[]` means every scope.
    scopes: String,
    /// Who pays for its calls.
    account_id: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at: Option<String>,
    /// Give or take a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    rotation_days: i64,
    /// US dollars in a UTC month; 0 for no budget.
    monthly_budget_usd: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_reset_at: Option<String>,
    /// Spent of the budget, by the wallet's books; only with a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_spend_usd: Option<f64>,
    /// Requests a second: 0 for the account's limits, -1 for none.
    rate_limit_rps: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_hour: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent: Option<u32>,
    enabled: bool,
}

const WARNING: &str = "Store this key now: it is not shown again.";
/// What a new key may do when nobody says.
const NEW_SCOPES: &str = r#"["chat","plan"]"#;
/// The account that pays where none is named.
const HOUSE_ACCOUNT: &str = "acc_house";
/// Its limits for each key, until somebody sets others: sixty requests a second.
const HOUSE_LIMITS: [i64; 3] = [3_600, 216_000, 120];

async fn create_key(cx: Cx, Json(new): Json<AdminKeyFields>) -> Result<Reply<NewApiKey>, ApiError> {
    if new.fields.is_nameless() {
        return Err(ApiError::invalid("name", "name required"));
    }
    let mut patch = read_patch(&cx, &new)?;
    let named = new.account_id.filter(|id| !id.is_empty());
    let account_id = match &named {
        Some(id) => find_account(id).run(&*cx.ports.db).await?.ok_or_else(|| ApiError::not_found("account"))?.id,
        None => HOUSE_ACCOUNT.to_owned(),
    };
    let scopes = patch.new_scopes(NEW_SCOPES).to_owned();
    let name = patch.name().to_owned();
    let issued = issue_key(&cx, &NewKey::new(&account_id, KeyPrefix::TokenHub, &name));
    let IssuedKey { id, key, masked: prefix, write } = issued;
    // Before anything is written: the first write takes the audit's row along.
    cx.audit_resource(&id);
    if named.is_none() {
        open_house(&cx).await?;
    }
    cx.ports.db.run(vec![write, patch.write(&account_id, &id).statement]).await?;
    if patch.enabled() == Some(false) {
        close_gate(&cx, &id).await;
    }
    Ok(Reply(NewApiKey { ok: true, key, id, prefix, name, scopes, account_id, warning: WARNING }))
}

async fn list_api_keys(cx: Cx, Query(query): Query<KeyQuery>) -> Result<Reply<KeyList>, ApiError> {
    let is_page = query.limit.is_some() || query.offset.is_some() || query.envelope.as_deref() == Some("1");
    let page = PageQuery::read(query.limit.as_deref(), query.offset.as_deref());
    let (limit, offset) = (page.limit(), page.offset());
    let (records, total) = run_all(&*cx.ports.db, (list_keys(limit, offset), count_keys())).await?;
    let spent = read_spending(&cx, &records).await;
    let keys = records.into_iter().map(|record| to_api_key(record, &spent)).collect();
    if !is_page {
        return Ok(Reply(KeyList::Plain(keys)));
    }
    Ok(Reply(KeyList::Page { keys, total: total.map_or(0, |t| t.total), limit, offset }))
}

async fn patch_key(cx: Cx, (Path(id), Json(fields)): (Path, Json<AdminKeyFields>)) -> Result<Reply<KeyDone>, ApiError> {
    let patch = read_patch(&cx, &fields)?;
    let record = require_key(&cx, &id).await?;
    change_key(&cx, &record, patch.enabled(), patch.write(&record.account_id, &id)).await?;
    Ok(Reply(KeyDone { ok: true }))
}

fn read_patch(cx: &Cx, fields: &AdminKeyFields) -> Result<KeyPatch, ApiError> {
    let mut patch = KeyPatch::read(&fields.fields, cx.started_ms)?;
    patch.read_rate(fields.rate_limit_rps.as_ref())?;
    Ok(patch)
}

async fn delete_key(cx: Cx, Path(id): Path) -> Result<Reply<KeyDone>, ApiError> {
    if let Some(record) = find_key(&id).run(&*cx.ports.db).await? {
        revoke_key(&cx, &record).await?;
    }
    Ok(Reply(KeyDone { ok: true }))
}

async fn rotate_key(cx: Cx, Path(id): Path) -> Result<Reply<RotatedApiKey>, ApiError> {
    let record = require_key(&cx, &id).await?;
    let (key, prefix) = rotate_secret(&cx, &record).await?;
    Ok(Reply(RotatedApiKey { ok: true, key, prefix, warning: WARNING }))
}

async fn reset_key_budget(cx: Cx, Path(id): Path) -> Result<Reply<KeyDone>, ApiError> {
    let record = require_key(&cx, &id).await?;
    // What this isolate has not reported yet was spent before.
    flush(&cx.app, &cx.ports, &record.account_id).await?;
    reset_budget(&record.account_id, &id, cx.ports.clock.now_ms()).run(&*cx.ports.db).await?;
    cx.app.credentials.forget_account(&record.account_id);
    Ok(Reply(KeyDone { ok: true }))
}

async fn require_key(cx: &Cx, id: &str) -> Result<KeyRecord, ApiError> {
    find_key(id).run(&*cx.ports.db).await?.ok_or_else(|| ApiError::not_found("api key"))
}

/// Opens the deployment's own account unless it is open; a retry gives nothing twice.
async fn open_house(cx: &Cx) -> Result<(), ApiError> {
    let [per_minute, per_hour, concurrent] = HOUSE_LIMITS;
    ensure_account(HOUSE_ACCOUNT, cx.started_ms, per_minute, per_hour, concurrent).run(&*cx.ports.db).await?;
    let amount = cx.app.config.house_credit;
    if amount > MicroUsd::ZERO {
        let reason = "credit of the deployment's own account".to_owned();
        let credit = Command::Credit { id: "house_credit".to_owned(), amount, reason };
        match ask::<Wallet>(&*cx.ports.objects, &name(HOUSE_ACCOUNT), &credit).await? {
            // It was given before, perhaps when the setting was another.
            WalletReply::Moved { .. } | WalletReply::Refused { code: RefusalCode::IdReused, .. } => {}
            other => return Err(ApiError::internal(format!("house credit: {other:?}"))),
        }
    }
    Ok(())
}

/// What the keys with a budget have spent of it, by key, as their wallets say. One that does not answer hides no key.
async fn read_spending(cx: &Cx, records: &[KeyRecord]) -> BTreeMap<String, MicroUsd> {
    let mut by_account: BTreeMap<&str, Vec<&KeyRecord>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.monthly_budget_micros.is_some()) {
        by_account.entry(&record.account_id).or_default().push(record);
    }
    let mut spent = BTreeMap::new();
    for (account_id, keys) in by_account {
        let tallies: Vec<_> =
            keys.iter().map(|key| Tally::of_key(&key.id, key.budget_reset_at_ms.unwrap_or(0))).collect();
        match read_spent(&cx.app, &cx.ports, account_id, &tallies).await {
            Ok(read) => spent.extend(keys.iter().map(|key| key.id.clone()).zip(read)),
            Err(error) => cx.ports.background.log(&format!("{}: wallet of {account_id}: {error:?}", cx.request_id)),
        }
    }
    spent
}

fn to_api_key(record: KeyRecord, spent: &BTreeMap<String, MicroUsd>) -> ApiKey {
    ApiKey {
        current_spend_usd: spent.get(&record.id).map(|spent| spent.to_usd()),
        id: record.id,
        key_prefix: record.masked,
        name: record.name,
        scopes: record.scopes,
        account_id: record.account_id,
        created_at: format_rfc3339(record.created_at_ms),
        rotated_at: record.rotated_at_ms.map(format_rfc3339),
        last_used_at: record.last_used_at_ms.map(format_rfc3339),
        expires_at: record.expires_at_ms.map(format_rfc3339),
        rotation_days: record.rotation_days,
        monthly_budget_usd: record.monthly_budget_micros.map_or(0.0, |micros| MicroUsd(micros).to_usd()),
        budget_reset_at: record.budget_reset_at_ms.map(format_rfc3339),
        rate_limit_rps: record.rate_limit_rps,
        requests_per_minute: record.requests_per_minute,
        requests_per_hour: record.requests_per_hour,
        concurrent: record.concurrent,
        enabled: record.status == "active",
    }
}
