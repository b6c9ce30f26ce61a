//! A request of the Responses API as a chat completion request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::choice::{ChatToolChoice, read_tool_choice};
use super::echo::{Echo, Known};
use super::fields::{Fields, check_text};
use super::format::{ResponseFormat, read_format};
use super::history::{check_chain, join_items, resolve_references, unknown_previous};
use super::input::{ChatMessage, Conversation};
use super::items::{InputItem, ItemKind, find_references, read_input};
use super::stored::StoredTurn;
use super::tools::{ChatTool, Tools};
use crate::chat::request::{DEFAULT_MODEL, InvalidRequest};
use crate::ids::ResponseId;

/// Most of the likeliest tokens that a client may ask for.
const MAX_TOP_LOGPROBS: u64 = 20;

/// Members that ask for what is not here, with what is said about it.
const REFUSED: [(&str, &str); 4] = [
    ("conversation", "is not supported: continue with previous_response_id, or send the items"),
    ("prompt", "is not supported: send instructions and input"),
    ("context_management", "is not supported: the input is never shortened"),
    ("moderation", "is not supported"),
];

/// A request that is read, its earlier turns still to be found.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    fields: Fields<'a>,
    items: Vec<InputItem<'a>>,
    model: String,
    previous: Option<ResponseId>,
    references: Vec<ResponseId>,
    is_stream: bool,
    store: bool,
}

/// A request in the house's own format.
#[derive(Clone, Debug)]
pub struct Translated {
    /// The body of the chat completion request.
    pub chat_body: Vec<u8>,
    /// What the answer is to be translated with.
    pub echo: Echo,
    /// The input items of this turn, for [`StoredTurn::new`]; empty unless the client wants the turn stored.
    pub input: Vec<Box<RawValue>>,
    /// The kinds of the tools that were left out: servers would run them, and nobody here does.
    pub left_out: Vec<String>,
}

