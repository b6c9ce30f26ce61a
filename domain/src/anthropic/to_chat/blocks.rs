//! Anthropic's content blocks as parts of chat messages.

use super::content::Content;
use crate::anthropic::TranslateError;
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::writer::{Writer, inside};

/// Appends a text block's text.
pub(super) fn add_text(block: &Fields<'_, '_>, out: &mut Content) -> Result<(), TranslateError> {
    out.add_text(block.need("text")?.literal()?, block.raw_object("cache_control"));
    Ok(())
}

/// Appends an image or a document; `call_id` is that of the tool call whose result it stands in.
pub(super) fn add_media(
    kind: &str,
    block: &Fields<'_, '_>,
    call_id: Option<&str>,
    out: &mut Content,
) -> Result<(), TranslateError> {
    let value = block.need("source")?;
    let source = value.object()?;
    let extras = |w: &mut Writer<'_>| {
        w.member_if("cache_control", block.raw_object("cache_control"));
        if let Some(call_id) = call_id {
            w.member_text("tool_call_id", call_id);
        }
    };
    let source_type = source.need("type")?.text()?;
    match (kind, source_type.as_ref()) {
        ("image", "base64" | "url") => {
            let url = read_url(&source, &source_type)?;
            out.add(|w| {
                w.member_text("type", "image_url").key("image_url").open_object();
                w.key("url").joined(url).close_object();
                extras(w);
            });
        }
        ("document", "base64" | "url") => {
            let url = read_url(&source, &source_type)?;
            let title = block.get("title").map(Value::literal).transpose()?;
            let context = block.get("context").map(Value::literal).transpose()?;
            out.add(|w| {
                w.member_text("type", "file").key("file").open_object();
                w.member("filename", title.unwrap_or(b"\"document.pdf\""));
                w.key("file_data").joined(url).close_object();
                w.member_if("context", context);
                w.member_if("citations", block.raw_object("citations"));
                extras(w);
            });
        }
        ("document", "text") => {
            let data = source.need("data")?.literal()?;
            if !inside(data).is_empty() {
                out.add_text(data, block.raw_object("cache_control"));
            }
        }
        ("document", "content") => {
            let content = source.need("content")?;
            if content.is_string() {
                out.add_text(content.literal()?, block.raw_object("cache_control"));
                return Ok(());
            }
            for inner in content.items()? {
                let inner = inner?.object()?;
                let inner_kind = inner.need("type")?.text()?;
                match inner_kind.as_ref() {
                    "text" => add_text(&inner, out)?,
                    "image" => add_media("image", &inner, call_id, out)?,
                    _ => return Err(inner.invalid("type", "must be text or image")),
                }
            }
        }
        (_, "file") => return Err(source.unsupported("type", "stored files can't be used here; send the data")),
        _ => return Err(source.invalid("type", "must be base64, url, text or content as the block allows")),
    }
    Ok(())
}

/// The pieces of a data URL, or the one of a URL, each with its quotes.
fn read_url<'a>(source: &Fields<'a, '_>, source_type: &str) -> Result<Vec<&'a [u8]>, TranslateError> {
    if source_type == "url" {
        return Ok(vec![source.need("url")?.literal()?]);
    }
    let media_type = source.need("media_type")?.literal()?;
    let data = source.need("data")?.literal()?;
    Ok(vec![b"\"data:\"", media_type, b"\";base64,\"", data])
}
