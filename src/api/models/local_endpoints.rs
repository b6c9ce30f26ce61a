//! Endpoints of callers' own.

use std::collections::BTreeMap;

use guildhall_domain::ids::{LocalEndpointId, ModelId};
use guildhall_domain::media::ModelKind;
use guildhall_domain::outbound::{check_url, normalise_base_url};
use guildhall_domain::routing::MAX_WEIGHT;
use guildhall_domain::secret::SecretText;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::gateway::own::check::{examine, recheck};
use crate::gateway::own::secret::{check_secret, seal_secret};
use crate::gateway::own::{ENDPOINTS_MAX, OwnModel, forget_own, require_workspace};
use crate::http::input::{Json, Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::local_endpoints::{
    LocalEndpointRow, count_local_endpoints, delete_local_endpoint as delete_row, find_local_endpoint,
    insert_local_endpoint, list_local_endpoints as list_rows, update_local_endpoint,
};
use crate::store::statement::Changed;

routes! {
    tag "Local endpoints", dialect Tokaroo;
    /// Register an endpoint of your own.
    ///
    /// Any OpenAI-compatible server that can be reached from here. It is asked for its models at once; one that does not
    /// answer is stored as `unreachable`, and calls go to the platform until it does. What it serves is charged 5 % of what
    /// the platform's own route would have cost.
    Post "/v1/local-endpoints" Access::Session => create_local_endpoint;
    /// List local endpoints, oldest first.
    Get "/v1/local-endpoints" Access::Session => list_local_endpoints;
    /// Change parts of a local endpoint.
    ///
    /// What is left out stays. With another address or key it is asked for its models again.
    Patch "/v1/local-endpoints/{id}" Access::Session => patch_local_endpoint;
    /// Delete a local endpoint.
    Delete "/v1/local-endpoints/{id}" Access::Session => delete_local_endpoint;
    /// Ask a local endpoint whether it answers, and for its models.
    Post "/v1/local-endpoints/{id}/recheck" Access::Session => recheck_local_endpoint;
    /// List a local endpoint's models.
    ///
    /// Those that it listed when it last answered, at most 100.
    Get "/v1/local-endpoints/{id}/models" Access::Session => list_local_models;
}

const NAME_MAX_CHARS: usize = 100;
/// Names that are mapped at most.
const MAP_MAX: usize = 50;
const PRIORITY_DEFAULT: i64 = 5;
const RUNTIMES: [&str; 4] = ["ollama", "vllm", "localai", "other"];

/// An endpoint, or parts of one.
#[derive(Deserialize, JsonSchema)]
pub struct LocalEndpointFields {
    /// What to call it; its host by default.
    name: Option<String>,
    /// Where it answers, such as `https://gpu.example.com:8000/v1`. Needed to register one.
    base_url: Option<String>,
    /// Its key, if it wants one; stored sealed and never returned. An empty text takes a stored one away.
    api_key: Option<String>,
    /// The workspace whose calls it serves; all of the account's by default. An empty text takes it out of its workspace.
    workspace_id: Option<String>,
    /// `ollama`, `vllm`, `localai` or `other` (the default).
    runtime: Option<String>,
    /// Whether it takes traffic; true by default.
    enabled: Option<bool>,
    /// Preference among the account's endpoints, 0 to 10; 5 by default.
    priority: Option<i64>,
    /// Which of its models serve which names: `{"fast": "llama3:8b", "gpt-4o": "llama3:70b"}`. Its models serve their own
    /// names in any case, and the first of them every mode that is not mapped.
    model_map: Option<BTreeMap<String, String>>,
}

/// Which endpoints.
#[derive(Deserialize, JsonSchema)]
pub struct LocalEndpointQuery {
    /// Only those of this workspace.
    workspace_id: Option<String>,
}

/// The endpoints.
#[derive(Serialize, JsonSchema)]
pub struct LocalEndpointList {
    object: &'static str,
    data: Vec<LocalEndpoint>,
}

/// An endpoint; never its key.
#[derive(Serialize, JsonSchema)]
pub struct LocalEndpoint {
    id: String,
    name: String,
    base_url: String,
    runtime: String,
    /// `healthy` or `unreachable`.
    status: String,
    /// Why it is unreachable.
    last_error: Option<String>,
    /// The names of its models.
    models: Vec<String>,
    model_map: BTreeMap<String, String>,
    enabled: bool,
    priority: i64,
    has_api_key: bool,
    workspace_id: Option<String>,
    workspace_name: Option<String>,
    last_checked_at: String,
    created_at: String,
}

/// An endpoint's models.
#[derive(Serialize, JsonSchema)]
pub struct LocalModelList {
    object: &'static str,
    data: Vec<LocalModel>,
}

/// One model.
#[derive(Serialize, JsonSchema)]
pub struct LocalModel {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    /// What it most likely does, by its name.
    kind: ModelKind,
}

/// An endpoint is gone.
#[derive(Serialize, JsonSchema)]
pub struct LocalEndpointDeleted {
    /// Always true.
    deleted: bool,
    id: String,
}

/// Fields that have been looked at; `None` where they were left out.
#[derive(Default)]
struct Checked {
    name: Option<String>,
    base_url: Option<String>,
    runtime: Option<String>,
    model_map: Option<String>,
    /// Empty for none.
    workspace_id: Option<String>,
    /// Empty for none.
    api_key: Option<SecretText>,
}

async fn create_local_endpoint(
    cx: Cx,
    Json(fields): Json<LocalEndpointFields>,
) -> Result<Reply<LocalEndpoint>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let (enabled, priority) = (fields.enabled.unwrap_or(true), fields.priority.unwrap_or(PRIORITY_DEFAULT));
    let checked = check_fields(&cx, account_id, fields).await?;
    let base_url = checked.base_url.ok_or_else(|| ApiError::invalid("base_url", "base_url is required"))?;
    if count_local_endpoints(account_id).run(&*cx.ports.db).await?.is_some_and(|count| count.total >= ENDPOINTS_MAX) {
        return Err(ApiError::new(Kind::Conflict, format!("An account has at most {ENDPOINTS_MAX} local endpoints")));
    }
    let id = LocalEndpointId::from_random(cx.draw());
    let key = checked.api_key.filter(|key| !key.expose().is_empty());
    let sealed = match &key {
        Some(key) => Some(seal_secret(&cx, account_id, id.as_str(), key.expose())?),
        None => None,
    };
    let (status, last_error, models) = match examine(&cx.app, &cx.ports, &base_url, key.as_ref()).await {
        Ok(models) => ("healthy", None, models),
        Err(reason) => ("unreachable", Some(reason), Vec::new()),
    };
    let models = serde_json::to_string(&models).map_err(ApiError::internal)?;
    let name = checked.name.unwrap_or_else(|| name_host(&base_url).to_owned());
    insert_local_endpoint(
        account_id,
        id.as_str(),
        &name,
        &base_url,
        checked.runtime.as_deref().unwrap_or("other"),
        checked.workspace_id.as_deref().filter(|id| !id.is_empty()),
        sealed.as_deref(),
        enabled,
        priority,
        checked.model_map.as_deref().unwrap_or("{}"),
        status,
        last_error.as_deref(),
        &models,
        cx.ports.clock.now_ms(),
    )
    .run(&*cx.ports.db)
    .await?;
    forget_own(&cx, account_id);
    to_endpoint(require_endpoint(&cx, account_id, id.as_str()).await?).map(Reply)
}

