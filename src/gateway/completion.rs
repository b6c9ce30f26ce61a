//! One chat completion: routed, reserved, answered, settled.

use std::fmt::Display;
use std::rc::Rc;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::chat::response::rewrite_completion;
use guildhall_domain::media::{ModelKind, Quantity};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::routing::ErrorClass;

use super::adapter::read_whole;
use super::affinity::note_prefixes;
use super::bounds::Bounds;
use super::cache::{Kept, Question, answer_chat, find_kept};
use super::choice::{Choice, Policy, choose, draw_uniform};
use super::dispatch::{Attempt, Failure};
use super::health::{is_routable, note_failure, note_nothing, note_success};
use super::hedge::Race;
use super::ladder::{Ladder, Step};
use super::opening::{Undelivered, open_stream};
use super::own::find_own;
use super::settlement::{Outcome, RunningCall, Used};
use super::table::{Offer, read_snapshot};
use crate::app::Cx;
use crate::auth::Caller;
use crate::auth::claim_link::open_claim_url;
use crate::http::error::{ApiError, Kind};
use crate::http::output::Output;
use crate::meter::money::{Need, Refusal, Reservation, reserve};
use crate::payments::auto_pay;
use crate::ports::InboundBody;

/// The content type of a chat stream.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// What a client is told when no upstream gave an answer.
pub const ALL_FAILED: &str = "The model's provider failed; try again later";

/// An answer on its way to the client, and how it came about.
pub struct Answer {
    /// The answer: a chat completion, or its stream.
    pub output: Output,
    /// The registered model that answers.
    pub negotiated_model: String,
    /// The name that an alias replaced.
    pub alias_from: Option<String>,
    /// Why this model, in `TokenHub`'s words.
    pub reason: String,
    /// What was charged; for a stream, what it is expected to cost.
    pub cost: MicroUsd,
}

/// Completes a chat.
///
/// # Errors
/// 400 for a body that is no chat request, 402 when the balance does not cover it, 404 for an unknown model, 429 and 502
/// when the upstreams fail, 503 when there is none, and whatever 4xx an upstream gives for the client's own mistake.
pub async fn complete_chat(cx: Cx, body: &[u8], policy: &Policy<'_>) -> Result<Answer, ApiError> {
    let request = ChatRequest::parse(body)?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let own = find_own(&cx).await;
    let choice = choose(&cx, &snapshot, own.as_deref(), &request, policy)?;
    let question = Question::of_chat(&cx, &request, request.model(), policy, &choice);
    let keep = match find_kept(&cx, question, &choice.answers_as, &choice).await? {
        Kept::Missed(keep) => keep,
        Kept::Found(kept) => {
            let (call, found) = *kept;
            return Ok(Answer {
                output: answer_chat(call, &request, &found)?,
                negotiated_model: found.entry.model,
                alias_from: choice.alias_from,
                reason: format!("cache-{}", found.tier.name()),
                cost: MicroUsd::ZERO,
            });
        }
    };
    let mut offers = choice.best_offers();
    let max_cost = policy.limits.max_cost.filter(|_| !policy.is_default_budget);
    let bounds = Bounds { request: &request, is_open: choice.is_open, is_extended: policy.is_extended, max_cost };
    let reservation = reserve_for(&cx, &mut offers, |offers| bounds.need(offers)).await?;
    let to_ms = |ms: Option<u64>| ms.and_then(|ms| i64::try_from(ms).ok());
    let asked_latency_ms = to_ms(policy.limits.max_latency_ms);
    let deadline_ms = asked_latency_ms.or(to_ms(policy.default_latency_ms)).map(|ms| cx.started_ms + ms);
    let input_tokens_estimate = request.input_tokens_estimate();
    let call = RunningCall::begin(cx, ModelKind::Chat, &choice.answers_as, &choice, reservation)?;
    let call = RunningCall { deadline_ms, asked_latency_ms, input_tokens_estimate, keep, ..call };
    climb(call, choice.ladder(offers), &choice, &bounds).await
}

