//! An account's keys, as its owner looks after them: Tokaroo's and `ToolRouter`'s routes in one.

use durable_objects::wallet::protocol::AMOUNT_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::{read_metadata, read_name, read_positive_usd};
use super::key_fields::{KeyFields, KeyPatch};
use super::key_view::{OwnKey, OwnKeyWithSecret, ToolRouterKey, show_keys};
use super::workspace_names::{begin_workspace, id_of_workspace_called, workspace_not_found};
use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::issue::{IssuedKey, NewKey, issue_key};
use crate::auth::keys::{change_key, close_gate, revoke_key, rotate_key};
use crate::auth::rights::{Grant, Rights};
use crate::auth::scope::Scopes;
use crate::error::{ApiError, Kind};
use crate::gateway::own::require_open;
use crate::http::dialect::Dialect;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::page::PageQuery;
use crate::http::route::Access;
use crate::payments::activation;
use crate::routes;
use crate::store::identity::accounts::find_account;
use crate::store::identity::keys::{KeyRecord, count_own_keys, find_grant, find_own_key, grant_credits, list_own_keys};
use crate::store::identity::workspaces::find_workspace;
use crate::store::money::billing::note_first_key;
use crate::store::sql::Statement;
use crate::store::statement::{Changed, run_all};

routes! {
    tag "Keys", dialect Shared;
    /// Create an API key.
    ///
    /// A person's session creates `tok_` keys, a `ToolRouter` key creates `tr_live_` keys; any key works on every surface.
    /// A key gives no rights that it does not have.
    Post "/v1/keys" Access::Keeper => create_own_key;
    /// List the account's API keys, newest first.
    ///
    /// `data` for Tokaroo's clients, `keys` for `ToolRouter`'s. A key of a workspace sees the keys of that workspace,
    /// one with a budget or credits of its own itself.
    Get "/v1/keys" Access::Keeper => list_keys_of_account;
    /// Get an API key.
    Get "/v1/keys/{id}" Access::Keeper => get_own_key;
    /// Change parts of an API key.
    ///
    /// What is left out stays. A key that is disabled is refused at once where it was, within two seconds everywhere.
    Patch "/v1/keys/{id}" Access::Keeper => patch_own_key;
    /// Revoke an API key.
    ///
    /// For good, and at once. No key revokes itself.
    Delete "/v1/keys/{id}" Access::Keeper => delete_own_key;
    /// Add credits to an API key.
    ///
    /// Credits are what the key may spend of the account's balance in all. A key without them gets this limit from now on.
    Post "/v1/keys/{id}/credits" Access::Keeper => add_key_credits;
    /// Rotate an API key.
    ///
    /// The id and everything else stay; the old key is dead, and `rotation_days` count from now. Of two rotations at once one
    /// is a 409. A key that rotates itself and loses the answer cannot ask for it again: another key or the owner rotates it.
    Post "/v1/keys/{id}/rotate" Access::Keeper => rotate_own_key;
    /// Create an API key (Tokaroo's path).
    Post "/v1/api-keys" Access::Keeper, dialect = Dialect::Tokaroo => create_own_key;
    /// List the account's API keys (Tokaroo's path).
    Get "/v1/api-keys" Access::Keeper, dialect = Dialect::Tokaroo => list_keys_of_account;
    /// Revoke an API key (Tokaroo's path).
    Delete "/v1/api-keys/{id}" Access::Keeper, dialect = Dialect::Tokaroo => delete_own_key;
}

/// A key to create.
#[derive(Deserialize, JsonSchema)]
pub struct NewOwnKey {
    #[serde(flatten)]
    change: KeyChange,
    /// US dollars that it may spend in all, more than 0; left out, it may spend what the account has.
    #[schemars(with = "Option<f64>")]
    credits: Option<Value>,
    /// The workspace that it belongs to; an unknown one is refused unless `workspace_name` is there.
    workspace_id: Option<String>,
    /// What people call the workspace, which is created if it does not exist. Alone it stands for the one that is called so.
    #[schemars(with = "Option<String>")]
    workspace_name: Option<Value>,
}

/// What a key may do, or parts of it.
#[derive(Deserialize, JsonSchema)]
pub struct KeyChange {
    #[serde(flatten)]
    fields: KeyFields,
    /// A JSON object of the owner's own, up to 4 KiB; it takes the place of the former one.
    #[schemars(with = "Option<Map<String, Value>>")]
    metadata: Option<Value>,
}

