//! An answer as the runtime wants it, and the stream's tap as JavaScript calls it.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::executor::{JsCall, begin_turn, next_id, spawn};
use super::fetch::StreamHandle;
use super::glue::{self, flatten_headers};
use crate::http::output::{Body, Output};
use crate::ports::{Flow, LiveStream, StreamEnd, StreamSource, StreamTap};

/// Turns an answer into a `Response`.
pub fn to_response(output: Output, context: &JsValue, signal: &JsValue) -> JsValue {
    let Output { status, headers, body } = output;
    let headers = flatten_headers(&headers);
    match body {
        Body::Empty => glue::respond(status, &headers, None),
        Body::Whole(bytes) | Body::Relay { first: bytes, rest: None } => glue::respond(status, &headers, Some(&bytes)),
        Body::Relay { mut first, rest: Some((StreamSource::Chunks(chunks, end), mut tap)) } => {
            drain(&mut *tap, chunks, end, &mut first);
            glue::respond(status, &headers, Some(&first))
        }
        Body::Relay { first, rest: Some((StreamSource::Handle(handle), tap)) } => {
            match handle.downcast::<StreamHandle>() {
                Ok(handle) => {
                    let tap = Tap { inner: tap, is_stopped: false };
                    glue::relay(context, signal, status, &headers, &first, &handle.stream, tap, handle.stall_ms)
                }
                // No other handle is ever made.
                Err(_) => glue::respond(500, "", None),
            }
        }
        Body::Live(stream) => write_live(stream, context, status, &headers),
    }
}

/// Writes as fast as the client reads, until the stream ends or the client leaves.
fn write_live(mut stream: Box<dyn LiveStream>, context: &JsValue, status: u16, headers: &str) -> JsValue {
    let opened = glue::open_live(status, headers);
    let (response, writer) = (opened.get(0), opened.get(1));
    let task = next_id();
    glue::begin_task(context, task);
    spawn(Box::pin(async move {
        while let Some(bytes) = stream.next().await {
            let bytes = Uint8Array::from(bytes.as_slice());
            if JsCall::begin(|id| glue::write_live(id, &writer, bytes)).await.is_err() {
                break;
            }
        }
        glue::close_live(&writer);
        glue::end_task(task);
    }));
    response
}

fn drain(tap: &mut dyn StreamTap, chunks: impl IntoIterator<Item = Vec<u8>>, end: StreamEnd, out: &mut Vec<u8>) {
    for chunk in chunks {
        if tap.push(&chunk, out) == Flow::Stop {
            return;
        }
    }
    tap.end(end, out);
}

/// A stream's tap; `glue.js` pushes every chunk through it.
#[wasm_bindgen]
pub struct Tap {
    inner: Box<dyn StreamTap>,
    is_stopped: bool,
}

#[wasm_bindgen]
impl Tap {
    /// Takes a chunk; gives what goes to the client.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        begin_turn();
        let mut out = Vec::new();
        self.is_stopped = self.inner.push(chunk, &mut out) == Flow::Stop;
        out
    }

    /// Whether the last words are said.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Keeps up what the stream holds.
    pub fn tick(&mut self) {
        begin_turn();
        self.inner.tick();
    }

    /// The stream is over; gives the last words.
    pub fn end(&mut self, end: u8) -> Vec<u8> {
        begin_turn();
        let mut out = Vec::new();
        let end = match end {
            0 => StreamEnd::Eof,
            2 => StreamEnd::Stalled,
            3 => StreamEnd::ClientGone,
            _ => StreamEnd::Broken,
        };
        self.inner.end(end, &mut out);
        out
    }
}
