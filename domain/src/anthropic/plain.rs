//! The house's format without the house's own members.

use super::TranslateError;
use super::fields::{Fields, Style, Value, read_body};
use super::writer::Writer;
use crate::json::Kind;

/// Members of the request that only [`super`] reads.
const OF_REQUEST: [&[u8]; 4] = [b"cache_control", b"output_config", b"thinking", b"top_k"];
/// Members of a message that only [`super`] reads, or that strict servers refuse.
const OF_MESSAGE: [&[u8]; 4] = [b"cache_control", b"is_error", b"reasoning_content", b"reasoning_details"];
/// Members of parts, calls and tools that only [`super`] reads.
const OF_ITEM: [&[u8]; 4] = [b"cache_control", b"citations", b"context", b"tool_call_id"];

/// A chat completion request without the members that [`to_chat_request`](super::to_chat_request) adds to OpenAI's,
/// for providers that refuse members they do not know. All else keeps its bytes and its order.
///
/// # Errors
/// [`TranslateError`] when the text is no JSON object, or its messages or tools are no lists of objects.
pub fn drop_extensions(chat: &[u8]) -> Result<Vec<u8>, TranslateError> {
    let request = read_body(chat, Style::Chat)?;
    let mut out = Vec::with_capacity(chat.len());
    let mut w = Writer::new(&mut out);
    copy_members(&request, &OF_REQUEST, &mut w, |key, value, w| match key {
        b"messages" => copy_items(value, w, copy_message),
        b"tools" => copy_items(value, w, copy_item),
        _ => copy_raw(value, w),
    })?;
    Ok(out)
}

fn copy_message(message: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    copy_members(message, &OF_MESSAGE, w, |key, value, w| match key {
        b"content" | b"tool_calls" => copy_items(value, w, copy_item),
        _ => copy_raw(value, w),
    })
}

fn copy_item(item: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    copy_members(item, &OF_ITEM, w, |_, value, w| copy_raw(value, w))
}

fn copy_raw(value: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    w.raw(value.raw.bytes);
    Ok(())
}

/// Copies an array's objects; a value of another kind as it is.
fn copy_items(
    value: Value<'_, '_>,
    w: &mut Writer<'_>,
    copy: impl Fn(&Fields<'_, '_>, &mut Writer<'_>) -> Result<(), TranslateError>,
) -> Result<(), TranslateError> {
    if value.kind() != Kind::Array {
        return copy_raw(value, w);
    }
    w.open_array();
    for item in value.items()? {
        copy(&item?.object()?, w)?;
    }
    w.close_array();
    Ok(())
}

/// Copies an object but for the members of these names.
fn copy_members(
    fields: &Fields<'_, '_>,
    dropped: &[&[u8]],
    w: &mut Writer<'_>,
    copy: impl Fn(&[u8], Value<'_, '_>, &mut Writer<'_>) -> Result<(), TranslateError>,
) -> Result<(), TranslateError> {
    w.open_object();
    for (key, raw) in fields.members().filter(|(key, _)| !dropped.contains(key)) {
        w.key(&String::from_utf8_lossy(key));
        copy(key, Value { raw, path: fields.path }, w)?;
    }
    w.close_object();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_extensions_go() {
        let chat = r#"{"model":"a","top_k":4,"messages":[{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},
            {"role":"assistant","content":null,"reasoning_content":"r","reasoning_details":[{}],"tool_calls":[{"id":"c","cache_control":{},"type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":"x","is_error":true},
            {"content":[{"tool_call_id":"c","type":"text","text":"t"}],"role":"user"}],
            "tools":[{"type":"function","function":{"name":"f","parameters":{"cache_control":1,"b":1.0}},"cache_control":{}}],"thinking":{},"x":[1, 2],"cache_control":{}}"#;
        let expected = r#"{"model":"a","messages":[{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"},{"content":[{"type":"text","text":"t"}],"role":"user"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"cache_control":1,"b":1.0}}}],"x":[1, 2]}"#;
        assert_eq!(String::from_utf8(drop_extensions(chat.as_bytes()).unwrap()).unwrap(), expected);
        assert!(drop_extensions(b"[]").is_err());
        assert!(drop_extensions(b"{\"messages\":[1]}").is_err());
    }
}
