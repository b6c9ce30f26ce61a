//! What the house needs from outside, as object-safe traits.
//!
//! `platform/` implements them over the Workers runtime, `tests/support/` over SQLite and the objects'
//! own state machines. Nothing above this file knows which of the two it talks to.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::store::sql::Statement;

/// A future of the single-threaded isolate.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A port failed. The text is for the log, never for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortError(pub String);

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one statement gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    /// The rows, as one JSON array of objects.
    pub rows_json: String,
    /// How many rows the statement changed.
    pub changes: u64,
}

/// The relational database.
pub trait Db {
    /// Runs the statements as one atomic batch, in order; one row set each.
    fn run(&self, statements: Vec<Statement>) -> Pending<'_, Result<Vec<RowSet>, PortError>>;
}

/// The Durable Objects.
pub trait Objects {
    /// Sends one command (JSON) to the object `name` of `binding`; gives its reply (JSON).
    fn call(&self, binding: &'static str, name: &str, command: Vec<u8>) -> Pending<'_, Result<Vec<u8>, PortError>>;
}

/// Small values under a name, for a while: a cache, which may lose any of them at any time and may be a minute behind.
pub trait Kv {
    /// The value, if it is there.
    fn get(&self, key: &str) -> Pending<'_, Result<Option<Vec<u8>>, PortError>>;
    /// Sets the value; it is gone after so many seconds, 60 at least.
    fn put(&self, key: &str, value: Vec<u8>, ttl_s: u32) -> Pending<'_, Result<(), PortError>>;
    /// Removes the value, if it is there.
    fn delete(&self, key: &str) -> Pending<'_, Result<(), PortError>>;
}

/// Where vectors are kept and searched: an index per owner and purpose, with namespaces inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space<'a> {
    /// The index. Nothing of another index is ever seen.
    pub index: &'a str,
    /// Only queries of the same namespace find a vector; at most 64 bytes.
    pub namespace: &'a str,
}

/// A vector to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorItem {
    /// Unique in the index; at most 64 bytes.
    pub id: String,
    /// The vector; its length does not matter.
    pub vector: Vec<f32>,
    /// Given back with a match, as it is; at most 10 KiB.
    pub metadata: String,
    /// When it may be forgotten; milliseconds since 1970. Not every index does: whoever minds looks at what it stands for.
    pub expires_at_ms: Option<i64>,
}

/// A vector that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatch {
    /// Its id.
    pub id: String,
    /// The cosine, from -1 to 1.
    pub score: f32,
    /// Its metadata.
    pub metadata: String,
}

/// How much an index holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VectorStats {
    /// Its vectors; of all indexes together where they share one.
    pub vectors: u64,
}

/// Vectors, and which are nearest to another. What was written may take a moment to be found.
pub trait Vectors {
    /// Keeps vectors, at most 100, in place of those of the same ids.
    fn upsert(&self, space: Space<'_>, items: Vec<VectorItem>) -> Pending<'_, Result<(), PortError>>;
    /// The nearest vectors of the namespace, the nearest first; at most 100.
    fn query(&self, space: Space<'_>, vector: &[f32], top_k: u32) -> Pending<'_, Result<Vec<VectorMatch>, PortError>>;
    /// Removes vectors of the index, at most 100; those that are not there are no error.
    fn delete(&self, index: &str, ids: Vec<String>) -> Pending<'_, Result<(), PortError>>;
    /// How much the index holds.
    fn stats(&self, index: &str) -> Pending<'_, Result<VectorStats, PortError>>;
}

/// Time.
pub trait Clock {
    /// Milliseconds since the Unix epoch. On Workers it stands still between two I/O events.
    fn now_ms(&self) -> i64;
    /// Waits.
    fn sleep_ms(&self, ms: u32) -> Pending<'static, ()>;
}

/// Cryptographic randomness.
pub trait Random {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Work that outlives the response.
pub trait Background {
    /// Runs the task to its end, up to the platform's limit (30 s after the response).
    fn spawn(&self, task: Pending<'static, ()>);
    /// Writes one line to the log.
    fn log(&self, line: &str);
}

/// One request to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Absolute address, already past the SSRF guard.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body; none for `GET`.
    pub body: Option<Vec<u8>>,
    /// How the answer is wanted.
    pub read: ReadMode,
    /// Longest wait for the head and, when streaming, for the first chunk.
    pub first_byte_ms: u32,
    /// Whether it is aborted, too, when it comes too late or its future is dropped.
    pub may_be_given_up: bool,
    /// Whether it goes on when our client leaves: for [`OUTLIVE_MS`] then.
    pub outlives_client: bool,
}

/// How an answer's body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Whole, at most this many bytes.
    Whole {
        /// Above it the call fails with [`FetchError::TooLarge`].
        max_bytes: u32,
    },
    /// As it comes when it is a successful event stream, sound or film, else whole.
    Stream {
        /// Limit of an answer that is neither.
        max_bytes: u32,
        /// Longest silence between two chunks.
        stall_ms: u32,
    },
}

/// An answer from outside.
pub struct Inbound {
    /// HTTP status.
    pub status: u16,
    /// `content-type`, empty when absent.
    pub content_type: String,
    /// `retry-after`, empty when absent.
    pub retry_after: String,
    /// `location` of a redirect, which nobody has followed; else empty.
    pub location: String,
    /// The body.
    pub body: InboundBody,
}

/// The body of an answer from outside.
pub enum InboundBody {
    /// All of it.
    Whole(Vec<u8>),
    /// Its first chunk, and the rest as it comes.
    Stream {
        /// The first chunk; empty when the stream ended before it.
        first: Vec<u8>,
        /// The rest.
        rest: StreamSource,
    },
}

/// The rest of an event stream.
pub enum StreamSource {
    /// Chunks that are here already (the sandbox model, tests), then how the stream ends.
    Chunks(VecDeque<Vec<u8>>, StreamEnd),
    /// A handle that only the platform understands.
    Handle(Box<dyn Any>),
}

/// Why a call to the outside gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// No connection, or it broke before the answer was whole (or, streaming, before its first chunk).
    Broken(String),
    /// Nothing came in time.
    TimedOut,
    /// The answer is larger than the limit.
    TooLarge,
    /// Our client left; the call was aborted, or, without `was_asked`, never made.
    ClientGone {
        /// Whether the request may have gone out.
        was_asked: bool,
    },
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken(cause) => cause,
            Self::TimedOut => "timed out",
            Self::TooLarge => "the answer is too large",
            Self::ClientGone { .. } => "the client left",
        })
    }
}

