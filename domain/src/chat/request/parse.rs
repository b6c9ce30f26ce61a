//! The request object and its plain parameters.

use std::borrow::Cow;

use super::messages::{InputSize, read_messages, read_tools};
use super::{
    ChatRequest, DEFAULT_MODEL, InvalidRequest, MAX_CHOICES, MAX_MEMBERS, MAX_MODEL_BYTES, MaxOutputField,
    StreamOptions, TokenLimit,
};
use crate::json::{Kind, Member, Raw, Reader};

pub(super) fn parse(body: &[u8]) -> Result<ChatRequest<'_>, InvalidRequest> {
    // Once for the whole body: all text taken from it below is known to be UTF-8.
    std::str::from_utf8(body).map_err(|error| {
        InvalidRequest::body(format!("The request body is not valid UTF-8 at byte {}.", error.valid_up_to()))
    })?;
    let mut reader = Reader::new(body);
    if reader.peek()? != Kind::Object {
        return Err(InvalidRequest::body("The request body must be a JSON object."));
    }
    reader.enter_object()?;
    let mut request = ChatRequest {
        body,
        inside: reader.position(),
        model: Cow::Borrowed(DEFAULT_MODEL),
        model_value: None,
        is_stream: false,
        stream_options: StreamOptions::default(),
        messages: 0..0,
        tools: 0..0,
        limits: [None; 2],
        choices: 1,
        is_repeatable: false,
        dear_tier: None,
        has_purchases: false,
        has_logprobs: false,
        input: InputSize::default(),
        escape_bytes: 0,
    };
    let mut keys: Vec<Cow<'_, [u8]>> = Vec::with_capacity(16);
    while let Some(member) = reader.next_member()? {
        if keys.contains(&member.key) {
            let name: String = String::from_utf8_lossy(&member.key).chars().take(64).collect();
            return Err(InvalidRequest::new(name, "must not be given twice"));
        }
        if keys.len() == MAX_MEMBERS {
            return Err(InvalidRequest::body(format!("The request body must have at most {MAX_MEMBERS} members.")));
        }
        request.read_parameter(&member, &mut reader)?;
        keys.push(member.key);
    }
    reader.finish()?;
    request.escape_bytes = (reader.escape_bytes() as u64).saturating_sub(request.input.media_escape_bytes);
    if request.input.messages == 0 {
        return Err(InvalidRequest::new("messages", "is required"));
    }
    Ok(request)
}

impl<'a> ChatRequest<'a> {
    fn read_parameter(&mut self, member: &Member<'_>, reader: &mut Reader<'a>) -> Result<(), InvalidRequest> {
        match member.key.as_ref() {
            b"messages" => {
                let start = begin_value(reader)?;
                read_messages(reader, &mut self.input)?;
                self.messages = start..reader.position();
            }
            b"tools" => {
                let start = begin_value(reader)?;
                self.has_purchases |= read_tools(reader)?;
                self.tools = start..reader.position();
            }
            b"stream_options" => self.stream_options = read_stream_options(reader)?,
            b"model" => {
                let value = reader.read_value()?;
                self.model = read_model(value)?;
                self.model_value = Some(value);
            }
            b"stream" => self.is_stream = read_bool(reader.read_value()?, "stream")?.unwrap_or(false),
            b"n" => self.choices = read_choices(reader.read_value()?)?,
            b"max_tokens" => self.read_limit(MaxOutputField::MaxTokens, member, reader)?,
            b"max_completion_tokens" => self.read_limit(MaxOutputField::MaxCompletionTokens, member, reader)?,
            b"temperature" => self.is_repeatable |= read_temperature(reader.read_value()?)? == Some(0.0),
            b"service_tier" => self.dear_tier = Some(reader.read_value()?).filter(|value| is_dear(*value)),
            b"logprobs" => self.has_logprobs = reader.read_value()?.to_bool() == Some(true),
            b"seed" => self.is_repeatable |= reader.read_value()?.kind() == Kind::Number,
            key => {
                self.has_purchases |= is_purchase(key);
                reader.read_value()?;
            }
        }
        Ok(())
    }

    fn read_limit(
        &mut self,
        field: MaxOutputField,
        member: &Member<'_>,
        reader: &mut Reader<'a>,
    ) -> Result<(), InvalidRequest> {
        let value = reader.read_value()?;
        let tokens = value.to_u64().filter(|tokens| *tokens > 0);
        if tokens.is_none() && value.kind() != Kind::Null {
            return Err(InvalidRequest::new(String::from_utf8_lossy(&member.key), "must be a positive integer"));
        }
        let limit = TokenLimit { field, start: member.start, separator: member.separator, value, tokens };
        if let Some(place) = self.limits.iter_mut().find(|place| place.is_none()) {
            *place = Some(limit);
        }
        Ok(())
    }
}

