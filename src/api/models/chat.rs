//! Chat completions, in `OpenAI`'s form.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::shapes::ChatCompletion;
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::choice::Policy;
use crate::gateway::completion::complete_chat;
use crate::gateway::face::tell_model;
use crate::http::input::RawJson;
use crate::http::output::Streamed;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Chat", dialect Tokaroo;
    /// Create a chat completion.
    ///
    /// `OpenAI`'s request and answer, streaming and not, with tools, vision parts and structured output; fields that are
    /// not known here are passed on. `model` is `auto`, `fast`, `max` or a registered model; the answer's `model` is the
    /// one that was asked for. `x-tokaroo-cost` is the charge in US dollars (not on streams: it is in the usage); where the
    /// balance or a budget ends, less is charged. `x-tokaroo-cache` says whether the answer was kept (`hit`) or made (`miss`); `x-tokaroo-cache-control` takes
    /// `no-cache`, `no-store`, `max-age=<seconds>` and `force`.
    Post "/v1/chat/completions" Access::Key(Scope::Chat), body_max_bytes = 10 << 20 => create_chat_completion;
}

/// A conversation. Members that are not named here are passed on too.
#[derive(JsonSchema)]
#[schemars(rename = "ChatCompletionRequest", extend("additionalProperties" = true))]
#[expect(dead_code, reason = "the document has its schema; `domain::chat::request` reads what is sent")]
struct ChatCompletionRequest {
    /// `auto` (the default), `fast`, `max`, or a registered model.
    model: Option<String>,
    /// The conversation: 1 to 10,000 messages with a `role` and `content` (a text or an array of parts).
    messages: Vec<Map<String, Value>>,
    /// Answer as server-sent events.
    stream: Option<bool>,
    /// `include_usage`: end the stream with a chunk that tells the usage.
    stream_options: Option<Map<String, Value>>,
    /// Most output tokens of one choice.
    max_tokens: Option<u64>,
    /// As `max_tokens`; the name that reasoning models want.
    max_completion_tokens: Option<u64>,
    /// 0 to 2.
    temperature: Option<f64>,
    /// Choices, 1 to 128.
    n: Option<u64>,
    /// Tools that the model may call, at most 512.
    tools: Option<Vec<Map<String, Value>>>,
    /// `auto`, `none`, `required`, or the tool that it is to call.
    tool_choice: Option<Value>,
    /// Whether it may call several tools at once.
    parallel_tool_calls: Option<bool>,
    /// `type`: `text`, `json_object`, or `json_schema` with a `json_schema` beside it.
    response_format: Option<Map<String, Value>>,
    /// The part of the likeliest tokens to choose from, 0 to 1.
    top_p: Option<f64>,
    /// A text that ends the answer, or several.
    stop: Option<Value>,
    /// Asks for the same answer each time, as far as the model can.
    seed: Option<i64>,
    /// -2 to 2: against what was said before.
    presence_penalty: Option<f64>,
    /// -2 to 2: against what was said often.
    frequency_penalty: Option<f64>,
    /// What to add to the likelihood of tokens, by their number.
    logit_bias: Option<Map<String, Value>>,
    /// Whether to tell the likelihood of the answer's tokens.
    logprobs: Option<bool>,
    /// How many others to tell at each place, 0 to 20.
    top_logprobs: Option<u64>,
    /// How long a reasoning model is to think, such as `low`.
    reasoning_effort: Option<String>,
    /// Your own name of your user.
    user: Option<String>,
    /// Your own notes.
    metadata: Option<Map<String, Value>>,
}

async fn create_chat_completion(
    cx: Cx,
    request: RawJson<ChatCompletionRequest>,
) -> Result<Streamed<ChatCompletion>, ApiError> {
    let tells_model = cx.caller.key()?.product == "tokenhub";
    let answer = complete_chat(cx, &request.body, &Policy::default()).await?;
    if !tells_model {
        // Which model serves a tier is nobody's business but ours.
        return Ok(answer.output.into());
    }
    Ok(tell_model(answer.output, answer.negotiated_model, answer.alias_from).into())
}
