//! `POST /v1/audio/speech`.

use std::borrow::Cow;

use super::fields::Fields;
use crate::chat::request::InvalidRequest;

/// Longest text to speak, in characters.
pub const MAX_INPUT_CHARS: usize = 4_096;
/// Longest name of a voice, in characters.
const MAX_VOICE_CHARS: usize = 64;
/// The voice that is meant when none is named.
const DEFAULT_VOICE: &str = "alloy";

/// What is to be spoken.
#[derive(Clone, Debug)]
pub struct SpeechTask<'a> {
    /// The text.
    pub input: Cow<'a, str>,
    /// The voice; which there are is the model's affair.
    pub voice: Cow<'a, str>,
    /// The container and codec.
    pub format: SpeechFormat,
    /// How fast, in thousandths of the usual speed: 250 to 4,000.
    pub speed_thousandths: u32,
}

/// A container and codec of speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpeechFormat {
    /// MP3.
    #[default]
    Mp3,
    /// Opus in Ogg.
    Opus,
    /// AAC in ADTS.
    Aac,
    /// FLAC.
    Flac,
    /// WAV.
    Wav,
    /// 16-bit little-endian samples at 24 kHz without a header.
    Pcm,
}

impl SpeechFormat {
    const WORDS: [(&'static str, Self); 6] = [
        ("mp3", Self::Mp3),
        ("opus", Self::Opus),
        ("aac", Self::Aac),
        ("flac", Self::Flac),
        ("wav", Self::Wav),
        ("pcm", Self::Pcm),
    ];

    /// The content type of an answer in this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/opus",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }
}

impl<'a> SpeechTask<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, InvalidRequest> {
        let voice = fields.short_text("voice", MAX_VOICE_CHARS)?.unwrap_or(Cow::Borrowed(DEFAULT_VOICE));
        if voice.is_empty() {
            return Err(InvalidRequest::new("voice", "must not be empty"));
        }
        if fields.text("stream_format")?.is_some_and(|format| format != "audio") {
            return Err(InvalidRequest::new("stream_format", "must be audio"));
        }
        Ok(Self {
            input: fields.required_text("input", MAX_INPUT_CHARS)?,
            voice,
            format: fields.one_of("response_format", &SpeechFormat::WORDS)?.unwrap_or_default(),
            speed_thousandths: fields.thousandths("speed", &(250..=4_000))?.unwrap_or(1_000),
        })
    }

    /// Characters to speak.
    #[must_use]
    pub fn characters(&self) -> u64 {
        self.input.chars().count() as u64
    }
}