async fn patch_local_endpoint(
    cx: Cx,
    (Path(id), Json(fields)): (Path, Json<LocalEndpointFields>),
) -> Result<Reply<LocalEndpoint>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    require_endpoint(&cx, account_id, &id).await?;
    let (enabled, priority) = (fields.enabled, fields.priority);
    let checked = check_fields(&cx, account_id, fields).await?;
    let sealed = match &checked.api_key {
        Some(key) if key.expose().is_empty() => Some(String::new()),
        Some(key) => Some(seal_secret(&cx, account_id, &id, key.expose())?),
        None => None,
    };
    update_local_endpoint(
        account_id,
        &id,
        checked.name.as_deref(),
        checked.base_url.as_deref(),
        checked.runtime.as_deref(),
        checked.workspace_id.as_deref(),
        sealed.as_deref(),
        enabled,
        priority,
        checked.model_map.as_deref(),
        cx.started_ms,
    )
    .run(&*cx.ports.db)
    .await?;
    if checked.base_url.is_some() || sealed.is_some() {
        let row = require_endpoint(&cx, account_id, &id).await?;
        recheck(&cx.app, &cx.ports, &row).await?;
    }
    forget_own(&cx, account_id);
    to_endpoint(require_endpoint(&cx, account_id, &id).await?).map(Reply)
}

async fn list_local_endpoints(
    cx: Cx,
    Query(query): Query<LocalEndpointQuery>,
) -> Result<Reply<LocalEndpointList>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let rows = list_rows(account_id, query.workspace_id.as_deref(), ENDPOINTS_MAX).run(&*cx.ports.db).await?;
    let data = rows.into_iter().map(to_endpoint).collect::<Result<_, _>>()?;
    Ok(Reply(LocalEndpointList { object: "list", data }))
}

async fn delete_local_endpoint(cx: Cx, Path(id): Path) -> Result<Reply<LocalEndpointDeleted>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    if delete_row(account_id, &id).run(&*cx.ports.db).await? == Changed(0) {
        return Err(not_found());
    }
    forget_own(&cx, account_id);
    Ok(Reply(LocalEndpointDeleted { deleted: true, id }))
}

