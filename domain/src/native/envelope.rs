//! The `request` object, which `/v1/chat` and `/v1/plan` share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ANY_MODEL;
use super::members::{Members, ParseError};
use crate::chat::request::{ChatRequest, InvalidRequest};
use crate::json_schema::Schema;

/// What `parameters` can't set: the gateway decides it, or the envelope says it already.
const RESERVED_PARAMETERS: [&str; 3] = ["messages", "model", "stream"];
/// Largest estimate of input tokens that is believed.
const MAX_INPUT_TOKENS: u64 = 1_000_000_000;

/// What is asked of the models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NativeRequest {
    /// OpenAI messages, content parts included; never empty.
    pub messages: Vec<Value>,
    /// The model that the client would like, as it wrote it.
    pub model_hint: Option<String>,
    /// The client's own estimate of input tokens; 0 when it made none.
    pub estimated_input_tokens: u64,
    /// Members of the chat completion besides the model, the messages and `stream`.
    pub parameters: Map<String, Value>,
    /// Whether the answer is to be streamed.
    pub is_stream: bool,
    /// The client's id of the request; what an alias sticks to.
    pub id: Option<String>,
    /// The client's notes. Never sent upstream.
    pub meta: Map<String, Value>,
    /// What the answer's text has to fit. Never sent upstream.
    pub output_schema: Option<Schema>,
}

impl NativeRequest {
    pub(super) fn read(body: Members<'_>) -> Result<Self, ParseError> {
        let request = body.section("request")?;
        let messages = read_messages(request)?;
        let estimate = request.get("estimated_input_tokens").map_or(Some(0), Value::as_u64);
        let estimate = estimate.filter(|tokens| *tokens <= MAX_INPUT_TOKENS);
        let parameters = request.object("parameters")?.cloned().unwrap_or_default();
        for key in RESERVED_PARAMETERS {
            if parameters.contains_key(key) {
                let instead = if key == "model" { "model_hint" } else { key };
                return Err(request.fault("parameters", format_args!("must not set {key}: use request.{instead}")));
            }
        }
        let read = Self {
            messages,
            model_hint: request.text("model_hint")?.map(str::to_owned),
            estimated_input_tokens: estimate.ok_or_else(|| {
                request.fault("estimated_input_tokens", format_args!("must be a whole number up to {MAX_INPUT_TOKENS}"))
            })?,
            parameters,
            is_stream: request.flag("stream")?.unwrap_or(false),
            id: request.text("id")?.map(str::to_owned),
            meta: request.object("meta")?.cloned().unwrap_or_default(),
            output_schema: request.schema("output_schema")?,
        };
        read.check()?;
        Ok(read)
    }

    /// The chat completion for the gateway. `model` is a registered model, an alias or a mode.
    #[must_use]
    pub fn to_chat_request(&self, model: &str) -> Vec<u8> {
        to_chat_body(model, &self.messages, &self.parameters, self.is_stream)
    }

    /// What the gateway would refuse is refused here, under the names that this client knows.
    fn check(&self) -> Result<(), ParseError> {
        let body = self.to_chat_request(ANY_MODEL);
        let Err(InvalidRequest { param, message }) = ChatRequest::parse(&body) else { return Ok(()) };
        let Some(param) = param else { return Err(ParseError { param: None, message }) };
        let section = if param.starts_with("messages") { "request" } else { "request.parameters" };
        Err(ParseError { param: Some(format!("{section}.{param}")), message: format!("{section}.{message}") })
    }
}

/// A hint without its provider prefix, for registries that know the model by its bare name: `acme/llama` is `llama`.
#[must_use]
pub fn bare_model_hint(hint: &str) -> Option<&str> {
    let (_, bare) = hint.split_once('/')?;
    Some(bare).filter(|bare| !bare.is_empty())
}

/// A chat completion's body.
pub(super) fn to_chat_body(
    model: &str,
    messages: &[Value],
    parameters: &Map<String, Value>,
    is_stream: bool,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'b> {
        #[serde(flatten)]
        parameters: &'b Map<String, Value>,
        model: &'b str,
        messages: &'b [Value],
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<bool>,
    }
    // Values are JSON already: nothing here can fail.
    serde_json::to_vec(&Body { parameters, model, messages, stream: is_stream.then_some(true) }).unwrap_or_default()
}

/// The text of a message's content: a string, or the text parts one after the other.
pub(super) fn content_text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(part_text).collect(),
        _ => String::new(),
    }
}

/// The text of a content part, if it is one.
pub(super) fn part_text(part: &Value) -> Option<&str> {
    part.get("text").and_then(Value::as_str)
}

fn read_messages(request: Members<'_>) -> Result<Vec<Value>, ParseError> {
    let required = || ParseError::new("request.messages", "messages required");
    let messages = request.get("messages").ok_or_else(required)?;
    let mut messages = messages.as_array().ok_or_else(|| request.fault("messages", "must be an array"))?.clone();
    if messages.is_empty() {
        return Err(required());
    }
    for message in &mut messages {
        // Content may be left out or null; OpenAI's servers want a text from everybody but the
        // assistant.
        if let Value::Object(members) = message
            && members.get("role").is_some_and(|role| role != "assistant")
            && members.get("content").is_none_or(Value::is_null)
        {
            members.insert("content".to_owned(), json!(""));
        }
    }
    Ok(messages)
}
