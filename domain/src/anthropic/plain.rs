//! The house's format without the house's own members, and without what would cost more than it is charged for.

use std::borrow::Cow;
use std::cell::Cell;

use super::TranslateError;
use super::fields::{Fields, Style, Value, read_body};
use super::writer::Writer;
use crate::chat::request::{is_callers_tool, is_purchase};
use crate::json::Kind;

/// Members of the request that say nothing without tools.
const OF_TOOLS: [&[u8]; 3] = [b"parallel_tool_calls", b"tool_choice", b"tools"];
/// Members of the request that only [`super`] reads.
const OF_REQUEST: [&[u8]; 5] = [b"cache_control", b"metadata", b"output_config", b"thinking", b"top_k"];
/// Members of the request that OpenAI's own servers know, and strict ones elsewhere refuse.
const OF_OPENAI: [&[u8]; 4] = [b"prompt_cache_key", b"prompt_cache_retention", b"safety_identifier", b"verbosity"];
/// Members of a message that only [`super`] reads.
const OF_MESSAGE: [&[u8]; 3] = [b"cache_control", b"is_error", b"reasoning_details"];
/// Members of parts, calls and tools that only [`super`] reads.
const OF_ITEM: [&[u8]; 5] = [b"cache_control", b"citations", b"context", b"strict", b"tool_call_id"];

/// What a provider takes beyond what all take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// `reasoning_effort`: models that do not reason refuse it at `OpenAI`.
    pub effort: bool,
    /// `reasoning_content` of earlier answers: strict servers refuse it.
    pub thoughts: bool,
    /// `prompt_cache_key` and the like: others than `OpenAI` refuse them.
    pub openais: bool,
}

/// A chat completion request that was translated, without the members that its provider may not know, for some refuse
/// those: what [`to_chat_request`](super::to_chat_request) adds to OpenAI's, and what `takes` does not name. Texts of which
/// many servers take one only are joined. All else keeps its bytes and its order.
///
/// # Errors
/// [`TranslateError`] when the text is no JSON object, or its messages or tools are no lists of objects.
pub fn drop_extensions(chat: &[u8], takes: Takes) -> Result<Vec<u8>, TranslateError> {
    let request = read_body(chat, Style::Chat)?;
    let mut out = Vec::with_capacity(chat.len());
    let mut w = Writer::new(&mut out);
    let is_dropped = |key: &[u8]| {
        OF_REQUEST.contains(&key)
            || (key == b"reasoning_effort" && !takes.effort)
            || (OF_OPENAI.contains(&key) && !takes.openais)
    };
    copy_members(&request, is_dropped, &mut w, |key, value, w| match key {
        b"messages" => copy_items(value, w, |message, w| copy_message(message, takes, w)),
        b"tools" => copy_items(value, w, copy_item),
        _ => copy_raw(value, w),
    })?;
    Ok(out)
}

fn copy_message(message: &Fields<'_, '_>, takes: Takes, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let is_dropped = |key: &[u8]| OF_MESSAGE.contains(&key) || (key == b"reasoning_content" && !takes.thoughts);
    copy_members(message, is_dropped, w, |key, value, w| match key {
        b"content" if value.kind() == Kind::Array => copy_parts(message, value, w),
        b"tool_calls" => copy_items(value, w, copy_item),
        _ => copy_raw(value, w),
    })
}

/// Copies a message's parts: as one string where they are texts and the user does not speak, for many servers take no other
/// content of the others.
fn copy_parts(message: &Fields<'_, '_>, parts: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let separator: &[u8] = match message.text("role")?.as_deref() {
        Some("system" | "assistant") => br#""\n\n""#,
        Some("tool") => br#""\n""#,
        _ => return copy_items(parts, w, copy_item),
    };
    let mut literals = Vec::new();
    for part in parts.items()? {
        let part = part?.object()?;
        let is_text = part.text("type")?.as_deref() == Some("text");
        let Some(text) = part.get("text").filter(|text| is_text && text.is_string()) else {
            return copy_items(parts, w, copy_item);
        };
        if !literals.is_empty() {
            literals.push(separator);
        }
        literals.push(text.raw.bytes);
    }
    w.joined(literals);
    Ok(())
}

fn copy_item(item: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    copy_members(item, |key| OF_ITEM.contains(&key), w, |_, value, w| copy_raw(value, w))
}

/// A request without `stream_options`.
///
/// # Errors
/// [`TranslateError`] when the text is no JSON object.
pub fn drop_stream_options(chat: &[u8]) -> Result<Vec<u8>, TranslateError> {
    let mut out = Vec::with_capacity(chat.len());
    let mut w = Writer::new(&mut out);
    let is_dropped = |key: &[u8]| key == b"stream_options";
    copy_members(&read_body(chat, Style::Chat)?, is_dropped, &mut w, |_, value, w| copy_raw(value, w))?;
    Ok(out)
}

