//! Thoughts out of a chat completion stream, chunk by chunk.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ThinkFilter;

/// Most choices that are told apart; the rest pass as they are.
const MAX_CHOICES: usize = 128;

/// Rewrites the chunks of one stream: the content of every choice goes through a filter of its own,
/// and what a filter held back leaves with the choice's last chunk.
#[derive(Clone, Debug, Default)]
pub struct ThinkStream {
    /// By the choice's index.
    filters: BTreeMap<u64, ThinkFilter>,
}

impl ThinkStream {
    /// Takes whole lines of an event stream and appends to `out` what goes out for them.
    pub fn rewrite_lines(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let text = line.trim_ascii_end();
            let data = text.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start).filter(|data| data.starts_with(b"{"));
            match (data, line.get(text.len()..)) {
                (Some(data), Some(terminator)) => {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(&self.rewrite(data));
                    out.extend_from_slice(terminator);
                }
                _ => out.extend_from_slice(line),
            }
        }
    }

    /// Takes a chunk's JSON (the value of a `data:` line) and returns what goes out for it: the same
    /// bytes if nothing changes, which is also what becomes of data that are no chunk.
    fn rewrite<'d>(&mut self, data: &'d [u8]) -> Cow<'d, [u8]> {
        let Ok(mut chunk) = serde_json::from_slice::<Value>(data) else { return Cow::Borrowed(data) };
        let choices = chunk.get_mut("choices").and_then(Value::as_array_mut);
        let mut has_changed = false;
        for choice in choices.into_iter().flatten() {
            has_changed |= self.rewrite_choice(choice).is_some();
        }
        if has_changed { Cow::Owned(chunk.to_string().into_bytes()) } else { Cow::Borrowed(data) }
    }

    /// `None` if the choice stays as it is.
    fn rewrite_choice(&mut self, choice: &mut Value) -> Option<()> {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let is_last = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
        let delta = choice.get_mut("delta")?.as_object_mut()?;
        let content = delta.get("content").and_then(Value::as_str);
        if !self.filters.contains_key(&index) && self.filters.len() >= MAX_CHOICES {
            return None;
        }
        let filter = self.filters.entry(index).or_default();
        let mut kept = String::new();
        filter.push(content.unwrap_or_default(), &mut kept);
        if is_last {
            filter.finish(&mut kept);
        }
        if kept == content.unwrap_or_default() {
            return None;
        }
        delta.insert("content".to_owned(), json!(kept));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(index: u64, content: &str, finish_reason: Value) -> Vec<u8> {
        json!({"id":"c","choices":[{"index":index,"delta":{"content":content},"finish_reason":finish_reason}]})
            .to_string()
            .into_bytes()
    }

    fn content(stream: &mut ThinkStream, index: u64, text: &str, finish_reason: Value) -> String {
        let data = chunk(index, text, finish_reason);
        let out: Value = serde_json::from_slice(&stream.rewrite(&data)).unwrap();
        assert_eq!(out["id"], "c");
        out["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn choices_are_filtered_apart() {
        let mut stream = ThinkStream::default();
        let mut say = |index, text| content(&mut stream, index, text, Value::Null);
        assert_eq!((say(0, "a<th"), say(1, "ink>b")), ("a".into(), "ink>b".into()));
        assert_eq!(
            (say(0, "ink>hidden</think>"), say(0, " \n"), say(0, " c <")),
            (String::new(), String::new(), "c ".into())
        );
        assert_eq!(content(&mut stream, 0, "", json!("stop")), "<");
    }

    #[test]
    fn what_is_held_back_leaves_with_the_last_chunk() {
        let mut stream = ThinkStream::default();
        assert_eq!(content(&mut stream, 0, "1 <", Value::Null), "1 ");
        let last = br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let out: Value = serde_json::from_slice(&stream.rewrite(last)).unwrap();
        assert_eq!(out["choices"][0]["delta"]["content"], "<");
    }

    #[test]
    fn lines_keep_their_ends() {
        let mut stream = ThinkStream::default();
        let mut out = Vec::new();
        let chunk = |content: &str| format!("{{\"choices\":[{{\"delta\":{{\"content\":\"{content}\"}}}}]}}");
        let lines = format!(": hi\r\n\r\ndata:{}\r\n\r\ndata: [DONE]\n\n", chunk("<think>x</think>y"));
        stream.rewrite_lines(lines.as_bytes(), &mut out);
        let expected = format!(": hi\r\n\r\ndata: {}\r\n\r\ndata: [DONE]\n\n", chunk("y"));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_has_no_thoughts_keeps_its_bytes() {
        let mut stream = ThinkStream::default();
        let same: [&[u8]; 5] = [
            b"[DONE]",
            b"{ \"choices\": [] }",
            b"{ \"choices\": [{\"delta\":{\"role\":\"assistant\"}}] }",
            b"{ \"choices\": [{\"delta\":{\"content\":\"plain 1.0\"}}] }",
            b"{ \"usage\": {\"prompt_tokens\":1} }",
        ];
        for data in same {
            assert!(matches!(stream.rewrite(data), Cow::Borrowed(out) if out == data));
        }
    }
}
