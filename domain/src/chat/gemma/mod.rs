//! What Gemma 4 writes where its server does not read it: thoughts and calls of tools as tokens in the text.
//!
//! A thought is `<|channel>thought …<channel|>`, a call `<|tool_call>call:name{key:value,…}<tool_call|>`. Texts in a call stand
//! between two `<|"|>` and know no escapes. All of these are tokens of the model's own: servers that are told to keep special
//! tokens pass them on as text.

mod arguments;

use super::choices::{Filter, Written, WrittenCall};
use super::tokens::split_at_token;
use arguments::read_arguments;

const THOUGHT_OPEN: &str = "<|channel>";
const THOUGHT_CLOSE: &str = "<channel|>";
const CALL_OPEN: &str = "<|tool_call>";
const CALL_CLOSE: &str = "<tool_call|>";
const QUOTE: &str = "<|\"|>";
/// What means something in the text; those that open nothing are left out of it.
const TOKENS: [&str; 6] = [THOUGHT_OPEN, CALL_OPEN, THOUGHT_CLOSE, "<|think|>", "<|tool_response>", "<turn|>"];

/// Longest call that is waited for; a longer one is text.
const MAX_CALL_BYTES: usize = 256 * 1024;
/// Longest name of a tool.
const MAX_NAME_BYTES: usize = 256;

/// Takes thoughts out, and calls for what they are.
///
/// Text goes on as it comes, but for what may be the beginning of a token. What begins as a call and is none stays text. A
/// thought that is never closed reaches to the end: the model was cut off while it thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GemmaFilter {
    state: State,
    /// The end of the last piece, if it may be the beginning of a token.
    pending: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Thought,
    Call {
        /// What came behind the token that opened it.
        body: String,
        /// Whether it stands in a text.
        is_quoted: bool,
    },
}

impl State {
    const fn tokens(&self) -> &'static [&'static str] {
        match self {
            Self::Text => &TOKENS,
            Self::Thought => &[THOUGHT_CLOSE],
            Self::Call { is_quoted: true, .. } => &[QUOTE],
            Self::Call { is_quoted: false, .. } => &[QUOTE, CALL_CLOSE],
        }
    }

    /// Takes what is no token.
    fn take(&mut self, text: &str, out: &mut Written) {
        match self {
            Self::Text => out.text.push_str(text),
            Self::Thought => {}
            Self::Call { body, .. } => {
                body.push_str(text);
                if body.len() > MAX_CALL_BYTES {
                    out.text.push_str(CALL_OPEN);
                    out.text.push_str(body);
                    *self = Self::Text;
                }
            }
        }
    }

    /// What comes behind one of [`State::tokens`].
    fn behind(self, token: &str, out: &mut Written) -> Self {
        match (self, token) {
            (Self::Text, THOUGHT_OPEN) => Self::Thought,
            (Self::Text, CALL_OPEN) => Self::Call { body: String::new(), is_quoted: false },
            (Self::Call { mut body, is_quoted }, QUOTE) => {
                body.push_str(QUOTE);
                Self::Call { body, is_quoted: !is_quoted }
            }
            (Self::Call { body, .. }, _) => {
                match read_call(&body) {
                    Some(call) => out.calls.push(call),
                    None => out.text.extend([CALL_OPEN, &body, CALL_CLOSE]),
                }
                Self::Text
            }
            (Self::Text | Self::Thought, _) => Self::Text,
        }
    }
}

impl Filter for GemmaFilter {
    fn take(&mut self, piece: &str, out: &mut Written) {
        let joined = std::mem::take(&mut self.pending) + piece;
        let mut rest = joined.as_str();
        loop {
            let (before, token, behind) = split_at_token(rest, self.state.tokens());
            self.state.take(before, out);
            let Some(token) = token else {
                behind.clone_into(&mut self.pending);
                return;
            };
            self.state = std::mem::take(&mut self.state).behind(token, out);
            rest = behind;
        }
    }

    fn end(&mut self, out: &mut Written) {
        let Self { state, pending } = std::mem::take(self);
        match state {
            State::Text => out.text.push_str(&pending),
            State::Thought => {}
            State::Call { body, .. } => {
                let body = body + &pending;
                match read_call(&body) {
                    // The token that ends a call may be the one that ended the answer: then it is not part of it.
                    Some(call) => out.calls.push(call),
                    None => out.text.extend([CALL_OPEN, &body]),
                }
            }
        }
    }
}

/// `call:name{…}`
fn read_call(body: &str) -> Option<WrittenCall> {
    let call = body.trim().strip_prefix("call:")?;
    let (name, arguments) = call.split_at(call.find('{')?);
    let name = name.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_name) {
        return None;
    }
    Some(WrittenCall { name: name.to_owned(), arguments: read_arguments(arguments)? })
}

#[cfg(test)]
mod tests;
