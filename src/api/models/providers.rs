//! Providers: upstreams that serve models.

use guildhall_domain::ids::ProviderId;
use guildhall_domain::outbound::{check_url, normalise_base_url};
use guildhall_domain::seal::{NONCE_BYTES, seal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{Page, PageQuery};
use crate::app::Cx;
use crate::gateway::provider::{ProviderKind, key_context};
use crate::http::error::ApiError;
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::observe::events::{Event, publish};
use crate::routes;
use crate::store::models::providers::{
    ProviderRow, count_providers, delete_models_of, delete_provider as delete_provider_row, find_provider,
    list_providers as list_provider_rows, put_provider as put_provider_row,
};
use crate::store::statement::run_both;

routes! {
    tag "Providers", dialect TokenHub;
    /// Create or update a provider.
    ///
    /// The key is sealed at rest and never returned. Left out on an update, it stays.
    Post "/admin/v1/providers" Access::Admin, audit = "provider.upsert" => put_provider;
    /// List providers.
    Get "/admin/v1/providers" Access::Admin => list_providers;
    /// Change parts of a provider.
    ///
    /// A provider that does not exist yet is created.
    Patch "/admin/v1/providers/{id}" Access::Admin, audit = "provider.patch" => patch_provider;
    /// Delete a provider and its models.
    Delete "/admin/v1/providers/{id}" Access::Admin, audit = "provider.delete" => delete_provider;
}

/// A provider, or parts of one; what is left out stays, or takes its default in a new one.
#[derive(Deserialize, JsonSchema)]
pub struct ProviderFields {
    /// Its id. Needed to create one, ignored where the path names it.
    id: Option<String>,
    /// `openai` (any compatible server; the default), `vllm` or `sandbox`.
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
    /// `vault` when a key is sealed here, else `none`.
    cred_store: String,
}

/// A provider was changed.
#[derive(Serialize, JsonSchema)]
pub struct ProviderChanged {
    ok: bool,
    provider: Provider,
}

/// It is done.
#[derive(Serialize, JsonSchema)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}

impl From<ProviderRow> for Provider {
    fn from(row: ProviderRow) -> Self {
        Self { id: row.id, kind: row.r#type, enabled: row.enabled, base_url: row.base_url, cred_store: row.cred_store }
    }
}

const API_KEY_MAX_BYTES: usize = 4_096;

async fn put_provider(cx: Cx, Json(fields): Json<ProviderFields>) -> Result<Reply<ProviderStored>, ApiError> {
    let id = fields.id.clone().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::invalid("id", "provider id required"))?;
    cx.audit_resource(&id);
    let row = store_provider(&cx, &id, fields).await?;
    Ok(Reply(ProviderStored { ok: true, cred_store: row.cred_store }))
}

async fn patch_provider(
    cx: Cx,
    (Path(id), Json(fields)): (Path, Json<ProviderFields>),
) -> Result<Reply<ProviderChanged>, ApiError> {
    let row = store_provider(&cx, &id, fields).await?;
    Ok(Reply(ProviderChanged { ok: true, provider: row.into() }))
}

async fn list_providers(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<Page<Provider>>, ApiError> {
    let (limit, offset) = (page.limit(), page.offset());
    let (rows, total) = run_both(&*cx.ports.db, list_provider_rows(limit, offset), count_providers()).await?;
    let items = rows.into_iter().map(Provider::from).collect();
    Ok(Reply(Page { items, total: total.map_or(0, |t| t.total), limit, offset }))
}

async fn delete_provider(cx: Cx, Path(id): Path) -> Result<Reply<Done>, ApiError> {
    cx.ports.db.run(vec![delete_models_of(&id).statement, delete_provider_row(&id).statement]).await?;
    cx.app.gateway.forget();
    publish(&cx.ports, vec![Event::of_health(&id, "unknown", "removed", cx.started_ms)]).await;
    Ok(Reply(Done { ok: true }))
}

async fn store_provider(cx: &Cx, id: &str, fields: ProviderFields) -> Result<ProviderRow, ApiError> {
    let id: ProviderId = id.parse().map_err(|e| ApiError::invalid("id", format!("id: {e}")))?;
    let known = find_provider(id.as_str()).run(&*cx.ports.db).await?;
    let row = apply_fields(cx, id.as_str(), known, fields)?;
    put_provider_row(
        &row.id,
        &row.r#type,
        &row.base_url,
        row.enabled,
        &row.cred_store,
        row.sealed_key.as_deref(),
        cx.started_ms,
    )
    .run(&*cx.ports.db)
    .await?;
    cx.app.gateway.forget();
    Ok(row)
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
    match (fields.cred_store.as_deref(), fields.api_key.filter(|key| !key.is_empty())) {
        (Some("none"), None) => row.sealed_key = None,
        (None | Some("" | "none" | "vault"), Some(key)) => row.sealed_key = Some(seal_key(cx, id, &key)?),
        (None | Some("" | "vault"), None) => {}
        (Some(_), _) => {
            return Err(ApiError::invalid("cred_store", "cred_store must be vault or none"));
        }
    }
    row.cred_store = if row.sealed_key.is_some() { "vault".to_owned() } else { "none".to_owned() };
    Ok(row)
}

fn seal_key(cx: &Cx, id: &str, key: &str) -> Result<String, ApiError> {
    if key.len() > API_KEY_MAX_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::invalid(
            "api_key",
            format!("api_key must be printable ASCII, at most {API_KEY_MAX_BYTES} bytes"),
        ));
    }
    let mut nonce = [0; NONCE_BYTES];
    cx.ports.random.fill(&mut nonce);
    seal(&cx.app.config.seal_key, nonce, &key_context(id), key).map_err(ApiError::internal)
}
