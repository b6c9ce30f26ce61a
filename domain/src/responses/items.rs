//! Input items: what they are, which of them are only pointed to, and how they are kept.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{Fields, parse, parse_object};
use super::{MAX_INPUT_ITEMS, MAX_TURNS};
use crate::chat::request::InvalidRequest;
use crate::ids::ResponseId;

/// What an input item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Message,
    FunctionCall,
    CustomToolCall,
    /// The result of a function or of a free-form tool.
    CallOutput,
    Reasoning,
    AdditionalTools,
    /// An item of an earlier answer, by its id.
    Reference(String),
}

/// An item of the input.
#[derive(Clone, Debug)]
pub(super) struct InputItem<'a> {
    pub kind: ItemKind,
    pub raw: Cow<'a, RawValue>,
    /// How a fault names it.
    pub param: String,
}

impl<'a> InputItem<'a> {
    fn own(index: usize, raw: Cow<'a, RawValue>) -> Result<Self, InvalidRequest> {
        let param = format!("input[{index}]");
        Ok(Self { kind: read_kind(&raw, &param)?, raw, param })
    }

    pub(super) fn unknown_reference(&self) -> InvalidRequest {
        InvalidRequest::new(format!("{}.id", self.param), "names no item that is known")
    }
}

#[derive(Deserialize)]
struct Head {
    r#type: Option<String>,
    role: Option<String>,
    id: Option<String>,
}

/// Finds out what an item is.
pub(super) fn read_kind(raw: &RawValue, param: &str) -> Result<ItemKind, InvalidRequest> {
    let head: Head = parse_object(raw, param)?;
    Ok(match (head.r#type.as_deref(), head.role, head.id) {
        (Some("message"), ..) | (None, Some(_), _) => ItemKind::Message,
        (Some("function_call"), ..) => ItemKind::FunctionCall,
        (Some("custom_tool_call"), ..) => ItemKind::CustomToolCall,
        (Some("function_call_output" | "custom_tool_call_output"), ..) => ItemKind::CallOutput,
        (Some("reasoning"), ..) => ItemKind::Reasoning,
        (Some("additional_tools"), ..) => ItemKind::AdditionalTools,
        (Some("item_reference") | None, _, Some(id)) => ItemKind::Reference(id),
        (Some("item_reference"), ..) => return Err(InvalidRequest::new(format!("{param}.id"), "is required")),
        (Some(other), ..) => {
            let other: String = other.chars().take(64).collect();
            return Err(InvalidRequest::new(format!("{param}.type"), format_args!("{other:?} is not supported")));
        }
        (None, None, None) => return Err(InvalidRequest::new(format!("{param}.type"), "is required")),
    })
}

/// Reads `input`: a text is the user's message.
pub(super) fn read_input<'a>(fields: &Fields<'a>) -> Result<Vec<InputItem<'a>>, InvalidRequest> {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        role: &'static str,
        content: &'a RawValue,
    }
    let input = fields.raw("input").ok_or_else(|| InvalidRequest::new("input", "is required"))?;
    if input.get().starts_with('"') {
        let message = Message { r#type: "message", role: "user", content: input };
        let raw = serde_json::value::to_raw_value(&message);
        let raw = raw.map_err(|_| InvalidRequest::new("input", "can't be read"))?;
        return Ok(vec![InputItem::own(0, Cow::Owned(raw))?]);
    }
    let items: Vec<&'a RawValue> = parse(input, "input", "must be a string or an array of items")?;
    if items.is_empty() {
        return Err(InvalidRequest::new("input", "must not be empty"));
    }
    if items.len() > MAX_INPUT_ITEMS {
        return Err(InvalidRequest::new("input", format_args!("must have at most {MAX_INPUT_ITEMS} items")));
    }
    items.into_iter().enumerate().map(|(index, raw)| InputItem::own(index, Cow::Borrowed(raw))).collect()
}

/// The answers that a request's item references point into, each once.
pub(super) fn find_references(items: &[InputItem<'_>]) -> Result<Vec<ResponseId>, InvalidRequest> {
    let mut found = BTreeSet::new();
    for item in items {
        if let ItemKind::Reference(id) = &item.kind {
            found.insert(response_of_item(id).ok_or_else(|| item.unknown_reference())?);
        }
        if found.len() > MAX_TURNS {
            let fault = format_args!("must not refer to items of more than {MAX_TURNS} responses");
            return Err(InvalidRequest::new("input", fault));
        }
    }
    Ok(found.into_iter().collect())
}

/// Digits that tell an output item's place.
const INDEX_DIGITS: usize = 4;

/// The id of an output item: it tells which answer the item belongs to.
pub(super) fn output_item_id(prefix: &str, response: &ResponseId, index: usize) -> String {
    let digits = response.as_str().strip_prefix(ResponseId::PREFIX).unwrap_or_default();
    format!("{prefix}_{digits}{index:0INDEX_DIGITS$x}")
}

/// The answer that an output item belongs to.
fn response_of_item(id: &str) -> Option<ResponseId> {
    let (_, digits) = id.split_once('_')?;
    let digits = digits.get(..digits.len().checked_sub(INDEX_DIGITS)?)?;
    format!("{}{digits}", ResponseId::PREFIX).parse().ok()
}