/// A request without what buys more than its model: [`is_purchase`], and tools that the provider runs.
///
/// # Errors
/// [`TranslateError`] when the text is no JSON object, or a tool is none.
pub fn drop_purchases(chat: &[u8]) -> Result<Vec<u8>, TranslateError> {
    let fields = read_body(chat, Style::Chat)?;
    let is_callers = |tool: &Fields<'_, '_>| {
        let kind = tool.get("type").and_then(|kind| kind.raw.to_text());
        kind.is_none_or(|kind| is_callers_tool(&kind))
    };
    let mut tools = Vec::new();
    if let Some(list) = fields.get("tools").filter(|tools| tools.kind() == Kind::Array) {
        for tool in list.items()? {
            let tool = tool?;
            if is_callers(&tool.object()?) {
                tools.push(tool.raw.bytes);
            }
        }
    }
    let chosen = fields.get("tool_choice").filter(|choice| choice.kind() == Kind::Object);
    let kind = chosen.and_then(|choice| choice.object().ok()?.get("type")?.raw.to_text());
    let is_gone = kind.is_some_and(|kind| kind != "allowed_tools" && !is_callers_tool(&kind));
    let is_dropped = |key: &[u8]| {
        is_purchase(key) || tools.is_empty() && OF_TOOLS.contains(&key) || is_gone && key == b"tool_choice"
    };
    let mut out = Vec::with_capacity(chat.len());
    let mut w = Writer::new(&mut out);
    copy_members(&fields, is_dropped, &mut w, |key, value, w| {
        if key != b"tools" {
            return copy_raw(value, w);
        }
        w.open_array();
        for tool in &tools {
            w.raw(tool);
        }
        w.close_array();
        Ok(())
    })?;
    Ok(out)
}

/// A request whose prompts are cached for five minutes at most: an hour costs more to write than the price lists say.
///
/// # Errors
/// [`TranslateError`] when the text is no JSON object.
pub fn shorten_caches(chat: &[u8]) -> Result<Cow<'_, [u8]>, TranslateError> {
    // A key may be written with escapes.
    let may_have = |text: &[u8]| memchr::memmem::find(chat, text).is_some();
    if !may_have(b"cache_control") && !may_have(b"\\u00") {
        return Ok(Cow::Borrowed(chat));
    }
    let mut out = Vec::with_capacity(chat.len());
    let has_changed = Cell::new(false);
    copy_shortened(&read_body(chat, Style::Chat)?, &has_changed, &mut Writer::new(&mut out))?;
    Ok(if has_changed.get() { Cow::Owned(out) } else { Cow::Borrowed(chat) })
}

