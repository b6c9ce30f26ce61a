//! Takes `<think>…</think>` out of a text, whole or piece by piece.

use crate::chat::choices::{EditedStream, Filter, FilteredChoices, Written};
use crate::chat::tokens::split_at_token;

/// Takes the thoughts out of a chat completion stream.
pub type ThinkStream = EditedStream<FilteredChoices<ThinkFilter>>;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A filter over a text that comes in pieces; however it is cut, the result is the same.
///
/// The white space behind a block goes with it. A block that is never closed reaches to the end:
/// the model was cut off while it thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThinkFilter {
    state: State,
    /// The end of the last piece, if it may be the beginning of a tag.
    pending: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Thinking,
    /// Behind a block, until something is written.
    Behind,
}

impl ThinkFilter {
    /// Takes a piece and appends to `out` what is surely text.
    pub fn push(&mut self, piece: &str, out: &mut String) {
        let joined = std::mem::take(&mut self.pending) + piece;
        let mut rest = joined.as_str();
        loop {
            let (token, next) = match self.state {
                State::Text => (OPEN, State::Thinking),
                State::Thinking => (CLOSE, State::Behind),
                State::Behind => {
                    rest = rest.trim_start();
                    if rest.is_empty() {
                        return;
                    }
                    self.state = State::Text;
                    continue;
                }
            };
            let (before, found, behind) = split_at_token(rest, &[token]);
            if self.state == State::Text {
                out.push_str(before);
            }
            if found.is_none() {
                behind.clone_into(&mut self.pending);
                return;
            }
            rest = behind;
            self.state = next;
        }
    }

    /// Ends the text: what looked like the beginning of a tag was none.
    pub fn finish(&mut self, out: &mut String) {
        if self.state == State::Text {
            out.push_str(&self.pending);
        }
        *self = Self::default();
    }
}

impl Filter for ThinkFilter {
    fn take(&mut self, piece: &str, out: &mut Written) {
        self.push(piece, &mut out.text);
    }

    fn end(&mut self, out: &mut Written) {
        self.finish(&mut out.text);
    }
}

/// A text without its thoughts and the white space around it.
pub(super) fn strip_think(text: &str) -> String {
    let mut filter = ThinkFilter::default();
    let mut out = String::new();
    filter.push(text, &mut out);
    filter.finish(&mut out);
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn thoughts_are_taken_out() {
        let cases = [
            ("<think>a</think>\n\nb", "b"),
            (" a <think>x</think> b<think>y</think>c ", "a bc"),
            ("<think>never closed", ""),
            ("no thoughts < think>", "no thoughts < think>"),
            ("a<thi", "a<thi"),
            ("<think>a</thi", ""),
            ("<think></think>", ""),
            ("<<think>x</think>>", "<>"),
            ("é<think>模</think>🦀", "é🦀"),
        ];
        for (text, expected) in cases {
            assert_eq!(strip_think(text), expected, "{text}");
        }
    }

    #[test]
    fn in_a_stream_choices_are_filtered_apart_and_what_was_held_back_leaves_with_the_last_chunk() {
        let mut stream = ThinkStream::new(FilteredChoices::new(""));
        let mut say = |index: u64, text: &str, finish_reason: Value| {
            let choice = json!({ "index": index, "delta": { "content": text }, "finish_reason": finish_reason });
            let mut out = Vec::new();
            stream
                .push(format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] })).as_bytes(), &mut out)
                .unwrap();
            let out: Value = serde_json::from_slice(out.strip_prefix(b"data: ").unwrap()).unwrap();
            assert_eq!(out["id"], "c");
            out["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()
        };
        let null = || Value::Null;
        assert_eq!((say(0, "a<th", null()), say(1, "ink>b", null())), ("a".into(), "ink>b".into()));
        assert_eq!(
            (say(0, "ink>hidden</think>", null()), say(0, " \n", null()), say(0, " c <", null())),
            (String::new(), String::new(), "c ".into())
        );
        assert_eq!(say(0, "", json!("stop")), "<");
    }
}
