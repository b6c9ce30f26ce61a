//! How a call ends that nobody has answered: what is settled, and what the client is told.

use std::rc::Rc;

use guildhall_domain::routing::ErrorClass;

use super::dispatch::{ANSWER_MAX_BYTES, Failure};
use super::health::{is_routable, note_failure, note_nothing};
use super::ladder::Ladder;
use super::settlement::{Outcome, RunningCall, Used};
use super::table::Offer;
use crate::error::{ApiError, Kind};

/// What a client is told when no upstream gave an answer.
pub const ALL_FAILED: &str = "The model's provider failed; try again later";

/// Ends a call that the upstream refused.
pub fn reject(call: RunningCall, error: ApiError) -> ApiError {
    call.settle(Outcome::Rejected, error.kind.status(), Used::Nothing);
    error
}

/// Ends a call whose client has left before anything was delivered. `done` is what an upstream has worked for nobody, if one
/// was asked.
pub fn leave(call: RunningCall, offer: &Offer, done: Option<Used>) -> ApiError {
    note_nothing(&call.cx, &offer.provider);
    let error = ApiError::client_gone().paid(done.is_some());
    call.settle(Outcome::ClientGone, 499, done.unwrap_or(Used::Nothing));
    error
}

/// Ends a call whose answer is too large to be passed on because so much was asked for: `done` is paid for, nobody else is
/// asked, and no provider is to blame.
pub fn decline_large(call: RunningCall, offer: &Offer, done: Used) -> ApiError {
    note_nothing(&call.cx, &offer.provider);
    let text =
        format!("The answer is larger than {} MiB; ask for less at once, or for a stream", ANSWER_MAX_BYTES >> 20);
    let error = ApiError::new(Kind::Rejected(400), text).paid(true);
    call.settle(Outcome::Rejected, error.kind.status(), done);
    error
}

/// What went wrong on the way.
#[derive(Default)]
pub struct Failures {
    /// The soonest that a rate-limited upstream may be asked again.
    retry_after_ms: Option<u64>,
}

impl Failures {
    /// An attempt failed: it is logged, counted against its provider, and perhaps repeated.
    pub fn note(&mut self, call: &mut RunningCall, ladder: &mut Ladder, offer: &Rc<Offer>, failure: &Failure) {
        let (id, provider) = (&call.cx.request_id, &offer.provider);
        call.cx.ports.background.log(&format!("{id} provider {}: {}", provider.id, failure.cause));
        note_failure(&call.cx, provider, failure);
        call.note_failed_attempt(failure.class);
        ladder.note(offer, failure, is_routable(&call.cx, provider));
        if failure.class != ErrorClass::RateLimited {
            return;
        }
        self.retry_after_ms = match (self.retry_after_ms, failure.retry_after_ms) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// What the client is told when all have failed.
    #[must_use]
    pub fn to_error(&self) -> ApiError {
        let Some(wait_ms) = self.retry_after_ms else {
            return ApiError::new(Kind::UpstreamFailed, ALL_FAILED);
        };
        let wait_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(1).max(1);
        let text = format!("The model's provider is rate limited; try again in {wait_s} s");
        ApiError::new(Kind::RateLimited, text).retry_after_s(wait_s)
    }
}
