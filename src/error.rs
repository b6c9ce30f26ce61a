//! What can go wrong, once, for every room; `http/dialect.rs` says it in each API's words.

use std::ops::{Deref, DerefMut};

use guildhall_domain::agent::profile::InvalidField;
use guildhall_domain::anthropic::TranslateError;
use guildhall_domain::chat::request::InvalidRequest;
use guildhall_domain::native::ParseError;
use serde_json::Value;

/// The kinds of failure that a client can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400 (FastAPI: 422): the input is not what the route takes.
    InvalidInput,
    /// 401: no credential.
    MissingCredential,
    /// 401: a credential that is unknown, revoked or expired.
    BadCredential,
    /// 401: the caller is known, the password in the request is wrong.
    WrongPassword,
    /// 401: a credential that does not even look like one.
    MalformedCredential,
    /// 402: the balance does not cover the call.
    InsufficientFunds,
    /// 402: the card was refused.
    PaymentFailed,
    /// 402: there is no saved card to charge.
    NoCard,
    /// 403: the credential may not do this.
    Forbidden,
    /// 404: no such thing, or not yours.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: the thing's state does not allow it.
    Conflict,
    /// 413: the body is over the route's limit.
    BodyTooLarge,
    /// 422: an idempotency key was used again with another body.
    IdempotencyMismatch,
    /// 429: a rate limit.
    RateLimited,
    /// 429: a spending limit.
    BudgetExceeded,
    /// A client error that the upstream found: its status and its message are passed on.
    Rejected(u16),
    /// 502: every upstream failed.
    UpstreamFailed,
    /// 503: nothing is there to do it.
    Unavailable,
    /// 500: our fault.
    Internal,
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidInput => 400,
            Self::MissingCredential | Self::BadCredential | Self::MalformedCredential | Self::WrongPassword => 401,
            Self::InsufficientFunds | Self::PaymentFailed | Self::NoCard => 402,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::BodyTooLarge => 413,
            Self::IdempotencyMismatch => 422,
            Self::RateLimited | Self::BudgetExceeded => 429,
            Self::Rejected(status) => status,
            Self::UpstreamFailed => 502,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

/// A caller's place in a limit, as the headers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests allowed in the window.
    pub limit: u32,
    /// Requests left in it.
    pub remaining: u32,
    /// Seconds until it resets.
    pub reset_s: i64,
}

/// A failure on its way to a client. Boxed: it is rare, and every `Result` on the way would carry its size.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Failure>);

/// What an [`ApiError`] says.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// One sentence for the client; never a cause, an address or a secret.
    pub message: String,
    /// `ToolRouter`'s code, where it says more than the kind's, such as `KEY_NOT_FOUND`.
    pub code: Option<&'static str>,
    /// The input that is wrong, such as `messages[2].role`.
    pub param: Option<String>,
    /// Fields that go beside the message, such as `balance_usd`.
    pub details: Vec<(&'static str, Value)>,
    /// Headers of the answer, such as `retry-after`.
    pub headers: Vec<(&'static str, String)>,
    /// The caller's place in the limit that refused it, for the headers.
    pub standing: Option<Standing>,
    /// For the log only.
    pub cause: Option<String>,
    /// Whether it was charged for all the same: a repetition under the same `Idempotency-Key` must not be charged again.
    pub is_paid: bool,
}

impl ApiError {
    /// A failure of this kind with this sentence.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Failure {
            kind,
            message: message.into(),
            code: None,
            param: None,
            details: Vec::new(),
            headers: Vec::new(),
            standing: None,
            cause: None,
            is_paid: false,
        }))
    }

    /// A wrong input; `param` names it.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(Kind::InvalidInput, message);
        error.param = Some(param.into()).filter(|p: &String| !p.is_empty());
        error
    }

    /// Something the caller may not know of, or that does not exist.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} not found"))
    }

    /// Says whether it was charged for.
    #[must_use]
    pub fn paid(mut self, is_paid: bool) -> Self {
        self.0.is_paid |= is_paid;
        self
    }

    /// Whoever asked is gone, and sees it only by asking again under the same `Idempotency-Key`.
    #[must_use]
    pub fn client_gone() -> Self {
        Self::new(Kind::UpstreamFailed, "The client left")
    }

    /// Gives it a code of its own in `ToolRouter`'s dialect.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Our own fault; the cause is logged.
    #[must_use]
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(Kind::Internal, "Something went wrong on our end").caused_by(cause)
    }

    /// Adds what is only logged.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Adds a field to the answer, if there is something in it.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `Retry-After`: seconds after which another try makes sense.
    #[must_use]
    pub fn retry_after_s(self, seconds: u32) -> Self {
        self.header("retry-after", seconds.to_string())
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the caller's place in the limit.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }
}

impl Deref for ApiError {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl DerefMut for ApiError {
    fn deref_mut(&mut self) -> &mut Failure {
        &mut self.0
    }
}

impl From<crate::ports::PortError> for ApiError {
    fn from(error: crate::ports::PortError) -> Self {
        Self::internal(error)
    }
}

/// What a parser of a body refuses: the parameter at fault and a sentence, both for the client.
macro_rules! impl_from_refusal {
    ($($refusal:ty),+) => {
        $(impl From<$refusal> for ApiError {
            fn from(refusal: $refusal) -> Self {
                Self::invalid(refusal.param.unwrap_or_default(), refusal.message)
            }
        })+
    };
}

impl_from_refusal!(InvalidRequest, TranslateError, ParseError, InvalidField);
