//! Chat completions as this translation reads them, whole and in chunks.
//!
//! Of a member that is given twice the later counts, and what is of another kind than usual is passed over where the answer
//! makes sense without it.

use std::borrow::Cow;

use serde::Deserialize;

use super::events::{InputDetails, OutputDetails, UsageView};
use crate::chat::usage::read_usage;
use crate::json::{JsonError, Kind, Raw, Reader};

/// A chat completion, or a chunk of one.
#[derive(Debug, Default)]
pub(super) struct Completion<'a> {
    pub choices: Vec<Choice<'a>>,
    pub usage: Option<Raw<'a>>,
    pub service_tier: Option<Raw<'a>>,
    pub error: Option<Raw<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub index: Option<u64>,
    pub delta: Option<Message<'a>>,
    pub message: Option<Message<'a>>,
    pub finish_reason: Option<Cow<'a, str>>,
    pub logprobs: Vec<Raw<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub content: Option<Raw<'a>>,
    pub refusal: Option<Raw<'a>>,
    pub reasoning_content: Option<Raw<'a>>,
    /// What some servers call `reasoning_content`.
    pub reasoning: Option<Raw<'a>>,
    pub tool_calls: Vec<CallPiece<'a>>,
}

/// A tool call, or a piece of one.
#[derive(Debug, Default)]
pub(super) struct CallPiece<'a> {
    pub index: Option<u64>,
    pub id: Option<Raw<'a>>,
    pub function: FunctionPiece<'a>,
}

#[derive(Debug, Default)]
pub(super) struct FunctionPiece<'a> {
    pub name: Option<Raw<'a>>,
    pub arguments: Option<Raw<'a>>,
}

impl<'a> Completion<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text);
        let mut completion = Self::default();
        if !enter_object(&mut reader)? {
            return Err(misfit(&reader));
        }
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"choices" => completion.choices = read_list(&mut reader, Choice::read)?,
                b"usage" => completion.usage = read_told(&mut reader)?,
                b"service_tier" => completion.service_tier = read_told(&mut reader)?,
                b"error" => completion.error = read_told(&mut reader)?,
                _ => _ = reader.read_value()?,
            }
        }
        reader.finish()?;
        Ok(completion)
    }
}

impl<'a> Choice<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut choice = Self::default();
        if !enter_object(reader)? {
            return Err(misfit(reader));
        }
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"index" => choice.index = reader.read_value()?.to_u64(),
                b"delta" => choice.delta = Message::read(reader)?,
                b"message" => choice.message = Message::read(reader)?,
                b"finish_reason" => choice.finish_reason = reader.read_value()?.to_text(),
                b"logprobs" => choice.logprobs = read_logprobs(reader)?,
                _ => _ = reader.read_value()?,
            }
        }
        Ok(choice)
    }
}

impl<'a> Message<'a> {
    /// `None` for `null`.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, JsonError> {
        let mut message = Self::default();
        if !enter_object(reader)? {
            return Ok(None);
        }
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"content" => message.content = read_told(reader)?,
                b"refusal" => message.refusal = read_told(reader)?,
                b"reasoning_content" => message.reasoning_content = read_told(reader)?,
                b"reasoning" => message.reasoning = read_told(reader)?,
                b"tool_calls" => message.tool_calls = read_list(reader, CallPiece::read)?,
                _ => _ = reader.read_value()?,
            }
        }
        Ok(Some(message))
    }
}

impl<'a> CallPiece<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut piece = Self::default();
        if !enter_object(reader)? {
            return Err(misfit(reader));
        }
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"index" => piece.index = reader.read_value()?.to_u64(),
                b"id" => piece.id = read_told(reader)?,
                b"function" => piece.function = FunctionPiece::read(reader)?,
                _ => _ = reader.read_value()?,
            }
        }
        Ok(piece)
    }
}

