//! What a handler gives back.

use std::marker::PhantomData;

use serde::Serialize;

use crate::ports::{LiveStream, StreamSource, StreamTap};

/// An answer.
pub struct Output {
    /// HTTP status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// None.
    Empty,
    /// All of it.
    Whole(Vec<u8>),
    /// What is here already, then an upstream's stream, seen chunk by chunk by the tap.
    Relay {
        /// Sent at once.
        first: Vec<u8>,
        /// What follows; `None` when the first part was all.
        rest: Option<(StreamSource, Box<dyn StreamTap>)>,
    },
    /// What the house itself writes, piece by piece.
    Live(Box<dyn LiveStream>),
}

impl Output {
    /// An empty 204.
    #[must_use]
    pub const fn empty() -> Self {
        Self { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// A 200 of bytes.
    #[must_use]
    pub fn bytes(content_type: &str, body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", content_type.to_owned())], body: Body::Whole(body) }
    }

    /// A 200 of text.
    #[must_use]
    pub fn text(content_type: &str, body: impl Into<String>) -> Self {
        Self::bytes(content_type, body.into().into_bytes())
    }

    /// A 200 of JSON.
    #[must_use]
    pub fn json(body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self::bytes("application/json", body),
            // Only a map with keys that are not text, or a failing Serialize of ours, comes here.
            Err(_) => Self::text("application/json", r#"{"error":"Something went wrong on our end"}"#).status(500),
        }
    }

    /// With another status.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A typed JSON answer: `OpenAPI` knows its shape.
pub struct Reply<T>(pub T);

/// An answer that is put together by hand; `S` is what the document says of it.
pub struct Shaped<S> {
    output: Output,
    shape: PhantomData<S>,
}

/// JSON.
pub type RawReply<T> = Shaped<Reply<T>>;

/// JSON, or server-sent events where the request asks for a stream.
pub type Streamed<T> = Shaped<(Reply<T>, EventStream)>;

/// Server-sent events.
pub struct EventStream;

/// Lines of JSON.
pub struct Lines;

/// A table.
pub struct Table;

/// Text.
pub struct PlainText;

/// Texts with the times at which they are spoken.
pub struct Captions;

/// A sound.
pub struct Sound;

/// A film.
pub struct Film;

/// What an answer with another status looks like; `()` where it has no body.
pub struct Under<const STATUS: u16, S>(PhantomData<S>);

impl<S> From<Output> for Shaped<S> {
    fn from(output: Output) -> Self {
        Self { output, shape: PhantomData }
    }
}

/// [`Reply`] to a request that made something: a 201.
pub struct Created<T>(pub T);

/// [`Reply`] that nobody on the way may keep.
pub struct NoStore<T>(pub T);

/// What a handler may return.
pub trait IntoOutput {
    /// Converts.
    fn into_output(self) -> Output;
}

impl IntoOutput for Output {
    fn into_output(self) -> Output {
        self
    }
}

impl<S> IntoOutput for Shaped<S> {
    fn into_output(self) -> Output {
        self.output
    }
}

impl<T: Serialize> IntoOutput for Reply<T> {
    fn into_output(self) -> Output {
        Output::json(&self.0)
    }
}

impl<T: Serialize> IntoOutput for Created<T> {
    fn into_output(self) -> Output {
        Output::json(&self.0).status(201)
    }
}

impl<T: Serialize> IntoOutput for NoStore<T> {
    fn into_output(self) -> Output {
        Output::json(&self.0).header("cache-control", "no-store")
    }
}
