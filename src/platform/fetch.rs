//! HTTP to the outside.

use std::any::Any;
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

use super::executor::JsCall;
use super::glue::{self, flatten_headers};
use crate::ports::{
    Fetch, FetchError, Inbound, InboundBody, OUTLIVE_MS, Outbound, Pending, ReadMode, StreamEnd, StreamSource, TICK_MS,
};

pub struct Outside {
    /// Aborted when the client leaves; undefined where there is no client.
    pub signal: JsValue,
}

/// The rest of an upstream's stream as `upstream.js` gave it, and how long it may be silent.
pub struct StreamHandle {
    pub stream: JsValue,
    pub stall_ms: u32,
}

/// A request that races others: it is given up when its future is dropped before it is over.
struct Held(u32);

impl Drop for Held {
    fn drop(&mut self) {
        glue::abandon(self.0);
    }
}

impl Fetch for Outside {
    fn is_client_gone(&self) -> bool {
        glue::is_aborted(&self.signal)
    }

    fn send(&self, request: Outbound, tick: Rc<dyn Fn()>) -> Pending<'_, Result<Inbound, FetchError>> {
        Box::pin(async move {
            let (stream, max_bytes, stall_ms) = match request.read {
                ReadMode::Whole { max_bytes } => (false, max_bytes, 0),
                ReadMode::Stream { max_bytes, stall_ms } => (true, max_bytes, stall_ms),
            };
            let headers = flatten_headers(&request.headers);
            let mut held = None;
            let call = JsCall::begin_ticking(tick, |id| {
                held = request.may_be_given_up.then(|| Held(id));
                glue::send(
                    id,
                    &self.signal,
                    if request.outlives_client { OUTLIVE_MS } else { 0 },
                    request.method,
                    &request.url,
                    &headers,
                    request.body.as_deref(),
                    stream,
                    max_bytes,
                    request.first_byte_ms,
                    TICK_MS,
                    request.may_be_given_up,
                );
            });
            let settled = call.await;
            drop(held);
            match settled {
                Ok(answer) => Ok(read_answer(&answer.unchecked_into(), stall_ms)),
                Err(word) => Err(read_error(&glue::text_of(&word))),
            }
        })
    }

    fn read_more<'a>(
        &'a self,
        handle: &'a dyn Any,
        wait_ms: u32,
        tick: Rc<dyn Fn()>,
    ) -> Pending<'a, Result<Option<Vec<u8>>, FetchError>> {
        Box::pin(async move {
            let Some(handle) = handle.downcast_ref::<StreamHandle>() else { return Ok(None) };
            let call = JsCall::begin_ticking(tick, |id| glue::read_more(id, &self.signal, &handle.stream, wait_ms));
            match call.await {
                Ok(chunk) if chunk.is_null() => Ok(None),
                Ok(chunk) => Ok(Some(chunk.unchecked_into::<Uint8Array>().to_vec())),
                Err(word) => Err(read_error(&glue::text_of(&word))),
            }
        })
    }
}

/// The media type of events.
const EVENTS: &str = "text/event-stream";

fn read_answer(answer: &Array, stall_ms: u32) -> Inbound {
    let text = |at| answer.get(at).as_string().unwrap_or_default();
    let bytes = answer.get(3).unchecked_into::<Uint8Array>().to_vec();
    let stream = answer.get(4);
    let content_type = text(1);
    let is_stream = content_type.get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an HTTP status")]
    let status = answer.get(0).as_f64().unwrap_or_default() as u16;
    let body = if !stream.is_null() {
        let handle = StreamHandle { stream, stall_ms };
        InboundBody::Stream { first: bytes, rest: StreamSource::Handle(Box::new(handle)) }
    } else if is_stream && bytes.is_empty() {
        InboundBody::Stream {
            first: bytes,
            rest: StreamSource::Chunks(std::collections::VecDeque::new(), StreamEnd::Eof),
        }
    } else {
        InboundBody::Whole(bytes)
    };
    let location = if (300..400).contains(&status) { text(5) } else { String::new() };
    Inbound { status, content_type, retry_after: text(2), location, body }
}

fn read_error(word: &str) -> FetchError {
    match word {
        "timed_out" => FetchError::TimedOut,
        "too_large" => FetchError::TooLarge,
        "client_gone" => FetchError::ClientGone { was_asked: true },
        "not_asked" => FetchError::ClientGone { was_asked: false },
        other => FetchError::Broken(other.to_owned()),
    }
}
