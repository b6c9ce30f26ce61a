//! `tool_choice`: which tools the model may or must use.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{parse, parse_object};
use super::tools::Tools;
use crate::chat::request::InvalidRequest;

const PARAM: &str = "tool_choice";

/// `tool_choice` of a chat completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum ChatToolChoice {
    Mode(String),
    Function { r#type: &'static str, function: Named },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Named {
    name: String,
}

#[derive(Deserialize)]
struct AnyChoice<'a> {
    r#type: String,
    name: Option<String>,
    namespace: Option<String>,
    mode: Option<String>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// Reads a `tool_choice`; one that allows some tools only leaves those in `tools`, so that every server obeys it.
pub(super) fn read_tool_choice(
    raw: &RawValue,
    tools: &mut Tools<'_>,
) -> Result<Option<ChatToolChoice>, InvalidRequest> {
    if raw.get().starts_with('"') {
        let mode: String = parse(raw, PARAM, "must be a string or an object")?;
        let mode = check_mode(mode, PARAM, &["none", "auto", "required"])?;
        if mode == "required" && tools.chat_tools().is_empty() && !tools.left_out().is_empty() {
            return Err(InvalidRequest::new(PARAM, "requires a tool, and none of those that are given runs here"));
        }
        return Ok(with_tools(mode, tools));
    }
    let choice: AnyChoice<'_> = parse_object(raw, PARAM)?;
    match choice.r#type.as_str() {
        "function" | "custom" => {
            let name = find_tool(&choice, tools, PARAM)?;
            Ok(Some(ChatToolChoice::Function { r#type: "function", function: Named { name } }))
        }
        "allowed_tools" => {
            let mode = choice.mode.unwrap_or_else(|| "auto".to_owned());
            let mode = check_mode(mode, "tool_choice.mode", &["auto", "required"])?;
            let allowed = choice.tools.unwrap_or_default();
            let names = allowed.iter().enumerate().map(|(index, raw)| {
                let param = format!("tool_choice.tools[{index}]");
                find_tool(&parse_object(raw, &param)?, tools, &param)
            });
            let names: Vec<String> = names.collect::<Result<_, _>>()?;
            tools.retain(&names);
            Ok(with_tools(mode, tools))
        }
        other => {
            let other: String = other.chars().take(64).collect();
            let fault = format_args!("{other:?} is not supported: it must be one of function, custom, allowed_tools");
            Err(InvalidRequest::new("tool_choice.type", fault))
        }
    }
}

/// Servers refuse a mode where there are no tools.
fn with_tools(mode: String, tools: &Tools<'_>) -> Option<ChatToolChoice> {
    if tools.chat_tools().is_empty() { None } else { Some(ChatToolChoice::Mode(mode)) }
}

fn check_mode(mode: String, param: &str, modes: &[&str]) -> Result<String, InvalidRequest> {
    if modes.contains(&mode.as_str()) {
        return Ok(mode);
    }
    Err(InvalidRequest::new(param, format_args!("must be one of {}", modes.join(", "))))
}

fn find_tool(choice: &AnyChoice<'_>, tools: &Tools<'_>, param: &str) -> Result<String, InvalidRequest> {
    if !matches!(choice.r#type.as_str(), "function" | "custom") {
        return Err(InvalidRequest::new(format!("{param}.type"), "must be function or custom"));
    }
    let name = choice.name.as_deref();
    let name = name.ok_or_else(|| InvalidRequest::new(format!("{param}.name"), "is required"))?;
    let found = tools.find(choice.namespace.as_deref(), name);
    found
        .map(str::to_owned)
        .ok_or_else(|| InvalidRequest::new(format!("{param}.name"), "must be the name of one of the tools"))
}
