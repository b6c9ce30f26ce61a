//! The members of a request's objects, read with errors that name the parameter.

use std::fmt;

use serde_json::{Map, Value};

use crate::json_schema::{InvalidSchema, Schema};

/// Longest identifier or name in a native request, in bytes.
const MAX_TEXT_BYTES: usize = 800;

/// Why a native request is refused (400); the texts go to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// The parameter at fault as the client wrote it (`policy.min_weight`); `None` for the body as
    /// a whole.
    pub param: Option<String>,
}

impl ParseError {
    pub(super) fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()) }
    }

    /// A body that is not a JSON object.
    pub(super) fn bad_json() -> Self {
        Self { message: "bad json".to_owned(), param: None }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// An object of the request, or its absence; `null` members are absent.
#[derive(Clone, Copy)]
pub(super) struct Members<'v> {
    /// The object's name; empty for the body.
    name: &'static str,
    members: Option<&'v Map<String, Value>>,
}

impl<'v> Members<'v> {
    /// The members of the body.
    pub fn of_body(body: &'v Value) -> Result<Self, ParseError> {
        let members = body.as_object().ok_or_else(ParseError::bad_json)?;
        Ok(Self { name: "", members: Some(members) })
    }

    /// The members of one of the body's objects.
    pub fn section(self, name: &'static str) -> Result<Self, ParseError> {
        Ok(Self { name, members: self.object(name)? })
    }

    /// The full name of a member.
    pub fn param(self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// `{param} {fault}`
    pub fn fault(self, key: &str, fault: impl fmt::Display) -> ParseError {
        let param = self.param(key);
        ParseError { message: format!("{param} {fault}"), param: Some(param) }
    }

    pub fn get(self, key: &str) -> Option<&'v Value> {
        self.members?.get(key).filter(|value| !value.is_null())
    }

    pub fn object(self, key: &str) -> Result<Option<&'v Map<String, Value>>, ParseError> {
        let read = |value: &'v Value| value.as_object().ok_or_else(|| self.fault(key, "must be an object"));
        self.get(key).map(read).transpose()
    }

    /// Text without the white space around it; `None` if nothing is left.
    pub fn text(self, key: &str) -> Result<Option<&'v str>, ParseError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.fault(key, "must be a string"))?.trim();
        if text.len() > MAX_TEXT_BYTES {
            return Err(self.fault(key, format_args!("must have at most {MAX_TEXT_BYTES} bytes")));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub fn flag(self, key: &str) -> Result<Option<bool>, ParseError> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| self.fault(key, "must be true or false"));
        self.get(key).map(read).transpose()
    }

    /// A whole number from 0; 0 if absent. The text names the member alone, as TokenHub does.
    pub fn whole(self, key: &str, max: u64) -> Result<u64, ParseError> {
        let Some(value) = self.get(key) else { return Ok(0) };
        let fault = || ParseError::new(self.param(key), format!("{key} must be between 0 and {max}"));
        value.as_u64().filter(|number| *number <= max).ok_or_else(fault)
    }

    /// A JSON schema, as an object or as its JSON text; an empty text is none.
    pub fn schema(self, key: &str) -> Result<Option<Schema>, ParseError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let source = match value {
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => serde_json::from_str(text)
                .map_err(|_| ParseError::new(self.param(key), format!("invalid {key}: must be valid JSON")))?,
            other => other.clone(),
        };
        read_schema(source, &self.param(key)).map(Some)
    }
}

pub(super) fn read_schema(source: Value, param: &str) -> Result<Schema, ParseError> {
    Schema::parse(source).map_err(|InvalidSchema { message }| ParseError::new(param, message))
}
