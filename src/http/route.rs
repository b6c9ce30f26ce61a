//! A route as data, and the `routes!` list.

use super::dialect::Dialect;
use super::input::FromRequest;
use super::output::{IntoOutput, Output};
use super::request::Request;
use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::observe::audit::Trail;
use crate::ports::Pending;

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As HTTP writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads it; `None` for a method that no route has.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody; limited per address.
    Public,
    /// A machine that signs what it sends: the handler checks the signature. Not limited per address, because such a machine
    /// speaks for everybody at once.
    Signed,
    /// Anybody; whoever sends a credential is known by it, and one that is wrong is refused.
    Visitor,
    /// An API key with this scope.
    Key(Scope),
    /// An API key with this scope, or a person who has signed in.
    Account(Scope),
    /// A person who has signed in, or a key that may look after the whole account ([`Scope::Manage`], and neither a workspace
    /// nor a budget or credits of its own).
    Owner,
    /// As [`Access::Owner`], and a key that may look after its part of the account: the handler keeps it to that.
    Keeper,
    /// A person who has signed in.
    Session,
    /// The key of an agent.
    Agent,
    /// The key of an agent that may send its money out ([`Scope::Payouts`]).
    AgentPayouts,
    /// The key of an agent, or the admin token.
    AgentOrAdmin,
    /// The admin token.
    Admin,
}

/// What a handler is, once its types are forgotten.
pub type Handler = fn(Cx, Request) -> Pending<'static, Result<Output, ApiError>>;

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` is one segment, `{*name}` the rest.
    pub path: &'static str,
    /// The public text; the first line is the summary.
    pub doc: &'static str,
    /// The chapter of the document.
    pub tag: &'static str,
    /// In whose words its errors are said.
    pub dialect: Dialect,
    /// Who may call it.
    pub access: Access,
    /// Longest body, in bytes.
    pub body_max_bytes: u32,
    /// What the audit log calls a success of it by an administrator; `None` when it changes nothing that is audited.
    pub audit: Option<&'static str>,
    /// Whether its answers are kept for a request that is sent again with the same `Idempotency-Key`.
    pub is_kept: bool,
    /// Whether it serves a session that looks after a merged account; what only reads does in any case.
    pub serves_merged: bool,
    /// The handler.
    pub handler: Handler,
    /// Its name, for the document.
    pub operation: &'static str,
    /// What it takes and gives, for the document.
    #[cfg(not(target_arch = "wasm32"))]
    pub describe: fn(&mut crate::openapi::Operation),
}

/// The options of a route, as a `routes!` list names them.
impl Route {
    /// Takes bodies of up to so many bytes.
    #[must_use]
    pub const fn body_max_bytes(self, body_max_bytes: u32) -> Self {
        Self { body_max_bytes, ..self }
    }

    /// Says its errors in other words than its list: a path that only one of several APIs has, or several share.
    #[must_use]
    pub const fn dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Writes every success into the audit log, under this name.
    #[must_use]
    pub const fn audit(self, action: &'static str) -> Self {
        Self { audit: Some(action), ..self }
    }

    /// With `false` its answers are kept nowhere: what they hold is nobody's but the first caller's.
    #[must_use]
    pub const fn is_kept(self, is_kept: bool) -> Self {
        Self { is_kept, ..self }
    }

    /// With `true` it serves a session that looks after a merged account, though it changes something.
    #[must_use]
    pub const fn serves_merged(self, serves_merged: bool) -> Self {
        Self { serves_merged, ..self }
    }

    /// Runs the handler.
    ///
    /// # Errors
    /// The input's error or the handler's.
    pub async fn run(&self, cx: Cx, request: Request) -> Result<Output, ApiError> {
        let audited = self.audit.filter(|_| matches!(cx.caller, Caller::Admin));
        let Some(action) = audited else { return (self.handler)(cx, request).await };
        let resource = request.params.first().map_or_else(String::new, |(_, value)| value.clone());
        let (cx, trail) = Trail::begin(cx, action, resource);
        let output = (self.handler)(cx, request).await?;
        trail.end().await;
        Ok(output)
    }
}

/// The usual body limit: 1 MiB.
pub const BODY_MAX_BYTES: u32 = 1 << 20;

/// Runs a handler on what it takes.
///
/// # Errors
/// The input's error or the handler's.
pub async fn call<A, R, F, Fut>(handler: F, cx: Cx, request: Request) -> Result<Output, ApiError>
where
    A: FromRequest,
    R: IntoOutput,
    F: Fn(Cx, A) -> Fut,
    Fut: Future<Output = Result<R, ApiError>>,
{
    let input = A::from_request(request).await?;
    cx.confirm_place().await?;
    handler(cx, input).await.map(IntoOutput::into_output)
}

/// One list of routes per resource file.
///
/// ```ignore
/// routes! {
///     tag "Chat", dialect Tokaroo;
///     /// Creates a chat completion.
///     Post "/v1/chat/completions" Access::Key(Scope::Chat), body_max_bytes = 10 << 20 => create_chat_completion;
/// }
/// ```
#[macro_export]
macro_rules! routes {
    (tag $tag:literal, dialect $dialect:ident; $(
        $(#[doc = $doc:literal])+
        $method:ident $path:literal $access:expr $(, $option:ident = $value:expr)* => $handler:ident;
    )+) => {
        /// The routes of this file.
        pub const ROUTES: &[$crate::http::route::Route] = &[$($crate::routes!(@route
            { tag: $tag, dialect: $crate::http::dialect::Dialect::$dialect, doc: concat!($($doc, "\n"),+),
              method: $crate::http::route::Method::$method, path: $path, access: $access, handler: $handler }
        )$(.$option($value))*),+];
    };
    (@route { tag: $tag:expr, dialect: $dialect:expr, doc: $doc:expr, method: $method:expr, path: $path:expr,
              access: $access:expr, handler: $handler:ident }) => {
        $crate::http::route::Route {
            method: $method,
            path: $path,
            doc: $doc,
            tag: $tag,
            dialect: $dialect,
            access: $access,
            body_max_bytes: $crate::http::route::BODY_MAX_BYTES,
            audit: None,
            is_kept: true,
            serves_merged: false,
            handler: |cx, request| Box::pin($crate::http::route::call($handler, cx, request)),
            operation: stringify!($handler),
            #[cfg(not(target_arch = "wasm32"))]
            describe: |operation| $crate::openapi::describe(&$handler, operation),
        }
    };
}
