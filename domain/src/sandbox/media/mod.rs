//! The sandbox's other models: pictures, sound, film and vectors that are real, small, and the same every time.

mod bits;
mod film;
mod png;
mod sound;
mod transcript;
mod vectors;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::wire::{ErrorBody, to_json};
use super::{count_words, digest_hex};
use crate::chat::request::InvalidRequest;
use crate::media::{
    EmbeddingInput, EmbeddingsTask, ImageFormat, ImagesTask, MediaRequest, ModelKind, SpeechTask, Task, VideoTask,
};

/// How a prompt begins whose video fails, so that failures can be tried.
pub const FAILING_PROMPT: &str = "sandbox:fail";
/// How long a video is in the making, in milliseconds.
pub const FILMING_MS: i64 = 3_000;

/// What the sandbox answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaReply {
    /// HTTP status: 200 or 400.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl MediaReply {
    fn json(text: String) -> Self {
        Self { status: 200, content_type: "application/json", body: text.into_bytes() }
    }
}

/// Answers a request of one kind. `created_s` is the time that the answer carries, in seconds since 1970.
#[must_use]
pub fn answer(kind: ModelKind, content_type: &str, body: &[u8], created_s: u64) -> MediaReply {
    compose(kind, content_type, body, created_s).unwrap_or_else(|fault| MediaReply {
        status: 400,
        content_type: "application/json",
        body: to_json(&ErrorBody::new(&fault)),
    })
}

fn compose(kind: ModelKind, content_type: &str, body: &[u8], created_s: u64) -> Result<MediaReply, InvalidRequest> {
    let request = MediaRequest::parse(kind, content_type, body)?;
    Ok(match request.task() {
        Task::Embeddings(task) => MediaReply::json(embeddings(task, request.model())),
        Task::Images(task) => MediaReply::json(images(task, created_s)),
        Task::Speech(task) => speech(task)?,
        Task::Transcription(task) => {
            MediaReply { status: 200, content_type: task.format.content_type(), body: transcript::write_down(task) }
        }
        Task::Video(task) => {
            let digest = digest_hex(body);
            let id = format!("video_{}", digest.get(..32).unwrap_or_default());
            MediaReply::json(
                json!({
                    "id": id, "object": "video", "created_at": created_s, "status": "queued", "progress": 0,
                    "model": request.model(), "seconds": task.seconds.to_string(),
                    "size": format!("{}x{}", task.size.0, task.size.1),
                })
                .to_string(),
            )
        }
    })
}

/// The file of a video.
#[must_use]
pub fn film(task: &VideoTask<'_>) -> Vec<u8> {
    film::shoot(&digest(&task.prompt, 0), task)
}

fn digest(prompt: &str, index: u32) -> [u8; 32] {
    Sha256::new().chain_update(prompt).chain_update(index.to_be_bytes()).finalize().into()
}

fn embeddings(task: &EmbeddingsTask<'_>, model: &str) -> String {
    let count = |input: &EmbeddingInput<'_>| match input {
        EmbeddingInput::Text(text) => count_words(text).max(1),
        EmbeddingInput::Tokens(tokens) => tokens.len() as u64,
    };
    let tokens: u64 = task.inputs.iter().map(count).sum();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    let (list, model) = (vectors::to_list(task), json!(model));
    format!(r#"{{"object":"list","data":{list},"model":{model},"usage":{usage}}}"#)
}

fn images(task: &ImagesTask<'_>, created_s: u64) -> String {
    let picture = |index| {
        let base64 = STANDARD.encode(png::draw(&digest(&task.prompt, index), task.size));
        match task.format {
            ImageFormat::Url => json!({
                "url": format!("data:image/png;base64,{base64}"), "revised_prompt": task.prompt,
            }),
            ImageFormat::Base64 => json!({ "b64_json": base64, "revised_prompt": task.prompt }),
        }
    };
    json!({ "created": created_s, "data": (0..task.n).map(picture).collect::<Vec<_>>() }).to_string()
}

fn speech(task: &SpeechTask<'_>) -> Result<MediaReply, InvalidRequest> {
    if !sound::VOICES.contains(&task.voice.as_ref()) {
        let voices = sound::VOICES.join(", ");
        return Err(InvalidRequest::new("voice", format_args!("must be one of {voices}")));
    }
    Ok(MediaReply { status: 200, content_type: task.format.content_type(), body: sound::speak(task) })
}

#[cfg(test)]
mod tests;
