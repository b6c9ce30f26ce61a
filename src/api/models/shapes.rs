//! What the document says of answers in `OpenAI`'s and Anthropic's forms: the members that clients rely on. Answers are made in
//! `domain/` or come from upstreams, with whatever else is in them, and without what an upstream leaves out. Tests hold every
//! answer against these. With them, what it says of the requests that several routes take.
#![expect(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// A completion.
#[derive(JsonSchema)]
pub struct ChatCompletion {
    #[schemars(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// `chat.completion`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// When it was made, in seconds since 1970.
    #[schemars(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    /// The one that was asked for.
    model: String,
    choices: Vec<ChatChoice>,
    usage: ChatUsage,
}

/// One of its choices.
#[derive(JsonSchema)]
pub struct ChatChoice {
    #[schemars(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    message: ChatMessage,
    /// `stop`, `length`, `tool_calls` or `content_filter`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<String>,
}

/// What the model says.
#[derive(JsonSchema)]
pub struct ChatMessage {
    /// `assistant`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// The text; null where there are only calls of tools.
    #[schemars(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Map<String, Value>>>,
}

/// What it was counted as.
#[derive(JsonSchema)]
pub struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[schemars(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    /// `cached_tokens` and others.
    #[schemars(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Map<String, Value>>,
    /// `reasoning_tokens` and others.
    #[schemars(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<Map<String, Value>>,
}

/// What is asked of the models.
#[derive(JsonSchema)]
#[schemars(rename = "NativeRequest")]
pub struct RequestBody {
    /// At least one message with a `role` and `content` (a text or an array of parts).
    messages: Vec<Map<String, Value>>,
    /// The model to try first; also `provider/model`.
    model_hint: Option<String>,
    /// Your own estimate; a quarter of the bytes by default.
    estimated_input_tokens: Option<u64>,
    /// Members of the chat completion besides `messages`, `model` and `stream`.
    parameters: Option<Map<String, Value>>,
    /// Answer as server-sent events.
    stream: Option<bool>,
    /// Your own notes; never sent on.
    meta: Option<Map<String, Value>>,
    /// A JSON schema that the answer's text has to fit.
    output_schema: Option<Value>,
    /// Your own id; aliases stick to it.
    id: Option<String>,
}

/// How the answer's text is to look.
#[derive(JsonSchema)]
#[schemars(rename = "NativeOutputFormat")]
pub struct FormatBody {
    /// `json`, `markdown`, `text` or `xml`.
    r#type: Option<String>,
    /// A JSON schema as JSON text; the answer is held against it.
    schema: Option<String>,
    /// Cut the text after so many times four bytes.
    max_tokens: Option<u64>,
    /// Take `<think>…</think>` out.
    strip_think: Option<bool>,
}

/// An answer of `/v1/chat` or `/v1/plan`.
#[derive(JsonSchema)]
pub struct NativeAnswer {
    /// The model that answered.
    negotiated_model: String,
    /// What it cost, in US dollars.
    estimated_cost_usd: f64,
    /// Why this model.
    routing_reason: String,
    /// The completion, or what `output_format` made of it.
    response: Value,
}

/// Vectors.
#[derive(JsonSchema)]
pub struct EmbeddingList {
    /// `list`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    data: Vec<Embedding>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    usage: Option<EmbeddingUsage>,
}

/// One of them.
#[derive(JsonSchema)]
pub struct Embedding {
    /// `embedding`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    index: u32,
    /// Numbers, or base64 of 32-bit floats where that was asked for.
    embedding: Value,
}

/// What they were counted as.
#[derive(JsonSchema)]
pub struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Images.
#[derive(JsonSchema)]
pub struct ImageList {
    /// When they were made, in seconds since 1970.
    #[schemars(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    data: Vec<Image>,
}

/// One of them.
#[derive(JsonSchema)]
pub struct Image {
    /// Where it lies.
    #[schemars(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Or the image itself.
    #[schemars(skip_serializing_if = "Option::is_none")]
    b64_json: Option<String>,
}

/// What was spoken.
#[derive(JsonSchema)]
pub struct Transcription {
    text: String,
}

/// An answer in Anthropic's form.
#[derive(JsonSchema)]
pub struct AnthropicMessage {
    id: String,
    /// `message`.
    r#type: String,
    /// `assistant`.
    role: String,
    /// The one that was asked for.
    model: String,
    /// Blocks of text, thinking and tool use.
    content: Vec<Map<String, Value>>,
    /// `end_turn`, `max_tokens`, `stop_sequence`, `tool_use` or `refusal`.
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: AnthropicUsage,
}

/// What it was counted as.
#[derive(JsonSchema)]
pub struct AnthropicUsage {
    input_tokens: u64,
    output_tokens: u64,
}

/// A response.
#[derive(JsonSchema)]
pub struct ResponseObject {
    id: String,
    /// `response`.
    object: String,
    /// When it was made, in seconds since 1970.
    created_at: u64,
    /// `completed`, `incomplete` or `failed`.
    status: String,
    model: String,
    /// Messages, calls of tools, reasoning.
    output: Vec<Map<String, Value>>,
    previous_response_id: Option<String>,
    error: Option<Map<String, Value>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    incomplete_details: Option<Map<String, Value>>,
    usage: Option<ResponseUsage>,
}

/// What it was counted as.
#[derive(JsonSchema)]
pub struct ResponseUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

/// It is gone.
#[derive(JsonSchema)]
pub struct ResponseDeleted {
    id: String,
    /// `response`.
    object: String,
    deleted: bool,
}

/// Input items of a response.
#[derive(JsonSchema)]
pub struct ResponseItems {
    /// `list`.
    object: String,
    data: Vec<Map<String, Value>>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}
