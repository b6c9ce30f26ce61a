//! One text for all requests that ask for the same: members in order, numbers and strings written in one way, what does
//! not change the answer left out.

use crate::json::{Kind, Raw, Reader, push_string};

/// Members of a request that do not change what the model says.
const WITHOUT_EFFECT: [&[u8]; 8] = [
    b"stream",
    b"stream_options",
    b"user",
    b"metadata",
    b"store",
    b"safety_identifier",
    b"prompt_cache_key",
    b"prompt_cache_retention",
];
/// Two names of one limit; of both the larger one counts.
const OUTPUT_LIMITS: [&[u8]; 2] = [b"max_tokens", b"max_completion_tokens"];
/// Deepest nesting that is normalised.
const DEPTH_MAX: u32 = 64;

/// The request in the one way of writing it, with `model` as the model that it asks for. `None` when it cannot be
/// normalised: it is no JSON object, a member is given twice, a text is no Unicode, or it is nested too deeply.
///
/// At the top, `null` is the same as leaving a member out.
#[must_use]
pub fn canonicalise(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::new(body);
    if reader.peek().ok()? != Kind::Object {
        return None;
    }
    let mut members = Vec::new();
    let mut name = Vec::new();
    push_string(model, &mut name);
    members.push((b"model".to_vec(), name));
    let mut output_limit = None;
    reader.enter_object().ok()?;
    while let Some(member) = reader.next_member().ok()? {
        let key = member.key.as_ref();
        if key == b"model" || WITHOUT_EFFECT.contains(&key) || reader.peek().ok()? == Kind::Null {
            reader.read_value().ok()?;
            continue;
        }
        if OUTPUT_LIMITS.contains(&key) {
            output_limit = output_limit.max(Some(reader.read_value().ok()?.to_u64()?));
            continue;
        }
        let mut value = Vec::new();
        write_value(&mut reader, DEPTH_MAX, &mut value)?;
        members.push((member.key.into_owned(), value));
    }
    reader.finish().ok()?;
    members.extend(output_limit.map(|limit| (b"max_tokens".to_vec(), limit.to_string().into_bytes())));
    let mut out = Vec::with_capacity(body.len());
    write_members(members, &mut out)?;
    Some(out)
}

fn write_value(reader: &mut Reader<'_>, depth: u32, out: &mut Vec<u8>) -> Option<()> {
    match reader.peek().ok()? {
        Kind::Object => {
            let depth = depth.checked_sub(1)?;
            reader.enter_object().ok()?;
            let mut members = Vec::new();
            while let Some(member) = reader.next_member().ok()? {
                let mut value = Vec::new();
                write_value(reader, depth, &mut value)?;
                members.push((member.key.into_owned(), value));
            }
            write_members(members, out)
        }
        Kind::Array => {
            let depth = depth.checked_sub(1)?;
            reader.enter_array().ok()?;
            out.push(b'[');
            let mut is_first = true;
            while reader.next_item().ok()? {
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                write_value(reader, depth, out)?;
            }
            out.push(b']');
            Some(())
        }
        Kind::String => {
            push_string(&reader.read_value().ok()?.to_text()?, out);
            Some(())
        }
        Kind::Number => write_number(reader.read_value().ok()?, out),
        Kind::Null | Kind::Bool => {
            out.extend_from_slice(reader.read_value().ok()?.bytes);
            Some(())
        }
    }
}

/// In the order of their names. `None` when one is given twice: which of them counts is the upstream's to say.
fn write_members(mut members: Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) -> Option<()> {
    members.sort();
    if members.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return None;
    }
    out.push(b'{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(std::str::from_utf8(key).ok()?, out);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    Some(())
}

/// `1`, `1.0` and `1e0` are one number. Whole numbers keep all their digits, others those of a 64-bit float.
fn write_number(number: Raw<'_>, out: &mut Vec<u8>) -> Option<()> {
    let text = std::str::from_utf8(number.bytes).ok()?;
    if !text.contains(['.', 'e', 'E']) {
        out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
        return Some(());
    }
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let text = value.to_string();
    out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
    Some(())
}

/// A chat's last message, if it is a user's and nothing but text, and the request without it. Two requests of the same
/// rest differ in that text alone.
#[must_use]
pub fn split_last_user_text(body: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut reader = Reader::new(body);
    reader.enter_object().ok()?;
    let mut last = None;
    while let Some(member) = reader.next_member().ok()? {
        if member.key.as_ref() != b"messages" {
            reader.read_value().ok()?;
            continue;
        }
        if !reader.enter_array().ok()? {
            return None;
        }
        while reader.next_item().ok()? {
            last = Some(reader.read_value().ok()?);
        }
    }
    let last = last?;
    let content = read_user_content(last)?;
    let range = last.start + content.start..last.start + content.end();
    let mut rest = Vec::with_capacity(body.len());
    rest.extend_from_slice(body.get(..range.start)?);
    rest.extend_from_slice(b"null");
    rest.extend_from_slice(body.get(range.end..)?);
    Some((read_text(content)?, rest))
}

/// The content of a user's message.
fn read_user_content(message: Raw<'_>) -> Option<Raw<'_>> {
    let mut reader = Reader::new(message.bytes);
    reader.enter_object().ok()?;
    let (mut is_user, mut content) = (false, None);
    while let Some(member) = reader.next_member().ok()? {
        let value = reader.read_value().ok()?;
        match member.key.as_ref() {
            b"role" => is_user = value.to_text()? == "user",
            b"content" => content = Some(value),
            _ => {}
        }
    }
    content.filter(|_| is_user)
}

/// The text of a content that is a text or text parts alone.
fn read_text(content: Raw<'_>) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TextPart {
        r#type: String,
        text: String,
    }
    if content.kind() == Kind::String {
        return content.to_text().map(std::borrow::Cow::into_owned);
    }
    let parts: Vec<TextPart> = serde_json::from_slice(content.bytes).ok()?;
    let is_text = parts.iter().all(|part| part.r#type == "text");
    is_text.then(|| parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n"))
}
