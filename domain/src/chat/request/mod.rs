//! A chat completion request: checked, measured, and rewritten for an upstream without being
//! rebuilt.
//!
//! The body is read once. What the gateway knows is checked with the messages a client can act on;
//! what it does not know is passed through byte for byte, in order.

mod messages;
mod parse;
mod prefix;
mod rewrite;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::json::{JsonError, Raw};
use messages::InputSize;
pub use messages::is_callers_tool;
pub use parse::is_purchase;

pub use rewrite::{MaxOutputField, UpstreamEdit};

/// Model that is meant when a request names none.
pub const DEFAULT_MODEL: &str = "auto";
/// Most messages in a request.
pub const MAX_MESSAGES: usize = 10_000;
/// Most tools in a request.
pub const MAX_TOOLS: usize = 512;
/// Most choices that a request may ask for.
pub const MAX_CHOICES: u64 = 128;
/// Longest model name, in bytes.
pub const MAX_MODEL_BYTES: usize = 800;
/// Most members of the request object.
pub const MAX_MEMBERS: usize = 256;

/// Tokens that one image is taken to cost at most, however many bytes it is sent in.
pub const IMAGE_TOKENS_UPPER: u64 = 2_000;
/// Tokens that one image is taken to cost usually.
pub const IMAGE_TOKENS_ESTIMATE: u64 = 1_000;
/// Most pages of a document that a model is taken to read; what most of Anthropic's models read at most.
pub const DOCUMENT_PAGES_UPPER: u64 = 100;
/// Tokens that one page of a document is taken to cost at most: Anthropic says 1,500 to 3,000.
pub const PAGE_TOKENS_UPPER: u64 = 3_000;
/// Tokens that one page of a document is taken to cost usually.
pub const PAGE_TOKENS_ESTIMATE: u64 = 2_000;
/// Tokens that the chat template adds to each message, and once to the whole, at most.
pub const TEMPLATE_TOKENS: u64 = 8;

/// Why a request is refused; the texts go to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest {
    /// The parameter at fault as the client wrote it (`messages[2].role`); `None` for the body as a
    /// whole.
    pub param: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
}

impl InvalidRequest {
    /// `param` followed by what is wrong with it.
    pub(crate) fn new(param: impl Into<String>, fault: impl fmt::Display) -> Self {
        let param = param.into();
        Self { message: format!("{param} {fault}."), param: Some(param) }
    }

    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self { param: None, message: message.into() }
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidRequest {}

impl From<JsonError> for InvalidRequest {
    fn from(error: JsonError) -> Self {
        Self::body(format!("The request body is not valid JSON: {error}."))
    }
}

/// A checked request that borrows its body.
#[derive(Clone, Debug)]
pub struct ChatRequest<'a> {
    body: &'a [u8],
    /// Offset behind the opening brace.
    inside: usize,
    model: Cow<'a, str>,
    model_value: Option<Raw<'a>>,
    /// Where the list of messages stands in the body.
    messages: Range<usize>,
    /// Where the list of tools stands; nowhere when there is none.
    tools: Range<usize>,
    is_stream: bool,
    stream_options: StreamOptions<'a>,
    /// The limits on output tokens, in the order of the body.
    limits: [Option<TokenLimit<'a>>; 2],
    choices: u64,
    is_repeatable: bool,
    /// `service_tier`, where it asks for a dearer one.
    dear_tier: Option<Raw<'a>>,
    has_purchases: bool,
    has_logprobs: bool,
    input: InputSize,
    /// Bytes that its text's escapes add.
    escape_bytes: u64,
}

/// `stream_options` as the client sent it.
#[derive(Clone, Copy, Debug, Default)]
struct StreamOptions<'a> {
    /// The whole value, `null` included.
    value: Option<Raw<'a>>,
    /// The value of its `include_usage`, `null` included.
    include_usage: Option<Raw<'a>>,
    /// Whether the value is an object without members.
    is_empty: bool,
    /// Whether the value has members beside `include_usage`.
    has_others: bool,
}

/// A limit on output tokens as the client sent it.
#[derive(Clone, Copy, Debug)]
struct TokenLimit<'a> {
    field: MaxOutputField,
    /// Offset of its key.
    start: usize,
    /// Offset of the comma before it, if it is not the first member.
    separator: usize,
    /// The value, `null` included.
    value: Raw<'a>,
    /// The limit, unless it is `null`.
    tokens: Option<u64>,
}

