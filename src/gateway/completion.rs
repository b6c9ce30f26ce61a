//! One chat completion: routed, reserved, answered, settled.

use std::fmt::Display;
use std::rc::Rc;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::chat::response::rewrite_completion;
use guildhall_domain::media::{ModelKind, Quantity};
use guildhall_domain::money::MicroUsd;

use super::adapter::read_whole;
use super::affinity::note_prefixes;
use super::bounds::Bounds;
use super::cache::{Kept, Question, answer_chat, find_kept};
use super::choice::{Choice, Policy, choose, draw_uniform};
use super::dispatch::{Attempt, Failure};
use super::endings::{Failures, decline_large, leave, reject};
use super::health::{note_nothing, note_success};
use super::hedge::Race;
use super::ladder::{Ladder, Step};
use super::opening::{Undelivered, open_stream};
use super::own::find_own;
use super::reserving::{reserve_for, too_late};
use super::settlement::{Outcome, RunningCall, Used};
use super::table::read_snapshot;
use crate::app::Cx;
use crate::error::ApiError;
use crate::http::output::Output;
use crate::ports::InboundBody;

/// The content type of a chat stream.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// What an upstream has done that was asked and has not answered.
const PROMPT_READ: Used = Used::Estimated { output: 0 };

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
    let deadline_ms = policy.deadline_ms(cx.started_ms);
    let (is_open, is_extended) = (choice.is_open, policy.is_extended);
    let bounds = Bounds { request: &request, is_open, is_extended, max_cost, deadline_ms };
    let reservation = reserve_for(&cx, &choice, &mut offers, |offers| bounds.need(offers)).await?;
    let asked_latency_ms = policy.limits.max_latency_ms.and_then(|ms| i64::try_from(ms).ok());
    let input_tokens_estimate = request.input_tokens_estimate();
    let call = RunningCall::begin(cx, ModelKind::Chat, &choice.answers_as, &choice, reservation)?;
    let call = RunningCall { deadline_ms, asked_latency_ms, input_tokens_estimate, keep, ..call };
    climb(call, choice.ladder(offers), &choice, &bounds).await
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
        let offer = Rc::clone(&step.offer);
        match outcome {
            Attempt::Answered { inbound, latency_ms } => match deliver(call, inbound.body, bounds.request).await {
                Ok(delivered) => {
                    note_success(&delivered.cx, &offer.provider, latency_ms);
                    // A refusal alone may only have repeated what the client wrote.
                    if step.is_without_options {
                        offer.takes_stream_options.set(false);
                    }
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
                        Undelivered::ClientGone => return Err(leave(call, &offer, Some(PROMPT_READ))),
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
            // There is nothing in them to be wrong. Without them what is delivered is estimated.
            Attempt::OptionsRefused(_)
                if bounds.request.asks_for_usage_alone() && !step.is_without_options && ladder.has_tries() =>
            {
                note_nothing(&call.cx, &offer.provider);
                ladder.go_without_options(&offer, step.max_output_tokens);
            }
            // What an upstream of the caller's own does not take, the platform's may.
            Attempt::Overflowed(_) | Attempt::Rejected(_) | Attempt::OptionsRefused(_)
                if offer.provider.own.is_some() && ladder.has_more() => {}
            Attempt::Overflowed(error) => {
                note_nothing(&call.cx, &offer.provider);
                let others = choice.ranked_offers().filter(|other| choice.is_open && bounds.is_covered(amount, other));
                let asked = bounds.request.max_output_tokens();
                if !ladder.escalate(&offer, choice.expected.input, asked, others) {
                    return Err(reject(call, error));
                }
                refused.get_or_insert(error);
            }
            Attempt::Rejected(error) | Attempt::OptionsRefused(error) => {
                note_nothing(&call.cx, &offer.provider);
                return Err(reject(call, error));
            }
            Attempt::TooLarge if !bounds.request.has_logprobs() => {
                failures.note(&mut call, &mut ladder, &offer, &Failure::new("no text is so long"));
            }
            Attempt::TooLarge => {
                let cap = bounds.cap(amount, &step).map_or(u64::MAX, |cap| cap.saturating_mul(bounds.request.n()));
                let done = Used::Estimated { output: bounds.output_at_most(&offer).min(cap) };
                return Err(decline_large(call, &offer, done));
            }
            Attempt::ClientGone { was_asked } => return Err(leave(call, &offer, was_asked.then_some(PROMPT_READ))),
        }
    }
    let is_late = call.is_too_late();
    let is_blameless = call.tried.iter().all(|tried| tried.failed.is_none());
    if let (false, true, Some(error)) = (is_late, is_blameless, refused) {
        return Err(reject(call, error));
    }
    let (outcome, error) =
        if is_late { (Outcome::GivenUp, too_late()) } else { (Outcome::UpstreamFailed, failures.to_error()) };
    call.settle(outcome, error.kind.status(), Used::Nothing);
    Err(error)
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
