//! Limits, sampling, thinking and the form of the answer.

use std::borrow::Cow;

use super::messages::Conversation;
use crate::anthropic::TranslateError;
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::generation::Generation;
use crate::anthropic::writer::{Writer, inside};
use crate::json::Kind;

/// Least and most tokens of a thinking budget that an effort turns into.
const MIN_BUDGET_TOKENS: u64 = 1_024;
const MAX_BUDGET_TOKENS: u64 = 32_000;

/// The caller's own limit on output tokens; the larger one if it sent both parameters.
pub(super) fn read_max_tokens(request: &Fields<'_, '_>) -> Result<Option<u64>, TranslateError> {
    let mut limit = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(value) = request.get(name) {
            let tokens = value.count()?;
            if tokens == 0 {
                return Err(value.path.invalid("must be a positive integer"));
            }
            limit = limit.max(Some(tokens));
        }
    }
    Ok(limit)
}

pub(super) fn write_stops(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let Some(stop) = request.get("stop") else {
        return Ok(());
    };
    let mut stops = Vec::new();
    let mut inner = Writer::new(&mut stops);
    if stop.is_string() {
        inner.raw(read_stop(stop)?);
    } else {
        for item in stop.items()? {
            inner.raw(read_stop(item?)?);
        }
    }
    if !stops.is_empty() {
        w.key("stop_sequences").open_array().raw_items(&stops).close_array();
    }
    Ok(())
}

fn read_stop<'a>(stop: Value<'a, '_>) -> Result<&'a [u8], TranslateError> {
    if stop.text()?.trim().is_empty() {
        return Err(stop.path.unsupported("must hold more than white space for this model"));
    }
    Ok(stop.raw.bytes)
}

pub(super) fn write_sampling(
    request: &Fields<'_, '_>,
    generation: Generation,
    thinking: &Thinking<'_>,
    w: &mut Writer<'_>,
) -> Result<(), TranslateError> {
    let temperature = request.get("temperature").map(|value| read_number(value).map(|n| (value, n))).transpose()?;
    let top_p = request.get("top_p").map(|value| read_number(value).map(|n| (value, n))).transpose()?;
    // A model that thinks because we read an effort that way is not to fail over sampling.
    if generation.refuses_sampling() || thinking.is_derived() {
        return Ok(());
    }
    if let Some((value, temperature)) = temperature {
        w.member("temperature", if temperature > 1.0 { b"1" } else { value.raw.bytes });
    }
    // The whole distribution is the default; beside a temperature, newer models take nothing.
    if let Some((value, top_p)) = top_p
        && top_p < 1.0
        && !(temperature.is_some() && generation.refuses_both())
    {
        w.member("top_p", value.raw.bytes);
    }
    if let Some(top_k) = request.get("top_k") {
        top_k.count()?;
        w.member("top_k", top_k.raw.bytes);
    }
    Ok(())
}

fn read_number(value: Value<'_, '_>) -> Result<f64, TranslateError> {
    serde_json::from_slice::<f64>(value.raw.bytes)
        .ok()
        .filter(|number| value.kind() == Kind::Number && *number >= 0.0)
        .ok_or_else(|| value.path.invalid("must be a number that is not negative"))
}

/// How the model is made to answer in JSON.
pub(super) enum JsonAnswer<'a> {
    /// It is not.
    Free,
    /// It is asked to, in this text (a JSON string).
    Asked(Vec<u8>),
    /// It has to call a tool of this schema.
    Tool { schema: &'a [u8], description: Option<&'a [u8]> },
    /// By its API.
    Native { schema: &'a [u8] },
}

impl JsonAnswer<'_> {
    pub(super) fn instruction(&self) -> Option<&[u8]> {
        match self {
            Self::Asked(text) => Some(text),
            _ => None,
        }
    }
}

const ASK_FOR_JSON: &str =
    "Answer with one JSON object and nothing else: no words before or after it and no code fence.";

pub(super) fn read_json_answer<'a>(
    request: &Fields<'a, '_>,
    generation: Generation,
) -> Result<JsonAnswer<'a>, TranslateError> {
    // A Messages caller's own words, beside our translation of them.
    let has_own_format = request
        .get("output_config")
        .and_then(|config| config.object().ok())
        .is_some_and(|config| config.get("format").is_some());
    let Some(value) = request.get("response_format").filter(|_| !has_own_format) else {
        return Ok(JsonAnswer::Free);
    };
    let format = value.object()?;
    let asked = |schema: Option<&[u8]>| {
        let mut text = String::from(ASK_FOR_JSON);
        if let Some(schema) = schema {
            text.push_str(" It must be valid under this JSON Schema:\n");
            text.push_str(&String::from_utf8_lossy(schema));
        }
        let mut json = Vec::new();
        Writer::new(&mut json).text(&text);
        JsonAnswer::Asked(json)
    };
    match format.need("type")?.text()?.as_ref() {
        "text" => Ok(JsonAnswer::Free),
        "json_object" => Ok(asked(None)),
        "json_schema" => {
            let value = format.need("json_schema")?;
            let wanted = value.object()?;
            let Some(schema) = wanted.get("schema") else {
                return Ok(asked(None));
            };
            if schema.kind() != Kind::Object {
                return Err(schema.path.invalid("must be an object"));
            }
            let schema = schema.raw.bytes;
            let is_strict = wanted.get("strict").is_some_and(|flag| flag.raw.to_bool() == Some(true));
            let description = wanted.get("description").map(Value::literal).transpose()?;
            Ok(if generation.is_adaptive() {
                if is_strict { JsonAnswer::Native { schema } } else { asked(Some(schema)) }
            } else if has_tools(request) || request.get("thinking").is_some() {
                asked(Some(schema))
            } else {
                JsonAnswer::Tool { schema, description: description.filter(|text| !inside(text).is_empty()) }
            })
        }
        _ => Err(format.invalid("type", "must be text, json_object or json_schema")),
    }
}

