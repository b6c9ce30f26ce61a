//! `POST /v1/audio/transcriptions`.

use super::fields::Fields;
use super::form::Part;
use super::{MAX_UPLOAD_BYTES, audio};
use crate::chat::request::InvalidRequest;

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct TranscriptionTask<'a> {
    /// The recording.
    pub file: Part<'a>,
    /// How the transcript is wanted.
    pub format: TranscriptFormat,
}

/// How a transcript is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranscriptFormat {
    /// `{"text": …}`
    #[default]
    Json,
    /// Nothing but the text.
    Text,
    /// `SubRip` subtitles.
    Srt,
    /// `WebVTT` subtitles.
    Vtt,
    /// The text with duration, language and segments.
    VerboseJson,
}

impl TranscriptFormat {
    const WORDS: [(&'static str, Self); 5] = [
        ("json", Self::Json),
        ("text", Self::Text),
        ("srt", Self::Srt),
        ("vtt", Self::Vtt),
        ("verbose_json", Self::VerboseJson),
    ];

    /// Whether the answer is JSON.
    #[must_use]
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::VerboseJson)
    }

    /// The content type of an answer in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson => "application/json",
            Self::Vtt => "text/vtt; charset=utf-8",
            Self::Text | Self::Srt => "text/plain; charset=utf-8",
        }
    }
}

impl<'a> TranscriptionTask<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InvalidRequest> {
        let file = fields.file("file")?.ok_or_else(|| InvalidRequest::new("file", "is required"))?;
        if file.filename.is_none() {
            return Err(InvalidRequest::new("file", "must be a file with a name"));
        }
        if file.bytes.is_empty() {
            return Err(InvalidRequest::new("file", "must not be empty"));
        }
        if let Some(language) = fields.text("language")?
            && !(language.len() == 2 && language.bytes().all(|byte| byte.is_ascii_lowercase()))
        {
            return Err(InvalidRequest::new("language", "must be an ISO 639-1 code of two lower-case letters"));
        }
        fields.thousandths("temperature", &(0..=1_000))?;
        fields.short_text("prompt", 4_096)?;
        if fields.text("stream")?.is_some_and(|stream| stream != "false") {
            return Err(InvalidRequest::new("stream", "must be false"));
        }
        Ok(Self {
            file: file.clone(),
            format: fields.one_of("response_format", &TranscriptFormat::WORDS)?.unwrap_or_default(),
        })
    }

    /// Whether the recording is larger than documented.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        self.file.bytes.len() > MAX_UPLOAD_BYTES as usize
    }

    /// Seconds that the recording can't exceed: exact, rounded up, when its container tells.
    #[must_use]
    pub fn seconds_upper(&self) -> u64 {
        audio::seconds_upper(self.file.bytes)
    }
}
