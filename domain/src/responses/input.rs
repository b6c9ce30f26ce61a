//! Input items as chat messages.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::content::{ChatPart, Content, read_content};
use super::fields::{check_text, parse_object};
use super::items::{InputItem, ItemKind};
use super::tools::Tools;
use crate::chat::request::InvalidRequest;

/// A chat message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChatMessage<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    /// The user's own words begin a new turn.
    #[serde(skip)]
    begins_turn: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct CalledFunction<'a> {
    name: String,
    /// JSON in a JSON string.
    arguments: Cow<'a, RawValue>,
}

#[derive(Deserialize)]
struct MessageItem<'a> {
    role: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct CallItem<'a> {
    call_id: String,
    name: String,
    namespace: Option<String>,
    /// A function's.
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    /// A free-form tool's.
    input: Option<String>,
}

#[derive(Deserialize)]
struct OutputItem<'a> {
    call_id: String,
    #[serde(borrow)]
    output: &'a RawValue,
}

#[derive(Deserialize)]
struct ReasoningItem {
    summary: Option<Vec<ReasoningText>>,
    content: Option<Vec<ReasoningText>>,
}

#[derive(Deserialize)]
struct ReasoningText {
    #[serde(default)]
    text: String,
}

/// Builds the messages of a chat request, item by item.
///
/// Chat completions want all results of an assistant's calls right behind it. Messages that stand between a call and
/// its result in the input are held back until the last result is in.
pub(super) struct Conversation<'a, 't> {
    messages: Vec<ChatMessage<'a>>,
    /// The assistant's message that the next items may still belong to.
    assistant: Option<ChatMessage<'a>>,
    held: Vec<ChatMessage<'a>>,
    /// Calls whose results are due.
    open_calls: HashSet<String>,
    /// All calls so far.
    calls: HashSet<String>,
    tools: &'t Tools<'a>,
}

impl<'a, 't> Conversation<'a, 't> {
    pub(super) fn new(tools: &'t Tools<'a>) -> Self {
        Self {
            messages: Vec::new(),
            assistant: None,
            held: Vec::new(),
            open_calls: HashSet::new(),
            calls: HashSet::new(),
            tools,
        }
    }

    pub(super) fn add_instructions(&mut self, text: &'a RawValue) {
        self.messages.push(plain_message("system", Content::Raw(Cow::Borrowed(text))));
    }

    /// Takes an item; references are resolved before.
    pub(super) fn add_item(&mut self, item: &'a InputItem<'_>) -> Result<(), InvalidRequest> {
        let (raw, param) = (&*item.raw, item.param.as_str());
        match item.kind {
            ItemKind::Message => self.add_message(raw, param),
            ItemKind::FunctionCall | ItemKind::CustomToolCall => self.add_call(raw, param),
            ItemKind::CallOutput => self.add_output(raw, param),
            ItemKind::Reasoning => self.add_reasoning(raw, param),
            // Read before all others.
            ItemKind::AdditionalTools => Ok(()),
            ItemKind::Reference(_) => Err(item.unknown_reference()),
        }
    }

