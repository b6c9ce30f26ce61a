//! A kept completion, given again: under a new id, at its own time, whole or as a stream.

use serde_json::{Map, Value, json};

/// What is new in an answer that is given again.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// Its id.
    pub id: &'a str,
    /// When, in seconds since 1970.
    pub created_s: i64,
    /// What the answer calls its model.
    pub model: &'a str,
}

/// Most bytes of text in one chunk.
const PIECE_BYTES: usize = 256;

/// The whole answer; `None` when what was kept is no completion.
#[must_use]
pub fn replay_whole(kept: &[u8], replay: &Replay<'_>) -> Option<Vec<u8>> {
    let mut completion: Map<String, Value> = serde_json::from_slice(kept).ok()?;
    completion.extend(head(replay, "chat.completion"));
    serde_json::to_vec(&completion).ok()
}

/// The answer as events, `[DONE]` included; `None` when what was kept is no completion.
#[must_use]
pub fn replay_stream(kept: &[u8], replay: &Replay<'_>, include_usage: bool) -> Option<Vec<u8>> {
    let mut completion: Map<String, Value> = serde_json::from_slice(kept).ok()?;
    let choices = completion.shift_remove("choices")?;
    let usage = completion.shift_remove("usage").filter(|usage| !usage.is_null());
    completion.extend(head(replay, "chat.completion.chunk"));
    let mut events = Events { head: completion, out: Vec::new() };
    for choice in choices.as_array()? {
        events.write_choice(choice)?;
    }
    if let (true, Some(usage)) = (include_usage, usage) {
        events.write([("choices".to_owned(), json!([])), ("usage".to_owned(), usage)]);
    }
    events.out.extend_from_slice(b"data: [DONE]\n\n");
    Some(events.out)
}

fn head(replay: &Replay<'_>, object: &str) -> [(String, Value); 4] {
    [
        ("id".to_owned(), json!(replay.id)),
        ("object".to_owned(), json!(object)),
        ("created".to_owned(), json!(replay.created_s)),
        ("model".to_owned(), json!(replay.model)),
    ]
}

/// The events of one stream.
struct Events {
    /// What every chunk has.
    head: Map<String, Value>,
    out: Vec<u8>,
}

impl Events {
    fn write(&mut self, members: impl IntoIterator<Item = (String, Value)>) {
        let mut chunk = self.head.clone();
        chunk.extend(members);
        self.out.extend_from_slice(b"data: ");
        self.out.extend_from_slice(Value::Object(chunk).to_string().as_bytes());
        self.out.extend_from_slice(b"\n\n");
    }

    fn write_delta(&mut self, index: &Value, delta: &Value, logprobs: Option<&Value>) {
        let mut choice = json!({ "index": index, "delta": delta, "finish_reason": null });
        if let (Some(logprobs), Some(choice)) = (logprobs, choice.as_object_mut()) {
            choice.insert("logprobs".to_owned(), logprobs.clone());
        }
        self.write([("choices".to_owned(), json!([choice]))]);
    }

    fn write_choice(&mut self, choice: &Value) -> Option<()> {
        let mut rest = choice.as_object()?.clone();
        let message = rest.shift_remove("message")?;
        let index = rest.get("index").cloned().unwrap_or_else(|| json!(0));
        let logprobs = rest.shift_remove("logprobs").filter(|logprobs| !logprobs.is_null());
        let role = message.get("role").cloned().unwrap_or_else(|| json!("assistant"));
        self.write_delta(&index, &json!({ "role": role }), None);
        let message = message.as_object()?;
        // What was thought comes before what was said. Where it is told in two ways, both are in one delta, as in a
        // stream that comes from its model: readers take one of them.
        let is_thought = |name: &str| matches!(name, "reasoning_content" | "reasoning" | "reasoning_details");
        let (thoughts, others): (Vec<_>, Vec<_>) = message.iter().partition(|(name, _)| is_thought(name));
        let is_text = |name| message.get(name).is_some_and(Value::is_string);
        let is_told_twice = message.get("reasoning_details").is_some_and(Value::is_array)
            || is_text("reasoning_content") && is_text("reasoning");
        if is_told_twice {
            let both: Map<String, Value> =
                thoughts.iter().map(|(name, value)| ((*name).clone(), (*value).clone())).collect();
            self.write_delta(&index, &Value::Object(both), None);
        }
        let thoughts = thoughts.into_iter().filter(|_| !is_told_twice);
        for (name, value) in thoughts.chain(others) {
            match (name.as_str(), value) {
                ("role", _) | (_, Value::Null) => {}
                // The tokens' probabilities belong to their text: it is not cut.
                ("content", text @ Value::String(_)) if logprobs.is_some() => {
                    self.write_delta(&index, &json!({ "content": text }), logprobs.as_ref());
                }
                (name, Value::String(text)) => {
                    for piece in pieces(text) {
                        self.write_delta(&index, &json!({ name: piece }), None);
                    }
                }
                ("tool_calls", Value::Array(calls)) => {
                    for (place, call) in calls.iter().enumerate() {
                        let mut call = call.as_object()?.clone();
                        call.insert("index".to_owned(), json!(place));
                        self.write_delta(&index, &json!({ "tool_calls": [call] }), None);
                    }
                }
                (name, value) => self.write_delta(&index, &json!({ name: value }), None),
            }
        }
        // What is left are the reason why it ended, and what some servers say beside it.
        rest.insert("index".to_owned(), index);
        rest.insert("delta".to_owned(), json!({}));
        self.write([("choices".to_owned(), json!([rest]))]);
        Some(())
    }
}

/// A text in pieces of at most [`PIECE_BYTES`], cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        rest = behind;
        Some(piece)
    })
}
