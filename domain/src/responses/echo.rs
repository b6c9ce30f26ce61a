//! What a Response repeats of its request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::fields::Fields;
use super::tools::Origins;
use crate::chat::request::InvalidRequest;

/// The part of a request that its Response repeats, and what is needed to put the answer into the client's terms.
#[derive(Clone, Debug, Serialize)]
pub struct Echo {
    background: bool,
    instructions: Option<Box<RawValue>>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<Box<RawValue>>,
    model: String,
    parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    prompt_cache_key: Option<Box<RawValue>>,
    reasoning: Reasoning,
    safety_identifier: Option<Box<RawValue>>,
    store: bool,
    temperature: Option<Box<RawValue>>,
    text: Text,
    tool_choice: Given<&'static str>,
    tools: Given<[(); 0]>,
    top_logprobs: Option<u64>,
    top_p: Option<Box<RawValue>>,
    truncation: &'static str,
    user: Option<Box<RawValue>>,
    metadata: Given<BTreeMap<String, ()>>,
    /// As asked for; the answer may name the one that it got.
    #[serde(skip)]
    pub(super) service_tier: Option<Box<RawValue>>,
    #[serde(skip)]
    pub(super) origins: Origins,
    /// Whether thoughts are shown as a summary, which is where clients that asked for one look.
    #[serde(skip)]
    pub(super) has_summary: bool,
}

/// A member in the client's own bytes, or what is meant where the client left it out.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Given<D> {
    Client(Box<RawValue>),
    Default(D),
}

impl<D> Given<D> {
    fn or(client: Option<Box<RawValue>>, default: D) -> Self {
        client.map_or(Self::Default(default), Self::Client)
    }
}

#[derive(Clone, Debug, Serialize)]
struct TextFormat {
    r#type: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Reasoning {
    effort: Option<Box<RawValue>>,
    summary: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
struct Text {
    format: Given<TextFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Box<RawValue>>,
}

/// What the caller has read of the request already.
pub(super) struct Known {
    pub model: String,
    pub max_output_tokens: Option<u64>,
    pub top_logprobs: Option<u64>,
    pub parallel_tool_calls: bool,
    pub previous_response_id: Option<String>,
    pub store: bool,
    pub origins: Origins,
}

impl Echo {
    pub(super) fn new(fields: &Fields<'_>, known: Known) -> Result<Self, InvalidRequest> {
        let own = |name: &str| fields.raw(name).map(ToOwned::to_owned);
        let reasoning = fields.object("reasoning")?;
        let reasoning = |name: &str| reasoning.as_ref().and_then(|object| object.raw(name)).map(ToOwned::to_owned);
        let summary = reasoning("summary").or_else(|| reasoning("generate_summary"));
        let text = fields.object("text")?;
        let text = |name: &str| text.as_ref().and_then(|object| object.raw(name)).map(ToOwned::to_owned);
        Ok(Self {
            background: false,
            instructions: own("instructions"),
            max_output_tokens: known.max_output_tokens,
            max_tool_calls: own("max_tool_calls"),
            model: known.model,
            parallel_tool_calls: known.parallel_tool_calls,
            previous_response_id: known.previous_response_id,
            prompt_cache_key: own("prompt_cache_key"),
            has_summary: summary.is_some(),
            reasoning: Reasoning { effort: reasoning("effort"), summary },
            safety_identifier: own("safety_identifier"),
            store: known.store,
            temperature: own("temperature"),
            text: Text {
                format: Given::or(text("format"), TextFormat { r#type: "text" }),
                verbosity: text("verbosity"),
            },
            tool_choice: Given::or(own("tool_choice"), "auto"),
            tools: Given::or(own("tools"), []),
            top_logprobs: known.top_logprobs,
            top_p: own("top_p"),
            truncation: "disabled",
            user: own("user"),
            metadata: Given::or(own("metadata"), BTreeMap::new()),
            service_tier: own("service_tier"),
            origins: known.origins,
        })
    }
}
