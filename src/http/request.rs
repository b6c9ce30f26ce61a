//! A request as it comes in: the few head fields that the house reads, and a body that nobody has read yet.

use std::cell::LazyCell;

use crate::ports::Pending;

/// The head fields that the house reads of every request, in the order in which the platform hands them over.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, percent-encoded as it came.
    pub path: String,
    /// The query string, without `?`.
    pub query: String,
    /// `authorization`.
    pub authorization: String,
    /// `x-api-key`.
    pub api_key: String,
    /// `content-length`; empty when chunked or absent.
    pub content_length: String,
    /// `idempotency-key`.
    pub idempotency_key: String,
    /// `origin`.
    pub origin: String,
    /// The caller's address as the network edge saw it; empty on a local run.
    pub address: String,
    /// `cache-control`.
    pub cache_control: String,
    /// `x-tokaroo-cache-control`: for clients that cannot set the other one.
    pub own_cache_control: String,
}

/// The head fields that few routes read, in the order in which the platform hands them over.
#[derive(Debug, Clone, Default)]
pub struct RareHead {
    /// `content-type`.
    pub content_type: String,
    /// `accept`.
    pub accept: String,
    /// `if-none-match`.
    pub if_none_match: String,
    /// `access-control-request-method`.
    pub preflight_method: String,
    /// `cookie`.
    pub cookie: String,
    /// `last-event-id`: where a live feed is to be resumed.
    pub last_event_id: String,
    /// `stripe-signature`.
    pub stripe_signature: String,
    /// `user-agent`.
    pub user_agent: String,
    /// `anthropic-version`.
    pub anthropic_version: String,
    /// `anthropic-beta`.
    pub anthropic_beta: String,
}

/// [`RareHead`], asked of the platform when the first of them is read: each costs a call.
pub type LazyHead = LazyCell<RareHead, Box<dyn FnOnce() -> RareHead>>;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than the limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// A body that has not been read.
pub trait BodySource {
    /// Reads all of it, at most `max_bytes`.
    fn read(self: Box<Self>, max_bytes: u32) -> Pending<'static, Result<Vec<u8>, BodyError>>;
}

/// A request.
pub struct Request {
    /// Its head.
    pub head: Head,
    /// The rest of it.
    pub rare: LazyHead,
    /// Its body; `None` once taken.
    pub body: Option<Box<dyn BodySource>>,
    /// Path parameters, decoded; filled by the route table.
    pub params: Vec<(String, String)>,
    /// Body limit of the route.
    pub body_max_bytes: u32,
}

impl Request {
    /// A request that no route has matched yet.
    #[must_use]
    pub fn new(head: Head, rare: LazyHead, body: Option<Box<dyn BodySource>>) -> Self {
        Self { head, rare, body, params: Vec::new(), body_max_bytes: 0 }
    }

    /// The credential: `Authorization: Bearer`, else `x-api-key`; empty when there is none.
    #[must_use]
    pub fn credential(&self) -> &str {
        let (scheme, token) = self.head.authorization.split_once(' ').unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { self.head.api_key.trim() }
    }
}

/// A body that is here already.
pub struct WholeBody(pub Vec<u8>);

impl BodySource for WholeBody {
    fn read(self: Box<Self>, max_bytes: u32) -> Pending<'static, Result<Vec<u8>, BodyError>> {
        Box::pin(async move { if self.0.len() > max_bytes as usize { Err(BodyError::TooLarge) } else { Ok(self.0) } })
    }
}
