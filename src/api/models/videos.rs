//! Videos: asked for, followed, loaded.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::video::{Content, Video, create_video as make_video, find_video, load_content};
use crate::http::input::{ContentType, Path, RawFields};
use crate::http::output::{Body, Film, Output, Reply, Shaped, Under};
use crate::http::route::Access;
use crate::ports::{Flow, InboundBody, StreamEnd, StreamTap};
use crate::routes;

routes! {
    tag "Videos", dialect Tokaroo;
    /// Have a video made.
    ///
    /// JSON, or the same fields as a form. The answer comes at once; poll until `status` is `completed` or `failed`. The
    /// price of the whole length is held now and charged when the video is completed; a failed one costs nothing.
    Post "/v1/videos" Access::Key(Scope::Media), body_max_bytes = 25 << 20 => create_video;
    /// Have a video made: another name of `/v1/videos`.
    Post "/v1/videos/generations" Access::Key(Scope::Media), body_max_bytes = 25 << 20 => create_video;
    /// Get a video's state.
    Get "/v1/videos/{id}" Access::Key(Scope::Media) => get_video;
    /// Get a video's state: another name of `/v1/videos/{id}`.
    Get "/v1/videos/generations/{id}" Access::Key(Scope::Media) => get_video;
    /// Load a video's file.
    ///
    /// A redirect where the provider has put it elsewhere. Kept for seven days.
    Get "/v1/videos/{id}/content" Access::Key(Scope::Media) => get_video_content;
}

/// A film to make.
#[derive(JsonSchema)]
#[schemars(rename = "VideoRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::media` reads what is sent")]
struct VideoRequest {
    /// What it shows; at most 32,000 characters.
    prompt: String,
    /// `auto` (the default), `fast`, `max`, or a registered model that films.
    model: Option<String>,
    /// Seconds, 1 to 60; 5 by default.
    duration: Option<u32>,
    /// Another name of `duration`, whole seconds as text too: `OpenAI`'s libraries send it so.
    #[schemars(extend("type" = ["integer", "string", "null"]))]
    seconds: Option<serde_json::Value>,
    /// `WIDTHxHEIGHT` in pixels; 1280x720 by default.
    size: Option<String>,
    /// `WIDTH:HEIGHT`; `16:9` by default, ignored where `size` is given.
    aspect_ratio: Option<String>,
    /// Frames a second, 1 to 60; 24 by default.
    fps: Option<u32>,
}

/// A video.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Video")]
struct VideoState {
    id: String,
    /// Always `video`.
    object: &'static str,
    /// `processing`, `completed` or `failed`.
    status: &'static str,
    /// Where it can be loaded (ours wants the key); present when it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Percent done.
    progress: u8,
    /// The model as asked for.
    model: String,
    /// When it was asked for; seconds since 1970.
    created_at: i64,
    completed_at: Option<i64>,
    /// When it can no longer be loaded.
    expires_at: Option<i64>,
    /// How long it is, as text: `OpenAI`'s libraries want it so.
    seconds: String,
    size: String,
    /// Why it failed.
    error: Option<VideoError>,
    /// What was charged, in US dollars, once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
}

/// Why a video failed.
#[derive(Serialize, JsonSchema)]
struct VideoError {
    code: &'static str,
    message: String,
}

impl VideoState {
    fn of(video: Video, origin: &str) -> Self {
        let is_completed = video.status == "completed";
        let ours = format!("{origin}/v1/videos/{}/content", video.id);
        Self {
            url: is_completed.then(|| video.url.unwrap_or(ours)),
            id: video.id,
            object: "video",
            status: video.status,
            progress: video.progress,
            model: video.model,
            created_at: video.created_at_ms / 1_000,
            completed_at: video.finished_at_ms.filter(|_| is_completed).map(|ms| ms / 1_000),
            expires_at: video.expires_at_ms.filter(|_| is_completed).map(|ms| ms / 1_000),
            seconds: video.seconds.to_string(),
            size: format!("{}x{}", video.size.0, video.size.1),
            error: video.error.map(|message| VideoError { code: "video_generation_failed", message }),
            cost_usd: video.charged.map(guildhall_domain::money::MicroUsd::to_usd),
        }
    }
}

async fn create_video(
    cx: Cx,
    (ContentType(content_type), request): (ContentType, RawFields<VideoRequest>),
) -> Result<Reply<VideoState>, ApiError> {
    let origin = cx.origin.clone();
    let video = make_video(cx, &content_type, &request.body).await?;
    Ok(Reply(VideoState::of(video, &origin)))
}

async fn get_video(cx: Cx, Path(id): Path) -> Result<Reply<VideoState>, ApiError> {
    Ok(Reply(VideoState::of(find_video(&cx, &id).await?, &cx.origin)))
}

async fn get_video_content(cx: Cx, Path(id): Path) -> Result<Shaped<(Film, Under<302, ()>)>, ApiError> {
    let output = match load_content(&cx, &id).await? {
        Content::File(file) => Output::bytes("video/mp4", file),
        Content::Elsewhere(url) => Output::empty().status(302).header("location", url),
        Content::Upstream(inbound) => {
            let content_type =
                if inbound.content_type.is_empty() { "video/mp4".to_owned() } else { inbound.content_type };
            match inbound.body {
                InboundBody::Whole(file) => Output::bytes(&content_type, file),
                InboundBody::Stream { first, rest } => {
                    let body = Body::Relay { first, rest: Some((rest, Box::new(PassTap { cx }))) };
                    Output { status: 200, headers: Vec::new(), body }.header("content-type", content_type)
                }
            }
        }
    };
    Ok(output.into())
}

/// Passes a file on; its price was paid when it was made.
struct PassTap {
    cx: Cx,
}

impl StreamTap for PassTap {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        out.extend_from_slice(chunk);
        Flow::Continue
    }

    fn tick(&mut self) {
        self.cx.keep_up();
    }

    fn end(&mut self, _end: StreamEnd, _out: &mut Vec<u8>) {}
}