/// Reserves what the offers need. Where there is not enough money, only what the caller has of their own is left to be
/// tried, and then only what costs nothing.
///
/// # Errors
/// 402 when the balance does not cover it, and what else [`refuse`] says.
pub async fn reserve_for(
    cx: &Cx,
    offers: &mut Vec<Rc<Offer>>,
    need: impl Fn(&[Rc<Offer>]) -> Need,
) -> Result<Reservation, ApiError> {
    let payer = &cx.caller.key()?.payer;
    let mut reserved = reserve(cx, payer, need(offers)).await;
    if let Err(Refusal::Insufficient { required, .. }) = &reserved
        && payer.reloads_below().is_some()
        && auto_pay::reload(&cx.app, &cx.ports, payer.owner(), auto_pay::Need::Call(*required)).await
    {
        reserved = reserve(cx, payer, need(offers)).await;
    }
    let is_cheap: [fn(&Offer) -> bool; 2] =
        [|offer| offer.price.is_free() || offer.provider.own.is_some(), |offer| offer.price.is_free()];
    for is_cheap in is_cheap {
        let is_short = matches!(reserved, Err(Refusal::Insufficient { .. } | Refusal::Budget { .. }));
        let left = offers.iter().filter(|offer| is_cheap(offer)).count();
        if is_short && left > 0 && left < offers.len() {
            offers.retain(|offer| is_cheap(offer));
            reserved = reserve(cx, payer, need(offers)).await;
        }
    }
    reserved.map_err(|refusal| refuse(cx, refusal))
}

