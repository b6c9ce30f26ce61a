//! What an upstream says of a request that it refuses.

use crate::json::{JsonError, Kind, Raw, Reader};

/// Longest parameter and code that are repeated, in characters.
const MAX_NAME_CHARS: usize = 200;

/// An upstream's own words about a client's mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The upstream's code: a text or a number.
    pub code: Option<serde_json::Value>,
}

impl Refusal {
    /// Reads the body of an error; `None` for one without words.
    ///
    /// Usual is `{"error":{"message":…}}`. Gemini's is the only item of a list, xAI's `error` is a text, older vLLMs put the
    /// members of `error` at the top, and FastAPI calls the words `detail`.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.peek().ok()? == Kind::Array {
            reader.enter_array().ok()?;
            if !reader.next_item().ok()? {
                return None;
            }
        }
        let mut refusal = Self::default();
        refusal.read_object(&mut reader, true).ok()?;
        Some(refusal).filter(|refusal| !refusal.message.is_empty())
    }

    fn read_object(&mut self, reader: &mut Reader<'_>, is_outer: bool) -> Result<(), JsonError> {
        if !reader.enter_object()? {
            return Ok(());
        }
        let mut inner = None;
        while let Some(member) = reader.next_member()? {
            match member.key.as_ref() {
                b"error" if is_outer && reader.peek()? == Kind::Object => {
                    let mut error = Self::default();
                    error.read_object(reader, false)?;
                    inner = Some(error).filter(|error| !error.message.is_empty());
                }
                b"error" | b"message" | b"detail" => {
                    if let Some(text) = reader.read_value()?.to_text() {
                        self.message = text.into_owned();
                    }
                }
                b"param" => self.param = name_of(reader.read_value()?),
                b"code" => self.code = code_of(reader.read_value()?),
                _ => _ = reader.read_value()?,
            }
        }
        if let Some(inner) = inner {
            *self = inner;
        }
        Ok(())
    }
}

fn name_of(value: Raw<'_>) -> Option<String> {
    value.to_text().map(|text| text.chars().take(MAX_NAME_CHARS).collect())
}

fn code_of(value: Raw<'_>) -> Option<serde_json::Value> {
    match value.kind() {
        Kind::Number => serde_json::from_slice(value.bytes).ok(),
        _ => name_of(value).map(serde_json::Value::String),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_of_saying_why_is_understood() {
        let plain = |message: &str| Some(Refusal { message: message.to_owned(), ..Refusal::default() });
        for (body, expected) in [
            (json!({"error": {"message": "no", "param": null, "code": null}}), plain("no")),
            (
                json!({"error": {"message": "no", "param": "top_k", "code": "bad"}, "message": "other"}),
                Some(Refusal { message: "no".into(), param: Some("top_k".into()), code: Some(json!("bad")) }),
            ),
            (json!({"error": {"message": "no", "param": ["body", 0], "code": {"a": 1}}}), plain("no")),
            (
                json!([{"error": {"code": 400, "message": "Invalid JSON payload", "status": "INVALID_ARGUMENT"}}]),
                Some(Refusal { message: "Invalid JSON payload".into(), param: None, code: Some(json!(400)) }),
            ),
            (json!({"error": "no images here"}), plain("no images here")),
            (json!({"object": "error", "message": "no", "type": "BadRequestError", "param": null}), plain("no")),
            (json!({"detail": "not found"}), plain("not found")),
            (json!({"error": {}, "detail": "not found"}), plain("not found")),
            (json!({"error": {"error": {"message": "no"}}}), None),
            (json!({"detail": [{"msg": "x"}]}), None),
            (json!({"error": {"message": 7}}), None),
            (json!({"error": ""}), None),
            (json!([]), None),
            (json!(["no"]), None),
            (json!("no"), None),
        ] {
            assert_eq!(Refusal::read(body.to_string().as_bytes()), expected, "{body}");
        }
        let long = json!({"error": {"message": "no", "code": "é".repeat(9_000)}}).to_string();
        assert_eq!(Refusal::read(long.as_bytes()).unwrap().code, Some(json!("é".repeat(MAX_NAME_CHARS))));
        for body in ["", "<html>", "{", r#"{"error":{"message":"no"}"#] {
            assert_eq!(Refusal::read(body.as_bytes()), None, "{body}");
        }
    }
}
