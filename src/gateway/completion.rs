//! One chat completion: routed, reserved, answered, settled.

use std::rc::Rc;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::chat::response::rewrite_completion;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::pricing::TokenUsage;
use guildhall_domain::routing::{Candidate, Health, Mode, rank};

use super::dispatch::{ATTEMPTS_MAX, Attempt, Failure, attempt, note_failure, note_success};
use super::settlement::{Outcome, RunningCall, Used};
use super::table::{Offer, Snapshot, read_snapshot};
use super::tap::ChatTap;
use crate::app::Cx;
use crate::http::error::{ApiError, Kind};
use crate::http::output::{Body, Output};
use crate::meter::money::{Need, Refusal, reserve};
use crate::ports::InboundBody;

/// Output tokens that the routing reckons with when the client does not say.
const EXPECTED_OUTPUT_TOKENS: u64 = 512;

/// Completes a chat.
///
/// # Errors
/// 400 for a body that is no chat request, 402 when the balance does not cover it, 404 for an unknown model, 429 and 502
/// when the upstreams fail, 503 when there is none, and whatever 4xx an upstream gives for the client's own mistake.
pub async fn complete_chat(cx: Cx, body: &[u8]) -> Result<Output, ApiError> {
    let request =
        ChatRequest::parse(body).map_err(|error| ApiError::invalid(error.param.unwrap_or_default(), error.message))?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let (mode, mut offers) = choose_offers(&cx, &snapshot, &request)?;
    let payer = Rc::clone(&cx.caller.key()?.payer);
    let mut need = state_need(&offers, &request);
    let reservation = match reserve(&cx.app, &cx.ports, &payer, need).await {
        // What costs nothing needs no money.
        Err(Refusal::Insufficient { .. } | Refusal::Budget { .. })
            if offers.iter().any(|offer| offer.price.is_free()) =>
        {
            offers.retain(|offer| offer.price.is_free());
            need = state_need(&offers, &request);
            reserve(&cx.app, &cx.ports, &payer, need).await
        }
        reserved => reserved,
    };
    let reservation = reservation.map_err(|refusal| refuse(&cx, refusal))?;
    // Only where the balance does not cover the model's maximum is the answer cut to what it covers.
    let is_short = reservation.amount < need.most;
    let mut call = RunningCall {
        asked_model: request.model().to_owned(),
        mode: mode.as_str(),
        input_tokens_estimate: request.input_tokens_estimate(),
        cx,
        reservation,
        offer: None,
        attempts: 0,
    };
    let mut failures = Failures::default();
    for offer in &offers {
        let max_output_tokens = is_short.then(|| affordable_output(call.reservation.amount, offer, &request));
        match attempt(&mut call, offer, &request, max_output_tokens).await {
            Attempt::Answered { inbound, latency_ms } => {
                let (app, now_ms) = (Rc::clone(&call.cx.app), call.cx.ports.clock.now_ms());
                match deliver(call, inbound.body, &request) {
                    Ok(output) => {
                        note_success(&app, &offer.provider.id, latency_ms, now_ms);
                        return Ok(output);
                    }
                    Err(undelivered) => {
                        let failure;
                        (call, failure) = *undelivered;
                        failures.note(&call, offer, &failure);
                    }
                }
            }
            Attempt::Failed(failure) => failures.note(&call, offer, &failure),
            Attempt::Rejected(error) => {
                call.settle(Outcome::Rejected, error.kind.status(), Used::Nothing);
                return Err(error);
            }
            Attempt::ClientGone => {
                // The upstream has read the prompt; nothing was delivered.
                call.settle(Outcome::ClientGone, 499, Used::Estimated { output: 0 });
                return Err(ApiError::new(Kind::UpstreamFailed, "The client left"));
            }
        }
    }
    let error = failures.to_error();
    call.settle(Outcome::UpstreamFailed, error.kind.status(), Used::Nothing);
    Err(error)
}

