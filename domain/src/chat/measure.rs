//! How much a model has written, for when its upstream does not say.

use super::usage::read_usage;
use crate::json::{JsonError, Kind, Raw, Reader};
use crate::pricing::TokenUsage;

/// What the `choices` of an answer or of a stream chunk hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Items of the array.
    pub count: u64,
    /// Items in which the model wrote something.
    pub written: u64,
    /// Bytes of text that the model wrote, its escapes resolved: content, reasoning, refusals, the names and
    /// arguments of calls.
    pub text_bytes: u64,
    /// Whether they say anything but who speaks: text, calls, an end, a member that is not known here.
    pub is_said: bool,
    /// Those that began, and those that came to their end: a bit each, by their index.
    begun: u128,
    finished: u128,
    /// The usage that a choice tells, as Kimi's last one does.
    pub usage: Option<TokenUsage>,
}

impl Choices {
    /// Adds those of the stream's next chunk.
    pub fn add(&mut self, next: &Self) {
        self.count += next.count;
        self.written += next.written;
        self.text_bytes += next.text_bytes;
        self.is_said |= next.is_said;
        self.begun |= next.begun;
        self.finished |= next.finished;
        self.usage = next.usage.or(self.usage);
    }

    /// Whether every choice that began has said why it ended.
    pub const fn is_finished(&self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }
}

/// Tokens that so many bytes of English or code make, rounded up.
pub(super) const fn estimate_tokens(text_bytes: u64) -> u64 {
    text_bytes.div_ceil(4)
}

/// Reads the value that comes next as a `choices` array.
pub(super) fn measure_choices(reader: &mut Reader<'_>) -> Result<Choices, JsonError> {
    let mut choices = Choices::default();
    if !reader.enter_array()? {
        return Ok(choices);
    }
    while reader.next_item()? {
        let text_bytes = measure_choice(reader, &mut choices)?;
        choices.count += 1;
        choices.written += u64::from(text_bytes > 0);
        choices.text_bytes += text_bytes;
    }
    Ok(choices)
}

fn measure_choice(reader: &mut Reader<'_>, choices: &mut Choices) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    if !reader.enter_object()? {
        return Ok(0);
    }
    let (mut index, mut is_finished) = (Some(0), false);
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"index" => index = reader.read_value()?.to_u64(),
            b"delta" | b"message" => text_bytes += measure_message(reader, choices)?,
            b"usage" => choices.usage = read_usage(reader)?.or(choices.usage),
            b"finish_reason" => is_finished = says_something(reader.read_value()?),
            b"text" => choices.is_said |= says_something(reader.read_value()?),
            _ => _ = reader.read_value()?,
        }
    }
    // One that has no bit never ends.
    let bit = index.and_then(|index| 1_u128.checked_shl(u32::try_from(index).ok()?));
    choices.begun |= bit.unwrap_or(u128::MAX);
    choices.is_said |= is_finished;
    if is_finished {
        choices.finished |= bit.unwrap_or(0);
    }
    Ok(text_bytes)
}

fn measure_message(reader: &mut Reader<'_>, choices: &mut Choices) -> Result<u64, JsonError> {
    let (mut text_bytes, mut thought_bytes) = (0, 0);
    if !reader.enter_object()? {
        return Ok(0);
    }
    while let Some(member) = reader.next_member()? {
        text_bytes += match member.key.as_ref() {
            b"content" | b"refusal" => {
                let (value, bytes) = read_text(reader)?;
                choices.is_said |= says_something(value);
                bytes
            }
            // Some servers tell their thoughts under both names.
            b"reasoning_content" | b"reasoning" => {
                let (value, bytes) = read_text(reader)?;
                choices.is_said |= says_something(value);
                thought_bytes = bytes.max(thought_bytes);
                0
            }
            b"tool_calls" => {
                choices.is_said = true;
                measure_tool_calls(reader)?
            }
            b"function_call" => {
                choices.is_said = true;
                measure_function(reader)?
            }
            b"role" => skip(reader)?,
            _ => {
                choices.is_said |= says_something(reader.read_value()?);
                0
            }
        };
    }
    Ok(text_bytes + thought_bytes)
}

fn measure_tool_calls(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    if !reader.enter_array()? {
        return Ok(0);
    }
    while reader.next_item()? {
        if !reader.enter_object()? {
            continue;
        }
        while let Some(member) = reader.next_member()? {
            text_bytes += match member.key.as_ref() {
                b"function" | b"custom" => measure_function(reader)?,
                _ => skip(reader)?,
            };
        }
    }
    Ok(text_bytes)
}

fn measure_function(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    if !reader.enter_object()? {
        return Ok(0);
    }
    while let Some(member) = reader.next_member()? {
        text_bytes += match member.key.as_ref() {
            b"name" | b"arguments" | b"input" => measure_text(reader)?,
            _ => skip(reader)?,
        };
    }
    Ok(text_bytes)
}

fn measure_text(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    Ok(read_text(reader)?.1)
}

