//! Models: what can be asked for by name, and what it costs.

use std::collections::BTreeMap;

use guildhall_domain::chat::tool_names::ToolNames;
use guildhall_domain::ids::ModelId;
use guildhall_domain::media::ModelKind;
use guildhall_domain::money::Rate;
use guildhall_domain::pricing::Unit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::done::Done;
use super::kind::apply_kind;
use super::page::{Page, PageQuery};
use super::price::{AskedPrice, is_mode, new_model, set_price};
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::input::{Json, Path, Query, read_nullable};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::models::{
    ModelRow, count_models, delete_model as delete_model_row, find_model, list_models as list_model_rows,
    put_model as put_model_row,
};
use crate::store::models::providers::find_provider;
use crate::store::statement::run_all;

routes! {
    tag "Models", dialect TokenHub;
    /// Create or update a model.
    ///
    /// It takes traffic as soon as the answer comes. Rates are US dollars per 1,000 tokens; an enabled model needs
    /// both, or `free`. When neither is said and the reference catalogue (`/v1/models/catalog`) has the upstream's name
    /// under the provider's type, its price is taken, and the sizes that are unknown. Models that embed need the input's
    /// rate, those of other kinds `unit_price_usd`.
    Post "/admin/v1/models" Access::Admin, audit = "model.upsert" => put_model;
    /// List models.
    Get "/admin/v1/models" Access::Admin => list_models;
    /// Change parts of a model.
    ///
    /// The id may contain slashes. A price of the catalogue is looked up anew when the model gets another provider or
    /// another name upstream; a manual price stays.
    Patch "/admin/v1/models/{*id}" Access::Admin, audit = "model.patch" => patch_model;
    /// Delete a model.
    Delete "/admin/v1/models/{*id}" Access::Admin, audit = "model.delete" => delete_model;
}

/// A model, or parts of one; what is left out stays, or takes its default in a new one.
#[derive(Deserialize, JsonSchema)]
pub struct ModelFields {
    /// Its id; may contain slashes. Needed to create one, ignored where the path names it.
    id: Option<String>,
    /// The provider that serves it; must exist. Needed to create one.
    provider_id: Option<String>,
    /// What the provider calls it; the id by default.
    upstream_model: Option<String>,
    /// Preference, 0 to 10; 5 by default.
    weight: Option<i64>,
    /// Context window in tokens; 0 means unknown.
    max_context_tokens: Option<i64>,
    /// Most output tokens of one answer; 0 (the default) means 4,096 when a call does not say.
    max_output_tokens: Option<i64>,
    /// True: it costs nothing, both rates are 0.
    free: Option<bool>,
    /// US dollars per 1,000 input tokens.
    #[schemars(with = "Option<f64>")]
    input_per_1k: Option<Number>,
    /// US dollars per 1,000 output tokens.
    #[schemars(with = "Option<f64>")]
    output_per_1k: Option<Number>,
    /// US dollars per 1,000 input tokens that the provider read from its cache; the input rate by default.
    #[schemars(with = "Option<f64>")]
    cache_read_per_1k: Option<Number>,
    /// US dollars per 1,000 input tokens that the provider wrote to its cache; the input rate by default.
    #[schemars(with = "Option<f64>")]
    cache_write_per_1k: Option<Number>,
    /// What it does; `chat` by default.
    kind: Option<ModelKind>,
    /// US dollars per image, million characters spoken, minute transcribed or second filmed, as its kind says.
    #[schemars(with = "Option<f64>")]
    unit_price_usd: Option<Number>,
    /// Whether it takes traffic; false by default.
    enabled: Option<bool>,
    /// The model's name of a tool for each of the client's: chats go there with these names and come back with the client's.
    /// Null clears it.
    #[serde(default, deserialize_with = "read_nullable")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    tool_name_map: Option<Option<BTreeMap<String, String>>>,
    /// True: what it writes may hold Gemma 4's tokens; thoughts are left out, and calls of tools become `tool_calls`.
    gemma4_output: Option<bool>,
}

