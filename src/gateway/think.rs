//! A chat stream on its way to a client that wants no thoughts.

use guildhall_domain::chat::choices::FilteredChoices;
use guildhall_domain::native::ThinkStream;

use super::relay::{Rewrite, rewrite_relay};
use crate::http::output::Body;

impl Rewrite for ThinkStream {
    fn push(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        // Its lines are the house's own: none of them is too long.
        _ = Self::push(self, lines, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        Self::finish(self, out);
    }
}

/// The relay of a chat stream without its thoughts; other bodies stay.
pub fn strip_think(body: Body) -> Body {
    rewrite_relay(body, ThinkStream::new(FilteredChoices::new("")))
}