    pub(super) fn finish(mut self) -> Vec<ChatMessage<'a>> {
        self.end_assistant();
        self.release_held();
        self.join_leading();
        // Thoughts matter to the answer that is being worked on; of older ones no server wants to hear again.
        let question = self.messages.iter().rposition(|message| message.begins_turn).unwrap_or_default();
        for (index, message) in self.messages.iter_mut().enumerate() {
            if index < question || message.tool_calls.is_empty() {
                message.reasoning_content = None;
            }
        }
        self.messages
    }

    fn add_message(&mut self, raw: &'a RawValue, param: &str) -> Result<(), InvalidRequest> {
        let item: MessageItem<'a> = parse_object(raw, param)?;
        let content_param = format!("{param}.content");
        let content = read_content(item.content, &content_param)?;
        let text_only = |content: Content<'a>, separator| match content.into_text(separator) {
            (text, others) if others.is_empty() => Ok(text),
            _ => Err(InvalidRequest::new(content_param.as_str(), format_args!("of a {} must be text", item.role))),
        };
        match item.role.as_str() {
            "user" => {
                self.push(ChatMessage { begins_turn: true, ..plain_message("user", content.into_simple()) });
            }
            // The name that all servers know for both.
            "system" | "developer" => self.push(plain_message("system", text_only(content, "\n")?)),
            "assistant" => self.add_assistant_text(text_only(content, "")?),
            _ => {
                let fault = "must be one of user, system, developer, assistant";
                return Err(InvalidRequest::new(format!("{param}.role"), fault));
            }
        }
        Ok(())
    }

    fn add_assistant_text(&mut self, content: Content<'a>) {
        let has_calls = self.assistant.as_ref().is_some_and(|message| !message.tool_calls.is_empty());
        let has_content = self.assistant.as_ref().is_some_and(|message| message.content.is_some());
        if has_content && !has_calls {
            self.end_assistant();
        }
        let assistant = self.assistant();
        assistant.content = match assistant.content.take() {
            // Behind calls: their results must follow, so it joins the text before them.
            Some(before) => {
                let texts: Vec<String> = [before, content].iter().filter_map(Content::decode_text).collect();
                Some(Content::Text(texts.join("\n\n")))
            }
            None => Some(content),
        };
    }

    fn add_call(&mut self, raw: &'a RawValue, param: &str) -> Result<(), InvalidRequest> {
        let item: CallItem<'a> = parse_object(raw, param)?;
        let arguments = match (item.arguments, item.input) {
            (Some(arguments), _) => match check_text(arguments, &format!("{param}.arguments"))?.get() {
                // Some servers parse it, and an empty text is no JSON.
                "\"\"" => quote("{}"),
                _ => Some(Cow::Borrowed(arguments)),
            },
            (None, Some(input)) => quote(&serde_json::json!({ "input": input }).to_string()),
            (None, None) => None,
        };
        let arguments =
            arguments.ok_or_else(|| InvalidRequest::new(param, "must have arguments, or input for a custom tool"))?;
        // Not always new: some models count their calls from 0 in every turn.
        self.calls.insert(item.call_id.clone());
        let name = self.tools.chat_name(item.namespace.as_deref(), &item.name);
        let function = CalledFunction { name, arguments };
        self.assistant().tool_calls.push(ToolCall { id: item.call_id, r#type: "function", function });
        Ok(())
    }

    fn add_output(&mut self, raw: &'a RawValue, param: &str) -> Result<(), InvalidRequest> {
        let item: OutputItem<'a> = parse_object(raw, param)?;
        self.end_assistant();
        if !self.calls.contains(&item.call_id) {
            let fault = "matches no call before it: send the call as well, or the previous_response_id of its response";
            return Err(InvalidRequest::new(format!("{param}.call_id"), fault));
        }
        let content = read_content(item.output, &format!("{param}.output"))?;
        let (text, others) = content.into_text("\n");
        if !others.is_empty() {
            // Results are text in chat completions: the rest follows as the user's.
            self.held.push(plain_message("user", Content::Parts(attach(&item.call_id, others))));
        }
        self.open_calls.remove(&item.call_id);
        self.messages.push(ChatMessage { tool_call_id: Some(item.call_id), ..plain_message("tool", text) });
        if self.open_calls.is_empty() {
            self.release_held();
        }
        Ok(())
    }

    fn add_reasoning(&mut self, raw: &'a RawValue, param: &str) -> Result<(), InvalidRequest> {
        let item: ReasoningItem = parse_object(raw, param)?;
        let join = |texts: Option<Vec<ReasoningText>>| {
            let texts: Vec<String> = texts.unwrap_or_default().into_iter().map(|part| part.text).collect();
            Some(texts.join("\n")).filter(|text| !text.is_empty())
        };
        let Some(text) = join(item.content).or_else(|| join(item.summary)) else { return Ok(()) };
        let has_calls = self.assistant.as_ref().is_some_and(|message| !message.tool_calls.is_empty());
        if !has_calls {
            self.end_assistant();
        }
        let thoughts = self.assistant().reasoning_content.get_or_insert_default();
        if !thoughts.is_empty() {
            thoughts.push('\n');
        }
        thoughts.push_str(&text);
        Ok(())
    }

    fn assistant(&mut self) -> &mut ChatMessage<'a> {
        self.assistant.get_or_insert_with(|| ChatMessage {
            role: "assistant",
            content: None,
            reasoning_content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            begins_turn: false,
        })
    }

    /// Adds a message that is no assistant's.
    fn push(&mut self, message: ChatMessage<'a>) {
        self.end_assistant();
        if self.open_calls.is_empty() {
            self.messages.push(message);
        } else {
            self.held.push(message);
        }
    }

    fn end_assistant(&mut self) {
        // Thoughts alone are no message.
        let Some(message) = self.assistant.take().filter(|m| m.content.is_some() || !m.tool_calls.is_empty()) else {
            return;
        };
        if message.tool_calls.is_empty() {
            self.push(message);
            return;
        }
        // New calls while others are due: those will get no result, and what waited for it waits no longer.
        self.open_calls.clear();
        self.release_held();
        self.open_calls.extend(message.tool_calls.iter().map(|call| call.id.clone()));
        self.messages.push(message);
    }

    /// Makes one of the system messages that lead: many chat templates take no second one.
    fn join_leading(&mut self) {
        let count = self.messages.iter().take_while(|message| message.role == "system").count();
        if count < 2 {
            return;
        }
        let leading = self.messages.iter().take(count);
        let texts: Option<Vec<String>> = leading.map(|message| message.content.as_ref()?.decode_text()).collect();
        // What is no Unicode can't be joined, and stays as it is.
        let Some(texts) = texts else { return };
        self.messages.drain(1..count);
        if let Some(first) = self.messages.first_mut() {
            first.content = Some(Content::Text(texts.join("\n\n")));
        }
    }

    fn release_held(&mut self) {
        self.messages.append(&mut self.held);
    }
}

fn plain_message<'a>(role: &'static str, content: Content<'a>) -> ChatMessage<'a> {
    ChatMessage {
        role,
        content: Some(content),
        reasoning_content: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
        begins_turn: false,
    }
}

fn attach<'a>(call_id: &str, parts: Vec<ChatPart<'a>>) -> Vec<ChatPart<'a>> {
    let label = quote(&format!("Returned by the tool call {call_id}:")).map(|text| ChatPart::Text { text });
    label.into_iter().chain(parts).collect()
}

/// A text as a JSON string.
fn quote<'a>(text: &str) -> Option<Cow<'a, RawValue>> {
    serde_json::value::to_raw_value(text).ok().map(Cow::Owned)
}
