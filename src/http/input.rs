//! What handlers take: path parameters, queries and bodies, checked before the handler runs.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::request::{BodyError, Request};
use crate::error::{ApiError, Kind};

/// What can be read from a request.
pub trait FromRequest: Sized {
    /// Reads it.
    fn from_request(request: Request) -> impl Future<Output = Result<Self, ApiError>>;
}

/// What can be read from a request's head alone.
pub trait FromHead: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// 400 when a parameter is missing or not of its type.
    fn from_head(request: &Request) -> Result<Self, ApiError>;
}

/// The value of the route's only path parameter.
pub struct Path(pub String);

/// A typed query string; unknown parameters are ignored.
pub struct Query<T>(pub T);

/// A typed JSON body; unknown fields are ignored.
pub struct Json<T>(pub T);

/// The body as it came.
pub struct Raw(pub Vec<u8>);

/// Bodies as they came, which the handler checks itself because their bytes go on; `T` is what the document says of them.
macro_rules! raw_bodies {
    ($($(#[doc = $doc:literal])+ $name:ident)+) => {$(
        $(#[doc = $doc])+
        pub struct $name<T> {
            /// The bytes.
            pub body: Vec<u8>,
            shape: PhantomData<T>,
        }

        impl<T> FromRequest for $name<T> {
            async fn from_request(request: Request) -> Result<Self, ApiError> {
                let Raw(body) = Raw::from_request(request).await?;
                Ok(Self { body, shape: PhantomData })
            }
        }
    )+};
}

raw_bodies! {
    /// A JSON body as it came.
    RawJson
    /// A form as it came.
    RawForm
    /// Fields as they came, as JSON or as a form.
    RawFields
}

/// `If-None-Match`: which versions of the answer the client has.
pub struct IfNoneMatch(String);

impl IfNoneMatch {
    /// Whether the client has this one; `etag` with its quotes.
    #[must_use]
    pub fn has(&self, etag: &str) -> bool {
        let mut tags = self.0.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    }
}

impl FromHead for IfNoneMatch {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(request.rare.if_none_match.clone()))
    }
}

/// A browser's form, urlencoded; unknown fields are ignored.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Form<T> {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        let Raw(body) = Raw::from_request(request).await?;
        read_pairs(&body).map(Self)
    }
}

/// What the client says that it is, at most 200 characters; empty when it says nothing.
pub struct UserAgent(pub String);

impl FromHead for UserAgent {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        let text = request.rare.user_agent.chars().filter(|letter| !letter.is_control());
        Ok(Self(text.take(USER_AGENT_MAX_CHARS).collect()))
    }
}

const USER_AGENT_MAX_CHARS: usize = 200;

/// The body's content type; empty when absent.
pub struct ContentType(pub String);

impl FromHead for ContentType {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(request.rare.content_type.clone()))
    }
}

impl FromHead for Path {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        let (_, value) = request.params.first().ok_or_else(|| ApiError::internal("the route has no parameter"))?;
        Ok(Self(value.clone()))
    }
}

impl<T: DeserializeOwned> FromHead for Query<T> {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        read_pairs(request.head.query.as_bytes()).map(Self)
    }
}

fn read_pairs<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text));
    serde_path_to_error::deserialize(pairs).map_err(|e| refuse(&e.path().to_string(), e.inner()))
}

/// 400 that names the parameter, where the fault has one.
fn refuse(param: &str, fault: &impl std::fmt::Display) -> ApiError {
    match param {
        "" | "." => ApiError::invalid("", fault.to_string()),
        param => ApiError::invalid(param, format!("{param}: {fault}")),
    }
}

impl FromRequest for () {
    async fn from_request(_: Request) -> Result<Self, ApiError> {
        Ok(())
    }
}

impl FromRequest for Path {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

/// Takes the body and reads it; an absent one is empty.
///
/// # Errors
/// 413 when it is longer than the route allows, 400 when it breaks off.
pub async fn read_body(request: &mut Request) -> Result<Vec<u8>, ApiError> {
    let max_bytes = request.body_max_bytes;
    let Some(source) = request.body.take() else {
        return Ok(Vec::new());
    };
    source.read(max_bytes).await.map_err(|error| match error {
        BodyError::TooLarge => too_large(max_bytes),
        BodyError::Broken => ApiError::invalid("", "The request body ended early"),
    })
}

impl FromRequest for Raw {
    async fn from_request(mut request: Request) -> Result<Self, ApiError> {
        read_body(&mut request).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        let Raw(body) = Raw::from_request(request).await?;
        read_json(&body).map(Self)
    }
}

impl<H: FromHead, B: FromRequest> FromRequest for (H, B) {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        let head = H::from_head(&request)?;
        Ok((head, B::from_request(request).await?))
    }
}

/// Reads a JSON body; an empty one counts as `{}`.
///
/// # Errors
/// 400 that names the field, or the line and column where the JSON breaks.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // Serde would take a list's items for the fields in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::invalid("", "The request body must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| match e.inner() {
        inner if inner.is_data() => refuse(&e.path().to_string(), inner),
        inner => ApiError::invalid("", format!("invalid JSON: {inner}")),
    })?;
    reader.end().map_err(|e| ApiError::invalid("", format!("invalid JSON: {e}")))?;
    Ok(value)
}

/// The answer to a body over the limit.
#[must_use]
pub fn too_large(max_bytes: u32) -> ApiError {
    ApiError::new(Kind::BodyTooLarge, format!("The request body is larger than {max_bytes} bytes"))
        .with("max_bytes", max_bytes)
}

/// Tells a member's null from its absence.
///
/// # Errors
/// Where the value is not of the type.
pub fn read_nullable<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}