/// A value with the bytes of the text that it is, or of the texts of its parts; 0 for another kind of value.
fn read_text<'a>(reader: &mut Reader<'a>) -> Result<(Raw<'a>, u64), JsonError> {
    let known = reader.escape_bytes();
    let value = reader.read_value()?;
    let text_bytes = match value.kind() {
        Kind::String => value.bytes.len().saturating_sub(2 + reader.escape_bytes() - known) as u64,
        Kind::Array => measure_parts(&mut Reader::new(value.bytes))?,
        _ => 0,
    };
    Ok((value, text_bytes))
}

/// Parts of a text; those that think may have parts of their own.
fn measure_parts(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    reader.enter_array()?;
    while reader.next_item()? {
        if !reader.enter_object()? {
            continue;
        }
        while let Some(member) = reader.next_member()? {
            text_bytes += match member.key.as_ref() {
                b"text" | b"thinking" | b"refusal" => measure_text(reader)?,
                _ => skip(reader)?,
            };
        }
    }
    Ok(text_bytes)
}

fn says_something(value: Raw<'_>) -> bool {
    !matches!(value.bytes, b"null" | b"\"\"" | b"[]" | b"{}")
}

fn skip(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    reader.read_value()?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_what_the_model_wrote() {
        let cases = [
            ("[]", (0, 0, 0)),
            ("null", (0, 0, 0)),
            (r#"[{"index":0,"delta":{"role":"assistant","content":""}}]"#, (1, 0, 0)),
            (r#"[{"delta":{"content":"Hello"}},{"delta":{}}]"#, (2, 1, 5)),
            (r#"[{"delta":{"content":null,"reasoning_content":"hmm"}}]"#, (1, 1, 3)),
            (
                r#"[{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"{}"}}]}}]"#,
                (1, 1, 3),
            ),
            (
                r#"[{"message":{"role":"assistant","content":"ab","refusal":null},"logprobs":{"content":[]}}]"#,
                (1, 1, 2),
            ),
            (r#"[{"delta":{"reasoning_content":"hmm","reasoning":"hmm","content":"x"}}]"#, (1, 1, 4)),
            (
                r#"[{"delta":{"content":"\u4f60\u00E9\ud83d\ude00\u0041\n\"","tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}}]"#,
                (1, 1, 19),
            ),
            (r#"[{"delta":{"content":[{"text":"\u4f60"}],"reasoning":"\u4f60"}}]"#, (1, 1, 6)),
            (
                r#"[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hmm"}]},7,{"type":"text","text":"ab"}]}}]"#,
                (1, 1, 5),
            ),
            (r#"[1,{"delta":5},{"delta":{"tool_calls":[7]}}]"#, (3, 0, 0)),
        ];
        for (text, (count, written, text_bytes)) in cases {
            let mut reader = Reader::new(text.as_bytes());
            let read = measure_choices(&mut reader).unwrap();
            assert_eq!((read.count, read.written, read.text_bytes), (count, written, text_bytes), "{text}");
            assert_eq!(reader.finish(), Ok(()), "{text}");
        }
        for (text, is_said) in [
            ("[]", false),
            (r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]"#, false),
            (r#"[{"delta":{"role":"assistant","content":""},"logprobs":null}]"#, false),
            (r#"[{"delta":{"content":"a"}}]"#, true),
            (r#"[{"delta":{"content":[{"type":"text","text":"a"}]}}]"#, true),
            (r#"[{"delta":{"tool_calls":[{"index":0}]}}]"#, true),
            (r#"[{"delta":{"audio":{"data":"AAAA"}}}]"#, true),
            (r#"[{"delta":{},"finish_reason":"stop"}]"#, true),
            (r#"[{"text":"a"}]"#, true),
            // Some servers write an empty one into every chunk.
            (r#"[{"delta":{},"finish_reason":""}]"#, false),
        ] {
            assert_eq!(measure_choices(&mut Reader::new(text.as_bytes())).unwrap().is_said, is_said, "{text}");
        }
        assert_eq!((estimate_tokens(0), estimate_tokens(1), estimate_tokens(8)), (0, 1, 2));
    }

    #[test]
    fn a_stream_is_finished_when_all_that_began_is() {
        let begun = |index: &str| format!(r#"[{{"index":{index},"delta":{{}},"finish_reason":null}}]"#);
        let ended = |index: &str| begun(index).replace("null", "\"stop\"");
        for (chunks, is_finished) in [
            (vec![], false),
            (vec!["[]".to_owned()], false),
            (vec![begun("0")], false),
            (vec![begun("0"), ended("0"), "[]".to_owned()], true),
            (vec![r#"[{"finish_reason":"length"}]"#.to_owned()], true),
            (vec![begun("1"), begun("0"), ended("0")], false),
            (vec![begun("1"), begun("0"), ended("0"), ended("1")], true),
            (vec![begun("0").replace("null", "\"\"")], false),
            (vec![ended("0"), ended("128")], false),
            (vec![ended("0"), ended("-1")], false),
        ] {
            let mut all = Choices::default();
            for chunk in &chunks {
                all.add(&measure_choices(&mut Reader::new(chunk.as_bytes())).unwrap());
            }
            assert_eq!(all.is_finished(), is_finished, "{chunks:?}");
        }
    }
}
