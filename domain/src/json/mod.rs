//! A pull reader over JSON text that hands out the bytes of values: for bodies that are checked,
//! measured and spliced but never rebuilt.
//!
//! serde builds values; the gateway forwards bytes. One pass of this reader checks the grammar of
//! RFC 8259, tells where each member stands, and allocates nothing. It never recurses: nesting
//! costs one bit a level.

mod scan;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Offset of the first byte that does not fit.
    pub at_bytes: usize,
    /// What was wrong there.
    pub reason: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at_bytes)
    }
}

impl std::error::Error for JsonError {}

/// The kinds of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, whole or not.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The kind that a value beginning with this byte has, if any does.
    const fn of(first: u8) -> Option<Self> {
        Some(match first {
            b'n' => Self::Null,
            b't' | b'f' => Self::Bool,
            b'-' | b'0'..=b'9' => Self::Number,
            b'"' => Self::String,
            b'[' => Self::Array,
            b'{' => Self::Object,
            _ => return None,
        })
    }
}

/// A value's bytes and where they stand.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The bytes, quotes and brackets included, without white space around them.
    pub bytes: &'a [u8],
    /// Offset of the first byte in the whole text.
    pub start: usize,
}

impl<'a> Raw<'a> {
    /// Offset behind the last byte.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    /// The offsets.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end()
    }

    /// The value's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        // A `Raw` is only made of a value that was read: it has a first byte that fits.
        self.bytes.first().and_then(|first| Kind::of(*first)).unwrap_or(Kind::Null)
    }

    /// The text of a string, borrowed unless it holds escapes; `None` for other kinds, bad UTF-8
    /// and lone surrogates.
    #[must_use]
    pub fn to_text(&self) -> Option<Cow<'a, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = self.bytes.get(1..self.bytes.len() - 1)?;
        if memchr::memchr(b'\\', inner).is_none() {
            return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
        }
        serde_json::from_slice(self.bytes).ok().map(Cow::Owned)
    }

    /// The value of an integer from 0 that fits; `None` for fractions, exponents, negatives and
    /// other kinds.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        // `u64` parses a leading plus and nothing else that JSON lacks; the grammar has refused the
        // plus already.
        std::str::from_utf8(self.bytes).ok()?.parse().ok()
    }

    /// The value of a boolean.
    #[must_use]
    pub fn to_bool(&self) -> Option<bool> {
        match self.bytes {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

/// A member of an object, its value still to be read.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The key's bytes with escapes resolved, so that `"mod\u0065l"` can't slip past a check for
    /// `model`.
    pub key: Cow<'a, [u8]>,
    /// Offset of the key's opening quote.
    pub start: usize,
    /// Offset of the comma before the member, or of the byte behind the opening brace.
    pub separator: usize,
}

/// The reader. Enter a container, step through it until its end, read or skip each value on the
/// way.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether the container that is open was only just entered, so that no comma is due.
    is_fresh: bool,
    escape_bytes: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of the text.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, is_fresh: false, escape_bytes: 0 }
    }

    /// A reader inside an object of the text, right behind one of its values.
    ///
    /// For text whose beginning is known, byte for byte, from an earlier read.
    #[must_use]
    pub const fn resume_in_object(bytes: &'a [u8], behind_value: usize) -> Self {
        Self { bytes, at: behind_value, is_fresh: false, escape_bytes: 0 }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes by which the strings read so far are longer than the text that they stand for.
    #[must_use]
    pub const fn escape_bytes(&self) -> usize {
        self.escape_bytes
    }

    /// The kind of the value that comes next.
    ///
    /// # Errors
    /// [`JsonError`] when no value begins here.
    pub fn peek(&mut self) -> Result<Kind, JsonError> {
        self.skip_space();
        let first = self.bytes.get(self.at).ok_or_else(|| self.error("unexpected end"))?;
        Kind::of(*first).ok_or_else(|| self.error("expected a value"))
    }

    /// Enters the object that comes next; a value of another kind is skipped and `false` returned.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn enter_object(&mut self) -> Result<bool, JsonError> {
        self.enter(Kind::Object)
    }

    /// Enters the array that comes next; a value of another kind is skipped and `false` returned.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn enter_array(&mut self) -> Result<bool, JsonError> {
        self.enter(Kind::Array)
    }

    fn enter(&mut self, kind: Kind) -> Result<bool, JsonError> {
        if self.peek()? != kind {
            self.read_value()?;
            return Ok(false);
        }
        self.at += 1;
        self.is_fresh = true;
        Ok(true)
    }

    /// Steps to the next member of the object that is open and past its colon; `None` leaves the
    /// object.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn next_member(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        let Some(separator) = self.step(b'}')? else {
            return Ok(None);
        };
        let start = self.at;
        let has_escapes = self.read_key()?;
        // The key's bytes stand between two quotes; the colon follows, perhaps after spaces.
        let quoted = self.key_bytes(start);
        let key = if has_escapes {
            let text: String = serde_json::from_slice(quoted)
                .map_err(|_| JsonError { at_bytes: start, reason: "bad escape in a key" })?;
            Cow::Owned(text.into_bytes())
        } else {
            Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default())
        };
        self.read_colon()?;
        Ok(Some(Member { key, start, separator }))
    }

    /// Steps to the next item of the array that is open; `false` leaves the array.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn next_item(&mut self) -> Result<bool, JsonError> {
        Ok(self.step(b']')?.is_some())
    }

    /// Reads past the comma that is due, to the first byte of the next element; `None` when the
    /// container was closed.
    fn step(&mut self, closing: u8) -> Result<Option<usize>, JsonError> {
        let entered_at = self.at;
        self.skip_space();
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        match self.bytes.get(self.at) {
            Some(byte) if *byte == closing => {
                self.at += 1;
                Ok(None)
            }
            Some(_) if is_fresh => Ok(Some(entered_at)),
            Some(b',') => {
                let separator = self.at;
                self.at += 1;
                self.skip_space();
                Ok(Some(separator))
            }
            Some(_) => Err(self.error("expected a comma or the end of the container")),
            None => Err(self.error("unexpected end")),
        }
    }

    /// Makes sure that nothing but white space is left.
    ///
    /// # Errors
    /// [`JsonError`] at the first other byte.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error("unexpected text behind the value")) }
    }

    /// Reads one whole value and returns its bytes.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn read_value(&mut self) -> Result<Raw<'a>, JsonError> {
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        Ok(Raw { bytes: &self.bytes[start..self.at], start })
    }
}

/// Appends a text as a JSON string, quotes included.
pub fn push_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"00");
            out.extend_from_slice(&digits);
        }
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
