//! The arguments of a call, as JSON.

use super::QUOTE;
use crate::json::push_string;

/// Deepest nesting that is read: it is read by recursion.
const MAX_DEPTH: u32 = 64;

/// Reads `{key:value,…}` to its end, and nothing behind it; `None` for what is no such object.
pub(super) fn read_arguments(text: &str) -> Option<String> {
    let mut reader = Arguments { rest: text, out: Vec::with_capacity(text.len()), depth: 0 };
    reader.read_object()?;
    reader.skip_space();
    if !reader.rest.is_empty() {
        return None;
    }
    String::from_utf8(reader.out).ok()
}

struct Arguments<'t> {
    rest: &'t str,
    out: Vec<u8>,
    depth: u32,
}

impl<'t> Arguments<'t> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Moves past a token, if it comes next.
    fn skip(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn read_object(&mut self) -> Option<()> {
        self.read_items("{", "}", |reader| {
            match reader.read_text()? {
                Some(key) => push_string(&key, &mut reader.out),
                None => push_string(Some(reader.read_bare(":,{}[]")).filter(|key| !key.is_empty())?, &mut reader.out),
            }
            if !reader.skip(":") {
                return None;
            }
            reader.out.push(b':');
            reader.read_value()
        })
    }

    /// The items of an object or an array; a comma behind the last one is no matter.
    fn read_items(&mut self, open: &str, close: &str, item: fn(&mut Self) -> Option<()>) -> Option<()> {
        if !self.skip(open) || self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.out.extend_from_slice(open.as_bytes());
        let mut is_first = true;
        while !self.skip(close) {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            item(self)?;
            if !self.skip(",") {
                self.skip_space();
                if !self.rest.starts_with(close) {
                    return None;
                }
            }
        }
        self.out.extend_from_slice(close.as_bytes());
        self.depth -= 1;
        Some(())
    }

    fn read_value(&mut self) -> Option<()> {
        if let Some(text) = self.read_text()? {
            push_string(&text, &mut self.out);
            return Some(());
        }
        match self.rest.as_bytes().first()? {
            b'{' => self.read_object(),
            b'[' => self.read_items("[", "]", Self::read_value),
            _ => {
                match self.read_bare(",}]") {
                    "" => return None,
                    "None" => self.out.extend_from_slice(b"null"),
                    bare if is_literal(bare) => self.out.extend_from_slice(bare.as_bytes()),
                    bare => push_string(bare, &mut self.out),
                }
                Some(())
            }
        }
    }

    /// A text between two of the model's own quotes, or a JSON string: some write those. `Some(None)` when no text comes next.
    #[expect(clippy::option_option, reason = "no text, and a text that is none")]
    fn read_text(&mut self) -> Option<Option<String>> {
        if self.skip(QUOTE) {
            let (text, rest) = self.rest.split_once(QUOTE)?;
            self.rest = rest;
            return Some(Some(text.to_owned()));
        }
        if !self.rest.starts_with('"') {
            return Some(None);
        }
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = values.next()?.ok()?;
        self.rest = self.rest.get(values.byte_offset()..)?;
        Some(Some(text))
    }

    /// What stands before any of the characters, or the end.
    fn read_bare(&mut self, ends: &str) -> &'t str {
        self.skip_space();
        let at = self.rest.find(|next| ends.contains(next)).unwrap_or(self.rest.len());
        let (bare, rest) = self.rest.split_at(at);
        self.rest = rest;
        bare.trim_end()
    }
}

/// Whether JSON writes it so without quotes.
fn is_literal(bare: &str) -> bool {
    matches!(bare, "true" | "false" | "null") || serde_json::from_str::<serde_json::Number>(bare).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Option<Value> {
        // What is read is JSON.
        read_arguments(text).map(|json| serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn values_of_all_kinds_are_read() {
        let cases = [
            ("{}", json!({})),
            ("{ }", json!({})),
            (
                r#"{a:1,b:-2.5e3,c:true,d:null,e:None}"#,
                json!({ "a": 1, "b": -2500.0, "c": true, "d": null, "e": null }),
            ),
            (r#"{city:<|"|>São "Paulo", {x}<|"|>}"#, json!({ "city": "São \"Paulo\", {x}" })),
            (r#"{a:{b:{c:[1,[2,{d:<|"|><|"|>}]]}}}"#, json!({ "a": { "b": { "c": [1, [2, { "d": "" }]] } } })),
            (r#"{<|"|>a:b<|"|>: <|"|>1<|"|>, "c d" : "e\n" ,}"#, json!({ "a:b": "1", "c d": "e\n" })),
            ("{a: two words ,b:[x, y,]}", json!({ "a": "two words", "b": ["x", "y"] })),
            ("{a:01,b:1.}", json!({ "a": "01", "b": "1." })),
            ("{a:<|\"|>\u{0}\\\n<|\"|>}", json!({ "a": "\u{0}\\\n" })),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn big_numbers_keep_their_digits() {
        let digits = r#"{"a":123456789012345678901234567890.123}"#;
        assert_eq!(read_arguments("{a:123456789012345678901234567890.123}").as_deref(), Some(digits));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "{a}",
            "{a:}",
            "{:1}",
            "{a:1",
            "{a:1}}",
            "{a:1} b",
            "[1]",
            "{a:[1}",
            "{a:{b:1]}",
            "{,}",
            "{a:1,,b:2}",
            r#"{a:<|"|>x}"#,
            r#"{a:"x}"#,
            r#"{a:"\q"}"#,
            r#"{a:<|"|>x<|"|>y}"#,
        ] {
            assert_eq!(read_arguments(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| format!("{{a:{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_arguments(&nested(63)).is_some());
        assert_eq!(read_arguments(&nested(64)), None);
        assert_eq!(read_arguments(&"{a:".repeat(100_000)), None);
    }
}
