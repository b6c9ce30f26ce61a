//! `output_format`: how the text of an answer is to look.
//!
//! Only the text changes; id, usage, finish reason and calls stay. In order: thoughts out, the kind's
//! own shape, the schema, the cut.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::AnswerFault;
use super::envelope::content_text;
use super::members::{Members, ParseError};
use super::think::strip_think;
use super::truncate;
use crate::json_schema::Schema;

/// Bytes that stand for a token.
const BYTES_PER_TOKEN: usize = 4;
/// What a cut text ends in; part of its length.
const ELLIPSIS: &str = "...";
/// Largest `max_tokens`.
const MAX_TOKENS: u64 = 10_000_000;
const JSON_FENCE: &str = "```json";
const FENCE: &str = "```";

/// How an answer's text is to look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputFormat {
    /// The kind of text; `None` leaves it as it is.
    pub kind: Option<FormatKind>,
    /// What the text has to fit.
    pub schema: Option<Schema>,
    /// Longest text in tokens of four bytes; 0 sets no limit.
    pub max_tokens: u64,
    /// Whether `<think>…</think>` is taken out.
    pub strip_think: bool,
}

/// The kinds of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatKind {
    /// The JSON without the fence around it.
    Json,
    /// Markdown.
    Markdown,
    /// Markdown's marks taken off.
    Text,
    /// XML, left as it is.
    Xml,
}

impl OutputFormat {
    pub(super) fn read(format: Members<'_>) -> Result<Self, ParseError> {
        let kind = match format.text("type")? {
            None => None,
            Some("json") => Some(FormatKind::Json),
            Some("markdown") => Some(FormatKind::Markdown),
            Some("text") => Some(FormatKind::Text),
            Some("xml") => Some(FormatKind::Xml),
            Some(_) => return Err(format.fault("type", "must be one of json, markdown, text, xml")),
        };
        Ok(Self {
            kind,
            schema: format.schema("schema")?,
            max_tokens: format.whole("max_tokens", MAX_TOKENS)?,
            strip_think: format.flag("strip_think")?.unwrap_or(false),
        })
    }

    /// Whether texts stay as they are.
    const fn keeps_text(&self) -> bool {
        self.kind.is_none() && self.max_tokens == 0 && !self.strip_think
    }

    /// Shapes every choice of an OpenAI chat completion. `output_schema` is held against the text
    /// besides the format's own schema.
    ///
    /// # Errors
    /// [`AnswerFault`]: a text does not fit, or is JSON and too long.
    pub fn shape_answer(&self, answer: Vec<u8>, output_schema: Option<&Schema>) -> Result<Vec<u8>, AnswerFault> {
        if self.keeps_text() && self.schema.is_none() && output_schema.is_none() {
            return Ok(answer);
        }
        let mut completion: Value =
            serde_json::from_slice(&answer).map_err(|_| AnswerFault::new("the provider's answer is not JSON"))?;
        self.shape_completion(&mut completion, output_schema)?;
        // What was only checked goes out byte for byte.
        Ok(if self.keeps_text() { answer } else { completion.to_string().into_bytes() })
    }

    /// As [`OutputFormat::shape_answer`], in place.
    pub(super) fn shape_completion(
        &self,
        completion: &mut Value,
        output_schema: Option<&Schema>,
    ) -> Result<(), AnswerFault> {
        let choices = completion.get_mut("choices").and_then(Value::as_array_mut);
        for message in choices.into_iter().flatten().filter_map(|choice| choice.get_mut("message")) {
            let text = content_text(message);
            let shaped = self.shape_text(&text, output_schema)?;
            if shaped != text {
                message["content"] = json!(shaped);
            }
        }
        Ok(())
    }

    /// Shapes one text. An empty one (a model that only calls tools) fits everything.
    ///
    /// # Errors
    /// As [`OutputFormat::shape_answer`].
    pub fn shape_text(&self, text: &str, output_schema: Option<&Schema>) -> Result<String, AnswerFault> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let text = if self.strip_think { strip_think(text) } else { text.to_owned() };
        let shaped = match self.kind {
            Some(FormatKind::Json) => extract_json(&text).to_owned(),
            Some(FormatKind::Markdown) => text.trim().to_owned(),
            Some(FormatKind::Text) => take_off_markdown(&text),
            Some(FormatKind::Xml) | None => text,
        };
        for schema in self.schema.iter().chain(output_schema) {
            check(schema, &shaped)?;
        }
        self.cut(shaped)
    }

    fn cut(&self, text: String) -> Result<String, AnswerFault> {
        let tokens = usize::try_from(self.max_tokens).unwrap_or(usize::MAX);
        let max_bytes = tokens.saturating_mul(BYTES_PER_TOKEN);
        if tokens == 0 || text.len() <= max_bytes {
            return Ok(text);
        }
        let is_json =
            self.kind == Some(FormatKind::Json) && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if is_json || self.schema.is_some() {
            return Err(AnswerFault::new("the answer is JSON and longer than output_format.max_tokens"));
        }
        Ok(truncate(&text, max_bytes.saturating_sub(ELLIPSIS.len())).to_owned() + ELLIPSIS)
    }
}

/// Holds a text against a schema, without the fence around it.
fn check(schema: &Schema, text: &str) -> Result<(), AnswerFault> {
    if text.is_empty() {
        return Ok(());
    }
    schema.check_text(extract_json(text)).map_err(|mismatch| AnswerFault::new(mismatch.message))
}

/// What stands in the first JSON fence, else the text; a fence that nothing closes reaches to the
/// end.
fn extract_json(text: &str) -> &str {
    let Some((_, inner)) = text.split_once(JSON_FENCE) else {
        let bare = text.trim();
        let unlabelled = bare.strip_prefix(FENCE).and_then(|rest| rest.strip_suffix(FENCE));
        return unlabelled.map_or(bare, str::trim);
    };
    // A fence inside of a JSON text stands on a line of its own only where the text ends.
    let end = inner.find("\n```").or_else(|| inner.rfind(FENCE)).unwrap_or(inner.len());
    inner.get(..end).unwrap_or(inner).trim()
}

fn take_off_markdown(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let bare = line.trim_start().trim_start_matches('#').trim();
        bare.replace(['*', '`'], "")
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests;
