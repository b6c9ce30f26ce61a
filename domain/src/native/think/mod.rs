//! Takes `<think>…</think>` out of a text, whole or piece by piece.

mod stream;

pub use stream::ThinkStream;

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
            match self.state {
                State::Text => {
                    let (text, behind) = split_at_tag(rest, OPEN);
                    out.push_str(text);
                    rest = behind;
                }
                State::Thinking => rest = split_at_tag(rest, CLOSE).1,
                State::Behind => {
                    rest = rest.trim_start();
                    if rest.is_empty() {
                        return;
                    }
                    self.state = State::Text;
                    continue;
                }
            }
            let tag = if self.state == State::Text { OPEN } else { CLOSE };
            let Some(behind) = rest.strip_prefix(tag) else {
                rest.clone_into(&mut self.pending);
                return;
            };
            rest = behind;
            self.state = if self.state == State::Text { State::Thinking } else { State::Behind };
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

/// The text before the tag, or before what may be its beginning; and the rest.
fn split_at_tag<'t>(text: &'t str, tag: &str) -> (&'t str, &'t str) {
    let at = text.find(tag).unwrap_or_else(|| {
        // Tags are ASCII: so is every beginning of one, and its place is a character's boundary.
        let longest = (1..tag.len()).rev().find(|len| tag.get(..*len).is_some_and(|head| text.ends_with(head)));
        text.len() - longest.unwrap_or(0)
    });
    text.split_at(at)
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
}