/// Credits to add.
#[derive(Deserialize, JsonSchema)]
pub struct NewKeyCredits {
    /// US dollars, more than 0.
    #[schemars(with = "f64")]
    amount: Option<Value>,
}

/// Which keys.
#[derive(Deserialize, JsonSchema)]
pub struct OwnKeysQuery {
    /// Only those of this workspace.
    workspace_id: Option<String>,
    /// Items at most: 1 to 1,000; anything else counts as 1,000.
    #[schemars(with = "Option<i64>")]
    limit: Option<String>,
    /// Items to skip; anything but a number counts as 0.
    #[schemars(with = "Option<i64>")]
    offset: Option<String>,
}

/// Keys.
#[derive(Serialize, JsonSchema)]
pub struct OwnKeys {
    /// Always `list`.
    object: &'static str,
    /// In Tokaroo's shape.
    data: Vec<OwnKey>,
    /// The same ones in `ToolRouter`'s shape.
    keys: Vec<ToolRouterKey>,
    /// Whether there are more after these.
    has_more: bool,
    /// How many there are in all.
    total: i64,
}

/// A key was revoked.
#[derive(Serialize, JsonSchema)]
pub struct KeyRevoked {
    /// Always true.
    deleted: bool,
    /// Always true.
    revoked: bool,
    id: String,
}

const NEW_NAME: &str = "API key";
/// Keys of one account that are not revoked. Creations at the same time may go a few beyond it.
const KEYS_MAX: i64 = 1_000;
/// Limits that an owner may set, unless the account's are higher: requests a minute, an hour, calls at once.
const LIMITS_MAX: [i64; 3] = [6_000, 100_000, 100];

async fn create_own_key(cx: Cx, Json(new): Json<NewOwnKey>) -> Result<Reply<OwnKeyWithSecret>, ApiError> {
    let (account_id, rights) = (cx.caller.account_id()?.to_owned(), Rights::of(&cx.caller));
    let mut patch = read_patch(&cx, &new.change)?;
    let credits = new.credits.as_ref().map(|credits| read_positive_usd("credits", credits)).transpose()?;
    let standard = rights.standard();
    patch.new_expiry(standard.expires_at_ms);
    let workspace_name = new.workspace_name.as_ref().map(read_name).transpose()?;
    let workspace_id = match (new.workspace_id.clone().or(standard.workspace_id), &workspace_name) {
        (None, Some(name)) => Some(id_of_workspace_called(&cx, &account_id, name).await?),
        (said, _) => said,
    };
    let grant = Grant {
        scopes: Scopes::read(patch.new_scopes(&standard.scopes.write())),
        workspace_id,
        expires_at_ms: patch.expires_at_ms().filter(|at_ms| *at_ms > 0),
    };
    rights.check(&grant)?;
    check_limits(&cx, &account_id, &patch).await?;
    check_room(&cx, &account_id).await?;
    let is_persons = matches!(cx.caller, Caller::Session(_));
    if is_persons {
        activation::require(&cx, &account_id).await?;
    }
    let workspace =
        choose_workspace(&cx, &account_id, grant.workspace_id.as_deref(), workspace_name.as_deref()).await?;
    let name = if patch.name().is_empty() { NEW_NAME } else { patch.name() };
    let new = NewKey {
        workspace_id: grant.workspace_id.as_deref(),
        credits,
        ..NewKey::new(&account_id, rights.prefix(), name)
    };
    let IssuedKey { id, key, write, .. } = issue_key(&cx, &new);
    let first = is_persons.then(|| note_first_key(&account_id, &id).statement);
    let writes = workspace.into_iter().chain([write, patch.write(&account_id, &id).statement]).chain(first);
    cx.ports.db.run(writes.collect()).await?;
    if patch.enabled() == Some(false) {
        close_gate(&cx, &id).await;
    }
    Ok(Reply(OwnKeyWithSecret { key, shown: show_one(&cx, &rights, &id).await? }))
}