/// Where the value that comes next begins.
fn begin_value(reader: &mut Reader<'_>) -> Result<usize, InvalidRequest> {
    reader.peek()?;
    Ok(reader.position())
}

fn read_model(value: Raw<'_>) -> Result<Cow<'_, str>, InvalidRequest> {
    if value.kind() == Kind::Null {
        return Ok(Cow::Borrowed(DEFAULT_MODEL));
    }
    let model = value.to_text().ok_or_else(|| InvalidRequest::new("model", "must be a string"))?;
    if model.is_empty() {
        return Err(InvalidRequest::new("model", "must not be empty"));
    }
    if model.len() > MAX_MODEL_BYTES {
        return Err(InvalidRequest::new("model", "is too long"));
    }
    Ok(model)
}

/// Whether a member of a request buys what its model's price does not say: another model than the one that was chosen (`models`,
/// `fallbacks`, `provider` and `route` of routers behind it), searches, and other services.
#[must_use]
pub fn is_purchase(key: &[u8]) -> bool {
    matches!(
        key,
        b"enable_search"
            | b"fallbacks"
            | b"models"
            | b"plugins"
            | b"provider"
            | b"route"
            | b"search_options"
            | b"search_parameters"
            | b"web_search_options"
    )
}

/// Whether a `service_tier` may cost more than the price list says: only these are known not to.
fn is_dear(tier: Raw<'_>) -> bool {
    tier.to_text()
        .is_some_and(|tier| !matches!(tier.as_ref(), "auto" | "default" | "flex" | "on_demand" | "standard_only"))
}

/// `None` for `null`.
fn read_bool(value: Raw<'_>, param: &str) -> Result<Option<bool>, InvalidRequest> {
    match (value.kind(), value.to_bool()) {
        (Kind::Null, _) => Ok(None),
        (_, Some(flag)) => Ok(Some(flag)),
        _ => Err(InvalidRequest::new(param, "must be true or false")),
    }
}

fn read_choices(value: Raw<'_>) -> Result<u64, InvalidRequest> {
    if value.kind() == Kind::Null {
        return Ok(1);
    }
    value
        .to_u64()
        .filter(|n| (1..=MAX_CHOICES).contains(n))
        .ok_or_else(|| InvalidRequest::new("n", format_args!("must be an integer from 1 to {MAX_CHOICES}")))
}

/// `None` for `null`.
fn read_temperature(value: Raw<'_>) -> Result<Option<f64>, InvalidRequest> {
    if value.kind() == Kind::Null {
        return Ok(None);
    }
    let number = Some(value).filter(|value| value.kind() == Kind::Number);
    let temperature = number.and_then(|value| serde_json::from_slice::<f64>(value.bytes).ok());
    match temperature.filter(|temperature| (0.0..=2.0).contains(temperature)) {
        Some(temperature) => Ok(Some(temperature)),
        None => Err(InvalidRequest::new("temperature", "must be a number from 0 to 2")),
    }
}

fn read_stream_options<'a>(reader: &mut Reader<'a>) -> Result<StreamOptions<'a>, InvalidRequest> {
    match reader.peek()? {
        Kind::Object => {}
        Kind::Null => {
            return Ok(StreamOptions { value: Some(reader.read_value()?), ..StreamOptions::default() });
        }
        _ => return Err(InvalidRequest::new("stream_options", "must be an object")),
    }
    // Small: read whole for its place, and once more for its members.
    let value = reader.read_value()?;
    let mut options = StreamOptions { value: Some(value), is_empty: true, ..StreamOptions::default() };
    let mut members = Reader::new(value.bytes);
    members.enter_object()?;
    while let Some(member) = members.next_member()? {
        options.is_empty = false;
        let raw = members.read_value()?;
        if member.key.as_ref() != b"include_usage" {
            options.has_others = true;
            continue;
        }
        if options.include_usage.is_some() {
            return Err(InvalidRequest::new("stream_options.include_usage", "must not be given twice"));
        }
        read_bool(raw, "stream_options.include_usage")?;
        options.include_usage = Some(Raw { start: value.start + raw.start, ..raw });
    }
    Ok(options)
}
