//! What the sandbox's model understands of a request.

use serde::Deserialize;
use serde_json::Value;

use super::{count_words, schema};
use crate::chat::request::InvalidRequest;

/// Tokens that an image counts, as OpenAI's low detail.
const IMAGE_TOKENS: u64 = 85;

/// The request's own words. [`crate::chat::request::ChatRequest`] has checked its shape before.
#[derive(Debug, Deserialize)]
pub(super) struct Prompt {
    messages: Vec<PromptMessage>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    response_format: Option<ResponseFormat>,
}

#[derive(Debug, Deserialize)]
struct PromptMessage {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
    #[serde(default)]
    json_schema: Option<NamedSchema>,
}

#[derive(Debug, Deserialize)]
struct NamedSchema {
    #[serde(default)]
    schema: Value,
}

/// The form in which the answer is wanted.
pub(super) enum Format<'p> {
    Text,
    JsonObject,
    Schema(&'p Value),
}

/// A tool call that the answer makes.
pub(super) struct ToolPlan {
    pub name: String,
    /// JSON text.
    pub arguments: String,
}

impl Prompt {
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidRequest> {
        serde_json::from_slice(body).map_err(|error| InvalidRequest {
            param: None,
            message: format!("The sandbox model does not understand the request: {error}."),
        })
    }

    /// Words of all messages, and a fixed number for each image.
    pub(super) fn count_tokens(&self) -> u64 {
        let words: u64 = self.messages.iter().flat_map(PromptMessage::texts).map(count_words).sum();
        (words + IMAGE_TOKENS * self.image_count()).max(1)
    }

    /// The last thing that the user said.
    pub(super) fn user_text(&self) -> &str {
        self.messages
            .iter()
            .rev()
            .find(|message| message.role == "user")
            .and_then(|message| message.texts().last())
            .unwrap_or("nothing")
    }

    /// What a tool returned, if that is the last message.
    pub(super) fn tool_result(&self) -> Option<&str> {
        let last = self.messages.last().filter(|message| matches!(message.role.as_str(), "tool" | "function"))?;
        Some(last.texts().last().unwrap_or("nothing"))
    }

    /// Images of the last message that has any text or image from the user.
    pub(super) fn image_count(&self) -> u64 {
        let last = self.messages.iter().rev().find(|message| message.role == "user");
        last.map_or(0, PromptMessage::count_images)
    }

    pub(super) fn format(&self) -> Format<'_> {
        let Some(format) = &self.response_format else {
            return Format::Text;
        };
        match (format.r#type.as_str(), &format.json_schema) {
            ("json_schema", Some(named)) => Format::Schema(&named.schema),
            ("json_schema" | "json_object", _) => Format::JsonObject,
            _ => Format::Text,
        }
    }

    /// The call that the answer makes: of the tool that was chosen, else of the first, unless one
    /// has just answered.
    pub(super) fn plan_tool_call(&self) -> Result<Option<ToolPlan>, InvalidRequest> {
        let mut functions = self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref());
        if self.tool_result().is_some() || self.tool_choice.as_ref().is_some_and(|choice| choice == "none") {
            return Ok(None);
        }
        let chosen = self.tool_choice.as_ref().and_then(|choice| choice.pointer("/function/name"));
        let function = match chosen.and_then(Value::as_str) {
            None => functions.next(),
            Some(name) => Some(functions.find(|function| function.name == name).ok_or_else(|| InvalidRequest {
                param: Some("tool_choice".to_owned()),
                message: format!("tool_choice names the function {name}, which is not among tools."),
            })?),
        };
        Ok(function.map(|function| ToolPlan {
            name: function.name.clone(),
            arguments: schema::example_object(&function.parameters).to_string(),
        }))
    }
}

impl PromptMessage {
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (text, parts) = match &self.content {
            Some(Content::Text(text)) => (Some(text.as_str()), [].as_slice()),
            Some(Content::Parts(parts)) => (None, parts.as_slice()),
            None => (None, [].as_slice()),
        };
        text.into_iter().chain(parts.iter().filter_map(|part| part.text.as_deref()))
    }

    fn count_images(&self) -> u64 {
        let Some(Content::Parts(parts)) = &self.content else {
            return 0;
        };
        parts.iter().filter(|part| matches!(part.r#type.as_str(), "image_url" | "image" | "input_image")).count() as u64
    }
}
