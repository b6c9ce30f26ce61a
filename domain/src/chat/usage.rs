//! Token counts as upstreams report them.

use crate::json::{JsonError, Kind, Raw, Reader};
use crate::pricing::{TOKENS_MAX, TokenUsage};

/// A `usage` object, read leniently.
#[derive(Default)]
struct Reported {
    prompt: Option<u64>,
    input: Option<u64>,
    completion: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// Whether a count is negative, fractional or absurd: then none of them is believed.
    is_absurd: bool,
}

/// Reads the value that comes next as a `usage` object; `None` when it is not one or can't be
/// believed.
///
/// `prompt_tokens` and `input_tokens`, `completion_tokens` and `output_tokens` are the same thing; some
/// servers write both, and 0 into those that they don't mean. 0 and 0 is how some say "not counted".
pub(crate) fn read_usage(reader: &mut Reader<'_>) -> Result<Option<TokenUsage>, JsonError> {
    let mut reported = Reported::default();
    if !reader.enter_object()? {
        return Ok(None);
    }
    while let Some(member) = reader.next_member()? {
        match member.key.as_ref() {
            b"prompt_tokens_details"
            | b"input_tokens_details"
            | b"completion_tokens_details"
            | b"output_tokens_details" => reported.read_details(reader)?,
            key => reported.take_count(key, reader.read_value()?),
        }
    }
    Ok(reported.into_usage())
}

/// Appends a `usage` object of so many tokens.
pub(super) fn push_usage(usage: &TokenUsage, out: &mut Vec<u8>) {
    let TokenUsage { input, output, cache_read, .. } = *usage;
    let total = usage.total();
    let counts = format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total}");
    out.extend_from_slice(counts.as_bytes());
    if cache_read > 0 {
        out.extend_from_slice(format!(",\"prompt_tokens_details\":{{\"cached_tokens\":{cache_read}}}").as_bytes());
    }
    out.push(b'}');
}

impl Reported {
    fn read_details(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(member) = reader.next_member()? {
            let value = reader.read_value()?;
            match member.key.as_ref() {
                key @ (b"cached_tokens" | b"cache_write_tokens") => self.take_count(key, value),
                b"reasoning_tokens" => self.reasoning = value.to_u64().or(self.reasoning),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_count(&mut self, key: &[u8], value: Raw<'_>) {
        let known = match key {
            b"prompt_tokens" => &mut self.prompt,
            b"input_tokens" => &mut self.input,
            b"completion_tokens" => &mut self.completion,
            b"output_tokens" => &mut self.output,
            b"total_tokens" => &mut self.total,
            b"cached_tokens" | b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => &mut self.cache_read,
            b"cache_write_tokens" | b"cache_creation_input_tokens" => &mut self.cache_write,
            _ => return,
        };
        let count = value.to_u64().filter(|count| *count <= TOKENS_MAX);
        *known = count.max(*known);
        self.is_absurd |= count.is_none() && value.kind() == Kind::Number;
    }

    fn into_usage(self) -> Option<TokenUsage> {
        if self.is_absurd {
            return None;
        }
        let input = self.prompt.or(self.input)?;
        let output = self.completion.or(self.output).or_else(|| self.total?.checked_sub(input))?;
        let told = input.saturating_add(output);
        if told == 0 {
            return None;
        }
        let (cache_read, cache_write) = (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let cached = cache_read.saturating_add(cache_write);
        // What the total has beyond the two: cached tokens that the input leaves out, thoughts that the output does.
        let beyond = self.total.unwrap_or(0).saturating_sub(told);
        let is_anthropics = self.prompt.is_none() && self.total.is_none();
        let is_without_cache = is_anthropics || beyond == cached || beyond > cached && cached > input;
        let cached_beside = if is_without_cache { cached } else { 0 };
        let thoughts = beyond.saturating_sub(cached_beside).min(self.reasoning.unwrap_or(u64::MAX));
        Some(TokenUsage {
            input: input.saturating_add(cached_beside),
            output: output.saturating_add(thoughts),
            cache_read,
            cache_write,
        })
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
            // Kimi's.
            (
                r#"{"prompt_tokens":2000,"completion_tokens":9,"total_tokens":2009,"cached_tokens":1792}"#,
                usage(2000, 9, 1792, 0),
            ),
            // new-api's: the names that it does not mean come last.
            (
                r#"{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cached_tokens":80},
                "input_tokens":0,"output_tokens":0,"input_tokens_details":{"cached_tokens":0}}"#,
                usage(100, 5, 80, 0),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn thoughts_that_only_the_total_counts_are_output() {
        let cases = [
            // Gemini's.
            (r#"{"completion_tokens":102,"prompt_tokens":758,"total_tokens":1725}"#, usage(758, 967, 0, 0)),
            // xAI's.
            (
                r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,
                "prompt_tokens_details":{"cached_tokens":9000},"completion_tokens_details":{"reasoning_tokens":2809}}"#,
                usage(10120, 4308, 9000, 0),
            ),
            // OpenAI's output has them.
            (
                r#"{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"completion_tokens_details":{"reasoning_tokens":40}}"#,
                usage(10, 50, 0, 0),
            ),
            // More than the thoughts that are told is none of them.
            (
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":90,"completion_tokens_details":{"reasoning_tokens":0}}"#,
                usage(10, 5, 0, 0),
            ),
            (r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":3}"#, usage(10, 5, 0, 0)),
            // What the total has beyond may be cached tokens that the prompt leaves out, and is no output then.
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":5012,"cache_read_input_tokens":5000}"#,
                usage(5010, 2, 5000, 0),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":5112,"prompt_tokens_details":{"cached_tokens":5000}}"#,
                usage(5010, 102, 5000, 0),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"cache_read_input_tokens":5000}"#,
                usage(10, 2, 5000, 0),
            ),
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
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":5}"#,
            r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":1000000000001}"#,
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
