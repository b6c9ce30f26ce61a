//! The members of a request body, each with its own fault text.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::request::{InvalidRequest, MAX_MEMBERS};

/// The members of one JSON object, in the object's own bytes. `null` is the same as leaving a member out.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// Reads a request body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        serde_json::from_slice(body).map_err(|error| {
            InvalidRequest::body(match error.classify() {
                serde_json::error::Category::Data => format!("The request body can't be read: {error}."),
                _ => format!("The request body is not valid JSON: {error}."),
            })
        })
    }

    /// A member's bytes.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.members.iter().find(|(key, _)| key == name)?;
        Some(*value).filter(|value| value.get() != "null")
    }

    /// A member as `T`; `fault` says what it has to be.
    pub(super) fn parse<T: Deserialize<'a>>(&self, name: &str, fault: &str) -> Result<Option<T>, InvalidRequest> {
        self.raw(name).map(|raw| parse(raw, name, fault)).transpose()
    }

    /// A string member.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, InvalidRequest> {
        self.parse(name, "must be a string")
    }

    /// A member that is a string, as it stands.
    pub(super) fn raw_text(&self, name: &str) -> Result<Option<&'a RawValue>, InvalidRequest> {
        self.raw(name).map(|raw| check_text(raw, name)).transpose()
    }

    /// A member that is a number, as it stands.
    pub(super) fn raw_number(&self, name: &str) -> Result<Option<&'a RawValue>, InvalidRequest> {
        match self.raw(name) {
            Some(raw) if !raw.get().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
                Err(InvalidRequest::new(name, "must be a number"))
            }
            number => Ok(number),
        }
    }

    /// A member that is an object, opened.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, InvalidRequest> {
        self.parse(name, "must be an object")
    }
}

/// A value as `T`; `fault` says what it has to be.
pub(super) fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue, param: &str, fault: &str) -> Result<T, InvalidRequest> {
    serde_json::from_str(raw.get()).map_err(|_| InvalidRequest::new(param, fault))
}

/// A value as the object `T`; serde says which of its members is missing or of another kind.
pub(super) fn parse_object<'a, T: Deserialize<'a>>(raw: &'a RawValue, param: &str) -> Result<T, InvalidRequest> {
    serde_json::from_str(raw.get()).map_err(|error| {
        // The place that serde adds counts from the value's beginning and helps nobody.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        InvalidRequest::new(param, format_args!("can't be read: {reason}"))
    })
}

/// The value, if it is a string.
pub(super) fn check_text<'a>(raw: &'a RawValue, param: &str) -> Result<&'a RawValue, InvalidRequest> {
    if raw.get().starts_with('"') { Ok(raw) } else { Err(InvalidRequest::new(param, "must be a string")) }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(std::marker::PhantomData))
    }
}

struct FieldsVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for FieldsVisitor<'a> {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, &'a RawValue)> = Vec::with_capacity(16);
        while let Some((key, value)) = map.next_entry::<String, &'a RawValue>()? {
            if members.iter().any(|(known, _)| *known == key) {
                let key: String = key.chars().take(64).collect();
                return Err(de::Error::custom(format_args!("{key} must not be given twice")));
            }
            if members.len() == MAX_MEMBERS {
                return Err(de::Error::custom(format_args!("an object must have at most {MAX_MEMBERS} members")));
            }
            members.push((key, value));
        }
        Ok(Fields { members })
    }
}
