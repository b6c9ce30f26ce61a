//! A request as the runtime hands it over.

use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use super::executor::JsCall;
use super::glue;
use crate::http::request::{BodyError, BodySource, Head, LazyHead, RareHead, Request};
use crate::ports::Pending;

struct LazyBody {
    request: Rc<JsValue>,
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
    let request = Rc::new(request);
    let text = glue::read_head(&request);
    let mut next = fields_of(&text);
    let method = next();
    let (origin, path, query) = split_url(&next());
    let head = Head {
        method,
        path,
        query,
        authorization: next(),
        api_key: next(),
        content_length: next(),
        idempotency_key: next(),
        origin: next(),
        address: next(),
        cache_control: next(),
        own_cache_control: next(),
    };
    let stated_bytes = head.content_length.parse().unwrap_or(-1.0);
    let body = LazyBody { request: Rc::clone(&request), stated_bytes };
    let rare = LazyHead::new(Box::new(move || read_rare_head(&request)));
    (Request::new(head, rare, Some(Box::new(body))), origin)
}

fn read_rare_head(request: &JsValue) -> RareHead {
    let text = glue::read_rare_head(request);
    let mut next = fields_of(&text);
    RareHead {
        content_type: next(),
        accept: next(),
        if_none_match: next(),
        preflight_method: next(),
        cookie: next(),
        last_event_id: next(),
        stripe_signature: next(),
        user_agent: next(),
        anthropic_version: next(),
        anthropic_beta: next(),
    }
}

/// One line after the other; empty after the last.
fn fields_of(text: &str) -> impl FnMut() -> String {
    let mut lines = text.split('\n');
    move || lines.next().unwrap_or_default().to_owned()
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
