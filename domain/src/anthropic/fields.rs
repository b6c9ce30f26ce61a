//! Reading a body value by value, with errors that name the place.
//!
//! The whole text is checked once by [`read_body`]; what is taken out of it later is borrowed.

use std::borrow::Cow;
use std::fmt;

use super::{TranslateError, TranslateErrorKind};
use crate::json::{Kind, Raw, Reader};

/// Most members of an object that is looked into.
const MAX_MEMBERS: usize = 256;

/// How a place is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `messages[2].role`
    Chat,
    /// `messages.2.role`
    Messages,
}

/// A place in a body; becomes text only when something is wrong there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'p> {
    Root(Style),
    Key(&'p Path<'p>, &'static str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn style(&self) -> Style {
        match self {
            Self::Root(style) => *style,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.style(),
        }
    }

    fn render(&self, out: &mut String) {
        match self {
            Self::Root(_) => {}
            Self::Key(parent, name) => {
                parent.render(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Self::Index(parent, index) => {
                parent.render(out);
                out.push_str(&match self.style() {
                    Style::Chat => format!("[{index}]"),
                    Style::Messages => format!(".{index}"),
                });
            }
        }
    }

    /// The text is wrong here.
    pub(super) fn invalid(&self, fault: impl fmt::Display) -> TranslateError {
        self.error(TranslateErrorKind::Invalid, fault)
    }

    /// The other format has no words for this.
    pub(super) fn unsupported(&self, fault: impl fmt::Display) -> TranslateError {
        self.error(TranslateErrorKind::Unsupported, fault)
    }

    fn error(&self, kind: TranslateErrorKind, fault: impl fmt::Display) -> TranslateError {
        let mut param = String::new();
        self.render(&mut param);
        let message = match (self.style(), param.is_empty()) {
            (_, true) => format!("The body {fault}."),
            (Style::Chat, _) => format!("{param} {fault}."),
            (Style::Messages, _) => format!("{param}: {fault}"),
        };
        TranslateError { kind, param: Some(param).filter(|param| !param.is_empty()), message }
    }
}

/// A value and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a, 'p> {
    pub raw: Raw<'a>,
    pub path: Path<'p>,
}

/// Checks a whole body: UTF-8, JSON, an object.
pub(super) fn read_body(body: &[u8], style: Style) -> Result<Fields<'_, 'static>, TranslateError> {
    std::str::from_utf8(body).map_err(|error| {
        TranslateError::body(format!("The body is not valid UTF-8 at byte {}.", error.valid_up_to()))
    })?;
    let mut reader = Reader::new(body);
    let raw = reader.read_value()?;
    reader.finish()?;
    Value { raw, path: Path::Root(style) }.object()
}

impl<'a, 'p> Value<'a, 'p> {
    pub(super) fn kind(&self) -> Kind {
        self.raw.kind()
    }

    pub(super) fn is_string(&self) -> bool {
        self.kind() == Kind::String
    }

    pub(super) fn text(self) -> Result<Cow<'a, str>, TranslateError> {
        if !self.is_string() {
            return Err(self.path.invalid("must be a string"));
        }
        self.raw.to_text().ok_or_else(|| self.path.invalid("must be valid Unicode"))
    }

    /// The bytes of a string with its quotes, known to be valid Unicode.
    pub(super) fn literal(self) -> Result<&'a [u8], TranslateError> {
        self.text()?;
        Ok(self.raw.bytes)
    }

    pub(super) fn boolean(self) -> Result<bool, TranslateError> {
        self.raw.to_bool().ok_or_else(|| self.path.invalid("must be true or false"))
    }

    pub(super) fn count(self) -> Result<u64, TranslateError> {
        self.raw.to_u64().ok_or_else(|| self.path.invalid("must be a whole number that is not negative"))
    }

    pub(super) fn object(self) -> Result<Fields<'a, 'p>, TranslateError> {
        if self.kind() != Kind::Object {
            return Err(self.path.invalid("must be an object"));
        }
        let mut reader = Reader::new(self.raw.bytes);
        reader.enter_object()?;
        let mut members = Vec::with_capacity(8);
        while let Some(member) = reader.next_member()? {
            if members.len() == MAX_MEMBERS {
                return Err(self.path.invalid(format_args!("must have at most {MAX_MEMBERS} members")));
            }
            members.push((member.key, reader.read_value()?));
        }
        Ok(Fields { members, path: self.path })
    }

    /// The items of an array, one after the other.
    pub(super) fn items(&self) -> Result<Items<'a, '_>, TranslateError> {
        if self.kind() != Kind::Array {
            return Err(self.path.invalid("must be an array"));
        }
        let mut reader = Reader::new(self.raw.bytes);
        reader.enter_array()?;
        Ok(Items { reader, path: &self.path, next: 0 })
    }
}

/// The items of an array.
pub(super) struct Items<'a, 'p> {
    reader: Reader<'a>,
    path: &'p Path<'p>,
    next: usize,
}

impl<'a, 'p> Iterator for Items<'a, 'p> {
    type Item = Result<Value<'a, 'p>, TranslateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = Path::Index(self.path, self.next);
        self.next += 1;
        match self.reader.next_item() {
            Ok(false) => None,
            Ok(true) => Some(self.reader.read_value().map(|raw| Value { raw, path }).map_err(TranslateError::from)),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// An object's members, one level deep; of two with one name the later counts.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a, 'p> {
    members: Vec<(Cow<'a, [u8]>, Raw<'a>)>,
    pub path: Path<'p>,
}

impl<'a> Fields<'a, '_> {
    /// A member's value; `null` is the same as leaving it out.
    pub(super) fn get(&self, name: &'static str) -> Option<Value<'a, '_>> {
        let (_, raw) = self.members.iter().rev().find(|(key, _)| key.as_ref() == name.as_bytes())?;
        (raw.kind() != Kind::Null).then_some(Value { raw: *raw, path: Path::Key(&self.path, name) })
    }

    pub(super) fn need(&self, name: &'static str) -> Result<Value<'a, '_>, TranslateError> {
        self.get(name).ok_or_else(|| {
            let path = Path::Key(&self.path, name);
            path.invalid(match path.style() {
                Style::Chat => "is required",
                Style::Messages => "Field required",
            })
        })
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, TranslateError> {
        self.get(name).map(Value::text).transpose()
    }

    /// A member's bytes if it is an object: for values that pass through.
    pub(super) fn raw_object(&self, name: &'static str) -> Option<&'a [u8]> {
        self.get(name).filter(|value| value.kind() == Kind::Object).map(|value| value.raw.bytes)
    }

    /// The members as they stand, for copying.
    pub(super) fn members(&self) -> impl Iterator<Item = (&[u8], Raw<'a>)> {
        self.members.iter().map(|(key, raw)| (key.as_ref(), *raw))
    }

    /// An error at a member.
    pub(super) fn invalid(&self, name: &'static str, fault: impl fmt::Display) -> TranslateError {
        Path::Key(&self.path, name).invalid(fault)
    }

    /// A member that the other format has no words for.
    pub(super) fn unsupported(&self, name: &'static str, fault: impl fmt::Display) -> TranslateError {
        Path::Key(&self.path, name).unsupported(fault)
    }
}