fn copy_shortened(fields: &Fields<'_, '_>, has_changed: &Cell<bool>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    copy_members(
        fields,
        |_| false,
        w,
        |key, value, w| match (key, value.kind()) {
            (b"cache_control", Kind::Object) => {
                let ttl = value.object()?.get("ttl").map(|ttl| ttl.text().is_ok_and(|ttl| ttl == "5m"));
                if ttl != Some(false) {
                    return copy_raw(value, w);
                }
                has_changed.set(true);
                w.raw(b"{\"type\":\"ephemeral\"}");
                Ok(())
            }
            (b"messages" | b"content" | b"tool_calls" | b"tools", Kind::Array) => {
                w.open_array();
                for item in value.items()? {
                    let item = item?;
                    if item.kind() == Kind::Object {
                        copy_shortened(&item.object()?, has_changed, w)?;
                    } else {
                        copy_raw(item, w)?;
                    }
                }
                w.close_array();
                Ok(())
            }
            (b"function", Kind::Object) => copy_shortened(&value.object()?, has_changed, w),
            _ => copy_raw(value, w),
        },
    )
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
    is_dropped: impl Fn(&[u8]) -> bool,
    w: &mut Writer<'_>,
    copy: impl Fn(&[u8], Value<'_, '_>, &mut Writer<'_>) -> Result<(), TranslateError>,
) -> Result<(), TranslateError> {
    w.open_object();
    for (key, raw) in fields.members().filter(|(key, _)| !is_dropped(key)) {
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
    fn nothing_is_cached_for_an_hour() {
        let hour = r#"{"type":"ephemeral","ttl":"1h"}"#;
        let chat = r#"{"cache_control":H,"messages":[{"role":"user","cache_control":H,"content":[{"type":"text","text":"1h","cache_\u0063ontrol":H}]},"odd"],
            "tools":[{"function":{"name":"f","cache_control":H,"parameters":{"cache_control":{"ttl":"1h"}}},"cache_control":{"ttl":"5m"}}]}"#;
        let shortened = |chat: &str| String::from_utf8(shorten_caches(chat.as_bytes()).unwrap().into_owned()).unwrap();
        let expected = r#"{"cache_control":E,"messages":[{"role":"user","cache_control":E,"content":[{"type":"text","text":"1h","cache_control":E}]},"odd"],"tools":[{"function":{"name":"f","cache_control":E,"parameters":{"cache_control":{"ttl":"1h"}}},"cache_control":{"ttl":"5m"}}]}"#;
        for hour in [hour, r#"{"ttl":"\u0031h","type":"ephemeral"}"#, r#"{"ttl":7}"#] {
            assert_eq!(shortened(&chat.replace('H', hour)), expected.replace('E', r#"{"type":"ephemeral"}"#));
        }
        let plain = r#"{ "messages": [] , "\u0078":{"cache_control": {"type":"ephemeral"} }}"#;
        assert_eq!(shortened(plain), plain);
    }

    #[test]
    fn nothing_is_bought_beside_the_model() {
        let dropped = |chat: &str| String::from_utf8(drop_purchases(chat.as_bytes()).unwrap()).unwrap();
        let chat = r#"{"models":["dear"],"model":"a","plugins":[{"id":"web"}],"provider":{},"route":"x","fallbacks":[],"search_parameters":{},"web_search_options":{},"enable_search":true,"search_options":{"forced_search":true},
            "messages":[{"models":1}],"tools":[{"type":"browser_search"},{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{}},{"function":{"name":"g"}}],"tool_choice":"auto"}"#;
        let expected = r#"{"model":"a","messages":[{"models":1}],"tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{}},{"function":{"name":"g"}}],"tool_choice":"auto"}"#;
        assert_eq!(dropped(chat), expected);
        let choice = |kind: &str| chat.replace("\"auto\"", &format!(r#"{{"type":"{kind}"}}"#));
        assert!(!dropped(&choice("browser_search")).contains("tool_choice"));
        assert!(dropped(&choice("allowed_tools")).contains(r#""tool_choice":{"type":"allowed_tools"}"#));
        let only = r#"{"model":"a","messages":[],"tools":[{"type":"web_search"}],"tool_choice":"required","parallel_tool_calls":true}"#;
        assert_eq!(dropped(only), r#"{"model":"a","messages":[]}"#);
    }

    #[test]
    fn only_the_extensions_go() {
        let chat = r#"{"model":"a","top_k":4,"messages":[{"role":"system","content":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]},
            {"role":"assistant","content":[{"type":"text","text":"t"},{"type":"x"}]},
            {"role":"assistant","content":null,"reasoning_content":"r","reasoning_details":[{}],"tool_calls":[{"id":"c","cache_control":{},"type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":"x","is_error":true},
            {"content":[{"tool_call_id":"c","type":"text","text":"t"}],"role":"user"}],
            "tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"cache_control":1,"b":1.0}},"strict":true,"cache_control":{}}],"reasoning_effort":"low","thinking":{},"verbosity":"low","safety_identifier":"s","prompt_cache_key":"k","prompt_cache_retention":"24h","x":[1, 2],"cache_control":{},"metadata":{"user_id":"u"}}"#;
        let expected = r#"{"model":"a","messages":[{"role":"system","content":"s"},{"role":"assistant","content":[{"type":"text","text":"t"},{"type":"x"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"},{"content":[{"type":"text","text":"t"}],"role":"user"}],"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"cache_control":1,"b":1.0}}}],"x":[1, 2]}"#;
        let drop = |takes| String::from_utf8(drop_extensions(chat.as_bytes(), takes).unwrap()).unwrap();
        assert_eq!(drop(Takes::default()), expected);
        let effort = expected.replace(",\"x\"", ",\"reasoning_effort\":\"low\",\"x\"");
        assert_eq!(drop(Takes { effort: true, ..Takes::default() }), effort);
        let thoughts = expected.replace("null,", "null,\"reasoning_content\":\"r\",");
        assert_eq!(drop(Takes { thoughts: true, ..Takes::default() }), thoughts);
        let keyed = expected.replace(",\"x\"", ",\"verbosity\":\"low\",\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\",\"prompt_cache_retention\":\"24h\",\"x\"");
        assert_eq!(drop(Takes { openais: true, ..Takes::default() }), keyed);
        assert!(drop_extensions(b"[]", Takes::default()).is_err());
        assert!(drop_extensions(b"{\"messages\":[1]}", Takes::default()).is_err());
    }

    #[test]
    fn texts_are_one_string_but_for_the_users() {
        let parts = r#"[{"type":"text","text":"a\"","cache_control":{}},{"text":"\ud800b","type":"text"}]"#;
        let sent = |role: &str, content: &str| {
            let chat = format!(r#"{{"messages":[{{"content":{content},"role":"{role}"}}]}}"#);
            String::from_utf8(drop_extensions(chat.as_bytes(), Takes::default()).unwrap()).unwrap()
        };
        let expected =
            |role: &str, content: &str| format!(r#"{{"messages":[{{"content":{content},"role":"{role}"}}]}}"#);
        assert_eq!(sent("system", parts), expected("system", r#""a\"\n\n\ud800b""#));
        assert_eq!(sent("assistant", parts), expected("assistant", r#""a\"\n\n\ud800b""#));
        assert_eq!(sent("tool", parts), expected("tool", r#""a\"\n\ud800b""#));
        let cleaned = r#"[{"type":"text","text":"a\""},{"text":"\ud800b","type":"text"}]"#;
        assert_eq!(sent("user", parts), expected("user", cleaned));
        for content in [r#""s""#, "null", r#"[{"type":"text","text":"a"},{"type":"refusal","refusal":"b"}]"#] {
            assert_eq!(sent("assistant", content), expected("assistant", content));
        }
    }
}