/// How the model is to think before it answers.
pub(super) enum Thinking<'a> {
    /// As it likes.
    Unsaid,
    /// As the caller says in Anthropic's words.
    Given(&'a [u8]),
    /// With a part of the caller's budget.
    Shrunk(u64),
    /// With a budget that was made of an effort.
    Budget(u64),
    /// With an effort.
    Effort(&'static str),
}

impl<'a> Thinking<'a> {
    pub(super) fn read(
        request: &Fields<'a, '_>,
        generation: Generation,
        max_tokens: u64,
        conversation: &Conversation,
        answer: &JsonAnswer<'_>,
    ) -> Result<Self, TranslateError> {
        let is_lost = conversation.is_in_loop_without_thinking;
        let kind = match request.get("thinking") {
            Some(thinking) => thinking.object()?.text("type")?,
            None => None,
        };
        // A type of thinking that the model does not know is put as an effort.
        let is_rephrased = kind.is_some_and(|kind| generation.refuses_thinking(&kind));
        if let Some(value) = request.get("thinking").filter(|_| !is_rephrased) {
            let thinking = value.object()?;
            if thinking.text("type")?.as_deref() != Some("enabled") {
                return Ok(Self::Given(value.raw.bytes));
            }
            // A limit that was cut to what the money covers may fall below the budget, which is part of it.
            let budget = thinking.get("budget_tokens").and_then(|budget| budget.raw.to_u64());
            return Ok(match budget {
                _ if is_lost => Self::Unsaid,
                Some(budget) if budget >= max_tokens => match max_tokens / 2 {
                    ..MIN_BUDGET_TOKENS => Self::Unsaid,
                    half => Self::Shrunk(half),
                },
                _ => Self::Given(value.raw.bytes),
            });
        }
        let has_own_config = request.raw_object("output_config").is_some();
        let effort = match request.get("reasoning_effort").filter(|_| is_rephrased || !has_own_config) {
            Some(effort) => effort.text()?,
            // As adaptive thinking is where no effort is named.
            None if is_rephrased => Cow::Borrowed("high"),
            None => return Ok(Self::Unsaid),
        };
        let share_percent = match effort.as_ref() {
            "none" => return Ok(Self::Unsaid),
            "minimal" => 10,
            "low" => 20,
            "medium" => 50,
            "high" => 80,
            "xhigh" | "max" => 95,
            _ => {
                let fault = "must be one of none, minimal, low, medium, high, xhigh";
                return Err(request.invalid("reasoning_effort", fault));
            }
        };
        if is_forced(request) || matches!(answer, JsonAnswer::Tool { .. }) {
            return Ok(Self::Unsaid);
        }
        if generation.is_adaptive() {
            return Ok(Self::Effort(match share_percent {
                ..=20 => "low",
                50 => "medium",
                95 if generation.refuses_sampling() => "xhigh",
                _ => "high",
            }));
        }
        let budget = (max_tokens.saturating_mul(share_percent) / 100).clamp(MIN_BUDGET_TOKENS, MAX_BUDGET_TOKENS);
        // The budget is part of the limit, and something must be left for the answer.
        Ok(if is_lost || budget >= max_tokens { Self::Unsaid } else { Self::Budget(budget) })
    }

    const fn is_derived(&self) -> bool {
        matches!(self, Self::Budget(_) | Self::Effort(_))
    }

    /// Writes `thinking` and `output_config`.
    pub(super) fn write(
        &self,
        request: &Fields<'_, '_>,
        generation: Generation,
        answer: &JsonAnswer<'_>,
        w: &mut Writer<'_>,
    ) {
        let mut config = Vec::new();
        let mut inner = Writer::new(&mut config);
        match self {
            Self::Unsaid => {}
            Self::Given(thinking) => _ = w.member("thinking", thinking),
            Self::Budget(tokens) | Self::Shrunk(tokens) => {
                w.key("thinking").open_object().member_text("type", "enabled");
                w.member_count("budget_tokens", *tokens).close_object();
            }
            Self::Effort(effort) => {
                w.member("thinking", b"{\"type\":\"adaptive\"}");
                inner.member_text("effort", effort);
            }
        }
        if let JsonAnswer::Native { schema } = answer {
            inner.key("format").open_object().member_text("type", "json_schema").member("schema", schema);
            inner.close_object();
        }
        // A caller that speaks of it knows better, but for an effort that the model does not know.
        let given = request.get("output_config").and_then(|config| config.object().ok());
        if let Some(given) = given {
            config.clear();
            let is_dropped = |key: &[u8]| key == b"effort" && generation.refuses_effort();
            let mut inner = Writer::new(&mut config);
            for (key, raw) in given.members().filter(|(key, _)| !is_dropped(key)) {
                inner.key(&String::from_utf8_lossy(key)).raw(raw.bytes);
            }
        }
        if !config.is_empty() {
            w.key("output_config").open_object().raw(&config).close_object();
        }
    }
}

/// Whether the caller offers tools.
pub(super) fn has_tools(request: &Fields<'_, '_>) -> bool {
    ["tools", "functions"]
        .into_iter()
        .any(|name| request.get(name).is_some_and(|list| list.items().is_ok_and(|mut items| items.next().is_some())))
}

/// Whether the caller's choice makes the model call a tool.
fn is_forced(request: &Fields<'_, '_>) -> bool {
    let choice = request.get("tool_choice").or_else(|| request.get("function_call"));
    has_tools(request) && choice.is_some_and(|choice| !matches!(choice.raw.bytes, b"\"auto\"" | b"\"none\""))
}
