//! Tools: flat, free-form and grouped ones as the nested functions of chat completions, and the way back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{Fields, parse, parse_object};
use crate::chat::request::{InvalidRequest, MAX_TOOLS};

/// Longest function name that servers take, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Tools that `OpenAI`'s own servers would run; dated and preview versions begin with the same words.
const HOSTED: [&str; 6] = ["web_search", "file_search", "code_interpreter", "image_generation", "computer_use", "mcp"];
/// Names of left out tools that are told, at most.
const MAX_LEFT_OUT: usize = 16;

/// The parameters of the function that stands for a free-form tool.
const CUSTOM_PARAMETERS: &str = r#"{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}},"required":["input"],"additionalProperties":false}"#;

/// A tool as the client declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub name: String,
    /// The group that it stands in.
    pub namespace: Option<String>,
    /// Whether its input is free text.
    pub is_custom: bool,
}

/// A tool as chat completions know it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChatTool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct Function<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// Which tool each function of the chat request stands for, by the function's name.
pub(super) type Origins = BTreeMap<String, Origin>;

/// All tools of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Tools<'a> {
    tools: Vec<ChatTool<'a>>,
    origins: Origins,
    /// The function's name of a tool, by group and name.
    names: BTreeMap<(Option<String>, String), String>,
    /// The kinds of those that were left out: nobody here would run them.
    left_out: Vec<String>,
}

/// A tool, its kind still to be looked at.
#[derive(Deserialize)]
struct AnyTool<'a> {
    r#type: String,
    #[serde(default)]
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    format: Option<Format>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// What a free-form tool's input looks like.
#[derive(Deserialize)]
struct Format {
    r#type: String,
    syntax: Option<String>,
    definition: Option<String>,
}

