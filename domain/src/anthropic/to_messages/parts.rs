//! Content: parts of chat messages as Anthropic's blocks.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::anthropic::TranslateError;
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::writer::Writer;

/// Where a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    System,
    User,
    Assistant,
    ToolResult,
}

/// Blocks, with commas between them.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub json: Vec<u8>,
    pub count: usize,
    /// Where the string of the last block stands, if that is a text.
    last_text: Option<Range<usize>>,
    /// Whether it says something beside its text.
    is_cached: bool,
}

impl Blocks {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The only block's text with its quotes, if there is but one and it says nothing beside its text.
    pub(super) fn only_text(&self) -> Option<&[u8]> {
        let range = self.last_text.clone().filter(|_| self.count == 1 && !self.is_cached)?;
        self.json.get(range)
    }

    /// Appends a block of any kind but text.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut w = Writer::new(&mut self.json);
        w.open_object();
        write(&mut w);
        w.close_object();
        self.count += 1;
        self.last_text = None;
    }

    /// Appends a text, unless it is blank.
    pub(super) fn add_text(&mut self, text: Value<'_, '_>, cache: Option<&[u8]>) -> Result<(), TranslateError> {
        if !text.text()?.trim().is_empty() {
            self.add_literal(text.raw.bytes, cache);
        }
        Ok(())
    }

    /// Appends a text that is given with its quotes.
    pub(super) fn add_literal(&mut self, literal: &[u8], cache: Option<&[u8]>) {
        self.add(|w| {
            w.member_text("type", "text").member("text", literal);
        });
        let end = self.json.len() - 1;
        self.last_text = Some(end - literal.len()..end);
        if let Some(cache) = cache {
            self.json.pop();
            Writer::new(&mut self.json).member("cache_control", cache).close_object();
        }
        self.is_cached = cache.is_some();
    }

    pub(super) fn append(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        Writer::new(&mut self.json).raw(&other.json);
        let moved = self.json.len() - other.json.len();
        self.last_text = other.last_text.clone().map(|range| range.start + moved..range.end + moved);
        self.is_cached = other.is_cached;
        self.count += other.count;
    }

    /// Takes the blanks from the end of the last text.
    pub(super) fn trim_end(&mut self) {
        let Some(range) = self.last_text.clone() else {
            return;
        };
        let Some(text) = self.json.get(range.clone()).and_then(|json| serde_json::from_slice::<String>(json).ok())
        else {
            return;
        };
        let mut trimmed = Vec::with_capacity(range.len());
        Writer::new(&mut trimmed).text(text.trim_end());
        self.last_text = Some(range.start..range.start + trimmed.len());
        self.json.splice(range, trimmed);
    }
}

/// Appends a message's content: a string, parts, or nothing.
pub(super) fn write_content(message: &Fields<'_, '_>, place: Place, out: &mut Blocks) -> Result<(), TranslateError> {
    let Some(content) = message.get("content") else {
        return Ok(());
    };
    if content.is_string() {
        return out.add_text(content, message.raw_object("cache_control"));
    }
    for part in content.items()? {
        write_part(&part?.object()?, place, out)?;
    }
    Ok(())
}

pub(super) fn write_part(part: &Fields<'_, '_>, place: Place, out: &mut Blocks) -> Result<(), TranslateError> {
    let kind = part.need("type")?.text()?;
    let takes_media = matches!(place, Place::User | Place::ToolResult);
    match kind.as_ref() {
        "text" | "input_text" | "output_text" => out.add_text(part.need("text")?, part.raw_object("cache_control")),
        "refusal" if place == Place::Assistant => out.add_text(part.need("refusal")?, None),
        "image_url" | "input_image" if takes_media => write_image(part, out),
        "file" if takes_media => write_file(part, out),
        "input_audio" if takes_media => Err(part.unsupported("type", "must not be input_audio for this model")),
        "video_url" if takes_media => Err(part.unsupported("type", "must not be video_url for this model")),
        _ => Err(part.invalid("type", "is not a kind of part that this message may hold")),
    }
}

fn write_image(part: &Fields<'_, '_>, out: &mut Blocks) -> Result<(), TranslateError> {
    let image = part.need("image_url")?;
    let cache = part.raw_object("cache_control");
    if image.is_string() {
        return add_image(image, cache, out);
    }
    add_image(image.object()?.need("url")?, cache, out)
}