/// HTTP to the outside.
pub trait Fetch {
    /// Sends one request. It is aborted when our own client leaves. While it waits, `tick` is called every
    /// [`TICK_MS`], so that what a long call holds is kept up.
    fn send(&self, request: Outbound, tick: Rc<dyn Fn()>) -> Pending<'_, Result<Inbound, FetchError>>;
    /// Reads on in a stream that nobody relays yet ([`StreamSource::Handle`]), for at most `wait_ms`; `None` at its end.
    fn read_more<'a>(
        &'a self,
        handle: &'a dyn Any,
        wait_ms: u32,
        tick: Rc<dyn Fn()>,
    ) -> Pending<'a, Result<Option<Vec<u8>>, FetchError>>;
    /// Whether our own client has left.
    fn is_client_gone(&self) -> bool;
}

/// How often a call that waits is looked after, in milliseconds.
pub const TICK_MS: u32 = 5_000;

/// How long a request that outlives its client goes on, from the tick that finds the client gone, in milliseconds. The runtime
/// ends an event thirty seconds after its client has left, without a word: by then the call must have been settled.
pub const OUTLIVE_MS: u32 = 18_000;

/// How an event stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The upstream closed it.
    Eof,
    /// The connection broke.
    Broken,
    /// Silence for longer than allowed.
    Stalled,
    /// Our client left.
    ClientGone,
}

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More is welcome.
    Continue,
    /// The answer is whole: end it now as at the upstream's end, which need not be waited for.
    Done,
    /// The tap has written its last word: close the client's side, abort the upstream's.
    Stop,
}

/// What stands between an upstream's stream and the client: sees every chunk, says what goes on.
///
/// Both calls are synchronous: the platform's pump crosses into Rust once per chunk.
pub trait StreamTap {
    /// Takes one chunk; appends to `out` what the client gets for it.
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow;
    /// Called every [`TICK_MS`] while the stream runs, so that what it holds is kept up.
    fn tick(&mut self);
    /// The stream is over; appends the last words. Called exactly once, after [`Flow::Stop`] not at all.
    fn end(&mut self, end: StreamEnd, out: &mut Vec<u8>);
}

/// A stream that the house writes itself, for as long as the client listens.
pub trait LiveStream {
    /// Waits for what goes out next; `None` ends the stream.
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>>;
}

/// The ports of one request.
#[derive(Clone)]
pub struct Ports {
    /// The relational database.
    pub db: Rc<dyn Db>,
    /// The Durable Objects.
    pub objects: Rc<dyn Objects>,
    /// The cache.
    pub kv: Rc<dyn Kv>,
    /// Vectors.
    pub vectors: Rc<dyn Vectors>,
    /// HTTP to the outside.
    pub fetch: Rc<dyn Fetch>,
    /// Time.
    pub clock: Rc<dyn Clock>,
    /// Randomness.
    pub random: Rc<dyn Random>,
    /// Work after the response, and the log.
    pub background: Rc<dyn Background>,
}

/// Sends one typed command to an object.
///
/// # Errors
/// When the object fails or its reply is not of the protocol.
pub async fn ask<P: durable_objects::protocol::Protocol>(
    objects: &dyn Objects,
    name: &str,
    command: &P::Command,
) -> Result<P::Reply, PortError> {
    let command = serde_json::to_vec(command).map_err(|e| PortError(format!("{} command: {e}", P::BINDING)))?;
    let reply = objects.call(P::BINDING, name, command).await?;
    serde_json::from_slice(&reply).map_err(|e| PortError(format!("{} reply: {e}", P::BINDING)))
}