impl<'a> Tools<'a> {
    /// Takes a list of tools; `may_replace` is for lists that declare a tool anew.
    pub(super) fn read(&mut self, list: &'a RawValue, param: &str, may_replace: bool) -> Result<(), InvalidRequest> {
        let tools: Vec<&'a RawValue> = parse(list, param, "must be an array of tools")?;
        for (index, raw) in tools.into_iter().enumerate() {
            let param = format!("{param}[{index}]");
            let tool: AnyTool<'a> = parse_object(raw, &param)?;
            if tool.r#type != "namespace" {
                self.add(tool, None, &param, may_replace)?;
                continue;
            }
            let members = tool.tools.as_deref();
            let members = members.ok_or_else(|| InvalidRequest::new(format!("{param}.tools"), "is required"))?;
            for (index, raw) in members.iter().enumerate() {
                let param = format!("{param}.tools[{index}]");
                self.add(parse_object(raw, &param)?, Some(&tool.name), &param, may_replace)?;
            }
        }
        Ok(())
    }

    /// Takes the tools of an item of the input; they may declare others anew.
    pub(super) fn read_additional(&mut self, raw: &'a RawValue, param: &str) -> Result<(), InvalidRequest> {
        let item: Fields<'a> = parse_object(raw, param)?;
        match item.raw("tools") {
            Some(list) => self.read(list, &format!("{param}.tools"), true),
            None => Err(InvalidRequest::new(format!("{param}.tools"), "is required")),
        }
    }

    fn add(
        &mut self,
        tool: AnyTool<'a>,
        namespace: Option<&str>,
        param: &str,
        may_replace: bool,
    ) -> Result<(), InvalidRequest> {
        let is_custom = match tool.r#type.as_str() {
            "function" => false,
            "custom" => true,
            // Clients list them without being asked; the model does without.
            hosted if namespace.is_none() && is_hosted(hosted) => {
                self.leave_out(tool.r#type);
                return Ok(());
            }
            other => {
                let other: String = other.chars().take(64).collect();
                let fault = format_args!(
                    "{other:?} is not supported: only function, custom and namespace tools, which the client runs, are"
                );
                return Err(InvalidRequest::new(format!("{param}.type"), fault));
            }
        };
        if tool.name.is_empty() {
            return Err(InvalidRequest::new(format!("{param}.name"), "is required"));
        }
        let key = (namespace.map(str::to_owned), tool.name.clone());
        let known = self.names.get(&key).cloned();
        if known.is_some() && !may_replace {
            return Err(InvalidRequest::new(format!("{param}.name"), "is the name of another tool already"));
        }
        if known.is_none() && self.tools.len() == MAX_TOOLS {
            return Err(InvalidRequest::new(
                param,
                format_args!("is one too many: at most {MAX_TOOLS} tools are taken"),
            ));
        }
        let flat = || self.find_free_name(&flatten_name(namespace, &tool.name), namespace.is_some());
        let name = known.unwrap_or_else(flat);
        self.origins.insert(name.clone(), Origin { name: key.1.clone(), namespace: key.0.clone(), is_custom });
        self.names.insert(key, name.clone());
        let chat_tool = if is_custom { custom_function(name, tool) } else { plain_function(name, tool) };
        match self.tools.iter_mut().find(|known| known.function.name == chat_tool.function.name) {
            Some(known) => *known = chat_tool,
            None => self.tools.push(chat_tool),
        }
        Ok(())
    }

    fn leave_out(&mut self, kind: String) {
        if self.left_out.len() < MAX_LEFT_OUT && !self.left_out.contains(&kind) {
            self.left_out.push(kind);
        }
    }

    /// The kinds of the tools that were left out.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// A function name that no other tool has; a plain tool's own name stays whole whatever its length.
    fn find_free_name(&self, wanted: &str, may_cut: bool) -> String {
        let is_free = |name: &str| !self.origins.contains_key(name);
        if is_free(wanted) && !(may_cut && wanted.len() > MAX_NAME_BYTES) {
            return wanted.to_owned();
        }
        let cut = wanted.get(..MAX_NAME_BYTES - 8).unwrap_or(wanted);
        // More numbers than there are tools: one of them is free.
        (self.tools.len()..=self.tools.len() + MAX_TOOLS)
            .map(|number| format!("{cut}_{number}"))
            .find(|name| is_free(name))
            .unwrap_or_else(|| wanted.to_owned())
    }

    /// The function name of a tool, declared or not: an earlier turn may have had other tools.
    pub(super) fn chat_name(&self, namespace: Option<&str>, name: &str) -> String {
        self.find(namespace, name).map_or_else(|| flatten_name(namespace, name), str::to_owned)
    }

    /// The function name of a tool that is declared.
    pub(super) fn find(&self, namespace: Option<&str>, name: &str) -> Option<&str> {
        self.names.get(&(namespace.map(str::to_owned), name.to_owned())).map(String::as_str)
    }

    /// The tools, as chat completions know them.
    pub(super) fn chat_tools(&self) -> &[ChatTool<'a>] {
        &self.tools
    }

    /// Leaves out all tools but these, by function name.
    pub(super) fn retain(&mut self, names: &[String]) {
        self.tools.retain(|tool| names.contains(&tool.function.name));
    }

    /// What each function stands for.
    pub(super) fn into_origins(self) -> Origins {
        self.origins
    }
}

/// Whether a tool of this kind runs at `OpenAI`'s. A kind is short: it is told in a header.
fn is_hosted(kind: &str) -> bool {
    let is_word = kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word
        && HOSTED
            .into_iter()
            .any(|hosted| kind.strip_prefix(hosted).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}

/// The function name for a tool of a group: letters, digits, `_` and `-` only.
fn flatten_name(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace else { return name.to_owned() };
    let separator = if namespace.ends_with("__") { "" } else { "__" };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    format!("{namespace}{separator}{name}").chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

fn plain_function<'a>(name: String, tool: AnyTool<'a>) -> ChatTool<'a> {
    let function = Function {
        name,
        description: tool.description,
        parameters: tool.parameters.map(Cow::Borrowed),
        strict: tool.strict,
    };
    ChatTool { r#type: "function", function }
}

/// A function with the one parameter `input` in place of a free-form tool. A grammar can't be enforced by it: the
/// model is told.
fn custom_function<'a>(name: String, tool: AnyTool<'a>) -> ChatTool<'a> {
    let mut description = tool.description.unwrap_or_default();
    if let Some(Format { r#type, syntax, definition: Some(definition) }) = tool.format
        && r#type == "grammar"
    {
        let syntax = syntax.unwrap_or_default();
        let gap = if description.is_empty() { "" } else { "\n\n" };
        description = format!("{description}{gap}The input must match this {syntax} grammar:\n{definition}");
    }
    let parameters = RawValue::from_string(CUSTOM_PARAMETERS.to_owned()).ok().map(Cow::Owned);
    let function =
        Function { name, description: Some(description).filter(|text| !text.is_empty()), parameters, strict: None };
    ChatTool { r#type: "function", function }
}
