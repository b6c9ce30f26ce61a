//! How each kind of provider is spoken to. Inside, requests and answers are chat completions; Anthropic's own API wants and
//! gives messages.

use std::borrow::Cow;

use guildhall_domain::anthropic::{
    MessagesToChatStream, Takes, TranslateError, drop_extensions, drop_purchases, drop_stream_options, shorten_caches,
    to_chat_completion, to_messages_request,
};
use guildhall_domain::chat::choices::Edit as _;
use guildhall_domain::chat::quirks::{QuirkEdit, QuirkStream};
use guildhall_domain::chat::request::{ChatRequest, UpstreamEdit};
use guildhall_domain::chat::stream::StreamFault;
use guildhall_domain::media::ModelKind;
use guildhall_domain::pricing::TokenUsage;

use super::dispatch::Wire;
use super::ladder::Step;
use super::provider::ProviderKind;
use super::settlement::RunningCall;
use crate::error::ApiError;

/// A chat in the words of a step's provider.
///
/// # Errors
/// 400 for what the client wrote that cannot be said there.
pub fn write_chat(
    step: &Step,
    request: &ChatRequest<'_>,
    is_extended: bool,
    max_output_tokens: Option<u64>,
) -> Result<Wire, ApiError> {
    let offer = &step.offer;
    let kind = offer.provider.kind;
    // What costs the platform more than it charges is for those who pay the provider themselves.
    let pays_itself = offer.provider.own.is_some();
    let chosen = request.max_output_field().filter(|_| !is_extended);
    let edit = UpstreamEdit {
        model: &offer.upstream_model,
        max_output_tokens,
        max_output_field: offer.provider.endpoint.max_output_field(chosen),
        keeps_tier: pays_itself,
    };
    let mut body = request.rewrite(&edit);
    if let Some(quirks) = &offer.quirks
        && let Cow::Owned(edited) = quirks.edit_request(&body)
    {
        body = edited;
    }
    if !pays_itself && request.has_purchases() {
        body = drop_purchases(&body)?;
    }
    if !pays_itself && let Cow::Owned(shortened) = shorten_caches(&body)? {
        body = shortened;
    }
    if step.is_without_options || !offer.takes_stream_options.get() {
        body = drop_stream_options(&body)?;
    }
    let body = match kind {
        ProviderKind::Anthropic => to_messages_request(&body, &offer.upstream_model, offer.output_tokens_cap()),
        ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Sandbox if is_extended => {
            let takes = Takes {
                effort: offer.reasons != Some(false),
                thoughts: kind == ProviderKind::Vllm,
                openais: offer.provider.endpoint.is_openais,
            };
            drop_extensions(&body, takes)
        }
        ProviderKind::OpenAi | ProviderKind::Vllm | ProviderKind::Sandbox => Ok(body),
    };
    Ok(Wire {
        kind: ModelKind::Chat,
        content_type: "application/json".to_owned(),
        body: body?,
        stream: request.stream(),
    })
}

/// A whole answer as a chat completion.
///
/// # Errors
/// When the provider made no sense.
pub fn read_whole<'b>(call: &RunningCall, body: &'b [u8]) -> Result<Cow<'b, [u8]>, TranslateError> {
    let body = match call.provider_kind() {
        Some(ProviderKind::Anthropic) => {
            Cow::Owned(to_chat_completion(body, call.model_to_echo(), call.cx.started_ms / 1_000)?)
        }
        _ => Cow::Borrowed(body),
    };
    let Some(quirks) = call.quirks() else { return Ok(body) };
    let edited = QuirkEdit::new(quirks, &call.cx.request_id).edit(&body).into_owned();
    Ok(Cow::Owned(edited))
}

/// A stream as chunks of a chat completion.
pub struct Decoder {
    /// Where they are Anthropic's events.
    messages: Option<Box<MessagesToChatStream>>,
    /// Where the model has quirks.
    quirks: Option<Box<QuirkStream>>,
}

impl Decoder {
    /// Of the provider that answers the call.
    #[must_use]
    pub fn new(call: &RunningCall) -> Self {
        let messages = || MessagesToChatStream::new(call.model_to_echo(), call.cx.started_ms / 1_000, true);
        let is_messages = call.provider_kind() == Some(ProviderKind::Anthropic);
        let put_right = |quirks| Box::new(QuirkStream::new(QuirkEdit::new(quirks, &call.cx.request_id)));
        Self { messages: is_messages.then(|| Box::new(messages())), quirks: call.quirks().map(put_right) }
    }

    /// Takes a chunk as it came; gives it as a chat stream's, and what was wrong with it after that.
    pub fn push<'c>(&mut self, chunk: &'c [u8]) -> (Cow<'c, [u8]>, Result<(), StreamFault>) {
        let (chunks, translated) = match &mut self.messages {
            None => (Cow::Borrowed(chunk), Ok(())),
            Some(events) => {
                let mut chunks = Vec::new();
                let result = events.push(chunk, &mut chunks);
                (Cow::Owned(chunks), result)
            }
        };
        let Some(quirks) = &mut self.quirks else { return (chunks, translated) };
        let mut edited = Vec::new();
        let result = quirks.push(&chunks, &mut edited);
        (Cow::Owned(edited), translated.and(result))
    }

    /// The stream was closed in good order: the chunks that it still owes.
    pub fn finish(&mut self) -> (Vec<u8>, Result<(), StreamFault>) {
        let mut chunks = Vec::new();
        let mut result = self.messages.as_mut().map_or(Ok(()), |events| events.finish(&mut chunks));
        if let Some(quirks) = &mut self.quirks {
            let owed = std::mem::take(&mut chunks);
            result = result.and(quirks.push(&owed, &mut chunks));
            quirks.finish(&mut chunks);
        }
        (chunks, result)
    }

    /// What is known of the usage before the stream tells it.
    #[must_use]
    pub fn usage(&self) -> Option<TokenUsage> {
        self.messages.as_ref().and_then(|events| events.usage())
    }
}
