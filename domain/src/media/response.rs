//! Upstreams' answers: the model's name put back, what was used read, all else passed on.

use serde::Deserialize;

use crate::answer::InvalidAnswer;
use crate::chat::usage::read_usage;
use crate::json::{JsonError, Kind, Raw, Reader, push_string};
use crate::pricing::TokenUsage;

/// Above this a length is a fault of the upstream, not a bill.
const MAX_SECONDS: f64 = 1_000_000.0;

/// An upstream's JSON answer as the client gets it, and what it tells about its cost.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaAnswer {
    /// The answer, its `model`, if it has one, the one that was asked for, all else the upstream's bytes.
    pub body: Vec<u8>,
    /// Tokens as the upstream counted them.
    pub usage: Option<TokenUsage>,
    /// Seconds of audio or video as the upstream counted them, rounded up.
    pub seconds: Option<u64>,
    /// Items of `data`: pictures, vectors.
    pub items: u64,
}

/// Reads a JSON answer of embeddings, images or a transcription, and puts the model that was asked for into it.
///
/// # Errors
/// [`InvalidAnswer`].
pub fn read_answer(body: &[u8], asked_model: &str) -> Result<MediaAnswer, InvalidAnswer> {
    std::str::from_utf8(body).map_err(|error| JsonError { at_bytes: error.valid_up_to(), reason: "bad UTF-8" })?;
    let mut reader = Reader::new(body);
    if reader.peek()? != Kind::Object {
        return Err(InvalidAnswer::NotAnObject);
    }
    reader.enter_object()?;
    let mut out = Vec::with_capacity(body.len() + asked_model.len());
    let mut copied = 0;
    let mut answer = MediaAnswer { body: Vec::new(), usage: None, seconds: None, items: 0 };
    let (mut has_error, mut has_content) = (false, false);
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"model" => {
                let value = reader.read_value()?;
                out.extend_from_slice(&body[copied..value.start]);
                push_string(asked_model, &mut out);
                copied = value.end();
            }
            b"usage" => {
                let value = reader.read_value()?;
                answer.usage = read_usage(&mut Reader::new(value.bytes))?;
                answer.seconds = answer.seconds.or(read_usage_seconds(value));
            }
            b"duration" => answer.seconds = answer.seconds.or(read_seconds(reader.read_value()?)),
            b"data" => answer.items = count_items(&mut reader)?,
            b"text" => has_content |= reader.read_value()?.kind() == Kind::String,
            b"error" => has_error |= matches!(reader.read_value()?.kind(), Kind::Object | Kind::String),
            _ => {
                reader.read_value()?;
            }
        }
    }
    reader.finish()?;
    if answer.items == 0 && !has_content {
        return Err(if has_error { InvalidAnswer::UpstreamError } else { InvalidAnswer::Empty });
    }
    out.extend_from_slice(&body[copied..]);
    Ok(MediaAnswer { body: out, ..answer })
}

fn count_items(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let mut items = 0;
    if reader.enter_array()? {
        while reader.next_item()? {
            reader.read_value()?;
            items += 1;
        }
    }
    Ok(items)
}

/// `{"type":"duration","seconds":3}`, as transcriptions report it.
fn read_usage_seconds(usage: Raw<'_>) -> Option<u64> {
    let mut reader = Reader::new(usage.bytes);
    let mut seconds = None;
    if reader.enter_object().ok()? {
        while let Some(member) = reader.next_member().ok()? {
            let value = reader.read_value().ok()?;
            if member.key.as_ref() == b"seconds" {
                seconds = read_seconds(value);
            }
        }
    }
    seconds
}

/// A number of seconds, or its text, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range is checked")]
fn read_seconds(value: Raw<'_>) -> Option<u64> {
    let text = value.to_text().unwrap_or_else(|| String::from_utf8_lossy(value.bytes));
    let seconds: f64 = text.trim().parse().ok()?;
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| seconds.ceil() as u64)
}

/// What an upstream says of a video that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamVideo {
    /// Its id at the upstream.
    pub id: String,
    /// How far it is.
    pub state: VideoState,
    /// Percent done, where the upstream says.
    pub progress: Option<u8>,
    /// How long it is, where the upstream says, in seconds.
    pub seconds: Option<u64>,
    /// Where it can be loaded without a key, where the upstream says.
    pub url: Option<String>,
}

/// How far a video is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoState {
    /// Not done.
    Processing,
    /// Done.
    Completed,
    /// It will never be; why, for the client.
    Failed(String),
}

/// Longest reason or address that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 2_048;

/// Reads what an upstream says of a video.
///
/// # Errors
/// [`InvalidAnswer`] when it is no object with an id and a status that is known.
pub fn read_video(body: &[u8]) -> Result<UpstreamVideo, InvalidAnswer> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        id: String,
        #[serde(default)]
        status: String,
        progress: Option<serde_json::Number>,
        seconds: Option<serde_json::Value>,
        url: Option<String>,
        error: Option<serde_json::Value>,
    }
    let wire: Wire = serde_json::from_slice(body).map_err(|_| InvalidAnswer::NotAnObject)?;
    let reason = || {
        let message = wire.error.as_ref().and_then(|error| error.get("message").unwrap_or(error).as_str());
        keep(message.unwrap_or("the provider could not make the video"))
    };
    let state = match wire.status.as_str() {
        "queued" | "pending" | "in_progress" | "processing" | "running" => VideoState::Processing,
        "completed" | "succeeded" => VideoState::Completed,
        "failed" | "cancelled" | "canceled" | "expired" => VideoState::Failed(reason()),
        _ if wire.error.is_some() => return Err(InvalidAnswer::UpstreamError),
        _ => return Err(InvalidAnswer::Empty),
    };
    if wire.id.is_empty() || wire.id.len() > 256 {
        return Err(InvalidAnswer::Empty);
    }
    let seconds = wire.seconds.map(|seconds| seconds.to_string());
    let seconds = seconds.as_ref().and_then(|text| read_seconds(Raw { bytes: text.as_bytes(), start: 0 }));
    let progress = wire.progress.and_then(|progress| progress.as_u64());
    Ok(UpstreamVideo {
        id: wire.id,
        state,
        progress: progress.and_then(|percent| u8::try_from(percent.min(100)).ok()),
        seconds,
        url: wire
            .url
            .filter(|url| url.len() <= MAX_TEXT_BYTES && url.starts_with("http") && !url.contains(char::is_control)),
    })
}

fn keep(text: &str) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}
