//! A request as the runtime hands it over.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::executor::JsCall;
use super::glue;
use crate::http::request::{BodyError, BodySource, Head, Request};
use crate::ports::Pending;

struct LazyBody {
    request: JsValue,
    /// -1 where the client does not say.
    stated_bytes: f64,
}

impl BodySource for LazyBody {
    fn read(self: Box<Self>, max_bytes: u32) -> Pending<'static, Result<Vec<u8>, BodyError>> {
        Box::pin(async move {
            match JsCall::begin(|id| glue::read_body(id, &self.request, self.stated_bytes, max_bytes)).await {
                Ok(bytes) => Ok(bytes.unchecked_into::<Uint8Array>().to_vec()),
                Err(word) if word.as_string().as_deref() == Some("too_large") => Err(BodyError::TooLarge),
                Err(_) => Err(BodyError::Broken),
            }
        })
    }
}

/// The request, and the origin that it was sent to.
pub fn read_request(request: JsValue) -> (Request, String) {
    let text = glue::read_head(&request);
    let mut fields = text.split('\n').map(str::to_owned);
    let mut next = || fields.next().unwrap_or_default();
    let method = next();
    let (origin, path, query) = split_url(&next());
    let head = Head {
        method,
        path,
        query,
        authorization: next(),
        api_key: next(),
        content_type: next(),
        content_length: next(),
        idempotency_key: next(),
        origin: next(),
        accept: next(),
        if_none_match: next(),
        preflight_method: next(),
        cookie: next(),
        last_event_id: next(),
        stripe_signature: next(),
        user_agent: next(),
        address: next(),
        cache_control: next(),
        own_cache_control: next(),
        anthropic_version: next(),
        anthropic_beta: next(),
    };
    let stated_bytes = head.content_length.parse().unwrap_or(-1.0);
    (Request::new(head, Some(Box::new(LazyBody { request, stated_bytes }))), origin)
}

/// `https://host/path?query` in its three parts.
fn split_url(url: &str) -> (String, String, String) {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at =
        url.get(after_scheme..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| after_scheme + at);
    let (origin, rest) = url.split_at(path_at);
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    (origin.to_owned(), path.to_owned(), query.to_owned())
}
