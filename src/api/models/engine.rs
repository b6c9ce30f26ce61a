//! What the routing table holds right now.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;

use super::page::PageQuery;
use crate::app::Cx;
use crate::error::ApiError;
use crate::gateway::provider::ProviderKind;
use crate::gateway::table::{Offer, Provider, read_snapshot};
use crate::http::input::Query;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Models", dialect TokenHub;
    /// Read the routing table.
    ///
    /// The models and providers as calls are routed, by id. A provider whose key does not open is not among them.
    Get "/admin/v1/engine/models" Access::Admin => list_engine_models;
}

/// The routing table.
#[derive(Serialize, JsonSchema)]
pub struct Engine {
    models: Vec<EngineModel>,
    /// How many models there are in all.
    total: usize,
    limit: i64,
    offset: i64,
    /// The ids of the providers that take traffic.
    adapters: Vec<String>,
    adapter_info: Vec<Adapter>,
}

/// A model as calls are routed to it.
#[derive(Serialize, JsonSchema)]
pub struct EngineModel {
    id: String,
    provider_id: String,
    upstream_model: String,
    weight: u8,
    max_context_tokens: u64,
    max_output_tokens: u64,
    /// US dollars per 1,000 input tokens; null until somebody has said.
    input_per_1k: Option<f64>,
    /// As `input_per_1k`.
    output_per_1k: Option<f64>,
    /// Whether it takes traffic: it is enabled, has a price, and its provider is enabled.
    enabled: bool,
}

/// A provider that takes traffic.
#[derive(Serialize, JsonSchema)]
pub struct Adapter {
    id: String,
    /// What answers when it is up; left out for the sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    health_endpoint: Option<String>,
}

impl From<&Rc<Offer>> for EngineModel {
    fn from(offer: &Rc<Offer>) -> Self {
        let known = |dollars| Some(dollars).filter(|_| offer.is_priced);
        Self {
            id: offer.model_id.as_str().to_owned(),
            provider_id: offer.provider.id.as_str().to_owned(),
            upstream_model: offer.upstream_model.clone(),
            weight: offer.weight,
            max_context_tokens: offer.max_context_tokens,
            max_output_tokens: offer.max_output_tokens,
            input_per_1k: known(offer.price.input.to_usd_per_1k()),
            output_per_1k: known(offer.price.output.to_usd_per_1k()),
            enabled: offer.enabled,
        }
    }
}

impl From<&Rc<Provider>> for Adapter {
    fn from(provider: &Rc<Provider>) -> Self {
        let path = match provider.kind {
            ProviderKind::OpenAi => Some("/v1/models"),
            ProviderKind::Anthropic => Some("/v1/messages"),
            ProviderKind::Vllm => Some("/health"),
            ProviderKind::Sandbox => None,
        };
        let health_endpoint = path.map(|path| provider.endpoint.url(path));
        Self { id: provider.id.as_str().to_owned(), health_endpoint }
    }
}

async fn list_engine_models(cx: Cx, Query(page): Query<PageQuery>) -> Result<Reply<Engine>, ApiError> {
    let (limit, offset) = (page.limit(), page.offset());
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let (take, skip) = (usize::try_from(limit).unwrap_or(0), usize::try_from(offset).unwrap_or(usize::MAX));
    let models = snapshot.offers.iter().skip(skip).take(take).map(EngineModel::from).collect();
    let adapter_info: Vec<_> =
        snapshot.providers.iter().filter(|provider| provider.enabled).map(Adapter::from).collect();
    let adapters = adapter_info.iter().map(|adapter| adapter.id.clone()).collect();
    Ok(Reply(Engine { models, total: snapshot.offers.len(), limit, offset, adapters, adapter_info }))
}