async fn recheck_local_endpoint(cx: Cx, Path(id): Path) -> Result<Reply<LocalEndpoint>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let row = require_endpoint(&cx, account_id, &id).await?;
    recheck(&cx.app, &cx.ports, &row).await?;
    to_endpoint(require_endpoint(&cx, account_id, &id).await?).map(Reply)
}

async fn list_local_models(cx: Cx, Path(id): Path) -> Result<Reply<LocalModelList>, ApiError> {
    let account_id = &cx.caller.session()?.account_id;
    let models = read_models(&require_endpoint(&cx, account_id, &id).await?)?;
    let to_model =
        |model: OwnModel| LocalModel { id: model.id, object: "model", created: 0, owned_by: "local", kind: model.kind };
    Ok(Reply(LocalModelList { object: "list", data: models.into_iter().map(to_model).collect() }))
}

async fn require_endpoint(cx: &Cx, account_id: &str, id: &str) -> Result<LocalEndpointRow, ApiError> {
    find_local_endpoint(account_id, id).run(&*cx.ports.db).await?.ok_or_else(not_found)
}

fn not_found() -> ApiError {
    ApiError::not_found("Local endpoint")
}

async fn check_fields(cx: &Cx, account_id: &str, fields: LocalEndpointFields) -> Result<Checked, ApiError> {
    let mut checked = Checked::default();
    if let Some(priority) = fields.priority
        && !(0..=i64::from(MAX_WEIGHT)).contains(&priority)
    {
        return Err(ApiError::invalid("priority", format!("priority must be between 0 and {MAX_WEIGHT}")));
    }
    if let Some(name) = fields.name.filter(|name| !name.is_empty()) {
        if name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
            let text = format!("name must be at most {NAME_MAX_CHARS} printable characters");
            return Err(ApiError::invalid("name", text));
        }
        checked.name = Some(name);
    }
    checked.base_url = fields.base_url.map(|base_url| check_base_url(cx, &base_url)).transpose()?;
    if let Some(runtime) = fields.runtime.filter(|runtime| !runtime.is_empty()) {
        if !RUNTIMES.contains(&runtime.as_str()) {
            return Err(ApiError::invalid("runtime", "runtime must be ollama, vllm, localai or other"));
        }
        checked.runtime = Some(runtime);
    }
    checked.model_map = fields.model_map.map(|map| check_model_map(&map)).transpose()?;
    if let Some(key) = fields.api_key {
        if !key.is_empty() {
            check_secret("api_key", &key)?;
        }
        checked.api_key = Some(key.into());
    }
    require_workspace(cx, account_id, fields.workspace_id.as_deref().filter(|id| !id.is_empty())).await?;
    checked.workspace_id = fields.workspace_id;
    Ok(checked)
}

fn check_base_url(cx: &Cx, base_url: &str) -> Result<String, ApiError> {
    let base_url = normalise_base_url(base_url);
    let refuse = |why: &dyn std::fmt::Display| ApiError::invalid("base_url", format!("base_url: {why}"));
    let url = check_url(base_url, cx.app.config.outbound).map_err(|error| refuse(&error))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(&"must not contain a query or a fragment"));
    }
    Ok(base_url.to_owned())
}

fn check_model_map(map: &BTreeMap<String, String>) -> Result<String, ApiError> {
    let refuse = |text: String| ApiError::invalid("model_map", text);
    if map.len() > MAP_MAX {
        return Err(refuse(format!("model_map must have at most {MAP_MAX} names")));
    }
    for name in map.iter().flat_map(|(asked, model)| [asked, model]) {
        name.parse::<ModelId>().map_err(|error| refuse(format!("model_map: each name {error}")))?;
    }
    serde_json::to_string(map).map_err(ApiError::internal)
}

/// The host of an address that has passed the guard.
fn name_host(base_url: &str) -> &str {
    let rest = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn read_models(row: &LocalEndpointRow) -> Result<Vec<OwnModel>, ApiError> {
    serde_json::from_str(&row.models).map_err(ApiError::internal)
}

fn to_endpoint(row: LocalEndpointRow) -> Result<LocalEndpoint, ApiError> {
    let models = read_models(&row)?.into_iter().map(|model| model.id).collect();
    let model_map = serde_json::from_str(&row.model_map).map_err(ApiError::internal)?;
    Ok(LocalEndpoint {
        id: row.id,
        name: row.name,
        base_url: row.base_url,
        runtime: row.runtime,
        status: row.status,
        last_error: row.last_error,
        models,
        model_map,
        enabled: row.enabled,
        priority: row.priority,
        has_api_key: row.sealed_key.is_some(),
        workspace_id: row.workspace_id,
        workspace_name: row.workspace_name,
        last_checked_at: format_rfc3339(row.last_checked_at_ms),
        created_at: format_rfc3339(row.created_at_ms),
    })
}
