//! A chat stream on its way to a client that wants no thoughts.

use guildhall_domain::native::ThinkStream;

use super::relay::{Rewrite, rewrite_relay};
use crate::http::output::Body;

impl Rewrite for ThinkStream {
    fn push(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        self.rewrite_lines(lines, out);
    }
}

/// The relay of a chat stream without its thoughts; other bodies stay.
pub fn strip_think(body: Body) -> Body {
    rewrite_relay(body, ThinkStream::default())
}
