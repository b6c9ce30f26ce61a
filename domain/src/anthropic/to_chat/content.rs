//! Content in the making: a string while that is enough, parts otherwise.

use std::ops::Range;

use crate::anthropic::writer::Writer;

/// The content of one chat message.
#[derive(Debug, Default)]
pub(super) struct Content {
    parts: Vec<u8>,
    count: usize,
    /// Where the only part's text stands with its quotes, if there is but one and it says nothing else.
    only_text: Option<Range<usize>>,
}

impl Content {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends a part of any kind.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut w = Writer::new(&mut self.parts);
        w.open_object();
        write(&mut w);
        w.close_object();
        self.count += 1;
        self.only_text = None;
    }

    /// Appends a text that is given with its quotes.
    pub(super) fn add_text(&mut self, literal: &[u8], cache: Option<&[u8]>) {
        self.add(|w| _ = w.member_text("type", "text").member("text", literal).member_if("cache_control", cache));
        let end = self.parts.len() - 1;
        self.only_text = (self.count == 1 && cache.is_none()).then(|| end - literal.len()..end);
    }

    /// Writes the value of a `content` member.
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        match self.only_text.clone().and_then(|range| self.parts.get(range)) {
            Some(text) => w.raw(text),
            None => w.open_array().raw_items(&self.parts).close_array(),
        };
    }
}
