//! Providers: upstreams that serve models.

use guildhall_domain::catalogue::{Capability, find_price};
use guildhall_domain::ids::ProviderId;
use guildhall_domain::outbound::{check_url, normalise_base_url};
use guildhall_domain::secret::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::done::Done;
use super::page::{Page, PageQuery};
use super::price::{is_mode, new_model, take_entry};
use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::discovery::list_provider_models;
use crate::gateway::health::forget_provider;
use crate::gateway::keys::find_provider_key;
use crate::gateway::provider::ProviderKind;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::events::{Event, publish};
use crate::routes;
use crate::store::models::models::{ModelRow, insert_models};
use crate::store::models::providers::{
    ProviderRow, count_providers, delete_models_of, delete_provider as delete_provider_row, find_provider,
    list_providers as list_provider_rows, put_provider as put_provider_row,
};
use crate::store::statement::run_all;
use crate::vault::{discard_provider_key, store_provider_key};

routes! {
    tag "Providers", dialect TokenHub;
    /// Create or update a provider.
    ///
    /// The key is kept in the vault, which must be unlocked, and never returned. Left out on an update, it stays.
    Post "/admin/v1/providers" Access::Admin, audit = "provider.upsert" => put_provider;
    /// List providers.
    Get "/admin/v1/providers" Access::Admin => list_providers;
    /// Change parts of a provider.
    ///
    /// A provider that does not exist yet is created.
    Patch "/admin/v1/providers/{id}" Access::Admin, audit = "provider.patch" => patch_provider;
    /// Delete a provider, its models and its key.
    Delete "/admin/v1/providers/{id}" Access::Admin, audit = "provider.delete" => delete_provider;
}

/// A provider, or parts of one; what is left out stays, or takes its default in a new one.
#[derive(Deserialize, JsonSchema)]
pub struct ProviderFields {
    /// Its id. Needed to create one, ignored where the path names it.
    id: Option<String>,
    /// `openai` (any compatible server; the default), `anthropic`, `vllm` or `sandbox`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Where it answers; a trailing `/v1` is understood. Not needed for `sandbox`.
    base_url: Option<String>,
    /// Whether it takes traffic; true by default.
    enabled: Option<bool>,
    /// `vault` or `none`; `none` forgets a stored key.
    cred_store: Option<String>,
    /// The provider's key.
    api_key: Option<String>,
    /// True: the provider is asked for its models before anything is stored, and those whose names are not taken are
    /// registered with it, at weight 5. Models that the reference catalogue knows get its price, and chat models among
    /// them take traffic at once; all others wait for an administrator.
    autoload_models: Option<bool>,
}

/// A provider; never its key.
#[derive(Serialize, JsonSchema)]
pub struct Provider {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    enabled: bool,
    base_url: String,
    cred_store: String,
}

/// A provider was stored.
#[derive(Serialize, JsonSchema)]
pub struct ProviderStored {
    ok: bool,
    /// `vault` when the provider has a key, else `none`.
    cred_store: String,
    /// The models that were registered; left out unless `autoload_models` was true.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_registered: Option<Vec<String>>,
}

/// A provider was changed.
#[derive(Serialize, JsonSchema)]
pub struct ProviderChanged {
    ok: bool,
    provider: Provider,
    /// The models that were registered; left out unless `autoload_models` was true.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_registered: Option<Vec<String>>,
}

impl From<ProviderRow> for Provider {
    fn from(row: ProviderRow) -> Self {
        Self { id: row.id, kind: row.r#type, enabled: row.enabled, base_url: row.base_url, cred_store: row.cred_store }
    }
}

const API_KEY_MAX_BYTES: usize = 4_096;

/// What is to become of a provider's key.
enum KeyChange {
    Keep,
    Store(SecretText),
    Forget,
}

async fn put_provider(cx: Cx, Json(fields): Json<ProviderFields>) -> Result<Reply<ProviderStored>, ApiError> {
    let id = fields.id.clone().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::invalid("id", "provider id required"))?;
    cx.audit_resource(&id);
    let (row, models_registered) = store_provider(&cx, &id, fields).await?;
    Ok(Reply(ProviderStored { ok: true, cred_store: row.cred_store, models_registered }))
}

async fn patch_provider(
    cx: Cx,
    (Path(id), Json(fields)): (Path, Json<ProviderFields>),
) -> Result<Reply<ProviderChanged>, ApiError> {
    let (row, models_registered) = store_provider(&cx, &id, fields).await?;
    Ok(Reply(ProviderChanged { ok: true, provider: row.into(), models_registered }))
}