/// What went wrong on the way.
#[derive(Default)]
struct Failures {
    /// The soonest that a rate-limited upstream may be asked again.
    retry_after_ms: Option<u64>,
}

impl Failures {
    fn note(&mut self, call: &RunningCall, offer: &Offer, failure: &Failure) {
        let (id, provider) = (&call.cx.request_id, &offer.provider.id);
        call.cx.ports.background.log(&format!("{id} provider {provider}: {}", failure.cause));
        note_failure(&call.cx, provider, failure);
        self.retry_after_ms = match (self.retry_after_ms, failure.retry_after_ms) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    fn to_error(&self) -> ApiError {
        let Some(wait_ms) = self.retry_after_ms else {
            return ApiError::new(Kind::UpstreamFailed, "The model's provider failed; try again later");
        };
        let wait_s = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(1).max(1);
        let text = format!("The model's provider is rate limited; try again in {wait_s} s");
        ApiError::new(Kind::RateLimited, text).retry_after_s(wait_s)
    }
}

/// The routes of a call, best first.
fn choose_offers(cx: &Cx, snapshot: &Snapshot, request: &ChatRequest<'_>) -> Result<(Mode, Vec<Rc<Offer>>), ApiError> {
    let asked = request.model();
    let mode = asked.parse::<Mode>().ok();
    let is_asked = |offer: &&Rc<Offer>| mode.is_some() || offer.model_id.as_str() == asked;
    let named: Vec<_> = snapshot.offers.iter().filter(is_asked).collect();
    if named.is_empty() && mode.is_none() {
        return Err(ApiError::new(Kind::NotFound, format!("Model not found: {asked}")));
    }
    let mode = mode.unwrap_or_default();
    let expected = TokenUsage {
        input: request.input_tokens_estimate(),
        output: request.max_output_tokens().unwrap_or(EXPECTED_OUTPUT_TOKENS),
        ..TokenUsage::default()
    };
    let candidates: Vec<_> = named.iter().map(|offer| to_candidate(cx, offer)).collect();
    let mut ranked = rank(mode, &expected, &candidates);
    if ranked.is_empty() {
        // Everything that fits is down or set aside: trying it is better than refusing untried.
        let hopeful: Vec<_> = candidates.into_iter().map(|c| Candidate { health: Health::Healthy, ..c }).collect();
        ranked = rank(mode, &expected, &hopeful);
    }
    let offers: Vec<_> =
        ranked.into_iter().filter_map(|at| named.get(at).map(|offer| Rc::clone(offer))).take(ATTEMPTS_MAX).collect();
    if offers.is_empty() {
        let widest = named.iter().filter(|offer| offer.enabled).map(|offer| offer.max_context_tokens).max();
        if let Some(context) = widest {
            let text = format!(
                "The prompt of about {} tokens does not fit the context window of {asked} ({context} tokens)",
                expected.input
            );
            return Err(ApiError::invalid("messages", text).with("code", "context_length_exceeded"));
        }
        let text = format!("No provider configured for {asked}");
        return Err(ApiError::new(Kind::Unavailable, text).retry_after_s(5));
    }
    Ok((mode, offers))
}

fn to_candidate<'o>(cx: &Cx, offer: &'o Offer) -> Candidate<'o> {
    let now_ms = u64::try_from(cx.started_ms).unwrap_or(0);
    let health = cx.app.gateway.health.borrow().get(&offer.provider.id).copied().unwrap_or_default();
    Candidate {
        model: &offer.model_id,
        provider: &offer.provider.id,
        is_enabled: offer.enabled,
        weight: offer.weight,
        price: &offer.price,
        context_tokens: Some(offer.max_context_tokens).filter(|tokens| *tokens > 0),
        latency_ms: health.latency_ms(),
        failure_rate: health.failure_rate(now_ms),
        health: health.health(now_ms),
    }
}

