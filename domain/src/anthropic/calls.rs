//! The tool calls of one turn, and which of them were answered; what a call is made with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::writer::Writer;
use crate::json::{Kind, Reader};

/// The member that holds a call's arguments when the model wrote no JSON object.
const INVALID_ARGUMENTS: &str = "invalid_arguments";

/// A call that waits for its result.
#[derive(Debug)]
pub(super) struct Call<T> {
    /// The id in the other format.
    pub translated_id: String,
    pub result: Option<T>,
}

/// The calls of one turn in their order.
#[derive(Debug)]
pub(super) struct Calls<'a, T> {
    list: Vec<Call<T>>,
    by_id: BTreeMap<Cow<'a, str>, usize>,
    has_results: bool,
}

impl<T> Default for Calls<'_, T> {
    fn default() -> Self {
        Self { list: Vec::new(), by_id: BTreeMap::new(), has_results: false }
    }
}

impl<'a, T> Calls<'a, T> {
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn add(&mut self, id: Cow<'a, str>, translated_id: String) {
        self.by_id.insert(id, self.list.len());
        self.list.push(Call { translated_id, result: None });
    }

    /// The call of that id, for its result.
    pub(super) fn find(&mut self, id: &str) -> Option<&mut Call<T>> {
        let call = self.list.get_mut(*self.by_id.get(id)?)?;
        self.has_results = true;
        Some(call)
    }

    /// Whether one of the calls was found, and so has its result.
    pub(super) const fn has_results(&self) -> bool {
        self.has_results
    }

    /// The calls, and none is left.
    pub(super) fn take(&mut self) -> Vec<Call<T>> {
        self.by_id.clear();
        self.has_results = false;
        std::mem::take(&mut self.list)
    }
}

/// Writes a call's arguments as the object that Anthropic wants, byte for byte; what is none, as a call that was cut off,
/// as the text that it is.
pub(super) fn write_input(arguments: &str, w: &mut Writer<'_>) {
    let mut reader = Reader::new(arguments.as_bytes());
    match reader.read_value().and_then(|raw| reader.finish().map(|()| raw)) {
        Ok(raw) if raw.kind() == Kind::Object => _ = w.raw(raw.bytes),
        Ok(raw) if raw.kind() == Kind::Null => _ = w.raw(b"{}"),
        _ if arguments.trim().is_empty() => _ = w.raw(b"{}"),
        _ => _ = w.open_object().member_text(INVALID_ARGUMENTS, arguments).close_object(),
    }
}