async fn list_keys_of_account(cx: Cx, Query(query): Query<OwnKeysQuery>) -> Result<Reply<OwnKeys>, ApiError> {
    let (account_id, rights) = (cx.caller.account_id()?, Rights::of(&cx.caller));
    let workspace_id = match (rights.workspace_id(), query.workspace_id.as_deref()) {
        (Some(own), Some(asked)) if own != asked => return Err(workspace_not_found()),
        (own, asked) => own.or(asked),
    };
    let page = PageQuery::read(query.limit.as_deref(), query.offset.as_deref());
    let (limit, offset) = (page.limit(), page.offset());
    let only = rights.only_key_id();
    let reads =
        (list_own_keys(account_id, workspace_id, only, limit, offset), count_own_keys(account_id, workspace_id, only));
    let (records, total) = run_all(&*cx.ports.db, reads).await?;
    let data = show_keys(&cx, account_id, records).await?;
    let keys: Vec<_> = data.iter().map(ToolRouterKey::from).collect();
    let total = total.map_or(0, |count| count.total);
    let shown = i64::try_from(data.len()).map_err(ApiError::internal)?;
    Ok(Reply(OwnKeys { object: "list", data, keys, has_more: offset.saturating_add(shown) < total, total }))
}

async fn get_own_key(cx: Cx, Path(id): Path) -> Result<Reply<OwnKey>, ApiError> {
    show_one(&cx, &Rights::of(&cx.caller), &id).await.map(Reply)
}

async fn patch_own_key(cx: Cx, (Path(id), Json(change)): (Path, Json<KeyChange>)) -> Result<Reply<OwnKey>, ApiError> {
    let rights = Rights::of(&cx.caller);
    let patch = read_patch(&cx, &change)?;
    let record = require_key(&cx, &rights, &id).await?;
    let has = grant_of(&record);
    rights.check(&has)?;
    rights.check(&Grant {
        scopes: patch.scopes().map_or_else(|| has.scopes.clone(), Scopes::read),
        expires_at_ms: patch.expires_at_ms().map_or(has.expires_at_ms, |at_ms| Some(at_ms).filter(|ms| *ms > 0)),
        ..has
    })?;
    check_limits(&cx, &record.account_id, &patch).await?;
    if patch.enabled() == Some(false) && rights.is_own_key(&id) {
        return Err(ApiError::new(Kind::Conflict, "A key can't disable itself: use another key, or sign in"));
    }
    change_key(&cx, &record, patch.enabled(), patch.write(&record.account_id, &id)).await?;
    show_one(&cx, &rights, &id).await.map(Reply)
}

async fn delete_own_key(cx: Cx, Path(id): Path) -> Result<Reply<KeyRevoked>, ApiError> {
    let rights = Rights::of(&cx.caller);
    let record = require_key(&cx, &rights, &id).await?;
    if rights.is_own_key(&id) {
        return Err(ApiError::new(Kind::Conflict, "A key can't revoke itself: use another key, or sign in"));
    }
    rights.check(&grant_of(&record))?;
    revoke_key(&cx, &record).await?;
    Ok(Reply(KeyRevoked { deleted: true, revoked: true, id }))
}

async fn add_key_credits(
    cx: Cx,
    (Path(id), Json(new)): (Path, Json<NewKeyCredits>),
) -> Result<Reply<OwnKey>, ApiError> {
    let amount = new.amount.ok_or_else(|| ApiError::invalid("amount", "amount required"))?;
    let amount = read_positive_usd("amount", &amount)?;
    let rights = Rights::of(&cx.caller);
    let record = require_key(&cx, &rights, &id).await?;
    rights.check(&grant_of(&record))?;
    let (db, name) = (&*cx.ports.db, cx.name_once("grant"));
    let grant = grant_credits(&record.account_id, &id, &name, amount.0, AMOUNT_MAX.0, cx.started_ms);
    if grant.run(db).await? == Changed(0) {
        match find_grant(&record.account_id, &id, &name).run(db).await? {
            None => return Err(ApiError::invalid("amount", format!("a key has at most {AMOUNT_MAX} of credits"))),
            Some(known) if known.amount_micros != amount.0 => {
                let text = "This Idempotency-Key was used for another amount; nothing was added";
                return Err(ApiError::new(Kind::IdempotencyMismatch, text));
            }
            Some(known) if !cx.may_have_made(known.created_at_ms) => {
                let text = "This Idempotency-Key was used for credits before; nothing was added. Use another key";
                return Err(ApiError::new(Kind::Conflict, text));
            }
            // The request has come before.
            Some(_) => {}
        }
    }
    cx.app.credentials.forget_account(&record.account_id);
    show_one(&cx, &rights, &id).await.map(Reply)
}

