//! What can be asked for as `model`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::gateway::table::read_snapshot;
use crate::http::error::ApiError;
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Models", dialect Tokaroo;
    /// List models.
    ///
    /// The routing modes `auto`, `fast` and `max`, then the registered models. A `tok_` key sees the modes alone.
    Get "/v1/models" Access::Key(Scope::Own) => list_models;
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
    let mut data: Vec<_> = ["auto", "fast", "max"].map(|mode| ListedModel::new(mode, "tokaroo", 0)).into();
    if cx.caller.key()?.product != "tokaroo" {
        let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
        let offers = snapshot.offers.iter().filter(|offer| offer.enabled);
        data.extend(offers.map(|offer| {
            ListedModel::new(offer.model_id.as_str(), offer.provider.id.as_str(), offer.max_context_tokens)
        }));
    }
    Ok(Reply(ModelList { object: "list", data }))
}
