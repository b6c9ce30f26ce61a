//! Rewriting what a relay's tap gives: one mechanism for whatever stands between the inner chat stream and the client.

use crate::http::output::Body;
use crate::ports::{Flow, StreamEnd, StreamSource, StreamTap};

/// Turns a chat stream into another stream. What it is given are whole lines.
pub trait Rewrite {
    /// Takes lines; appends what the client gets.
    fn push(&mut self, lines: &[u8], out: &mut Vec<u8>);
    /// The stream is over; appends the last words.
    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// The relay of a chat stream, rewritten; other bodies stay.
pub fn rewrite_relay(body: Body, mut rewrite: impl Rewrite + 'static) -> Body {
    let Body::Relay { first, rest } = body else { return body };
    let mut begun = Vec::with_capacity(first.len());
    rewrite.push(&first, &mut begun);
    let rest = match rest {
        Some((source, inner)) => {
            let tap: Box<dyn StreamTap> = Box::new(RewriteTap { inner, rewrite });
            Some((source, tap) as (StreamSource, _))
        }
        None => {
            rewrite.finish(&mut begun);
            None
        }
    };
    Body::Relay { first: begun, rest }
}

struct RewriteTap<R> {
    inner: Box<dyn StreamTap>,
    rewrite: R,
}

impl<R: Rewrite> StreamTap for RewriteTap<R> {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        let mut lines = Vec::new();
        let flow = self.inner.push(chunk, &mut lines);
        self.rewrite.push(&lines, out);
        if flow == Flow::Stop {
            self.rewrite.finish(out);
        }
        flow
    }

    fn tick(&mut self) {
        self.inner.tick();
    }

    fn end(&mut self, end: StreamEnd, out: &mut Vec<u8>) {
        let mut lines = Vec::new();
        self.inner.end(end, &mut lines);
        self.rewrite.push(&lines, out);
        self.rewrite.finish(out);
    }
}