impl<'a> FunctionPiece<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut function = Self::default();
        if !enter_object(reader)? {
            return Ok(function);
        }
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"name" => function.name = read_told(reader)?,
                b"arguments" => function.arguments = read_told(reader)?,
                _ => _ = reader.read_value()?,
            }
        }
        Ok(function)
    }
}

/// The tokens of `logprobs.content`; none of what is no such thing.
fn read_logprobs<'a>(reader: &mut Reader<'a>) -> Result<Vec<Raw<'a>>, JsonError> {
    let mut tokens = Vec::new();
    if !reader.enter_object()? {
        return Ok(tokens);
    }
    while let Some(member) = reader.next_member()? {
        if member.key.as_ref() != b"content" {
            reader.read_value()?;
        } else if reader.enter_array()? {
            while reader.next_item()? {
                tokens.push(reader.read_value()?);
            }
        }
    }
    Ok(tokens)
}

/// A list; `null` is an empty one.
fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, JsonError>,
) -> Result<Vec<T>, JsonError> {
    let mut items = Vec::new();
    if !matches!(reader.peek()?, Kind::Array | Kind::Null) {
        return Err(misfit(reader));
    }
    if reader.enter_array()? {
        while reader.next_item()? {
            items.push(read(reader)?);
        }
    }
    Ok(items)
}

/// A value; `null` is the same as leaving it out.
fn read_told<'a>(reader: &mut Reader<'a>) -> Result<Option<Raw<'a>>, JsonError> {
    Ok(Some(reader.read_value()?).filter(|value| value.kind() != Kind::Null))
}

/// Enters the object that comes next; `false` for `null`.
fn enter_object(reader: &mut Reader<'_>) -> Result<bool, JsonError> {
    if !matches!(reader.peek()?, Kind::Object | Kind::Null) {
        return Err(misfit(reader));
    }
    reader.enter_object()
}

const fn misfit(reader: &Reader<'_>) -> JsonError {
    JsonError { at_bytes: reader.position(), reason: "not a chat completion" }
}

/// A string's text, a list's texts joined; empty for all else.
pub(super) fn text_of(raw: Option<Raw<'_>>) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct TextPart {
        text: Option<String>,
    }
    let Some(raw) = raw else { return Cow::Borrowed("") };
    if raw.kind() == Kind::Array {
        let parts: Vec<TextPart> = serde_json::from_slice(raw.bytes).unwrap_or_default();
        return Cow::Owned(parts.into_iter().filter_map(|part| part.text).collect());
    }
    raw.to_text().unwrap_or_default()
}

/// A call's arguments: JSON in a string, or, from some servers, JSON as it is.
pub(super) fn arguments_of(raw: Option<Raw<'_>>) -> Cow<'_, str> {
    match raw {
        Some(object) if object.kind() == Kind::Object => String::from_utf8_lossy(object.bytes),
        other => text_of(other),
    }
}

/// Reads a `usage` object; `None` when it can't be believed.
pub(super) fn view_usage(raw: Raw<'_>) -> Option<UsageView> {
    #[derive(Deserialize)]
    struct Usage {
        #[serde(alias = "output_tokens_details")]
        completion_tokens_details: Option<Details>,
    }
    #[derive(Deserialize)]
    struct Details {
        reasoning_tokens: Option<u64>,
    }
    let usage = read_usage(&mut Reader::new(raw.bytes)).ok()??;
    let details = serde_json::from_slice::<Usage>(raw.bytes).ok().and_then(|usage| usage.completion_tokens_details);
    Some(UsageView {
        input_tokens: usage.input,
        input_tokens_details: InputDetails { cached_tokens: usage.cache_read, cache_write_tokens: usage.cache_write },
        output_tokens: usage.output,
        output_tokens_details: OutputDetails {
            reasoning_tokens: details.and_then(|details| details.reasoning_tokens).unwrap_or_default(),
        },
        total_tokens: usage.input.saturating_add(usage.output),
    })
}
