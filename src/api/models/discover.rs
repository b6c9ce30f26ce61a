//! What a provider could serve: its own list of models.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::gateway::discovery::list_provider_models;
use crate::gateway::keys::find_provider_key;
use crate::http::input::Path;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::models::models::list_names_of;
use crate::store::models::providers::find_provider;
use crate::store::statement::run_all;

routes! {
    tag "Providers", dialect TokenHub;
    /// Discover a provider's models.
    ///
    /// Asks the provider with its own key, for ten seconds at most. What goes wrong there is 502, its 401 included.
    Get "/admin/v1/providers/{id}/discover" Access::Admin => discover_models;
}

/// What a provider serves.
#[derive(Serialize, JsonSchema)]
pub struct Discovery {
    provider_id: String,
    /// By id.
    models: Vec<DiscoveredModel>,
    total: usize,
}

/// A model that a provider serves.
#[derive(Serialize, JsonSchema)]
pub struct DiscoveredModel {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owned_by: Option<String>,
    /// Whether a model of this provider leads to it.
    registered: bool,
}

async fn discover_models(cx: Cx, Path(id): Path) -> Result<Reply<Discovery>, ApiError> {
    let (provider, names) = run_all(&*cx.ports.db, (find_provider(&id), list_names_of(&id))).await?;
    let provider = provider.ok_or_else(|| ApiError::new(Kind::NotFound, "provider not found or has no base URL"))?;
    let known: HashSet<_> = names.into_iter().flat_map(|name| [name.id, name.upstream_model]).collect();
    let key = find_provider_key(&cx.app, &cx.ports, &provider).await?;
    let models = list_provider_models(&cx, &provider, key.as_ref()).await?;
    let models: Vec<_> = models
        .into_iter()
        .map(|model| {
            let id = model.id.as_str().to_owned();
            DiscoveredModel { registered: known.contains(&id), id, owned_by: model.owned_by }
        })
        .collect();
    Ok(Reply(Discovery { provider_id: provider.id, total: models.len(), models }))
}