/// The chat completion request.
#[derive(Serialize)]
struct ChatBody<'r> {
    model: &'r str,
    messages: &'r [ChatMessage<'r>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tools: &'r [ChatTool<'r>],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChatToolChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    /// Members whose values pass as they are.
    #[serde(flatten)]
    passed: BTreeMap<&'static str, &'r RawValue>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    /// Reads a request body. `null` is the same as leaving a member out; members that are not known are left out.
    ///
    /// # Errors
    /// [`InvalidRequest`]
    pub fn parse(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        let fields = Fields::read(body)?;
        refuse_unsupported(&fields)?;
        let items = read_input(&fields)?;
        let previous = fields.text("previous_response_id")?;
        Ok(Self {
            model: fields.text("model")?.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            // An id of another form can't be one of ours.
            previous: previous.map(|id| id.parse().map_err(|_| unknown_previous())).transpose()?,
            references: find_references(&items)?,
            is_stream: read_bool(&fields, "stream")?.unwrap_or(false),
            store: read_bool(&fields, "store")?.unwrap_or(true),
            items,
            fields,
        })
    }

    /// The model asked for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is to be streamed.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.is_stream
    }

    /// Whether the client wants the turn to be kept: yes, where it does not say.
    #[must_use]
    pub const fn store(&self) -> bool {
        self.store
    }

    /// The turn that this one continues.
    #[must_use]
    pub const fn previous_response_id(&self) -> Option<ResponseId> {
        self.previous
    }

    /// The Responses to whose output items the input points by id, each once, at most [`super::MAX_TURNS`].
    #[must_use]
    pub fn referenced_response_ids(&self) -> &[ResponseId] {
        &self.references
    }

    /// Puts the request into the house's own format.
    ///
    /// `history` is the chain of turns that ends in [`Request::previous_response_id`], oldest first, empty where there
    /// is none; at most [`super::MAX_TURNS`]. `referenced` are the turns of [`Request::referenced_response_ids`], in any
    /// order. What was not found is left out: the client is told.
    ///
    /// # Errors
    /// [`InvalidRequest`]
    pub fn translate(&self, history: &[StoredTurn], referenced: &[StoredTurn]) -> Result<Translated, InvalidRequest> {
        check_chain(self.previous, history)?;
        let own = resolve_references(&self.items, history.iter().chain(referenced))?;
        let input = if self.store { own.iter().map(|item| (*item.raw).to_owned()).collect() } else { Vec::new() };
        let items = join_items(history, own)?;
        let fields = &self.fields;

        let mut tools = Tools::default();
        if let Some(list) = fields.raw("tools") {
            tools.read(list, "tools", false)?;
        }
        for item in items.iter().filter(|item| item.kind == ItemKind::AdditionalTools) {
            tools.read_additional(&item.raw, &item.param)?;
        }
        let choice = fields.raw("tool_choice").map(|raw| read_tool_choice(raw, &mut tools)).transpose()?.flatten();

        let mut conversation = Conversation::new(&tools);
        if let Some(instructions) = fields.raw_text("instructions")? {
            conversation.add_instructions(instructions);
        }
        for item in &items {
            conversation.add_item(item)?;
        }
        let messages = conversation.finish();
        let chat_body = self.write_chat_body(&messages, &tools, choice)?;
        let left_out = tools.left_out().to_vec();
        Ok(Translated { chat_body, echo: self.echo(tools)?, input, left_out })
    }

    fn write_chat_body(
        &self,
        messages: &[ChatMessage<'_>],
        tools: &Tools<'_>,
        tool_choice: Option<ChatToolChoice>,
    ) -> Result<Vec<u8>, InvalidRequest> {
        let fields = &self.fields;
        if messages.is_empty() {
            return Err(InvalidRequest::new("input", "must hold a message or a call"));
        }
        let text = fields.object("text")?;
        let wants_logprobs = self.wants_logprobs()?;
        let body = ChatBody {
            model: &self.model,
            messages,
            tools: tools.chat_tools(),
            tool_choice,
            // Servers refuse it where there are no tools.
            parallel_tool_calls: read_bool(fields, "parallel_tool_calls")?.filter(|_| !tools.chat_tools().is_empty()),
            response_format: text.as_ref().map(read_format).transpose()?.flatten(),
            max_completion_tokens: self.max_output_tokens()?,
            logprobs: wants_logprobs.then_some(true),
            top_logprobs: self.top_logprobs()?.filter(|_| wants_logprobs),
            stream: self.is_stream.then_some(true),
            stream_options: self.is_stream.then_some(StreamOptions { include_usage: true }),
            passed: self.passed_members(text.as_ref())?,
        };
        serde_json::to_vec(&body).map_err(|_| InvalidRequest::body("The request can't be translated."))
    }

    /// `metadata` is not among them: it is the Response's, and servers take it only for answers that they store.
    fn passed_members(
        &self,
        text: Option<&Fields<'a>>,
    ) -> Result<BTreeMap<&'static str, &'a RawValue>, InvalidRequest> {
        let fields = &self.fields;
        let mut passed = BTreeMap::new();
        let mut pass = |name: &'static str, value: Option<&'a RawValue>| {
            if let Some(value) = value {
                passed.insert(name, value);
            }
        };
        for name in ["temperature", "top_p"] {
            pass(name, fields.raw_number(name)?);
        }
        for name in ["prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "user"] {
            pass(name, fields.raw_text(name)?);
        }
        if let Some(reasoning) = fields.object("reasoning")?
            && let Some(effort) = reasoning.raw("effort")
        {
            pass("reasoning_effort", Some(check_text(effort, "reasoning.effort")?));
        }
        if let Some(verbosity) = text.and_then(|text| text.raw("verbosity")) {
            pass("verbosity", Some(check_text(verbosity, "text.verbosity")?));
        }
        Ok(passed)
    }

    fn echo(&self, tools: Tools<'_>) -> Result<Echo, InvalidRequest> {
        self.fields.object("metadata")?;
        let known = Known {
            model: self.model.clone(),
            max_output_tokens: self.max_output_tokens()?,
            top_logprobs: self.top_logprobs()?,
            parallel_tool_calls: read_bool(&self.fields, "parallel_tool_calls")?.unwrap_or(true),
            previous_response_id: self.previous.map(|id| id.to_string()),
            store: self.store,
            origins: tools.into_origins(),
        };
        Echo::new(&self.fields, known)
    }

    fn max_output_tokens(&self) -> Result<Option<u64>, InvalidRequest> {
        let fault = "must be a positive integer";
        match self.fields.parse::<u64>("max_output_tokens", fault)? {
            Some(0) => Err(InvalidRequest::new("max_output_tokens", fault)),
            limit => Ok(limit),
        }
    }

    fn top_logprobs(&self) -> Result<Option<u64>, InvalidRequest> {
        let fault = format!("must be an integer from 0 to {MAX_TOP_LOGPROBS}");
        match self.fields.parse::<u64>("top_logprobs", &fault)? {
            Some(count) if count > MAX_TOP_LOGPROBS => Err(InvalidRequest::new("top_logprobs", fault)),
            count => Ok(count),
        }
    }

    /// Of all that `include` may ask for, only this is made here; encrypted thoughts and the like there are none.
    fn wants_logprobs(&self) -> Result<bool, InvalidRequest> {
        let include = self.fields.parse::<Vec<String>>("include", "must be an array of strings")?;
        Ok(include.unwrap_or_default().iter().any(|name| name == "message.output_text.logprobs"))
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), InvalidRequest> {
    for (name, fault) in REFUSED {
        // An empty list asks for nothing.
        if fields.raw(name).is_some_and(|value| value.get() != "[]") {
            return Err(InvalidRequest::new(name, fault));
        }
    }
    if read_bool(fields, "background")? == Some(true) {
        return Err(InvalidRequest::new("background", "must be false: responses are made while the client waits"));
    }
    match fields.text("truncation")?.as_deref() {
        None | Some("disabled") => Ok(()),
        Some(_) => Err(InvalidRequest::new("truncation", "must be \"disabled\": the input is never shortened")),
    }
}

fn read_bool(fields: &Fields<'_>, name: &str) -> Result<Option<bool>, InvalidRequest> {
    fields.parse(name, "must be true or false")
}
