//! What a model writes, on its way through a filter: choice by choice, in a whole answer or chunk by chunk.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::lines::{Lines, Piece, data_of};
use super::stream::{MAX_LINE_BYTES, StreamFault};

/// Most choices that are told apart; the rest pass as they are.
const MAX_CHOICES: usize = 128;
/// Longest line that is waited for: one of the rewriter's, its model's name changed.
const MAX_REWRITTEN_LINE_BYTES: usize = 2 * MAX_LINE_BYTES;

/// Takes a choice's content in pieces; however it is cut, the result is the same.
pub trait Filter: Default {
    /// Takes a piece; adds what is surely written.
    fn take(&mut self, piece: &str, out: &mut Written);
    /// The content is over; adds what was held back.
    fn end(&mut self, out: &mut Written);
}

/// What a filter makes of content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Text.
    pub text: String,
    /// Calls of tools.
    pub calls: Vec<WrittenCall>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCall {
    /// The tool.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// Changes the objects of one answer: a whole completion, or the chunks of a stream.
pub trait Edit {
    /// Takes an object's JSON and gives what goes out for it: the same bytes if nothing changes, which is also what becomes
    /// of data that are no such object.
    fn edit<'d>(&mut self, data: &'d [u8]) -> Cow<'d, [u8]>;
}

/// An [`Edit`] that sends the content of every choice through a filter of its own. What a filter held back leaves with the
/// choice's last chunk.
#[derive(Clone, Debug, Default)]
pub struct FilteredChoices<F> {
    /// Begins the ids of calls; unlike that of any other answer.
    seed: String,
    /// By the choice's index.
    choices: BTreeMap<u64, Choice<F>>,
}

#[derive(Clone, Debug, Default)]
struct Choice<F> {
    filter: F,
    /// Calls so far, the upstream's own among them.
    calls: usize,
    /// Whether a call was found in the content.
    has_found: bool,
}

impl<F: Filter> FilteredChoices<F> {
    /// For one answer, which `seed` tells from all others.
    #[must_use]
    pub fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), choices: BTreeMap::new() }
    }

    /// `None` if the choice stays as it is.
    fn filter(&mut self, choice: &mut Value) -> Option<()> {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        if !self.choices.contains_key(&index) && self.choices.len() >= MAX_CHOICES {
            return None;
        }
        let state = self.choices.entry(index).or_default();
        let is_whole = choice.get("message").is_some();
        let finish_reason = choice.get("finish_reason").and_then(Value::as_str);
        let (is_last, is_stopped) = (is_whole || finish_reason.is_some(), finish_reason == Some("stop"));
        let message = choice.get_mut(if is_whole { "message" } else { "delta" })?.as_object_mut()?;
        let content = message.get("content").and_then(Value::as_str).unwrap_or_default();
        let mut written = Written::default();
        state.filter.take(content, &mut written);
        if is_last {
            state.filter.end(&mut written);
        }
        let has_changed = written.text != content || !written.calls.is_empty();
        state.calls = state.calls.max(count_calls(message));
        state.has_found |= !written.calls.is_empty();
        if has_changed {
            state.write(&format!("call_{}_{index}", self.seed), message, written, is_whole);
        }
        // What calls tools has not come to its end.
        if is_stopped && state.has_found {
            choice["finish_reason"] = json!("tool_calls");
            return Some(());
        }
        has_changed.then_some(())
    }
}

impl<F> Choice<F> {
    fn write(&mut self, id: &str, message: &mut Map<String, Value>, written: Written, is_whole: bool) {
        let is_silent = written.text.is_empty() && is_whole && !written.calls.is_empty();
        message.insert("content".to_owned(), if is_silent { Value::Null } else { json!(written.text) });
        if written.calls.is_empty() {
            return;
        }
        let calls = message.entry("tool_calls").or_insert_with(|| json!([]));
        if calls.is_null() {
            *calls = json!([]);
        }
        let Value::Array(calls) = calls else { return };
        for call in written.calls {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            let mut call = json!({ "id": format!("{id}_{}", self.calls), "type": "function", "function": function });
            if !is_whole {
                call["index"] = json!(self.calls);
            }
            calls.push(call);
            self.calls += 1;
        }
    }
}

/// One more than the highest place of a message's calls.
fn count_calls(message: &Map<String, Value>) -> usize {
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let place = |(at, call): (usize, &Value)| {
        let index = call.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        index.unwrap_or(at).saturating_add(1)
    };
    calls.into_iter().flatten().enumerate().map(place).max().unwrap_or(0)
}

impl<F: Filter> Edit for FilteredChoices<F> {
    fn edit<'d>(&mut self, data: &'d [u8]) -> Cow<'d, [u8]> {
        let Ok(mut object) = serde_json::from_slice::<Value>(data) else { return Cow::Borrowed(data) };
        let choices = object.get_mut("choices").and_then(Value::as_array_mut);
        let mut has_changed = false;
        for choice in choices.into_iter().flatten() {
            has_changed |= self.filter(choice).is_some();
        }
        if has_changed { Cow::Owned(object.to_string().into_bytes()) } else { Cow::Borrowed(data) }
    }
}

/// An [`Edit`] of an event stream, cut anywhere.
#[derive(Debug)]
pub struct EditedStream<E> {
    lines: Lines,
    edit: E,
}

impl<E: Edit> EditedStream<E> {
    /// Edits the `data:` objects of one stream.
    #[must_use]
    pub const fn new(edit: E) -> Self {
        Self { lines: Lines::new(MAX_REWRITTEN_LINE_BYTES), edit }
    }

