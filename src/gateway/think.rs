//! A chat stream on its way to a client that wants no thoughts.

use guildhall_domain::native::ThinkStream;

use crate::http::output::Body;
use crate::ports::{Flow, StreamEnd, StreamTap};

/// Takes the thoughts out of what another tap gives.
struct ThinkTap {
    inner: Box<dyn StreamTap>,
    think: ThinkStream,
}

/// The relay of a chat stream without its thoughts; other bodies stay. The relay's tap gives whole lines.
pub fn strip_think(body: Body) -> Body {
    let Body::Relay { first, rest } = body else { return body };
    let mut think = ThinkStream::default();
    let mut stripped = Vec::with_capacity(first.len());
    think.rewrite_lines(&first, &mut stripped);
    let rest = rest.map(|(source, inner)| {
        let tap: Box<dyn StreamTap> = Box::new(ThinkTap { inner, think });
        (source, tap)
    });
    Body::Relay { first: stripped, rest }
}

impl StreamTap for ThinkTap {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        let mut lines = Vec::new();
        let flow = self.inner.push(chunk, &mut lines);
        self.think.rewrite_lines(&lines, out);
        flow
    }

    fn tick(&mut self) {
        self.inner.tick();
    }

    fn end(&mut self, end: StreamEnd, out: &mut Vec<u8>) {
        let mut lines = Vec::new();
        self.inner.end(end, &mut lines);
        self.think.rewrite_lines(&lines, out);
    }
}
