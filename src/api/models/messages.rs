//! Messages, in Anthropic's form, on any model.

use guildhall_domain::anthropic::{to_chat_request, to_counted_chat_request};
use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::json::{JsonError, Reader};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::shapes::AnthropicMessage;
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::choice::Policy;
use crate::gateway::completion::complete_chat;
use crate::gateway::face::as_message;
use crate::http::input::RawJson;
use crate::http::output::{Reply, Streamed};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Chat", dialect Anthropic;
    /// Create a message.
    ///
    /// Anthropic's request and answer on any model, streaming and not: system prompts, images, documents, tools and their
    /// results, thinking. Anthropic's own tools that run on its servers are refused. `model` is as for chat completions.
    Post "/v1/messages" Access::Key(Scope::Chat), body_max_bytes = 16 << 20 => create_message;
    /// Count a message's tokens.
    ///
    /// The input tokens that the request likely has: a quarter of its bytes, and a fixed number for each image. An estimate
    /// for every model alike; what a call is charged for is what its upstream counts. Nothing is sent, and nothing is charged.
    Post "/v1/messages/count_tokens" Access::Key(Scope::Chat), body_max_bytes = 16 << 20 => count_message_tokens;
}

/// What a request likely has.
#[derive(Serialize, JsonSchema)]
pub struct TokenCount {
    input_tokens: u64,
}

/// A request whose tokens are counted.
#[derive(JsonSchema)]
#[schemars(rename = "CountTokensRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::anthropic` reads what is sent")]
struct CountTokensRequest {
    /// Any model; the count is the same.
    model: String,
    /// The conversation, as for a message.
    messages: Vec<Map<String, Value>>,
    /// The system prompt: a text, or blocks of text.
    system: Option<Value>,
    /// Tools that the model may call.
    tools: Option<Vec<Map<String, Value>>>,
    /// Which tool it is to call.
    tool_choice: Option<Map<String, Value>>,
}

/// A conversation in Anthropic's form.
#[derive(JsonSchema)]
#[schemars(rename = "MessageRequest", extend("additionalProperties" = true))]
#[expect(dead_code, reason = "the document has its schema; `domain::anthropic` reads what is sent")]
struct MessageRequest {
    /// `auto`, `fast`, `max`, or a registered model.
    model: String,
    /// The conversation: turns with a `role` (`user` or `assistant`) and `content` (a text or blocks).
    messages: Vec<Map<String, Value>>,
    /// Most output tokens.
    max_tokens: u64,
    /// The system prompt: a text, or blocks of text.
    system: Option<Value>,
    /// Answer as server-sent events.
    stream: Option<bool>,
    /// Tools that the model may call.
    tools: Option<Vec<Map<String, Value>>>,
    /// Which tool it is to call.
    tool_choice: Option<Map<String, Value>>,
    /// 0 to 1.
    temperature: Option<f64>,
    /// The part of the likeliest tokens to choose from, 0 to 1.
    top_p: Option<f64>,
    /// How many of the likeliest tokens to choose from.
    top_k: Option<u64>,
    /// Texts that end the answer.
    stop_sequences: Option<Vec<String>>,
    /// Whether and how long the model is to think.
    thinking: Option<Map<String, Value>>,
    /// `user_id`: who of the client's users asks.
    metadata: Option<Map<String, Value>>,
}

async fn create_message(cx: Cx, request: RawJson<MessageRequest>) -> Result<Streamed<AnthropicMessage>, ApiError> {
    let chat = to_chat_request(&request.body)?;
    drop(request);
    let model = read_model(&chat).map_err(ApiError::internal)?;
    let policy = Policy { is_extended: true, ..Policy::default() };
    let answer = complete_chat(cx.clone(), &chat, &policy).await?;
    Ok(as_message(answer.output, &model, &cx.request_id)?.header("request-id", &*cx.request_id).into())
}

/// The model's name, which stands first in what [`to_chat_request`] writes: the answer repeats it.
fn read_model(chat: &[u8]) -> Result<String, JsonError> {
    let mut reader = Reader::new(chat);
    reader.enter_object()?;
    reader.next_member()?;
    Ok(reader.read_value()?.to_text().unwrap_or_default().into_owned())
}

async fn count_message_tokens(_cx: Cx, request: RawJson<CountTokensRequest>) -> Result<Reply<TokenCount>, ApiError> {
    let chat = to_counted_chat_request(&request.body)?;
    Ok(Reply(TokenCount { input_tokens: ChatRequest::parse(&chat)?.input_tokens_estimate().max(1) }))
}