async fn rotate_own_key(cx: Cx, Path(id): Path) -> Result<Reply<OwnKeyWithSecret>, ApiError> {
    let rights = Rights::of(&cx.caller);
    let record = require_key(&cx, &rights, &id).await?;
    if !rights.is_own_key(&id) {
        rights.check(&grant_of(&record))?;
    }
    let (key, _) = rotate_key(&cx, &record).await?;
    Ok(Reply(OwnKeyWithSecret { key, shown: show_one(&cx, &rights, &id).await? }))
}

fn read_patch(cx: &Cx, change: &KeyChange) -> Result<KeyPatch, ApiError> {
    let mut patch = KeyPatch::read(&change.fields, cx.started_ms)?;
    patch.metadata = change.metadata.as_ref().map(read_metadata).transpose()?;
    Ok(patch)
}

/// Refuses limits beyond what an owner may set.
async fn check_limits(cx: &Cx, account_id: &str, patch: &KeyPatch) -> Result<(), ApiError> {
    let given = patch.limits();
    if given.iter().all(|(_, limit)| limit.is_none()) {
        return Ok(());
    }
    let account = find_account(account_id).run(&*cx.ports.db).await?;
    let account = account.ok_or_else(|| ApiError::not_found("account"))?;
    let of_account = [account.requests_per_minute, account.requests_per_hour, account.concurrent];
    for (((field, limit), of_account), most) in given.into_iter().zip(of_account).zip(LIMITS_MAX) {
        let most = of_account.map_or(most, |of_account| most.max(i64::from(of_account)));
        if limit.is_some_and(|limit| limit > most) {
            return Err(ApiError::invalid(field, format!("{field} must be at most {most}")));
        }
    }
    Ok(())
}

async fn check_room(cx: &Cx, account_id: &str) -> Result<(), ApiError> {
    let known = count_own_keys(account_id, None, None).run(&*cx.ports.db).await?.map_or(0, |count| count.total);
    if known >= KEYS_MAX {
        return Err(ApiError::new(Kind::Conflict, format!("An account has at most {KEYS_MAX} keys; revoke one first")));
    }
    Ok(())
}

/// The write that creates a new key's workspace, where it is to be created.
async fn choose_workspace(
    cx: &Cx,
    account_id: &str,
    workspace_id: Option<&str>,
    workspace_name: Option<&str>,
) -> Result<Option<Statement>, ApiError> {
    let Some(workspace_id) = workspace_id else { return Ok(None) };
    match (find_workspace(account_id, workspace_id).run(&*cx.ports.db).await?, workspace_name) {
        (Some(workspace), _) => require_open(&workspace).map(|()| None),
        (None, None) => Err(workspace_not_found()),
        (None, Some(name)) => begin_workspace(cx, account_id, workspace_id, name).await.map(Some),
    }
}

fn grant_of(record: &KeyRecord) -> Grant {
    Grant {
        scopes: Scopes::read(&record.scopes),
        workspace_id: record.workspace_id.clone(),
        expires_at_ms: record.expires_at_ms,
    }
}

/// A key that the caller may see; all others are missing.
async fn require_key(cx: &Cx, rights: &Rights, id: &str) -> Result<KeyRecord, ApiError> {
    let record = find_own_key(cx.caller.account_id()?, id).run(&*cx.ports.db).await?;
    let is_seen = |record: &KeyRecord| {
        rights.only_key_id().is_none_or(|only| only == record.id)
            && rights.workspace_id().is_none_or(|workspace_id| record.workspace_id.as_deref() == Some(workspace_id))
    };
    record.filter(is_seen).ok_or_else(|| ApiError::not_found("API key").code("KEY_NOT_FOUND"))
}

async fn show_one(cx: &Cx, rights: &Rights, id: &str) -> Result<OwnKey, ApiError> {
    let record = require_key(cx, rights, id).await?;
    let account_id = record.account_id.clone();
    let shown = show_keys(cx, &account_id, vec![record]).await?;
    shown.into_iter().next().ok_or_else(|| ApiError::internal("a key that was found is gone"))
}
