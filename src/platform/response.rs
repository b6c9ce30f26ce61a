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
        Body::Relay { mut first, rest: Some((StreamSource::Handle(handle), mut tap)) } => {
            match handle.downcast::<StreamHandle>() {
                Ok(handle) => {
                    // What has come may be the whole answer: the tap says so with the next chunk, were it an empty one.
                    let is_whole = tap.push(&[], &mut first) == Flow::Done;
                    let (stream, stall_ms) = (&handle.stream, handle.stall_ms);
                    glue::relay(context, signal, status, &headers, &first, stream, Tap(tap), stall_ms, is_whole)
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
        match tap.push(&chunk, out) {
            Flow::Continue => {}
            Flow::Done => return tap.end(StreamEnd::Eof, out),
            Flow::Stop => return,
        }
    }
    tap.end(end, out);
}

/// A stream's tap; `stream.js` pushes every chunk through it, and is told what to write to the client.
#[wasm_bindgen]
pub struct Tap(Box<dyn StreamTap>);

#[wasm_bindgen]
impl Tap {
    /// Takes a chunk, and has `pump` write what goes to the client; gives 1 when the answer is whole, 2 when the last words
    /// are said, else 0.
    pub fn push(&mut self, chunk: &[u8], pump: &glue::Pump) -> u8 {
        begin_turn();
        let mut out = Vec::new();
        let flow = self.0.push(chunk, &mut out);
        if !out.is_empty() {
            pump.write(&out);
        }
        match flow {
            Flow::Continue => 0,
            Flow::Done => 1,
            Flow::Stop => 2,
        }
    }

    /// Keeps up what the stream holds.
    pub fn tick(&mut self) {
        begin_turn();
        self.0.tick();
    }

    /// The stream is over: has `pump` write the last words.
    pub fn end(&mut self, end: u8, pump: &glue::Pump) {
        begin_turn();
        let mut out = Vec::new();
        let end = match end {
            0 => StreamEnd::Eof,
            2 => StreamEnd::Stalled,
            3 => StreamEnd::ClientGone,
            _ => StreamEnd::Broken,
        };
        self.0.end(end, &mut out);
        if !out.is_empty() {
            pump.write(&out);
        }
    }
}
