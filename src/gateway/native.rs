//! What `TokenHub`'s own surface adds to a chat completion: its defaults, its hints, its texts.

use guildhall_domain::money::MicroUsd;
use guildhall_domain::native::{ANY_MODEL, NativeRequest, bare_model_hint, render_answer};
use guildhall_domain::routing::{Limits, Mode};

use super::choice::{Naming, Policy};
use super::completion::{Answer, complete_chat};
use super::endings::ALL_FAILED;
use super::table::{Snapshot, read_snapshot};
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::output::Output;

/// What a client is told when there is no model at all.
const NO_MODELS: &str = "no eligible models registered";

/// A wish of the routing; what it leaves out is the administrator's default.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What the route is to be good at.
    pub mode: Option<Mode>,
    /// What it must not exceed.
    pub limits: Limits,
    /// How the model's name is to be taken.
    pub naming: Naming,
}

/// Completes a chat whose model is a wish.
///
/// # Errors
/// As [`complete_chat`]; 502 where there is no model, or none that answers, in `TokenHub`'s texts.
pub async fn complete_natively(
    cx: Cx,
    body: &[u8],
    wanted: Wanted,
    request: &NativeRequest,
) -> Result<Answer, ApiError> {
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let has_own = cx.caller.key().is_ok_and(|key| key.has_upstreams);
    if !has_own && !snapshot.offers.iter().any(|offer| offer.enabled) {
        return Err(ApiError::new(Kind::UpstreamFailed, NO_MODELS));
    }
    complete_chat(cx, body, &to_policy(&snapshot, wanted, request)).await.map_err(|mut error| {
        if error.kind == Kind::UpstreamFailed && error.message == ALL_FAILED {
            "all providers failed".clone_into(&mut error.message);
        }
        error
    })
}

/// A wish with the administrator's defaults where it says nothing.
#[must_use]
pub fn to_policy<'r>(snapshot: &Snapshot, wanted: Wanted, request: &'r NativeRequest) -> Policy<'r> {
    let defaults = &snapshot.defaults;
    let budget = wanted.limits.max_cost.filter(|cost| cost.0 > 0);
    Policy {
        mode: wanted.mode.unwrap_or(defaults.default_mode),
        limits: Limits {
            max_cost: budget.or(Some(defaults.default_max_budget_micros)).filter(|cost| cost.0 > 0),
            max_latency_ms: wanted.limits.max_latency_ms.filter(|ms| *ms > 0),
            min_weight: wanted.limits.min_weight,
        },
        is_default_budget: budget.is_none(),
        // It ends a call and leaves nobody out: who is usually slower may be quick enough once.
        default_latency_ms: u64::try_from(defaults.default_max_latency_ms).ok().filter(|ms| *ms > 0),
        naming: wanted.naming,
        // An orchestration's prompts are longer than the request: only what the client said itself holds for them.
        input_tokens: Some(request.estimated_input_tokens).filter(|tokens| *tokens > 0),
        sticky_id: request.id.as_deref(),
        is_extended: false,
    }
}

/// The name that a hint means: as it stands, without its provider's prefix, or anybody's.
#[must_use]
pub fn resolve_hint<'r>(snapshot: &Snapshot, hint: Option<&'r str>) -> &'r str {
    let is_known = |name: &&str| {
        Mode::parse_tier(name).is_some()
            || snapshot.aliases.contains_key(*name)
            || snapshot.offers.iter().any(|offer| offer.model_id.as_str() == *name)
    };
    let bare = || hint.and_then(bare_model_hint).filter(is_known);
    hint.filter(is_known).or_else(bare).unwrap_or(ANY_MODEL)
}

/// The envelope of an answer.
#[must_use]
pub fn to_output(negotiated_model: &str, cost: MicroUsd, reason: &str, body: &[u8]) -> Output {
    Output::bytes("application/json", render_answer(negotiated_model, cost, reason, body))
}