/// A model.
#[derive(Serialize, JsonSchema)]
pub struct Model {
    id: String,
    provider_id: String,
    upstream_model: String,
    weight: i64,
    max_context_tokens: i64,
    max_output_tokens: i64,
    /// Null until somebody has said; then the model can't be enabled.
    input_per_1k: Option<f64>,
    /// As `input_per_1k`.
    output_per_1k: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_per_1k: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_per_1k: Option<f64>,
    enabled: bool,
    /// `manual`, or `catalog` when the price is the reference catalogue's.
    pricing_source: String,
    price_version: i64,
    kind: ModelKind,
    /// What `unit_price_usd` is for; absent for kinds that are priced by the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// Absent until somebody has said; then a model with a unit can't be enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price_usd: Option<f64>,
    /// The model's name of a tool for each of the client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name_map: Option<BTreeMap<String, String>>,
    /// True where thoughts and calls of tools come as Gemma 4's tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    gemma4_output: Option<bool>,
}

/// A model was changed.
#[derive(Serialize, JsonSchema)]
pub struct ModelChanged {
    ok: bool,
    model: Model,
}

const TOKENS_MAX: i64 = 100_000_000;

async fn put_model(cx: Cx, Json(fields): Json<ModelFields>) -> Result<Reply<Done>, ApiError> {
    let id = fields.id.clone().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::invalid("id", "model id required"))?;
    if fields.provider_id.as_ref().is_none_or(String::is_empty) {
        return Err(ApiError::invalid("provider_id", "provider_id required"));
    }
    let id: ModelId = id.parse().map_err(|e| ApiError::invalid("id", format!("id: {e}")))?;
    if is_mode(id.as_str()) {
        return Err(ApiError::invalid("id", format!("{} is a routing mode, not a model's name", id.as_str())));
    }
    cx.audit_resource(id.as_str());
    let known = find_model(id.as_str()).run(&*cx.ports.db).await?;
    let mut row = known.unwrap_or_else(|| new_model(id.as_str(), ""));
    change_model(&cx, &mut row, fields).await?;
    Ok(Reply(Done { ok: true }))
}

async fn patch_model(
    cx: Cx,
    (Path(id), Json(fields)): (Path, Json<ModelFields>),
) -> Result<Reply<ModelChanged>, ApiError> {
    let known = find_model(&id).run(&*cx.ports.db).await?;
    let mut row = known.ok_or_else(|| ApiError::new(Kind::NotFound, "model not found"))?;
    change_model(&cx, &mut row, fields).await?;
    let stored = find_model(&id).run(&*cx.ports.db).await?.ok_or_else(|| ApiError::not_found("model"))?;
    Ok(Reply(ModelChanged { ok: true, model: stored.try_into()? }))
}

