//! How much a model has written, for when its upstream does not say.

use crate::json::{JsonError, Kind, Reader};

/// What the `choices` of an answer or of a stream chunk hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Items of the array.
    pub count: u64,
    /// Items in which the model wrote something.
    pub written: u64,
    /// Bytes of JSON text that the model wrote: content, reasoning, refusals, the names and
    /// arguments of calls.
    pub text_bytes: u64,
    /// Items that say why the model has stopped.
    pub finished: u64,
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
        let text_bytes = measure_choice(reader, &mut choices.finished)?;
        choices.count += 1;
        choices.written += u64::from(text_bytes > 0);
        choices.text_bytes += text_bytes;
    }
    Ok(choices)
}

fn measure_choice(reader: &mut Reader<'_>, finished: &mut u64) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    if !reader.enter_object()? {
        return Ok(0);
    }
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"delta" | b"message" => text_bytes += measure_message(reader)?,
            // Some servers write an empty one into every chunk.
            b"finish_reason" => *finished += u64::from(measure_string(reader)? > 0),
            _ => _ = reader.read_value()?,
        }
    }
    Ok(text_bytes)
}

fn measure_message(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let mut text_bytes = 0;
    if !reader.enter_object()? {
        return Ok(0);
    }
    while let Some(member) = reader.next_member()? {
        text_bytes += match member.key.as_ref() {
            b"content" | b"reasoning_content" | b"reasoning" | b"refusal" => measure_string(reader)?,
            b"tool_calls" => measure_tool_calls(reader)?,
            b"function_call" => measure_function(reader)?,
            _ => skip(reader)?,
        };
    }
    Ok(text_bytes)
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
            b"name" | b"arguments" | b"input" => measure_string(reader)?,
            _ => skip(reader)?,
        };
    }
    Ok(text_bytes)
}

/// Bytes between the quotes; 0 for another kind of value.
fn measure_string(reader: &mut Reader<'_>) -> Result<u64, JsonError> {
    let value = reader.read_value()?;
    Ok(match value.kind() {
        Kind::String => value.bytes.len().saturating_sub(2) as u64,
        _ => 0,
    })
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
            ("[]", (0, 0, 0, 0)),
            ("null", (0, 0, 0, 0)),
            (r#"[{"index":0,"delta":{"role":"assistant","content":""}}]"#, (1, 0, 0, 0)),
            (r#"[{"delta":{"content":"Hello"}},{"delta":{}}]"#, (2, 1, 5, 0)),
            (r#"[{"delta":{"content":null,"reasoning_content":"hmm"}}]"#, (1, 1, 3, 0)),
            (
                r#"[{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"{}"}}]}}]"#,
                (1, 1, 3, 0),
            ),
            (
                r#"[{"message":{"role":"assistant","content":"ab","refusal":null},"logprobs":{"content":[]}}]"#,
                (1, 1, 2, 0),
            ),
            (r#"[1,{"delta":5},{"delta":{"tool_calls":[7]}}]"#, (3, 0, 0, 0)),
            (
                r#"[{"delta":{},"finish_reason":"stop"},{"finish_reason":""},{"finish_reason":null},{"finish_reason":7}]"#,
                (4, 0, 0, 1),
            ),
        ];
        for (text, (count, written, text_bytes, finished)) in cases {
            let mut reader = Reader::new(text.as_bytes());
            let expected = Choices { count, written, text_bytes, finished };
            assert_eq!(measure_choices(&mut reader).unwrap(), expected, "{text}");
            assert_eq!(reader.finish(), Ok(()), "{text}");
        }
        assert_eq!((estimate_tokens(0), estimate_tokens(1), estimate_tokens(8)), (0, 1, 2));
    }
}
