//! The fields of a request, whether it came as JSON or as a form: found, checked and, but for the model, passed on as
//! they came.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::form::{Form, Part};
use crate::chat::request::{DEFAULT_MODEL, InvalidRequest, MAX_MEMBERS, MAX_MODEL_BYTES};
use crate::json::{Kind, Raw, Reader, push_string};

/// A request's fields; they borrow its body.
#[derive(Clone, Debug)]
pub enum Fields<'a> {
    /// The members of a JSON object.
    Json(Members<'a>),
    /// The parts of a form.
    Form(Form<'a>),
}

/// The members of the object that a JSON body is.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    body: &'a [u8],
    /// Offset behind the opening brace.
    inside: usize,
    members: Vec<(Cow<'a, [u8]>, Raw<'a>)>,
}

/// A field's value.
#[derive(Clone, Copy)]
enum Value<'a> {
    Json(Raw<'a>),
    Text(&'a str),
}

impl<'a> Fields<'a> {
    /// Reads a body by its content type: a form if it says so, else JSON.
    ///
    /// # Errors
    /// [`InvalidRequest`] when the body is not what it says, or has too many fields.
    pub fn parse(content_type: &str, body: &'a [u8]) -> Result<Self, InvalidRequest> {
        if Form::is_form(content_type) {
            Form::parse(content_type, body).map(Self::Form)
        } else {
            Members::parse(body).map(Self::Json)
        }
    }

    /// The value of a field; `null` is the same as leaving it out.
    fn find(&self, name: &str) -> Result<Option<Value<'a>>, InvalidRequest> {
        match self {
            Self::Json(json) => Ok(json.find(name).filter(|raw| raw.kind() != Kind::Null).map(Value::Json)),
            Self::Form(form) => match form.find(name)? {
                None => Ok(None),
                Some(part) => {
                    let text = part.text().ok_or_else(|| InvalidRequest::new(name, "must be text"))?;
                    Ok(Some(Value::Text(text)))
                }
            },
        }
    }

    /// The raw JSON of a member; `None` for `null` and in a form.
    #[must_use]
    pub fn json(&self, name: &str) -> Option<Raw<'a>> {
        match self {
            Self::Json(json) => json.find(name).filter(|raw| raw.kind() != Kind::Null),
            Self::Form(_) => None,
        }
    }

    /// A file of a form, by its field's name.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is given twice.
    pub fn file(&self, name: &str) -> Result<Option<&Part<'a>>, InvalidRequest> {
        match self {
            Self::Json(_) => Ok(None),
            Self::Form(form) => form.find(name),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is something else.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        match self.find(name)? {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(Value::Json(raw)) => {
                raw.to_text().map(Some).ok_or_else(|| InvalidRequest::new(name, "must be a string"))
            }
        }
    }

    /// A text of 1 to `max_chars` characters that must be there.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is absent, empty, too long or no text.
    pub fn required_text(&self, name: &str, max_chars: usize) -> Result<Cow<'a, str>, InvalidRequest> {
        let text = self.text(name)?.ok_or_else(|| InvalidRequest::new(name, "is required"))?;
        if text.trim().is_empty() {
            return Err(InvalidRequest::new(name, "must not be empty"));
        }
        check_length(&text, name, max_chars)?;
        Ok(text)
    }

    /// A text of at most `max_chars` characters.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is too long or no text.
    pub fn short_text(&self, name: &str, max_chars: usize) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        let text = self.text(name)?;
        if let Some(text) = &text {
            check_length(text, name, max_chars)?;
        }
        Ok(text)
    }

    /// A whole number; in a form, and where `OpenAI`'s libraries do so, as text.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is out of range or no whole number.
    pub fn whole(&self, name: &str, range: &RangeInclusive<u64>) -> Result<Option<u64>, InvalidRequest> {
        let number = match self.find(name)? {
            None => return Ok(None),
            Some(Value::Text(text)) => text.trim().parse().ok(),
            Some(Value::Json(raw)) if raw.kind() == Kind::String => raw.to_text().and_then(|text| text.parse().ok()),
            Some(Value::Json(raw)) => raw.to_u64(),
        };
        let number = number.filter(|number| range.contains(number));
        let (min, max) = (range.start(), range.end());
        number
            .map(Some)
            .ok_or_else(|| InvalidRequest::new(name, format_args!("must be an integer from {min} to {max}")))
    }

    /// A boolean; in a form its word.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, InvalidRequest> {
        let flag = match self.find(name)? {
            None => return Ok(None),
            Some(Value::Text(text)) => text.parse().ok(),
            Some(Value::Json(raw)) => raw.to_bool(),
        };
        flag.map(Some).ok_or_else(|| InvalidRequest::new(name, "must be a boolean"))
    }

    /// A number in thousandths, rounded.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is out of range or no number.
    pub fn thousandths(&self, name: &str, range: &RangeInclusive<u32>) -> Result<Option<u32>, InvalidRequest> {
        let text = match self.find(name)? {
            None => return Ok(None),
            Some(Value::Text(text)) => text.as_bytes(),
            Some(Value::Json(raw)) => raw.bytes,
        };
        let number =
            serde_json::from_slice::<f64>(text.trim_ascii()).ok().and_then(|number| to_thousandths(number, range));
        let show = |thousandths: u32| crate::decimal::format_scaled(i64::from(thousandths), 3);
        let (min, max) = (show(*range.start()), show(*range.end()));
        number.map(Some).ok_or_else(|| InvalidRequest::new(name, format_args!("must be a number from {min} to {max}")))
    }

    /// One of a list of words.
    ///
    /// # Errors
    /// [`InvalidRequest`] that lists the words.
    pub fn one_of<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, InvalidRequest> {
        let Some(given) = self.text(name)? else {
            return Ok(None);
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == given) {
            return Ok(Some(*meaning));
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(InvalidRequest::new(name, format_args!("must be one of {}", words.join(", "))))
    }

    /// The model asked for; `auto` when the request names none.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it is empty, too long or no text.
    pub fn model(&self) -> Result<Cow<'a, str>, InvalidRequest> {
        let Some(model) = self.text("model")? else {
            return Ok(Cow::Borrowed(DEFAULT_MODEL));
        };
        if model.is_empty() {
            return Err(InvalidRequest::new("model", "must not be empty"));
        }
        if model.len() > MAX_MODEL_BYTES {
            return Err(InvalidRequest::new("model", "is too long"));
        }
        Ok(model)
    }

    /// The body with another model in it, everything else the same bytes in the same order.
    #[must_use]
    pub fn with_model(&self, model: &str) -> Vec<u8> {
        match self {
            Self::Json(json) => json.with_model(model),
            Self::Form(form) => form.with_texts(&[("model", model)]),
        }
    }

    /// As [`Fields::with_model`], with a length in `seconds` where there was none, or one called `duration`.
    #[must_use]
    pub fn with_seconds(&self, model: &str, seconds: u32) -> Vec<u8> {
        match self {
            Self::Json(json) => json.with_seconds(model, seconds),
            Self::Form(form) => form.with_texts(&[("model", model), ("seconds", &seconds.to_string())]),
        }
    }
}

