//! Speech and transcriptions, in `OpenAI`'s form.

use guildhall_domain::media::{MAX_UPLOAD_BYTES, MediaRequest, ModelKind, Task};
use schemars::JsonSchema;

use super::shapes::Transcription;
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::media::run_media;
use crate::http::input::{ContentType, RawForm, RawJson, too_large};
use crate::http::output::{Captions, PlainText, Reply, Shaped, Sound};
use crate::http::route::Access;
use crate::routes;

/// A recording of the largest size and the rest of its form.
const FORM_MAX_BYTES: u32 = MAX_UPLOAD_BYTES + (256 << 10);

routes! {
    tag "Audio", dialect Tokaroo;
    /// Speak a text.
    ///
    /// The answer is the sound itself, as it comes from the model, with its content type. Priced by a million characters.
    Post "/v1/audio/speech" Access::Key(Scope::Media) => create_speech;
    /// Write down what is spoken.
    ///
    /// A form with the recording, at most 25 MB. Priced by the minute, counted in seconds.
    Post "/v1/audio/transcriptions" Access::Key(Scope::Media), body_max_bytes = FORM_MAX_BYTES => create_transcription;
}

/// A text to speak.
#[derive(JsonSchema)]
#[schemars(rename = "SpeechRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::media` reads what is sent")]
struct SpeechRequest {
    /// The text; at most 4,096 characters.
    input: String,
    /// `auto` (the default), `fast`, `max`, or a registered model that speaks.
    model: Option<String>,
    /// `alloy` (the default), `echo`, `fable`, `onyx`, `nova`, `shimmer`, or another that the model has.
    voice: Option<String>,
    /// `mp3` (the default), `opus`, `aac`, `flac`, `wav` or `pcm`.
    response_format: Option<String>,
    /// 0.25 to 4; 1 by default.
    speed: Option<f64>,
}

/// A recording to write down, as a form.
#[derive(JsonSchema)]
#[schemars(rename = "TranscriptionRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::media` reads what is sent")]
struct TranscriptionRequest {
    /// The recording, with a file name; at most 25 MB.
    #[schemars(extend("format" = "binary", "contentMediaType" = "application/octet-stream"))]
    file: String,
    /// `auto` (the default), `fast`, `max`, or a registered model that transcribes.
    model: Option<String>,
    /// An ISO 639-1 code such as `en`.
    language: Option<String>,
    /// `json` (the default), `text`, `srt`, `vtt` or `verbose_json`.
    response_format: Option<String>,
    /// 0 to 1.
    temperature: Option<f64>,
}

async fn create_speech(cx: Cx, request: RawJson<SpeechRequest>) -> Result<Shaped<Sound>, ApiError> {
    Ok(run_media(cx, ModelKind::Speech, "application/json", &request.body).await?.output.into())
}

async fn create_transcription(
    cx: Cx,
    (ContentType(content_type), form): (ContentType, RawForm<TranscriptionRequest>),
) -> Result<Shaped<(Reply<Transcription>, (PlainText, Captions))>, ApiError> {
    // The form may be a little larger than a recording may be.
    if form.body.len() > MAX_UPLOAD_BYTES as usize
        && let Ok(request) = MediaRequest::parse(ModelKind::Transcription, &content_type, &form.body)
        && matches!(request.task(), Task::Transcription(task) if task.is_too_large())
    {
        return Err(too_large(MAX_UPLOAD_BYTES));
    }
    Ok(run_media(cx, ModelKind::Transcription, &content_type, &form.body).await?.output.into())
}
