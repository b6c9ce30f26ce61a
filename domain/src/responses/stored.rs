//! Turns that are kept, so that later requests stand on them and clients read them again.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::chat::request::InvalidRequest;
use crate::ids::ResponseId;

/// Most items on one page of input items.
pub const MAX_PAGE_ITEMS: usize = 100;
const DEFAULT_PAGE_ITEMS: usize = 20;

/// One turn as it is kept: what the client sent, and the Response with its output.
///
/// A turn holds its own input only; the turn before it is named in `previous`. The format is the one of the JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredTurn {
    /// The Response's id.
    pub id: ResponseId,
    /// The turn that this one continues.
    pub previous: Option<ResponseId>,
    /// The input items of the request, as the client sent them.
    pub input: Vec<Box<RawValue>>,
    /// The Response object, byte for byte as the client got it: the answer to `GET /v1/responses/{id}`.
    pub response: Box<RawValue>,
}

impl StoredTurn {
    /// A turn made of [`super::Translated::input`] and of the Response.
    ///
    /// # Errors
    /// [`InvalidRequest`] when `response` is no Response object.
    pub fn new(input: Vec<Box<RawValue>>, response: Vec<u8>) -> Result<Self, InvalidRequest> {
        #[derive(Deserialize)]
        struct Head {
            id: ResponseId,
            previous_response_id: Option<ResponseId>,
        }
        let broken = || InvalidRequest::body("The response can't be stored.");
        let response = String::from_utf8(response).map_err(|_| broken())?;
        let response = RawValue::from_string(response).map_err(|_| broken())?;
        let head: Head = serde_json::from_str(response.get()).map_err(|_| broken())?;
        Ok(Self { id: head.id, previous: head.previous_response_id, input, response })
    }

    /// The output items of the Response.
    ///
    /// # Errors
    /// [`InvalidRequest`] when the stored Response is damaged.
    pub fn output(&self) -> Result<Vec<&RawValue>, InvalidRequest> {
        #[derive(Deserialize)]
        struct Output<'a> {
            #[serde(borrow)]
            output: Vec<&'a RawValue>,
        }
        let read: Result<Output<'_>, _> = serde_json::from_str(self.response.get());
        read.map(|response| response.output)
            .map_err(|_| InvalidRequest::new("previous_response_id", "names a response that can't be read"))
    }
}

/// In which order a page lists items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemOrder {
    /// As the client sent them.
    Ascending,
    /// The last one first.
    #[default]
    Descending,
}

/// Which input items a client wants to see.
#[derive(Clone, Debug, Default)]
pub struct ItemPage {
    /// How many, from 1 to [`MAX_PAGE_ITEMS`]; 20 where the client does not say.
    pub limit: Option<usize>,
    /// In which order.
    pub order: ItemOrder,
    /// The id of the item that the page begins behind.
    pub after: Option<String>,
}

/// The answer to `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// [`InvalidRequest`] for a limit out of range or an `after` that names no item.
pub fn to_input_items(turn: &StoredTurn, page: &ItemPage) -> Result<Vec<u8>, InvalidRequest> {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE_ITEMS);
    if !(1..=MAX_PAGE_ITEMS).contains(&limit) {
        return Err(InvalidRequest::new("limit", format_args!("must be an integer from 1 to {MAX_PAGE_ITEMS}")));
    }
    let mut items: Vec<Value> =
        turn.input.iter().enumerate().filter_map(|(index, raw)| complete_item(&turn.id, index, raw)).collect();
    if page.order == ItemOrder::Descending {
        items.reverse();
    }
    let start = match &page.after {
        None => 0,
        Some(after) => {
            let place = items.iter().position(|item| item["id"] == after.as_str());
            place.ok_or_else(|| InvalidRequest::new("after", "must be the id of an input item of the response"))? + 1
        }
    };
    let has_more = items.len() > start + limit;
    let data: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    let id_of = |item: Option<&Value>| item.map(|item| item["id"].clone());
    let list = json!({
        "object": "list",
        "first_id": id_of(data.first()),
        "last_id": id_of(data.last()),
        "has_more": has_more,
        "data": data,
    });
    Ok(list.to_string().into_bytes())
}

/// The answer to `DELETE /v1/responses/{id}`.
#[must_use]
pub fn to_deleted(id: &ResponseId) -> Vec<u8> {
    json!({ "id": id, "object": "response", "deleted": true }).to_string().into_bytes()
}

/// An input item with what clients may leave out: its id, its type, its status, its parts.
fn complete_item(response: &ResponseId, index: usize, raw: &RawValue) -> Option<Value> {
    let mut item: Value = serde_json::from_str(raw.get()).ok()?;
    let members = item.as_object_mut()?;
    members.entry("type").or_insert_with(|| "message".into());
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if members.get("id").is_none_or(Value::is_null) {
        let prefix = match kind.as_str() {
            "message" => "msgin",
            "reasoning" => "rsin",
            "additional_tools" => "at",
            _ => "fcin",
        };
        members.insert("id".into(), super::items::output_item_id(prefix, response, index).into());
    }
    if kind != "additional_tools" && members.get("status").is_none_or(Value::is_null) {
        members.insert("status".into(), "completed".into());
    }
    if kind == "message"
        && let Some(text) = members.get("content").filter(|content| content.is_string()).cloned()
    {
        let is_assistant = members.get("role").is_some_and(|role| role == "assistant");
        let part = if is_assistant {
            json!({ "type": "output_text", "text": text, "annotations": [] })
        } else {
            json!({ "type": "input_text", "text": text })
        };
        members.insert("content".into(), json!([part]));
    }
    Some(item)
}
