//! A browser's session: what `EventSource`, which sends no headers, comes in with.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::auth::admin_session::{cookie_of, end_session, open_session};
use crate::error::ApiError;
use crate::http::input::{FromHead, FromRequest};
use crate::http::output::{Output, RawReply};
use crate::http::request::Request;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Observability", dialect TokenHub;
    /// Open a session.
    ///
    /// Sets the cookie `th_admin_session` for 12 hours: it opens the admin routes to this browser, and is not the token.
    Post "/admin/v1/session" Access::Admin, is_kept = false => create_session;
    /// End the session.
    Delete "/admin/v1/session" Access::Admin => delete_session;
}

/// The session that a request came with.
struct Session(Option<String>);

impl FromHead for Session {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(cookie_of(request).map(str::to_owned)))
    }
}

impl FromRequest for Session {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for Session {
    fn describe(_: &mut crate::openapi::Operation) {}
}

/// It is done.
#[derive(Serialize, JsonSchema)]
struct SessionChanged {
    ok: bool,
}

async fn create_session(cx: Cx, (): ()) -> Result<RawReply<SessionChanged>, ApiError> {
    let cookie = open_session(&cx.app, &cx.ports, &cx.origin).await?;
    Ok(Output::json(&SessionChanged { ok: true }).header("set-cookie", cookie).into())
}

async fn delete_session(cx: Cx, Session(value): Session) -> Result<RawReply<SessionChanged>, ApiError> {
    let cookie = end_session(&cx.app, &cx.ports, value.as_deref(), &cx.origin).await?;
    Ok(Output::json(&SessionChanged { ok: true }).header("set-cookie", cookie).into())
}
