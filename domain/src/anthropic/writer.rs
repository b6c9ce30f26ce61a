//! Writing JSON from parts, most of them bytes of another text.

use crate::json::push_string;

/// From here on a value is given room exactly: a buffer that doubles for the brace behind a picture takes twice its memory.
const LARGE_BYTES: usize = 1 << 20;
/// Room for what closes a large value.
const CLOSING_BYTES: usize = 1 << 10;

/// Appends JSON to a buffer and sets the commas.
///
/// A comma is due unless the last byte opens something: no value ends in one of those bytes.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    pub(super) const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':' | b',' | b' ' | b'\n')) {
            self.out.push(b',');
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if bytes >= LARGE_BYTES && self.out.capacity() - self.out.len() < bytes {
            self.out.reserve_exact(bytes + CLOSING_BYTES);
        }
    }

    pub(super) fn open_object(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        self
    }

    pub(super) fn close_object(&mut self) -> &mut Self {
        self.out.push(b'}');
        self
    }

    pub(super) fn open_array(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'[');
        self
    }

    pub(super) fn close_array(&mut self) -> &mut Self {
        self.out.push(b']');
        self
    }

    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.text(name);
        self.out.push(b':');
        self
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.separate();
        self.make_room(json.len());
        self.out.extend_from_slice(json);
        self
    }

    /// Values that are JSON already, with commas between them; there may be none.
    pub(super) fn raw_items(&mut self, items: &[u8]) -> &mut Self {
        if !items.is_empty() {
            self.raw(items);
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.make_room(text.len());
        push_string(text, self.out);
        self
    }

    /// One string of several, given with their quotes.
    pub(super) fn joined<'l>(&mut self, literals: impl IntoIterator<Item = &'l [u8]>) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        for literal in literals {
            self.make_room(literal.len());
            self.out.extend_from_slice(inside(literal));
        }
        self.out.push(b'"');
        self
    }

    pub(super) fn member(&mut self, name: &str, json: &[u8]) -> &mut Self {
        self.key(name).raw(json)
    }

    pub(super) fn member_text(&mut self, name: &str, text: &str) -> &mut Self {
        self.key(name).text(text)
    }

    pub(super) fn member_count(&mut self, name: &str, count: u64) -> &mut Self {
        self.member(name, count.to_string().as_bytes())
    }

    /// A member whose value is JSON already, if there is one.
    pub(super) fn member_if(&mut self, name: &str, json: Option<&[u8]>) -> &mut Self {
        if let Some(json) = json {
            self.member(name, json);
        }
        self
    }
}

/// What stands between a string's quotes.
pub(super) fn inside(literal: &[u8]) -> &[u8] {
    literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default()
}