/// What to reserve: the dearest of the routes that may be tried.
fn state_need(offers: &[Rc<Offer>], request: &ChatRequest<'_>) -> Need {
    let mut need = Need { most: MicroUsd::ZERO, least: MicroUsd::ZERO };
    for offer in offers {
        let output =
            request.max_output_tokens().unwrap_or_else(|| offer.output_tokens_cap()).saturating_mul(request.n());
        let most = TokenUsage { input: request.input_tokens_upper(), output, ..TokenUsage::default() };
        let output = request.max_output_tokens().unwrap_or(1).saturating_mul(request.n());
        let least = TokenUsage { input: request.input_tokens_lower(), output, ..TokenUsage::default() };
        need.most = need.most.max(offer.price.cost(&most));
        need.least = need.least.max(offer.price.cost(&least));
    }
    need
}

/// How many output tokens per choice an amount covers beside the estimated input; at least one.
fn affordable_output(amount: MicroUsd, offer: &Offer, request: &ChatRequest<'_>) -> u64 {
    let input = TokenUsage { input: request.input_tokens_estimate(), ..TokenUsage::default() };
    let left = amount.0.saturating_sub(offer.price.cost(&input).0).max(0);
    let rate = offer.price.output.pico_usd_per_token();
    if rate <= 0 {
        return offer.output_tokens_cap();
    }
    let tokens = i128::from(left) * 1_000_000 / i128::from(rate) / i128::from(request.n().max(1));
    u64::try_from(tokens).unwrap_or(u64::MAX).clamp(1, offer.output_tokens_cap())
}

fn refuse(cx: &Cx, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Insufficient { balance, required } => {
            let text = format!(
                "The balance of ${} does not cover this request, which needs at least ${}",
                balance.to_usd_string(),
                required.to_usd_string()
            );
            ApiError::new(Kind::InsufficientFunds, text)
                .with("balance_usd", balance.to_usd())
                .with("required_usd", required.to_usd())
                .with("payment_url", format!("{}/billing", cx.origin))
        }
        Refusal::Budget { budget, spent } => ApiError::budget_exceeded(budget, spent),
        Refusal::Failed(cause) => {
            ApiError::new(Kind::Unavailable, "The wallet did not answer; try again").caused_by(cause).retry_after_s(1)
        }
    }
}

/// The call back, for another attempt, and why this one could not be delivered.
type Undelivered = Box<(RunningCall, Failure)>;

fn deliver(call: RunningCall, body: InboundBody, request: &ChatRequest<'_>) -> Result<Output, Undelivered> {
    match body {
        InboundBody::Whole(_) if request.stream() => {
            Err(Box::new((call, Failure::new("answered a stream request without a stream"))))
        }
        InboundBody::Whole(body) => deliver_whole(call, &body),
        InboundBody::Stream { first, rest } => {
            if first.is_empty() {
                return Err(Box::new((call, Failure::new("the stream ended before it began"))));
            }
            let (tap, out) = ChatTap::begin(call, !request.include_usage(), &first).map_err(|refused| {
                let (call, fault) = *refused;
                Box::new((call, Failure::new(fault)))
            })?;
            let body = Body::Relay { first: out, rest: Some((rest, Box::new(tap))) };
            Ok(Output { status: 200, headers: Vec::new(), body }
                .header("content-type", "text/event-stream; charset=utf-8")
                .header("cache-control", "no-cache")
                .header("x-tokaroo-cache", "miss"))
        }
    }
}

fn deliver_whole(call: RunningCall, body: &[u8]) -> Result<Output, Undelivered> {
    let completion = match rewrite_completion(body, &call.asked_model) {
        Ok(completion) => completion,
        Err(error) => return Err(Box::new((call, Failure::new(error)))),
    };
    let used = match completion.usage {
        Some(usage) => Used::Reported(usage),
        None => Used::Estimated { output: completion.output_tokens_estimate },
    };
    let charged = call.settle(Outcome::Completed, 200, used);
    Ok(Output::bytes("application/json", completion.body)
        .header("x-tokaroo-cost", charged.to_usd_string())
        .header("x-tokaroo-cache", "miss"))
}
