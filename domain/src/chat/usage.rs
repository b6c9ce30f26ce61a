//! Token counts as upstreams report them.

use crate::json::{JsonError, Kind, Raw, Reader};
use crate::pricing::TokenUsage;

/// Above this a count is a fault of the upstream, not a bill.
const MAX_TOKENS: u64 = 1_000_000_000_000;

/// A `usage` object, read leniently.
#[derive(Default)]
struct Reported {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    /// Whether `input` leaves the cached tokens out (Anthropic's names).
    is_input_without_cache: bool,
    /// Whether a count is negative, fractional or absurd: then none of them is believed.
    is_absurd: bool,
}

/// Reads the value that comes next as a `usage` object; `None` when it is not one or can't be
/// believed.
///
/// `prompt_tokens` and `input_tokens`, `completion_tokens` and `output_tokens` are the same thing.
/// 0 and 0 is how some upstreams say "not counted".
pub(crate) fn read_usage(reader: &mut Reader<'_>) -> Result<Option<TokenUsage>, JsonError> {
    let mut reported = Reported::default();
    if !reader.enter_object()? {
        return Ok(None);
    }
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"prompt_tokens_details" | b"input_tokens_details" => reported.read_details(reader)?,
            key => reported.take_count(key, reader.read_value()?),
        }
    }
    Ok(reported.into_usage())
}

/// Appends a `usage` object of so many tokens.
pub(super) fn push_usage(input: u64, output: u64, out: &mut Vec<u8>) {
    let total = input.saturating_add(output);
    let usage = format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total}}}");
    out.extend_from_slice(usage.as_bytes());
}

impl Reported {
    fn read_details(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(member) = reader.next_member()? {
            let value = reader.read_value()?;
            match member.key.as_ref() {
                b"cached_tokens" => self.cache_read = self.count(value).unwrap_or(self.cache_read),
                b"cache_write_tokens" => self.cache_write = self.count(value).unwrap_or(self.cache_write),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_count(&mut self, key: &[u8], value: Raw<'_>) {
        match key {
            b"prompt_tokens" => self.input = self.count(value).or(self.input),
            b"input_tokens" => self.input = self.input.or(self.count(value)),
            b"completion_tokens" => self.output = self.count(value).or(self.output),
            b"output_tokens" => self.output = self.output.or(self.count(value)),
            b"total_tokens" => self.total = self.count(value),
            b"prompt_cache_hit_tokens" => self.cache_read = self.count(value).unwrap_or(self.cache_read),
            b"cache_read_input_tokens" => self.cache_read = self.count(value).unwrap_or(self.cache_read),
            b"cache_creation_input_tokens" => self.cache_write = self.count(value).unwrap_or(self.cache_write),
            _ => return,
        }
        match key {
            b"input_tokens" => self.is_input_without_cache = true,
            b"prompt_tokens" | b"total_tokens" => self.is_input_without_cache = false,
            _ => {}
        }
    }

    fn count(&mut self, value: Raw<'_>) -> Option<u64> {
        let count = value.to_u64().filter(|count| *count <= MAX_TOKENS);
        if count.is_none() && value.kind() == Kind::Number {
            self.is_absurd = true;
        }
        count
    }

    fn into_usage(self) -> Option<TokenUsage> {
        if self.is_absurd {
            return None;
        }
        let mut input = self.input?;
        let output = self.output.or_else(|| self.total?.checked_sub(input))?;
        if self.is_input_without_cache {
            input = input.saturating_add(self.cache_read).saturating_add(self.cache_write);
        }
        if input == 0 && output == 0 {
            return None;
        }
        Some(TokenUsage { input, output, cache_read: self.cache_read, cache_write: self.cache_write })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<TokenUsage> {
        let mut reader = Reader::new(text.as_bytes());
        let usage = read_usage(&mut reader).unwrap();
        reader.finish().unwrap();
        usage
    }

    fn usage(input: u64, output: u64, cache_read: u64, cache_write: u64) -> Option<TokenUsage> {
        Some(TokenUsage { input, output, cache_read, cache_write })
    }

    #[test]
    fn reads_every_spelling() {
        let cases = [
            (r#"{"prompt_tokens":10,"completion_tokens":12,"total_tokens":22}"#, usage(10, 12, 0, 0)),
            (r#"{"input_tokens":10,"output_tokens":12}"#, usage(10, 12, 0, 0)),
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":0}}"#,
                usage(10, 2, 8, 0),
            ),
            (r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_tokens_details":null}"#, usage(10, 2, 0, 0)),
            (
                r#"{"input_tokens":10,"output_tokens":2,"cache_read_input_tokens":5,"cache_creation_input_tokens":3}"#,
                usage(18, 2, 5, 3),
            ),
            (r#"{"prompt_tokens":10,"completion_tokens":2,"cache_read_input_tokens":5}"#, usage(10, 2, 5, 0)),
            (r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":4}"#, usage(10, 2, 4, 0)),
            (r#"{"prompt_tokens":10,"total_tokens":15}"#, usage(10, 5, 0, 0)),
            (r#"{"prompt_tokens":10,"completion_tokens":0,"input_tokens":99}"#, usage(10, 0, 0, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn disbelieves_nonsense() {
        for text in [
            "null",
            "{}",
            "[1]",
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":5}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1000000000001}"#,
            r#"{"prompt_tokens":1,"completion_tokens":2.5}"#,
            r#"{"prompt_tokens":"1","completion_tokens":2}"#,
            r#"{"completion_tokens":2}"#,
            r#"{"prompt_tokens":5,"total_tokens":3}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
