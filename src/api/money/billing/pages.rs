//! The page that a "payment required" answer points at.

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::html::guard;
use crate::http::output::Output;
use crate::http::route::Access;
use crate::payments::activation::TERMS_VERSION;
use crate::routes;

routes! {
    tag "Billing", dialect ToolRouter;
    /// Read how to pay.
    ///
    /// A page: where a "payment required" answer sends people, and where checkouts come back to.
    Get "/billing" Access::Public => show_billing;
}

/// The page loads nothing and may not be framed.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PAGE: &str = include_str!("billing.html");

async fn show_billing(_: Cx, (): ()) -> Result<Output, ApiError> {
    let page = PAGE.replace("{{terms_version}}", TERMS_VERSION);
    let page = Output::text("text/html; charset=utf-8", page);
    Ok(guard(page, PAGE_POLICY).header("cache-control", "public, max-age=60"))
}