impl<'a> Members<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        std::str::from_utf8(body).map_err(|error| {
            InvalidRequest::body(format!("The request body is not valid UTF-8 at byte {}.", error.valid_up_to()))
        })?;
        let mut reader = Reader::new(body);
        if reader.peek()? != Kind::Object {
            return Err(InvalidRequest::body("The request body must be a JSON object."));
        }
        reader.enter_object()?;
        let inside = reader.position();
        let mut members: Vec<(Cow<'a, [u8]>, Raw<'a>)> = Vec::with_capacity(8);
        while let Some(member) = reader.next_member()? {
            if members.iter().any(|(key, _)| *key == member.key) {
                let name: String = String::from_utf8_lossy(&member.key).chars().take(64).collect();
                return Err(InvalidRequest::new(name, "must not be given twice"));
            }
            if members.len() == MAX_MEMBERS {
                let fault = format!("The request body must have at most {MAX_MEMBERS} members.");
                return Err(InvalidRequest::body(fault));
            }
            members.push((member.key, reader.read_value()?));
        }
        reader.finish()?;
        Ok(Self { body, inside, members })
    }

    fn find(&self, name: &str) -> Option<Raw<'a>> {
        self.members.iter().find(|(key, _)| key.as_ref() == name.as_bytes()).map(|(_, value)| *value)
    }

    fn with_model(&self, model: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + model.len() + 16);
        if let Some(value) = self.find("model") {
            out.extend_from_slice(&self.body[..value.start]);
            push_string(model, &mut out);
            out.extend_from_slice(&self.body[value.end()..]);
        } else {
            out.extend_from_slice(&self.body[..self.inside]);
            out.extend_from_slice(b"\"model\":");
            push_string(model, &mut out);
            out.extend_from_slice(if self.members.is_empty() { b"" } else { b"," });
            out.extend_from_slice(&self.body[self.inside..]);
        }
        out
    }
}

