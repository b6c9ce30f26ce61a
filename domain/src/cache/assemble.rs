//! What of an answer is kept: a whole completion that its model has finished. A stream is put together first; where it
//! holds what is not understood, it is not kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ANSWER_MAX_BYTES;
use crate::chat::lines::data_of;
use crate::pricing::TokenUsage;

/// An answer that came whole, if it may be kept. `may_be_cut` when the client's own limit on the output was the only one.
#[must_use]
pub fn complete_whole(body: &[u8], may_be_cut: bool) -> Option<Vec<u8>> {
    if body.len() > ANSWER_MAX_BYTES {
        return None;
    }
    let completion: Map<String, Value> = serde_json::from_slice(body).ok()?;
    is_finished(&completion, may_be_cut).then(|| body.to_vec())
}

/// An answer that came as events, if it may be kept; `usage` where the events do not tell it.
#[must_use]
pub fn complete_stream(events: &[u8], usage: &TokenUsage, may_be_cut: bool) -> Option<Vec<u8>> {
    let mut stream = Stream::default();
    let mut is_done = false;
    for data in events.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(data_of) {
        if data.trim_ascii_end() == b"[DONE]" {
            is_done = true;
            break;
        }
        stream.take(serde_json::from_slice(data).ok()?)?;
    }
    let completion = stream.end(usage)?;
    let body = serde_json::to_vec(&completion).ok()?;
    let is_kept = is_done && is_finished(&completion, may_be_cut) && body.len() <= ANSWER_MAX_BYTES;
    is_kept.then_some(body)
}

/// Whether the model came to its end in every choice. A filter's doing is not the model's, and may be another tomorrow.
fn is_finished(completion: &Map<String, Value>, may_be_cut: bool) -> bool {
    let is_over = |choice: &Value| match choice.get("finish_reason").and_then(Value::as_str) {
        Some("stop" | "tool_calls" | "function_call") => true,
        Some("length") => may_be_cut,
        _ => false,
    };
    let choices = completion.get("choices").and_then(Value::as_array);
    choices.is_some_and(|choices| !choices.is_empty() && choices.iter().all(is_over))
        && completion.get("error").is_none_or(Value::is_null)
}

/// A stream that is put together.
#[derive(Default)]
struct Stream {
    /// All but the choices, as the last chunk that tells it has it.
    head: Map<String, Value>,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    message: Map<String, Value>,
    calls: BTreeMap<u64, Map<String, Value>>,
    logprobs: Map<String, Value>,
    rest: Map<String, Value>,
}

impl Stream {
    fn take(&mut self, chunk: Map<String, Value>) -> Option<()> {
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("error", value) if !value.is_null() => return None,
                // Padding against listeners.
                ("obfuscation", _) | (_, Value::Null) => {}
                ("choices", Value::Array(choices)) => {
                    for choice in choices {
                        let Value::Object(mut choice) = choice else { return None };
                        let index = choice.shift_remove("index").map_or(Some(0), |index| index.as_u64())?;
                        self.choices.entry(index).or_default().take(choice)?;
                    }
                }
                (_, value) => drop(self.head.insert(name, value)),
            }
        }
        Some(())
    }

    fn end(mut self, usage: &TokenUsage) -> Option<Map<String, Value>> {
        let choices: Option<Vec<Value>> = self.choices.into_iter().map(|(index, choice)| choice.end(index)).collect();
        self.head.insert("choices".to_owned(), Value::Array(choices?));
        self.head.insert("object".to_owned(), json!("chat.completion"));
        self.head.entry("usage").or_insert_with(|| {
            json!({
                "prompt_tokens": usage.input,
                "completion_tokens": usage.output,
                "total_tokens": usage.total(),
                "prompt_tokens_details": { "cached_tokens": usage.cache_read },
            })
        });
        Some(self.head)
    }
}

impl Choice {
    fn take(&mut self, choice: Map<String, Value>) -> Option<()> {
        for (name, value) in choice {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("delta", Value::Object(delta)) => self.take_delta(delta)?,
                ("logprobs", Value::Object(logprobs)) => {
                    for (name, value) in logprobs {
                        let Value::Array(more) = value else { continue };
                        match self.logprobs.entry(name).or_insert_with(|| json!([])) {
                            Value::Array(list) => list.extend(more),
                            _ => return None,
                        }
                    }
                }
                (_, value) => drop(self.rest.insert(name, value)),
            }
        }
        Some(())
    }

    fn take_delta(&mut self, delta: Map<String, Value>) -> Option<()> {
        for (name, value) in delta {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("role", role) => drop(self.message.insert(name, role)),
                ("content" | "reasoning_content" | "reasoning" | "refusal", Value::String(piece)) => {
                    append(&mut self.message, &name, &piece)?;
                }
                ("tool_calls", Value::Array(calls)) => {
                    for call in calls {
                        let Value::Object(mut call) = call else { return None };
                        let index = call.shift_remove("index")?.as_u64()?;
                        merge(self.calls.entry(index).or_default(), call)?;
                    }
                }
                // Of what else there is, nobody can tell how its pieces go together.
                _ => return None,
            }
        }
        Some(())
    }

    fn end(mut self, index: u64) -> Option<Value> {
        self.message.entry("role").or_insert_with(|| json!("assistant"));
        self.message.entry("content").or_insert(Value::Null);
        if !self.calls.is_empty() {
            let calls = self.calls.into_values().map(Value::Object).collect();
            self.message.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let logprobs = if self.logprobs.is_empty() { Value::Null } else { Value::Object(self.logprobs) };
        let Value::Object(mut choice) = json!({ "index": index, "message": self.message, "logprobs": logprobs }) else {
            return None;
        };
        choice.extend(self.rest);
        Some(Value::Object(choice))
    }
}

/// A piece of a call: what it calls is told once, its input comes in pieces.
fn merge(call: &mut Map<String, Value>, piece: Map<String, Value>) -> Option<()> {
    for (name, value) in piece {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("function" | "custom", Value::Object(piece)) => {
                let known = call.entry(name).or_insert_with(|| json!({})).as_object_mut()?;
                for (name, value) in piece {
                    match value {
                        Value::Null => {}
                        Value::String(piece) => append(known, &name, &piece)?,
                        _ => return None,
                    }
                }
            }
            // Another id tells of another call, whatever its index.
            ("id", Value::String(id)) => match call.get("id").and_then(Value::as_str).unwrap_or_default() {
                "" => drop(call.insert(name, Value::String(id))),
                known if id.is_empty() || known == id => {}
                _ => return None,
            },
            (_, value @ Value::String(_)) => drop(call.insert(name, value)),
            _ => return None,
        }
    }
    Some(())
}

fn append(object: &mut Map<String, Value>, name: &str, piece: &str) -> Option<()> {
    match object.entry(name).or_insert_with(|| json!("")) {
        Value::String(text) => text.push_str(piece),
        _ => return None,
    }
    Some(())
}
