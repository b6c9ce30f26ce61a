//! Images, in `OpenAI`'s form.

use guildhall_domain::media::ModelKind;
use schemars::JsonSchema;

use super::shapes::ImageList;
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::media::run_media;
use crate::http::input::RawJson;
use crate::http::output::RawReply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Images", dialect Tokaroo;
    /// Draw images.
    ///
    /// `OpenAI`'s request and answer. Priced by the image of 1024×1024 pixels: a larger one counts one more, `hd` or
    /// `high` quality one more. The sandbox's `url` is a `data:` address.
    Post "/v1/images/generations" Access::Key(Scope::Media) => create_images;
}

/// Pictures to make.
#[derive(JsonSchema)]
#[schemars(rename = "ImageRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::media` reads what is sent")]
struct ImageRequest {
    /// What they show; at most 32,000 characters.
    prompt: String,
    /// `auto` (the default), `fast`, `max`, or a registered model that draws.
    model: Option<String>,
    /// How many, 1 (the default) to 10.
    n: Option<u32>,
    /// `WIDTHxHEIGHT` in pixels; `1024x1024` by default.
    size: Option<String>,
    /// `standard` (the default), `hd`, `low`, `medium`, `high` or `auto`.
    quality: Option<String>,
    /// `url` (the default) or `b64_json`.
    response_format: Option<String>,
    /// `vivid` or `natural`.
    style: Option<String>,
}

async fn create_images(cx: Cx, request: RawJson<ImageRequest>) -> Result<RawReply<ImageList>, ApiError> {
    Ok(run_media(cx, ModelKind::Image, "application/json", &request.body).await?.output.into())
}