impl Members<'_> {
    fn with_seconds(&self, model: &str, seconds: u32) -> Vec<u8> {
        let is_said = self.find("seconds").is_some_and(|value| value.kind() != Kind::Null);
        if is_said && self.find("duration").is_none() {
            return self.with_model(model);
        }
        let mut out = Vec::with_capacity(self.body.len() + model.len() + 32);
        out.extend_from_slice(b"{\"model\":");
        push_string(model, &mut out);
        out.extend_from_slice(format!(",\"seconds\":\"{seconds}\"").as_bytes());
        for (key, value) in &self.members {
            if !matches!(key.as_ref(), b"model" | b"seconds" | b"duration") {
                out.push(b',');
                push_string(&String::from_utf8_lossy(key), &mut out);
                out.push(b':');
                out.extend_from_slice(value.bytes);
            }
        }
        out.push(b'}');
        out
    }
}

fn check_length(text: &str, name: impl Display + Into<String>, max_chars: usize) -> Result<(), InvalidRequest> {
    // A character has one to four bytes: most texts need not be walked.
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Err(InvalidRequest::new(name, format_args!("must have at most {max_chars} characters")));
    }
    Ok(())
}

#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio, never money; its range is checked"
)]
fn to_thousandths(number: f64, range: &RangeInclusive<u32>) -> Option<u32> {
    let bounds = f64::from(*range.start())..=f64::from(*range.end());
    let thousandths = number * 1000.0;
    bounds.contains(&thousandths).then(|| thousandths.round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Fields<'_> {
        Fields::parse("application/json", body.as_bytes()).unwrap()
    }

    #[test]
    fn the_model_is_replaced_and_all_else_kept() {
        let replaced = |body: &str| String::from_utf8(json(body).with_model("up\"1")).unwrap();
        assert_eq!(
            replaced(r#"{ "a":[1, 2],"model" : "auto","b":{"model":"x"} }"#),
            r#"{ "a":[1, 2],"model" : "up\"1","b":{"model":"x"} }"#
        );
        assert_eq!(replaced(r#"{ "a":1}"#), r#"{"model":"up\"1", "a":1}"#);
        assert_eq!(replaced("{}"), r#"{"model":"up\"1"}"#);
        assert_eq!(replaced(r#"{"model":null}"#), r#"{"model":"up\"1"}"#);
    }

    #[test]
    fn fields_are_typed_and_null_is_absent() {
        let fields = json(r#"{"n":3,"s":"8","f":0.25,"t":"x","z":null,"deep":{"a":1}}"#);
        assert_eq!(fields.whole("n", &(1..=10)).unwrap(), Some(3));
        assert_eq!(fields.whole("s", &(1..=10)).unwrap(), Some(8));
        assert_eq!(fields.whole("z", &(1..=10)).unwrap(), None);
        assert_eq!(fields.thousandths("f", &(250..=4_000)).unwrap(), Some(250));
        assert_eq!(fields.text("t").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.model().unwrap(), "auto");
        for (fault, param) in [
            (fields.whole("n", &(4..=10)).unwrap_err(), "n"),
            (fields.whole("t", &(1..=10)).unwrap_err(), "t"),
            (fields.whole("f", &(0..=10)).unwrap_err(), "f"),
            (fields.thousandths("n", &(0..=1_000)).unwrap_err(), "n"),
            (fields.thousandths("t", &(0..=1_000)).unwrap_err(), "t"),
            (fields.text("n").unwrap_err(), "n"),
            (fields.one_of("t", &[("a", 1), ("b", 2)]).unwrap_err(), "t"),
            (fields.required_text("z", 9).unwrap_err(), "z"),
        ] {
            assert_eq!(fault.param.as_deref(), Some(param), "{fault}");
        }
        let words = fields.one_of("t", &[("a", 1), ("b", 2)]).unwrap_err().message;
        assert_eq!(words, "t must be one of a, b.");
        let range = fields.thousandths("n", &(250..=1_000)).unwrap_err().message;
        assert_eq!(range, "n must be a number from 0.25 to 1.");
    }

    #[test]
    fn what_is_no_object_of_single_members_is_refused() {
        for body in ["", "[]", "{", r#"{"a":1,"a":2}"#, r#"{"model":"a","mod\u0065l":"b"}"#, "{} {}"] {
            assert!(Fields::parse("", body.as_bytes()).is_err(), "{body}");
        }
        assert!(Fields::parse("application/json", b"{\"a\":\"\xff\"}").is_err());
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"k{n}\":0")).collect();
        assert!(Fields::parse("", format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }
}