async fn list_providers(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<Page<Provider>>, ApiError> {
    let (limit, offset) = (page.limit(), page.offset());
    let (rows, total) = run_all(&*cx.ports.db, (list_provider_rows(limit, offset), count_providers())).await?;
    let items = rows.into_iter().map(Provider::from).collect();
    Ok(Reply(Page { items, total: total.map_or(0, |t| t.total), limit, offset }))
}

async fn delete_provider(cx: Cx, Path(id): Path) -> Result<Reply<Done>, ApiError> {
    // The key goes first: should the rest fail, the call may be repeated, and no key is left without its provider.
    discard_provider_key(&cx.ports, &id).await?;
    cx.ports.db.run(vec![delete_models_of(&id).statement, delete_provider_row(&id).statement]).await?;
    cx.app.gateway.forget();
    forget_provider(&cx.app, &cx.ports, &id).await;
    publish(&cx.ports, vec![Event::of_health(&id, "unknown", "removed", cx.started_ms)]).await;
    Ok(Reply(Done { ok: true }))
}

/// Stores the provider; with it, in one transaction, the models that it was asked for.
async fn store_provider(
    cx: &Cx,
    id: &str,
    fields: ProviderFields,
) -> Result<(ProviderRow, Option<Vec<String>>), ApiError> {
    let id: ProviderId = id.parse().map_err(|e| ApiError::invalid("id", format!("id: {e}")))?;
    let known = find_provider(id.as_str()).run(&*cx.ports.db).await?;
    let autoload = fields.autoload_models == Some(true);
    let change = read_key_change(fields.cred_store.as_deref(), fields.api_key.as_deref())?;
    let before = known.clone();
    let mut row = apply_fields(cx, id.as_str(), known, fields)?;
    // The provider is asked before anything is stored.
    let models = match (autoload, &change) {
        (false, _) => None,
        (true, KeyChange::Store(key)) => Some(load_models(cx, &row, Some(key)).await?),
        (true, KeyChange::Forget) => Some(load_models(cx, &row, None).await?),
        (true, KeyChange::Keep) => {
            let key = find_provider_key(&cx.app, &cx.ports, &row).await?;
            Some(load_models(cx, &row, key.as_ref()).await?)
        }
    };
    let keeps_key = matches!(change, KeyChange::Keep);
    match change {
        KeyChange::Keep => {}
        KeyChange::Store(key) => {
            store_provider_key(&cx.app, &cx.ports, id.as_str(), key).await?;
            (row.cred_store, row.sealed_key) = ("vault".to_owned(), None);
        }
        KeyChange::Forget => {
            discard_provider_key(&cx.ports, id.as_str()).await?;
            (row.cred_store, row.sealed_key) = ("none".to_owned(), None);
        }
    }
    let put = put_provider_row(
        &row.id,
        &row.r#type,
        &row.base_url,
        row.enabled,
        &row.cred_store,
        row.sealed_key.as_deref(),
        cx.started_ms,
    );
    let registered = if let Some(models) = models {
        let models = serde_json::to_string(&models).map_err(ApiError::internal)?;
        let (_, names) = run_all(&*cx.ports.db, (put, insert_models(&models, cx.started_ms))).await?;
        Some(names.into_iter().map(|name| name.id).collect())
    } else {
        put.run(&*cx.ports.db).await?;
        None
    };
    cx.app.gateway.forget();
    if before.is_some_and(|before| !keeps_key || before.r#type != row.r#type || before.base_url != row.base_url) {
        forget_provider(&cx.app, &cx.ports, &row.id).await;
    }
    Ok((row, registered))
}

/// The provider's models as they are registered: what has no price takes no traffic, nor what cannot chat.
async fn load_models(cx: &Cx, provider: &ProviderRow, key: Option<&SecretText>) -> Result<Vec<ModelRow>, ApiError> {
    let models = list_provider_models(cx, provider, key).await?.into_iter();
    let models = models.filter(|model| !is_mode(model.id.as_str())).map(|model| {
        let mut row = new_model(model.id.as_str(), &provider.id);
        if let Some(entry) = find_price(&provider.r#type, model.id.as_str()) {
            take_entry(&mut row, &entry);
            row.enabled = entry.can(Capability::Chat);
        }
        row
    });
    Ok(models.collect())
}

fn apply_fields(
    cx: &Cx,
    id: &str,
    known: Option<ProviderRow>,
    fields: ProviderFields,
) -> Result<ProviderRow, ApiError> {
    let mut row = known.unwrap_or_else(|| ProviderRow {
        id: id.to_owned(),
        r#type: "openai".to_owned(),
        base_url: String::new(),
        enabled: true,
        cred_store: "none".to_owned(),
        sealed_key: None,
    });
    if let Some(kind) = fields.kind.filter(|kind| !kind.is_empty()) {
        row.r#type = kind;
    }
    let kind = ProviderKind::parse(&row.r#type, cx.app.config.mode).map_err(|text| ApiError::invalid("type", text))?;
    if let Some(base_url) = fields.base_url {
        normalise_base_url(&base_url).clone_into(&mut row.base_url);
    }
    if kind != ProviderKind::Sandbox {
        let url = check_url(&row.base_url, cx.app.config.outbound)
            .map_err(|e| ApiError::invalid("base_url", format!("base_url: {e}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ApiError::invalid("base_url", "base_url: must not contain a query or a fragment"));
        }
    }
    row.enabled = fields.enabled.unwrap_or(row.enabled);
    Ok(row)
}

fn read_key_change(cred_store: Option<&str>, api_key: Option<&str>) -> Result<KeyChange, ApiError> {
    if !matches!(cred_store, None | Some("" | "vault" | "none")) {
        return Err(ApiError::invalid("cred_store", "cred_store must be vault or none"));
    }
    match api_key.filter(|key| !key.is_empty()) {
        None if cred_store == Some("none") => Ok(KeyChange::Forget),
        None => Ok(KeyChange::Keep),
        Some(key) if key.len() > API_KEY_MAX_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let text = format!("api_key must be printable ASCII, at most {API_KEY_MAX_BYTES} bytes");
            Err(ApiError::invalid("api_key", text))
        }
        Some(key) => Ok(KeyChange::Store(key.into())),
    }
}
