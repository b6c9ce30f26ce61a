//! `text.format`: what the answer's text has to look like.

use serde::Serialize;
use serde_json::value::RawValue;

use super::fields::Fields;
use crate::chat::request::InvalidRequest;

/// `response_format` of a chat completion.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ResponseFormat<'r> {
    JsonObject,
    JsonSchema { json_schema: JsonSchema<'r> },
}

#[derive(Serialize)]
pub(super) struct JsonSchema<'r> {
    name: &'r RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r RawValue>,
    schema: &'r RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<&'r RawValue>,
}

/// `text.format` as `response_format`; plain text is what servers give unasked.
pub(super) fn read_format<'a>(text: &Fields<'a>) -> Result<Option<ResponseFormat<'a>>, InvalidRequest> {
    let Some(format) = text.object("format").map_err(|_| InvalidRequest::new("text.format", "must be an object"))?
    else {
        return Ok(None);
    };
    let member = |name: &str| {
        let value = format.raw(name);
        value.ok_or_else(|| InvalidRequest::new(format!("text.format.{name}"), "is required"))
    };
    match format.text("type").ok().flatten().as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(ResponseFormat::JsonObject)),
        Some("json_schema") => Ok(Some(ResponseFormat::JsonSchema {
            json_schema: JsonSchema {
                name: member("name")?,
                description: format.raw("description"),
                schema: member("schema")?,
                strict: format.raw("strict"),
            },
        })),
        _ => Err(InvalidRequest::new("text.format.type", "must be one of text, json_object, json_schema")),
    }
}