async fn list_models(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<Page<Model>>, ApiError> {
    let (limit, offset) = (page.limit(), page.offset());
    let (rows, total) = run_all(&*cx.ports.db, (list_model_rows(limit, offset), count_models())).await?;
    let items = rows.into_iter().map(Model::try_from).collect::<Result<_, _>>()?;
    Ok(Reply(Page { items, total: total.map_or(0, |t| t.total), limit, offset }))
}

async fn delete_model(cx: Cx, Path(id): Path) -> Result<Reply<Done>, ApiError> {
    delete_model_row(&id).run(&*cx.ports.db).await?;
    cx.app.gateway.forget();
    Ok(Reply(Done { ok: true }))
}

/// Changes the row as asked, prices it and stores it.
async fn change_model(cx: &Cx, row: &mut ModelRow, fields: ModelFields) -> Result<(), ApiError> {
    let price = AskedPrice::read(
        fields.free,
        fields.input_per_1k.as_ref(),
        fields.output_per_1k.as_ref(),
        fields.cache_read_per_1k.as_ref(),
        fields.cache_write_per_1k.as_ref(),
    )?;
    let (kind, unit_price) = (fields.kind, fields.unit_price_usd.clone());
    let before = (row.provider_id.clone(), row.upstream_model.clone());
    apply_fields(row, fields)?;
    let another = before != (row.provider_id.clone(), row.upstream_model.clone());
    let provider = find_provider(&row.provider_id)
        .run(&*cx.ports.db)
        .await?
        .ok_or_else(|| ApiError::invalid("provider_id", format!("provider {} does not exist", row.provider_id)))?;
    set_price(row, &price, another, &provider.r#type);
    apply_kind(row, kind, unit_price.as_ref())?;
    store_model(cx, row).await
}

fn apply_fields(row: &mut ModelRow, fields: ModelFields) -> Result<(), ApiError> {
    if let Some(provider_id) = fields.provider_id.filter(|id| !id.is_empty()) {
        row.provider_id = provider_id;
    }
    if let Some(upstream_model) = fields.upstream_model.filter(|name| !name.is_empty()) {
        row.upstream_model = upstream_model;
    }
    if let Some(weight) = fields.weight {
        if !(0..=10).contains(&weight) {
            return Err(ApiError::invalid("weight", "weight must be between 0 and 10"));
        }
        row.weight = weight;
    }
    for (field, value, place) in [
        ("max_context_tokens", fields.max_context_tokens, &mut row.max_context_tokens),
        ("max_output_tokens", fields.max_output_tokens, &mut row.max_output_tokens),
    ] {
        let Some(value) = value else { continue };
        if !(0..=TOKENS_MAX).contains(&value) {
            return Err(ApiError::invalid(field, format!("{field} must be between 0 and {TOKENS_MAX}")));
        }
        *place = value;
    }
    row.enabled = fields.enabled.unwrap_or(row.enabled);
    row.gemma4_output = fields.gemma4_output.unwrap_or(row.gemma4_output);
    if let Some(map) = fields.tool_name_map {
        row.tool_name_map = write_tool_names(map.unwrap_or_default())?;
    }
    Ok(())
}

/// A map that every name finds its way back through, as it is stored; none for an empty one.
fn write_tool_names(map: BTreeMap<String, String>) -> Result<Option<String>, ApiError> {
    ToolNames::new(&map).map_err(|text| ApiError::invalid("tool_name_map", text))?;
    Some(map)
        .filter(|map| !map.is_empty())
        .map(|map| serde_json::to_string(&map))
        .transpose()
        .map_err(ApiError::internal)
}

async fn store_model(cx: &Cx, row: &ModelRow) -> Result<(), ApiError> {
    put_model_row(
        &row.id,
        &row.provider_id,
        &row.upstream_model,
        row.weight,
        row.max_context_tokens,
        row.max_output_tokens,
        row.input_rate,
        row.output_rate,
        row.cache_read_rate,
        row.enabled,
        &row.pricing_source,
        cx.started_ms,
        row.kind.name(),
        row.unit_rate,
        row.cache_write_rate,
        row.tool_name_map.as_deref(),
        row.gemma4_output,
    )
    .run(&*cx.ports.db)
    .await?;
    cx.app.gateway.forget();
    Ok(())
}

impl TryFrom<ModelRow> for Model {
    type Error = ApiError;

    fn try_from(row: ModelRow) -> Result<Self, ApiError> {
        let per_1k = |rate| Rate::from_pico_usd_per_token(rate).map(Rate::to_usd_per_1k).map_err(ApiError::internal);
        let per_unit =
            |rate| Rate::from_pico_usd_per_token(rate).map(Rate::to_usd_per_unit).map_err(ApiError::internal);
        Ok(Self {
            id: row.id,
            provider_id: row.provider_id,
            upstream_model: row.upstream_model,
            weight: row.weight,
            max_context_tokens: row.max_context_tokens,
            max_output_tokens: row.max_output_tokens,
            input_per_1k: row.input_rate.map(per_1k).transpose()?,
            output_per_1k: row.output_rate.map(per_1k).transpose()?,
            cache_read_per_1k: row.cache_read_rate.map(per_1k).transpose()?,
            cache_write_per_1k: row.cache_write_rate.map(per_1k).transpose()?,
            enabled: row.enabled,
            pricing_source: row.pricing_source,
            price_version: row.price_version,
            kind: row.kind,
            unit: row.kind.unit(),
            unit_price_usd: row.unit_rate.map(per_unit).transpose()?,
            tool_name_map: row
                .tool_name_map
                .map(|map| serde_json::from_str(&map))
                .transpose()
                .map_err(ApiError::internal)?,
            gemma4_output: row.gemma4_output.then_some(true),
        })
    }
}
