//! Embeddings, in `OpenAI`'s form.

use guildhall_domain::media::ModelKind;
use schemars::JsonSchema;

use super::shapes::EmbeddingList;
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::face::tell_model;
use crate::gateway::media::run_media;
use crate::http::input::RawJson;
use crate::http::output::RawReply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Embeddings", dialect Tokaroo;
    /// Turn texts into vectors.
    ///
    /// `OpenAI`'s request and answer; fields that are not known here are passed on. `x-tokaroo-cost` is the charge in US
    /// dollars.
    Post "/v1/embeddings" Access::Key(Scope::Embeddings), body_max_bytes = 10 << 20 => create_embeddings;
}

/// Texts to embed.
#[derive(JsonSchema)]
#[schemars(rename = "EmbeddingsRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::media` reads what is sent")]
struct EmbeddingsRequest {
    /// A text, or an array of 1 to 2,048 texts or arrays of token ids, or one array of token ids.
    input: serde_json::Value,
    /// `auto` (the default), or a registered model that embeds.
    model: Option<String>,
    /// `float` (the default) or `base64`.
    encoding_format: Option<String>,
    /// Numbers of a vector; the model's own by default.
    dimensions: Option<u32>,
}

async fn create_embeddings(cx: Cx, request: RawJson<EmbeddingsRequest>) -> Result<RawReply<EmbeddingList>, ApiError> {
    let tells_model = cx.caller.key()?.product == "tokenhub";
    let answer = run_media(cx, ModelKind::Embedding, "application/json", &request.body).await?;
    if !tells_model {
        return Ok(answer.output.into());
    }
    Ok(tell_model(answer.output, answer.negotiated_model, answer.alias_from).into())
}
