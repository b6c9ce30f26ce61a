//! Message content: parts of the Responses API as parts of a chat message.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{check_text, parse, parse_object};
use crate::chat::request::InvalidRequest;

/// Content of a chat message.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    /// A string as the client wrote it.
    Raw(Cow<'a, RawValue>),
    /// A string made of several.
    Text(String),
    /// Parts.
    Parts(Vec<ChatPart<'a>>),
}

/// A part of a chat message's content.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ChatPart<'a> {
    Text { text: Cow<'a, RawValue> },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: File<'a> },
    InputAudio { input_audio: Cow<'a, RawValue> },
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ImageUrl<'a> {
    url: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<Cow<'a, RawValue>>,
    file_data: Cow<'a, RawValue>,
}

/// A content part as the client sent it.
#[derive(Deserialize)]
struct InputPart<'a> {
    r#type: Option<String>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    refusal: Option<&'a RawValue>,
    image_url: Option<&'a RawValue>,
    detail: Option<&'a RawValue>,
    file_data: Option<&'a RawValue>,
    file_url: Option<&'a RawValue>,
    filename: Option<&'a RawValue>,
    input_audio: Option<&'a RawValue>,
}

/// Reads content: a string or an array of parts.
pub(super) fn read_content<'a>(raw: &'a RawValue, param: &str) -> Result<Content<'a>, InvalidRequest> {
    if raw.get().starts_with('"') {
        return Ok(Content::Raw(Cow::Borrowed(raw)));
    }
    let parts: Vec<&'a RawValue> = parse(raw, param, "must be a string or an array of parts")?;
    let parts = parts.into_iter().enumerate().map(|(index, raw)| read_part(raw, &format!("{param}[{index}]")));
    Ok(Content::Parts(parts.collect::<Result<_, _>>()?))
}

fn read_part<'a>(raw: &'a RawValue, param: &str) -> Result<ChatPart<'a>, InvalidRequest> {
    let part: InputPart<'a> = parse_object(raw, param)?;
    let member = |value: Option<&'a RawValue>, name: &str| {
        let param = format!("{param}.{name}");
        let value = value.ok_or_else(|| InvalidRequest::new(param.as_str(), "is required"))?;
        check_text(value, &param).map(Cow::Borrowed)
    };
    Ok(match part.r#type.as_deref() {
        Some("input_text" | "output_text" | "text") => ChatPart::Text { text: member(part.text, "text")? },
        Some("refusal") => ChatPart::Text { text: member(part.refusal, "refusal")? },
        Some("input_image") => ChatPart::ImageUrl {
            // By `file_id` alone: no files are kept here, so there is nothing to show.
            image_url: ImageUrl { url: member(part.image_url, "image_url")?, detail: part.detail.map(Cow::Borrowed) },
        },
        Some("input_file") => {
            // An address stands where the data would, as for documents of messages.
            let file_data = match part.file_data {
                None if part.file_url.is_some() => member(part.file_url, "file_url")?,
                data => member(data, "file_data")?,
            };
            ChatPart::File { file: File { file_data, filename: part.filename.map(Cow::Borrowed) } }
        }
        Some("input_audio") => {
            let audio = part.input_audio;
            let audio = audio.ok_or_else(|| InvalidRequest::new(format!("{param}.input_audio"), "is required"))?;
            ChatPart::InputAudio { input_audio: Cow::Borrowed(audio) }
        }
        Some(other) => {
            let other: String = other.chars().take(64).collect();
            return Err(InvalidRequest::new(format!("{param}.type"), format_args!("{other:?} is not supported")));
        }
        None => return Err(InvalidRequest::new(format!("{param}.type"), "is required")),
    })
}

impl<'a> Content<'a> {
    /// A text part alone as a plain string: what every server understands.
    pub(super) fn into_simple(self) -> Self {
        match self {
            Self::Parts(mut parts) if parts.len() == 1 => match parts.pop() {
                Some(ChatPart::Text { text }) => Self::Raw(text),
                other => Self::Parts(other.into_iter().collect()),
            },
            other => other,
        }
    }

    /// The texts joined to one string, and the parts that are no text.
    ///
    /// For roles whose content many servers take as a string only.
    pub(super) fn into_text(self, separator: &str) -> (Self, Vec<ChatPart<'a>>) {
        let parts = match self.into_simple() {
            Self::Parts(parts) => parts,
            text => return (text, Vec::new()),
        };
        let (texts, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| matches!(part, ChatPart::Text { .. }));
        let texts: Vec<String> = texts.iter().filter_map(ChatPart::decode_text).collect();
        (Self::Text(texts.join(separator)), others)
    }

    /// The text, its escapes resolved.
    pub(super) fn decode_text(&self) -> Option<String> {
        match self {
            Self::Raw(raw) => serde_json::from_str(raw.get()).ok(),
            Self::Text(text) => Some(text.clone()),
            Self::Parts(_) => None,
        }
    }
}

impl ChatPart<'_> {
    fn decode_text(&self) -> Option<String> {
        match self {
            Self::Text { text } => serde_json::from_str(text.get()).ok(),
            _ => None,
        }
    }
}