    /// Takes a chunk and appends what goes out for it; all but the objects is passed on.
    ///
    /// # Errors
    /// For a line without end; what came before it is in `out`.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StreamFault> {
        let edit = &mut self.edit;
        self.lines.push(chunk, |piece| {
            match piece {
                Piece::Line(line, end) => {
                    edit_line(edit, line, out);
                    out.extend_from_slice(end);
                }
                Piece::LateFeed => out.push(b'\n'),
            }
            Ok(())
        })
    }

    /// Ends the stream: a last line that lacks its end goes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        edit_line(&mut self.edit, &self.lines.take_rest(), out);
    }
}

fn edit_line(edit: &mut impl Edit, line: &[u8], out: &mut Vec<u8>) {
    match data_of(line).filter(|data| data.starts_with(b"{")) {
        Some(data) => {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&edit.edit(data));
        }
        None => out.extend_from_slice(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upper case is text, lower case calls a tool of that name; it holds back one character.
    #[derive(Default)]
    struct Cases(Option<char>);

    impl Filter for Cases {
        fn take(&mut self, piece: &str, out: &mut Written) {
            for next in piece.chars() {
                self.end(out);
                self.0 = Some(next);
            }
        }

        fn end(&mut self, out: &mut Written) {
            match self.0.take() {
                Some(name) if name.is_lowercase() => {
                    out.calls.push(WrittenCall { name: name.into(), arguments: "{}".into() });
                }
                held => out.text.extend(held),
            }
        }
    }

    fn edit(object: &Value, edit: &mut FilteredChoices<Cases>) -> Value {
        serde_json::from_slice(&edit.edit(object.to_string().as_bytes())).unwrap()
    }

    fn chunk(index: u64, delta: Value, finish_reason: Value) -> Value {
        json!({ "id": "c", "choices": [{ "index": index, "delta": delta, "finish_reason": finish_reason }] })
    }

    #[test]
    fn a_whole_message_has_its_calls_beside_the_upstreams() {
        let own = json!({ "id": "call_up", "type": "function", "function": { "name": "u", "arguments": "{}" } });
        let answer = json!({ "choices": [
            { "index": 0, "message": { "content": "Aa", "tool_calls": [own] }, "finish_reason": "stop" },
            { "index": 1, "message": { "content": "b", "tool_calls": null }, "finish_reason": "length" },
            { "index": 2, "message": { "content": "B" }, "finish_reason": "stop" },
        ] });
        let out = edit(&answer, &mut FilteredChoices::new("r"));
        let call = |id: &str, name: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": "{}" } });
        assert_eq!(
            out["choices"][0]["message"],
            json!({ "content": "A", "tool_calls": [own, call("call_r_0_1", "a")] })
        );
        assert_eq!(out["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(out["choices"][1]["message"], json!({ "content": null, "tool_calls": [call("call_r_1_0", "b")] }));
        assert_eq!(out["choices"][1]["finish_reason"], "length", "it was cut off all the same");
        assert_eq!(out["choices"][2], answer["choices"][2]);
    }

    #[test]
    fn chunks_number_their_calls_and_the_last_one_says_so() {
        let mut choices = FilteredChoices::new("r");
        let mut say = |delta: Value, finish_reason: Value| edit(&chunk(0, delta, finish_reason), &mut choices);
        assert_eq!(say(json!({ "content": "Ab" }), Value::Null)["choices"][0]["delta"], json!({ "content": "A" }));
        let second = say(json!({ "tool_calls": [{ "index": 1 }], "content": "Cd" }), Value::Null);
        assert_eq!(second["choices"][0]["delta"]["content"], "C");
        assert_eq!(second["choices"][0]["delta"]["tool_calls"][1]["index"], 2, "behind the upstream's own");
        assert_eq!(second["choices"][0]["delta"]["tool_calls"][1]["id"], "call_r_0_2");
        let last = say(json!({}), json!("stop"));
        assert_eq!(last["choices"][0]["delta"]["tool_calls"][0]["index"], 3);
        assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn a_stream_is_edited_however_it_is_cut() {
        let lines = ": hi\r\n\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"AB\"},\"finish_reason\":\"x\"}]}\r\n\r\ndata: [DONE]";
        let expected = ": hi\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"AB\"},\"finish_reason\":\"x\"}]}\r\n\r\ndata: [DONE]";
        for size in [1, 7, lines.len()] {
            let mut stream = EditedStream::new(FilteredChoices::<Cases>::new("r"));
            let mut out = Vec::new();
            for piece in lines.as_bytes().chunks(size) {
                stream.push(piece, &mut out).unwrap();
            }
            stream.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn what_does_not_change_keeps_its_bytes() {
        let mut choices = FilteredChoices::<Cases>::new("r");
        let same: [&[u8]; 6] = [
            b"[DONE]",
            b"{ not json",
            b"{ \"choices\": [] }",
            b"{ \"choices\": [1, {\"delta\": 2}] }",
            b"{ \"choices\": [{\"delta\":{\"role\":\"assistant\"}}] }",
            b"{ \"usage\": {\"prompt_tokens\":1} }",
        ];
        for data in same {
            assert!(matches!(choices.edit(data), Cow::Borrowed(out) if out == data));
        }
        let other = chunk(0, json!({ "content": [{ "type": "text" }] }), Value::Null);
        assert_eq!(edit(&other, &mut choices), other, "content that is no text");
    }

    #[test]
    fn so_many_choices_are_told_apart_and_no_more() {
        let mut choices = FilteredChoices::new("r");
        for index in 0..1_000 {
            edit(&chunk(index, json!({ "content": "A" }), Value::Null), &mut choices);
        }
        assert_eq!(choices.choices.len(), MAX_CHOICES);
    }
}
