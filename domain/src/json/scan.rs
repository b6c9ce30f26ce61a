//! The grammar of RFC 8259, byte by byte.

use super::{JsonError, Reader};

/// Deepest nesting that is read. Servers behind us that parse by recursion fail on far deeper texts, as if the fault were
/// theirs; serde_json draws the line at the same place.
const MAX_DEPTH: u32 = 128;

/// Bytes of an escape such as `\u00e9`.
const ESCAPED_UNIT_BYTES: usize = 6;

/// Which brackets are open, innermost last: one bit each, 1 is an object, 0 an array.
#[derive(Default)]
struct Brackets {
    bits: u128,
    len: u32,
}

impl Brackets {
    /// `false` when the nesting is too deep.
    const fn push(&mut self, is_object: bool) -> bool {
        if self.len == MAX_DEPTH {
            return false;
        }
        self.bits = self.bits << 1 | is_object as u128;
        self.len += 1;
        true
    }

    const fn pop(&mut self) {
        self.bits >>= 1;
        self.len = self.len.saturating_sub(1);
    }

    /// Whether the innermost is an object; `None` when all are closed.
    const fn innermost_is_object(&self) -> Option<bool> {
        if self.len == 0 { None } else { Some(self.bits & 1 == 1) }
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn error(&self, reason: &'static str) -> JsonError {
        JsonError { at_bytes: self.at, reason }
    }

    fn peek_byte(&self) -> Result<u8, JsonError> {
        self.bytes.get(self.at).copied().ok_or(self.error("unexpected end"))
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Moves past one value and everything in it.
    pub(super) fn skip_value(&mut self) -> Result<(), JsonError> {
        let mut open = Brackets::default();
        loop {
            self.skip_space();
            match self.peek_byte()? {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                }
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    self.skip_space();
                    // `]` and `}` stand two behind `[` and `{` in ASCII.
                    if self.peek_byte()? == bracket + 2 {
                        self.at += 1;
                    } else {
                        if !open.push(bracket == b'{') {
                            return Err(self.error("nested too deeply"));
                        }
                        if bracket == b'{' {
                            self.read_key()?;
                            self.read_colon()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.skip_number()?,
                _ => self.skip_literal()?,
            }
            if !self.close_brackets(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: closes what ends here. `true` when another value is due, `false` when all
    /// brackets are closed.
    fn close_brackets(&mut self, open: &mut Brackets) -> Result<bool, JsonError> {
        while let Some(is_object) = open.innermost_is_object() {
            self.skip_space();
            let byte = self.peek_byte()?;
            if byte == b',' {
                self.at += 1;
                if is_object {
                    self.skip_space();
                    self.read_key()?;
                    self.read_colon()?;
                }
                return Ok(true);
            }
            if byte != if is_object { b'}' } else { b']' } {
                return Err(self.error("expected a comma or the end of the container"));
            }
            self.at += 1;
            open.pop();
        }
        Ok(false)
    }

    /// Moves past a key with its quotes; tells whether it holds escapes.
    pub(super) fn read_key(&mut self) -> Result<bool, JsonError> {
        if self.peek_byte()? != b'"' {
            return Err(self.error("expected a key"));
        }
        self.at += 1;
        self.skip_string()
    }

    /// The key that was just read, from its opening quote.
    pub(super) fn key_bytes(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub(super) fn read_colon(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek_byte()? != b':' {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        Ok(())
    }

    /// Moves past a string whose opening quote has been read; tells whether it holds escapes.
    fn skip_string(&mut self) -> Result<bool, JsonError> {
        let mut has_escapes = false;
        loop {
            self.at += count_plain_bytes(&self.bytes[self.at..]);
            match self.peek_byte()? {
                b'"' => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                b'\\' => {
                    self.skip_escape()?;
                    has_escapes = true;
                }
                _ => return Err(self.error("control character in a string")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek_byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                self.escape_bytes += 1;
                Ok(())
            }
            b'u' => {
                self.at += 1;
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = char::from(self.peek_byte()?).to_digit(16);
                    unit = unit << 4 | digit.ok_or(self.error("bad escape in a string"))?;
                    self.at += 1;
                }
                self.escape_bytes += ESCAPED_UNIT_BYTES - count_utf8_bytes(unit);
                Ok(())
            }
            _ => Err(self.error("bad escape in a string")),
        }
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        if self.peek_byte()? == b'-' {
            self.at += 1;
        }
        if self.peek_byte()? == b'0' {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), JsonError> {
        if !self.peek_byte()?.is_ascii_digit() {
            return Err(self.error("expected a digit"));
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn skip_literal(&mut self) -> Result<(), JsonError> {
        for literal in [b"null".as_slice(), b"true", b"false"] {
            if self.bytes[self.at..].starts_with(literal) {
                self.at += literal.len();
                return Ok(());
            }
        }
        Err(self.error("expected a value"))
    }
}

/// Bytes that a UTF-16 code unit takes in UTF-8; half of a surrogate pair, half of the pair's four.
const fn count_utf8_bytes(unit: u32) -> usize {
    match unit {
        0..=0x7f => 1,
        0x80..=0x7ff | 0xd800..=0xdfff => 2,
        _ => 3,
    }
}

/// How many bytes come before the first quote, backslash or control character.
///
/// Eight bytes at a time: strings are most of a chat body.
fn count_plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = mark_special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return index * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
    words.len() * 8 + plain
}

/// Sets the high bit of special bytes. A borrow can mark a byte wrongly only above a byte that is
/// marked rightly, so the lowest mark is always true.
const fn mark_special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGHS
}