impl<'a> ChatRequest<'a> {
    /// Reads and checks a request body.
    ///
    /// Checked: UTF-8; JSON, with no key twice; `model`, `messages` (roles, content, parts),
    /// `stream`, `stream_options`, `n`, `max_tokens`, `max_completion_tokens`, `temperature` and
    /// `tools`. `null` is the same as leaving a parameter out.
    ///
    /// # Errors
    /// [`InvalidRequest`] for the first fault in the order of the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        parse::parse(body)
    }

    /// The model asked for: a routing mode or a registered model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the client named a model.
    #[must_use]
    pub fn names_model(&self) -> bool {
        self.model_value.is_some_and(|value| value.to_text().is_some())
    }

    /// Whether the answer is to be streamed.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.is_stream
    }

    /// Whether the client asked for the usage chunk at the end of its stream.
    #[must_use]
    pub fn include_usage(&self) -> bool {
        self.stream_options.include_usage.and_then(|value| value.to_bool()).unwrap_or(false)
    }

    /// Whether it is a stream whose `stream_options`, as an upstream gets them, ask for usage and say nothing else.
    #[must_use]
    pub const fn asks_for_usage_alone(&self) -> bool {
        self.is_stream && !self.stream_options.has_others
    }

    /// The client's own limit on output tokens per choice; the larger one if it sent both
    /// parameters.
    #[must_use]
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.limits.iter().flatten().filter_map(|limit| limit.tokens).max()
    }

    /// What the client calls that limit.
    #[must_use]
    pub fn max_output_field(&self) -> Option<MaxOutputField> {
        let limits = self.limits.iter().flatten().filter(|limit| limit.tokens.is_some());
        limits.max_by_key(|limit| limit.tokens).map(|limit| limit.field)
    }

    /// How many choices are asked for.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.choices
    }

    /// Whether the client asks for the same answer each time: temperature 0, or a seed.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The body that was read.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Images among the message parts. What an image costs is the model's affair; see
    /// [`IMAGE_TOKENS_UPPER`].
    #[must_use]
    pub const fn image_count(&self) -> u64 {
        self.input.images
    }

    /// Input tokens that the request can't exceed, for holding money.
    ///
    /// A token of a byte-level tokenizer covers at least one byte, and JSON only lengthens text: so
    /// one token a byte of the body, plus the chat template; images count [`IMAGE_TOKENS_UPPER`]
    /// each and audio one token per 8 bytes of base64 instead (speech is coded at 10 to 32 tokens a
    /// second, which at 8 kbit/s is 1,333 bytes of base64). A document counts [`PAGE_TOKENS_UPPER`] for each page that
    /// it may have: one per 8 KiB of base64, at most [`DOCUMENT_PAGES_UPPER`], and those where only its address is here.
    #[must_use]
    pub const fn input_tokens_upper(&self) -> u64 {
        self.text_bytes()
            + TEMPLATE_TOKENS * (self.input.messages + 1)
            + IMAGE_TOKENS_UPPER * self.input.images
            + self.input.audio_bytes.div_ceil(8)
            + PAGE_TOKENS_UPPER * self.input.pages_upper
    }

    /// Whether it has what [`is_purchase`], or a tool that the provider runs.
    #[must_use]
    pub const fn has_purchases(&self) -> bool {
        self.has_purchases
    }

    /// Whether each token is wanted with its likelihood: some 2 kB of JSON where 20 others are told beside it.
    #[must_use]
    pub const fn has_logprobs(&self) -> bool {
        self.has_logprobs
    }

    /// Whether [`ChatRequest::input_tokens_upper`] is no bound: how a model counts pictures, pages and parts of kinds that are
    /// not known here is its own affair (one picture is 85 tokens or 36,000).
    #[must_use]
    pub const fn is_input_guessed(&self) -> bool {
        self.input.is_guessed
    }

    /// Input tokens that the request hardly falls below: one token per 8 bytes of text, its escapes resolved.
    #[must_use]
    pub const fn input_tokens_lower(&self) -> u64 {
        self.decoded_bytes() / 8
    }

    /// Input tokens that the request likely has: one token per 4 bytes of text, its escapes resolved,
    /// [`IMAGE_TOKENS_ESTIMATE`] an image, [`PAGE_TOKENS_ESTIMATE`] a page of a document: one per 64 KiB of base64, at
    /// most 50, and 10 where only its address is here.
    #[must_use]
    pub const fn input_tokens_estimate(&self) -> u64 {
        self.decoded_bytes() / 4
            + IMAGE_TOKENS_ESTIMATE * self.input.images
            + self.input.audio_bytes / 64
            + PAGE_TOKENS_ESTIMATE * self.input.pages_estimate
    }

    /// The body less its images, audio and documents: schemas, prediction and names become tokens too.
    const fn text_bytes(&self) -> u64 {
        (self.body.len() as u64).saturating_sub(self.input.media_bytes())
    }

    /// The same as models get it: `\u4f60` is one character, however it is sent.
    const fn decoded_bytes(&self) -> u64 {
        self.text_bytes().saturating_sub(self.escape_bytes)
    }

    /// The body for an upstream: the edit carried out, everything else the same bytes in the same
    /// order.
    #[must_use]
    pub fn rewrite(&self, edit: &UpstreamEdit<'_>) -> Vec<u8> {
        rewrite::rewrite(self, edit)
    }
}

#[cfg(test)]
mod tests;
