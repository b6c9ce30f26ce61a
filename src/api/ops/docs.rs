//! The front door: an index and the documents.

use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::html::guard;
use crate::http::input::{FromHead, FromRequest};
use crate::http::output::{Output, Reply, Shaped, Under};
use crate::http::request::Request;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Documents", dialect TokenHub;
    /// Enter.
    ///
    /// Browsers are sent to `/admin/`; everybody else gets a JSON index.
    Get "/" Access::Public => show_index;
    /// Read the `OpenAPI` document.
    Get "/openapi.json" Access::Public => show_openapi;
    /// Read the API reference.
    ///
    /// A page that renders `/openapi.json`.
    Get "/docs" Access::Public => show_docs;
    /// Read the API reference.
    Get "/docs/" Access::Public => show_docs;
}

const OPENAPI: &str = include_str!("../../../openapi.json");
const DOCS_PAGE: &str = include_str!("docs.html");
/// The page loads nothing from elsewhere and may not be framed.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a browser asks.
struct WantsHtml(bool);

impl FromHead for WantsHtml {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(request.rare.accept.contains("text/html")))
    }
}

impl FromRequest for WantsHtml {
    async fn from_request(request: Request) -> Result<Self, ApiError> {
        Self::from_head(&request)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for WantsHtml {
    fn describe(_: &mut crate::openapi::Operation) {}
}

/// Where to begin.
#[derive(Serialize, JsonSchema)]
struct Index {
    name: &'static str,
    version: &'static str,
    openapi: &'static str,
    docs: &'static str,
    health: &'static str,
    /// How to get a key.
    provision: &'static str,
    /// What to do with it.
    chat: &'static str,
}

const INDEX: Index = Index {
    name: "Guildhall",
    version: env!("CARGO_PKG_VERSION"),
    openapi: "/openapi.json",
    docs: "/docs",
    health: "/healthz",
    provision: "POST /v1/auth/provision",
    chat: "POST /v1/chat/completions",
};

async fn show_index(_: Cx, WantsHtml(html): WantsHtml) -> Result<Shaped<(Reply<Index>, Under<302, ()>)>, ApiError> {
    if html {
        return Ok(Output::empty().status(302).header("location", "/admin/").into());
    }
    Ok(Output::json(&INDEX).into())
}

async fn show_openapi(_: Cx, (): ()) -> Result<Output, ApiError> {
    Ok(Output::text("application/json", OPENAPI).header("cache-control", "public, max-age=60"))
}

async fn show_docs(_: Cx, (): ()) -> Result<Output, ApiError> {
    Ok(page(DOCS_PAGE))
}

fn page(html: &str) -> Output {
    guard(Output::text("text/html; charset=utf-8", html), PAGE_POLICY)
        .header("cache-control", "no-cache, must-revalidate")
}
