//! Requests that are no chats: embeddings, images, speech, transcriptions and videos, in `OpenAI`'s shapes.
//!
//! A request is checked where a client can act on the fault, measured (what it will cost at most is known before the
//! call), and passed on with nothing changed but the model's name: what the gateway does not know reaches the upstream
//! as it came.

pub mod audio;
mod embeddings;
mod fields;
mod form;
mod images;
mod response;
mod speech;
mod transcription;
mod video;

use std::borrow::Cow;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chat::request::InvalidRequest;
use crate::pricing::{TokenUsage, Unit};

pub use embeddings::{EmbeddingInput, EmbeddingsTask, EncodingFormat};
pub use fields::Fields;
pub use form::{Form, Part, pass_without_boundary};
pub use images::{ImageFormat, ImageQuality, ImagesTask};
pub use response::{MediaAnswer, UpstreamVideo, VideoState, read_answer, read_video};
pub use speech::{SpeechFormat, SpeechTask};
pub use transcription::{TranscriptFormat, TranscriptionTask};
pub use video::VideoTask;

/// Longest prompt of an image or a video, in characters.
pub const MAX_PROMPT_CHARS: usize = 32_000;
/// Largest upload, in bytes: 25 MB, as documented, and room for the rest of the form.
pub const MAX_UPLOAD_BYTES: u32 = 25 << 20;

/// What a model does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Completes chats; priced by the token.
    #[default]
    Chat,
    /// Turns texts into vectors; priced by the input token.
    Embedding,
    /// Draws; priced by the image.
    Image,
    /// Speaks; priced by a million characters.
    Speech,
    /// Writes down what is spoken; priced by the minute.
    Transcription,
    /// Films; priced by the second.
    Video,
}

impl ModelKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Chat, Self::Embedding, Self::Image, Self::Speech, Self::Transcription, Self::Video];

    /// As it is stored, and as records call requests of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Video => "video",
        }
    }

    /// What its price is for; `None` when it is priced by the token.
    #[must_use]
    pub const fn unit(self) -> Option<Unit> {
        match self {
            Self::Chat | Self::Embedding => None,
            Self::Image => Some(Unit::Image),
            Self::Speech => Some(Unit::MillionCharacters),
            Self::Transcription => Some(Unit::Minute),
            Self::Video => Some(Unit::Second),
        }
    }

    /// The path of its endpoint behind an OpenAI-compatible base URL; also ours.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Embedding => "/v1/embeddings",
            Self::Image => "/v1/images/generations",
            Self::Speech => "/v1/audio/speech",
            Self::Transcription => "/v1/audio/transcriptions",
            Self::Video => "/v1/videos",
        }
    }
}

/// A text that names no kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl std::fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("must be one of chat, embedding, image, speech, transcription, video")
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for ModelKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

/// How much of something a call used or may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Tokens.
    Tokens(TokenUsage),
    /// Steps of the model's [`Unit`]: images, characters, seconds.
    Steps(u64),
}

/// A checked request of one of the five kinds; it borrows its body.
#[derive(Clone, Debug)]
pub struct MediaRequest<'a> {
    fields: Fields<'a>,
    model: Cow<'a, str>,
    task: Task<'a>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Task<'a> {
    /// Vectors.
    Embeddings(EmbeddingsTask<'a>),
    /// Pictures.
    Images(ImagesTask<'a>),
    /// Speech.
    Speech(SpeechTask<'a>),
    /// A transcript.
    Transcription(TranscriptionTask<'a>),
    /// A video.
    Video(VideoTask<'a>),
}

impl<'a> MediaRequest<'a> {
    /// Reads and checks a request body. Videos come as JSON or as a form, transcriptions as a form, the others as JSON.
    ///
    /// # Errors
    /// [`InvalidRequest`] that names the parameter at fault.
    pub fn parse(kind: ModelKind, content_type: &str, body: &'a [u8]) -> Result<Self, InvalidRequest> {
        let fields = Fields::parse(content_type, body)?;
        let is_form = matches!(fields, Fields::Form(_));
        let task = match kind {
            ModelKind::Chat => return Err(InvalidRequest::body("A chat is read by its own reader.")),
            ModelKind::Transcription if !is_form => {
                return Err(InvalidRequest::body("The request body must be multipart/form-data."));
            }
            ModelKind::Embedding | ModelKind::Image | ModelKind::Speech if is_form => {
                return Err(InvalidRequest::body("The request body must be a JSON object."));
            }
            ModelKind::Embedding => Task::Embeddings(EmbeddingsTask::read(&fields)?),
            ModelKind::Image => Task::Images(ImagesTask::read(&fields)?),
            ModelKind::Speech => Task::Speech(SpeechTask::read(&fields)?),
            ModelKind::Transcription => Task::Transcription(TranscriptionTask::read(&fields)?),
            ModelKind::Video => Task::Video(VideoTask::read(&fields)?),
        };
        let model = fields.model()?;
        Ok(Self { fields, model, task })
    }

    /// The model asked for; `auto` when none is named.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the client named a model.
    #[must_use]
    pub fn names_model(&self) -> bool {
        matches!(self.fields.text("model"), Ok(Some(_)))
    }

    /// What is asked for.
    #[must_use]
    pub const fn task(&self) -> &Task<'a> {
        &self.task
    }

    /// What the call uses at most; exact but for tokens and for recordings that do not tell their length.
    #[must_use]
    pub fn quantity_upper(&self) -> Quantity {
        match &self.task {
            Task::Embeddings(task) => Quantity::Tokens(tokens(task.tokens_upper())),
            Task::Images(task) => Quantity::Steps(task.images()),
            Task::Speech(task) => Quantity::Steps(task.characters()),
            Task::Transcription(task) => Quantity::Steps(task.seconds_upper()),
            Task::Video(task) => Quantity::Steps(task.seconds()),
        }
    }

    /// What the call likely used, for when the upstream does not say.
    #[must_use]
    pub fn quantity_estimate(&self) -> Quantity {
        match &self.task {
            Task::Embeddings(task) => Quantity::Tokens(tokens(task.tokens_estimate())),
            _ => self.quantity_upper(),
        }
    }

    /// The body's content type, as it was read: what the client wrote beside it could be read otherwise elsewhere.
    #[must_use]
    pub fn content_type(&self) -> String {
        match &self.fields {
            Fields::Json(_) => "application/json".to_owned(),
            Fields::Form(form) => form.content_type(),
        }
    }

    /// The body for an upstream, whose name of the model this is. The content type stays. How long a video is to be is
    /// said as `seconds`, which is `OpenAI`'s word.
    #[must_use]
    pub fn with_model(&self, model: &str) -> Vec<u8> {
        match &self.task {
            Task::Video(task) => self.fields.with_seconds(model, task.seconds_for(model)),
            _ => self.fields.with_model(model),
        }
    }
}

fn tokens(input: u64) -> TokenUsage {
    TokenUsage { input, ..TokenUsage::default() }
}

#[cfg(test)]
mod tests;