/// Tries one upstream after the other.
async fn climb(
    mut call: RunningCall,
    mut ladder: Ladder,
    choice: &Choice,
    bounds: &Bounds<'_>,
) -> Result<Answer, ApiError> {
    let mut failures = Failures::default();
    // What some upstreams cannot be told, or does not fit their context: no failure of theirs.
    let mut refused = None;
    let amount = call.reservation.amount;
    let write = |step: &Step| bounds.write(amount, step);
    let mut race = Race::new(&call, choice, &write);
    loop {
        let mut next = None;
        if let Some(step) = ladder.climb(|| draw_uniform(&call.cx)) {
            step.wait(&call.cx).await;
            if call.is_too_late() {
                break;
            }
            match write(&step) {
                Ok(wire) => next = Some((step, wire)),
                Err(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            }
        }
        let Some((step, outcome)) = race.run(&mut call, &mut ladder, &mut failures, next).await else { break };
        call.reason.clone_from(&step.reason);
        if let Some(keep) = &mut call.keep {
            keep.may_be_cut = bounds.cap(amount, &step).is_none() && bounds.request.max_output_tokens().is_some();
        }
        let offer = step.offer;
        match outcome {
            Attempt::Answered { inbound, latency_ms } => match deliver(call, inbound.body, bounds.request).await {
                Ok(delivered) => {
                    note_success(&delivered.cx, &offer.provider, latency_ms);
                    note_prefixes(&delivered.cx, &choice.prefixes, &offer);
                    return Ok(Answer {
                        cost: delivered.charged.unwrap_or_else(|| offer.cost(Quantity::Tokens(choice.expected))),
                        output: delivered.output,
                        negotiated_model: offer.model_id.to_string(),
                        alias_from: choice.alias_from.clone(),
                        reason: step.reason,
                    });
                }
                Err(undelivered) => {
                    let cause;
                    (call, cause) = *undelivered;
                    match cause {
                        Undelivered::Failed(_) if call.is_too_late() => note_nothing(&call.cx, &offer.provider),
                        Undelivered::Failed(failure) => failures.note(&mut call, &mut ladder, &offer, &failure),
                        Undelivered::ClientGone => return Err(leave(call, &offer, true)),
                    }
                }
            },
            // The client's own deadline passed: that is no fault of the provider's.
            Attempt::Failed(_) if call.is_too_late() => {
                note_nothing(&call.cx, &offer.provider);
                break;
            }
            Attempt::Failed(failure) => {
                failures.note(&mut call, &mut ladder, &offer, &failure);
            }
            // What an upstream of the caller's own does not take, the platform's may.
            Attempt::Overflowed(_) | Attempt::Rejected(_) if offer.provider.own.is_some() && ladder.has_more() => {}
            Attempt::Overflowed(error) => {
                note_nothing(&call.cx, &offer.provider);
                let others = choice.ranked_offers().filter(|other| choice.is_open && bounds.is_covered(amount, other));
                let asked = bounds.request.max_output_tokens();
                if !ladder.escalate(&offer, choice.expected.input, asked, others) {
                    return Err(reject(call, error));
                }
                refused.get_or_insert(error);
            }
            Attempt::Rejected(error) => {
                note_nothing(&call.cx, &offer.provider);
                return Err(reject(call, error));
            }
            Attempt::ClientGone { was_asked } => return Err(leave(call, &offer, was_asked)),
        }
    }
    let is_late = call.is_too_late();
    let is_blameless = call.tried.iter().all(|tried| tried.failed.is_none());
    if let (false, true, Some(error)) = (is_late, is_blameless, refused) {
        return Err(reject(call, error));
    }
    let (outcome, error) = if is_late {
        let text = "max_latency_ms passed before a model answered";
        (Outcome::GivenUp, ApiError::new(Kind::UpstreamFailed, text))
    } else {
        (Outcome::UpstreamFailed, failures.to_error())
    };
    call.settle(outcome, error.kind.status(), Used::Nothing);
    Err(error)
}

/// Ends a call that the upstream refused.
pub fn reject(call: RunningCall, error: ApiError) -> ApiError {
    call.settle(Outcome::Rejected, error.kind.status(), Used::Nothing);
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

/// Why there is no money for a call.
pub fn refuse(cx: &Cx, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Insufficient { balance, required } => {
            let text = format!(
                "The balance of ${} does not cover this request, which needs at least ${}",
                balance.to_usd_string(),
                required.to_usd_string()
            );
            let error = ApiError::new(Kind::InsufficientFunds, text)
                .with("balance_usd", balance.to_usd())
                .with("required_usd", required.to_usd())
                .with("payment_url", format!("{}/billing", cx.origin));
            match &cx.caller {
                Caller::Key(key) => error.with_some("claim_url", open_claim_url(&cx.app, key, &cx.origin)),
                _ => error,
            }
        }
        Refusal::Budget { of, budget, spent } => ApiError::budget_exceeded(of, budget, spent),
        Refusal::ClientGone => ApiError::new(Kind::UpstreamFailed, "The client left"),
        Refusal::Failed(cause) => {
            ApiError::new(Kind::Unavailable, "The wallet did not answer; try again").caused_by(cause).retry_after_s(1)
        }
    }
}

/// The client has left, and nothing was delivered; an upstream that was asked has read the prompt.
fn leave(call: RunningCall, offer: &Offer, was_asked: bool) -> ApiError {
    note_nothing(&call.cx, &offer.provider);
    let used = if was_asked { Used::Estimated { output: 0 } } else { Used::Nothing };
    call.settle(Outcome::ClientGone, 499, used);
    ApiError::new(Kind::UpstreamFailed, "The client left")
}

/// The call back, for another attempt, and why this one could not be delivered.
type Unanswered = Box<(RunningCall, Undelivered)>;

/// An answer that makes sense.
struct Delivered {
    cx: Cx,
    output: Output,
    /// `None` while it streams.
    charged: Option<MicroUsd>,
}

async fn deliver(call: RunningCall, body: InboundBody, request: &ChatRequest<'_>) -> Result<Delivered, Unanswered> {
    match body {
        InboundBody::Whole(_) if request.stream() => Err(failed(call, "answered a stream request without a stream")),
        InboundBody::Whole(body) => deliver_whole(call, &body),
        InboundBody::Stream { first, rest } => {
            let cx = call.cx.clone();
            let body = open_stream(call, !request.include_usage(), first, rest).await?;
            let output = Output { status: 200, headers: Vec::new(), body }
                .header("content-type", EVENT_STREAM)
                .header("cache-control", "no-cache")
                .header("x-tokaroo-cache", "miss");
            Ok(Delivered { cx, output, charged: None })
        }
    }
}

fn failed(call: RunningCall, cause: impl Display) -> Unanswered {
    Box::new((call, Undelivered::Failed(Failure::new(cause))))
}

fn deliver_whole(mut call: RunningCall, body: &[u8]) -> Result<Delivered, Unanswered> {
    let body = match read_whole(&call, body) {
        Ok(body) => body,
        Err(error) => return Err(failed(call, error)),
    };
    let completion = match rewrite_completion(&body, call.model_to_echo(), call.input_tokens_estimate) {
        Ok(completion) => completion,
        Err(error) => return Err(failed(call, error)),
    };
    let used = match completion.usage {
        Some(usage) => call.trust(usage, completion.output_tokens_estimate),
        None => Used::Estimated { output: completion.output_tokens_estimate },
    };
    let cx = call.cx.clone();
    if let Some(keep) = call.keep.take() {
        keep.keep_whole(&cx, &completion.body, call.worth(used));
    }
    let charged = call.settle(Outcome::Completed, 200, used);
    let output = Output::bytes("application/json", completion.body)
        .header("x-tokaroo-cost", charged.to_usd_string())
        .header("x-tokaroo-cache", "miss");
    Ok(Delivered { cx, output, charged: Some(charged) })
}