fn add_image(url: Value<'_, '_>, cache: Option<&[u8]>, out: &mut Blocks) -> Result<(), TranslateError> {
    let text = url.text()?;
    if is_web_url(&text) {
        add_media("image", &text, cache, out);
        return Ok(());
    }
    let data = DataUrl::parse(&text).ok_or_else(|| url.path.invalid("must be an http(s) URL or a base64 data URL"))?;
    let media_type = data.image_type().ok_or_else(|| url.path.unsupported(IMAGE_TYPES))?;
    add_base64("image", media_type, data.base64, |w| _ = w.member_if("cache_control", cache), out);
    Ok(())
}

const IMAGE_TYPES: &str = "must be image/jpeg, image/png, image/gif or image/webp for this model";

fn write_file(part: &Fields<'_, '_>, out: &mut Blocks) -> Result<(), TranslateError> {
    let value = part.need("file")?;
    let file = value.object()?;
    let Some(file_data) = file.get("file_data") else {
        return Err(file.unsupported("file_data", "is required for this model: it does not see files stored elsewhere"));
    };
    let text = file_data.text()?;
    let title = file.get("filename").map(Value::literal).transpose()?;
    let extras = |w: &mut Writer<'_>| {
        w.member_if("title", title);
        w.member_if("context", part.get("context").filter(Value::is_string).map(|context| context.raw.bytes));
        w.member_if("citations", part.raw_object("citations"));
        w.member_if("cache_control", part.raw_object("cache_control"));
    };
    if is_web_url(&text) {
        out.add(|w| {
            w.member_text("type", "document").key("source");
            w.open_object().member_text("type", "url").member_text("url", &text).close_object();
            extras(w);
        });
        return Ok(());
    }
    let data = DataUrl::parse(&text).ok_or_else(|| file_data.path.invalid("must be a base64 data URL"))?;
    if data.media_type == "application/pdf" {
        add_base64("document", "application/pdf", data.base64, extras, out);
    } else if data.media_type.starts_with("text/") {
        let decoded = STANDARD.decode(data.base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(|| file_data.path.invalid("must be base64 of UTF-8 text"))?;
        out.add(|w| {
            w.member_text("type", "document").key("source").open_object();
            w.member_text("type", "text").member_text("media_type", "text/plain").member_text("data", &decoded);
            w.close_object();
            extras(w);
        });
    } else if let Some(media_type) = data.image_type() {
        let cache = part.raw_object("cache_control");
        add_base64("image", media_type, data.base64, |w| _ = w.member_if("cache_control", cache), out);
    } else {
        return Err(file_data.path.unsupported("must be a PDF, a text or an image for this model"));
    }
    Ok(())
}

fn add_media(kind: &str, url: &str, cache: Option<&[u8]>, out: &mut Blocks) {
    out.add(|w| {
        w.member_text("type", kind).key("source");
        w.open_object().member_text("type", "url").member_text("url", url).close_object();
        w.member_if("cache_control", cache);
    });
}

fn add_base64(kind: &str, media_type: &str, data: &str, extras: impl Fn(&mut Writer<'_>), out: &mut Blocks) {
    out.add(|w| {
        w.member_text("type", kind).key("source").open_object();
        w.member_text("type", "base64").member_text("media_type", media_type).member_text("data", data);
        w.close_object();
        extras(w);
    });
}

fn is_web_url(url: &str) -> bool {
    let has = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    has("https://") || has("http://")
}

/// `data:image/png;base64,…`
struct DataUrl<'u> {
    media_type: Cow<'u, str>,
    base64: &'u str,
}

impl<'u> DataUrl<'u> {
    fn parse(url: &'u str) -> Option<Self> {
        let (head, base64) = url.strip_prefix("data:")?.split_once(',')?;
        let head = head.strip_suffix(";base64")?;
        let media_type = head.split(';').next().unwrap_or_default().trim();
        let media_type = if media_type.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(media_type.to_ascii_lowercase())
        } else {
            Cow::Borrowed(media_type)
        };
        Some(Self { media_type, base64 })
    }

    fn image_type(&self) -> Option<&str> {
        match self.media_type.as_ref() {
            "image/jpg" => Some("image/jpeg"),
            known @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp") => Some(known),
            _ => None,
        }
    }
}
