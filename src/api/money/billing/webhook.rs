//! What Stripe tells.

use guildhall_domain::billing::event::read_event;
use guildhall_domain::billing::signature::check_signature;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Cx;
use crate::config::Mode;
use crate::error::{ApiError, Kind};
use crate::http::input::{FromHead, Raw};
use crate::http::output::Reply;
use crate::http::request::Request;
use crate::http::route::Access;
use crate::payments::{Desk, events};
use crate::routes;

routes! {
    tag "Billing", dialect Toku;
    /// Take an event of Stripe's.
    ///
    /// Signed in `Stripe-Signature` with one of the deployment's secrets, at most 300 seconds ago. An event is applied once,
    /// in whatever order events come; one of no interest is acknowledged, as is one of Stripe's test mode in live mode. After
    /// an error Stripe sends it again.
    Post "/webhooks/stripe" Access::Signed => take_event;
    /// Take an event of Stripe's (the other path).
    Post "/api/webhooks/stripe" Access::Signed => take_event;
}

/// It is applied.
#[derive(Serialize, JsonSchema)]
pub struct Received {
    /// Always true.
    received: bool,
}

/// `Stripe-Signature`.
struct Signature(String);

impl FromHead for Signature {
    fn from_head(request: &Request) -> Result<Self, ApiError> {
        Ok(Self(request.rare.stripe_signature.clone()))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl crate::openapi::Describe for Signature {
    fn describe(_: &mut crate::openapi::Operation) {}
}

async fn take_event(cx: Cx, (Signature(header), Raw(body)): (Signature, Raw)) -> Result<Reply<Received>, ApiError> {
    let now_s = cx.ports.clock.now_ms() / 1_000;
    check_signature(&header, &body, &cx.app.config.stripe_webhook_secrets, now_s)
        .map_err(|error| ApiError::new(Kind::BadCredential, format!("Invalid signature: {error}")))?;
    let event = read_event(&body).map_err(|error| ApiError::invalid("", format!("unreadable event: {error}")))?;
    if event.is_test && cx.app.config.mode == Mode::Live {
        cx.ports.background.log(&format!("{}: an event of Stripe's test mode is not applied", event.id));
    } else {
        events::apply(&Desk::of(&cx), &event).await?;
    }
    Ok(Reply(Received { received: true }))
}
