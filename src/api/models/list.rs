//! What can be asked for as `model`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::scope::Scope;
use crate::error::{ApiError, Kind};
use crate::gateway::own::find_own;
use crate::gateway::table::read_snapshot;
use crate::http::input::Path;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Models", dialect Tokaroo;
    /// List models.
    ///
    /// The routing modes `auto`, `fast` and `max`, then the registered models, which a `tok_` key or a session does not see, then
    /// those of the caller's own endpoints (`owned_by` is `local`) and of the providers that the caller has keys for.
    Get "/v1/models" Access::Account(Scope::Own) => list_models;
    /// Retrieve a model.
    ///
    /// One of those that the list has; the id may contain slashes.
    Get "/v1/models/{*model}" Access::Account(Scope::Own) => retrieve_model;
}

/// The list, in `OpenAI`'s form.
#[derive(Serialize, JsonSchema)]
pub struct ModelList {
    object: &'static str,
    data: Vec<ListedModel>,
}

/// One model.
#[derive(Serialize, JsonSchema)]
pub struct ListedModel {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: String,
    /// Context window in tokens; left out when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
}

impl ListedModel {
    fn new(id: &str, owned_by: &str, context_length: u64) -> Self {
        let context_length = Some(context_length).filter(|length| *length > 0);
        Self { id: id.to_owned(), object: "model", created: 0, owned_by: owned_by.to_owned(), context_length }
    }
}

async fn list_models(cx: Cx, (): ()) -> Result<Reply<ModelList>, ApiError> {
    Ok(Reply(ModelList { object: "list", data: read_models(&cx).await? }))
}

async fn retrieve_model(cx: Cx, Path(asked): Path) -> Result<Reply<ListedModel>, ApiError> {
    let found = read_models(&cx).await?.into_iter().find(|model| model.id == asked);
    found.map(Reply).ok_or_else(|| {
        let mut error =
            ApiError::new(Kind::NotFound, format!("Model not found: {asked}")).with("code", "model_not_found");
        error.param = Some("model".to_owned());
        error
    })
}

/// What the caller may ask for.
async fn read_models(cx: &Cx) -> Result<Vec<ListedModel>, ApiError> {
    let mut models: Vec<_> = ["auto", "fast", "max"].map(|mode| ListedModel::new(mode, "tokaroo", 0)).into();
    let is_tokaroos = match &cx.caller {
        Caller::Key(key) => key.product == "tokaroo",
        _ => true,
    };
    if !is_tokaroos {
        let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
        let offers = snapshot.offers.iter().filter(|offer| offer.enabled);
        models.extend(offers.map(|offer| {
            ListedModel::new(offer.model_id.as_str(), offer.provider.id.as_str(), offer.max_context_tokens)
        }));
    }
    if let Some(own) = find_own(cx).await {
        let workspace = cx.caller.key()?.workspace_id.as_deref();
        for name in own.list_names(workspace) {
            // What the platform has too is the same name.
            if !models.iter().any(|model| model.id == name.id) {
                models.push(ListedModel::new(name.id, name.owned_by, name.context_tokens));
            }
        }
    }
    Ok(models)
}
