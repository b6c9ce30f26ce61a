//! One call that is no chat: embeddings, images, speech, a transcription. Routed, reserved, answered, settled as chats
//! are; what differs is how it is measured and what the answer is.

use std::rc::Rc;

use guildhall_domain::media::{MediaAnswer, MediaRequest, ModelKind, Quantity, Task, audio, read_answer};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::own::is_plausible;
use guildhall_domain::pricing::TokenUsage;

use super::cache::{Kept, Question, answer_media, find_kept};
use super::choice::{Ask, Choice, Policy, choose_for, draw_uniform};
use super::dispatch::{Attempt, Failure, Wire, send};
use super::endings::{Failures, decline_large, leave, reject};
use super::health::{note_nothing, note_success};
use super::ladder::Ladder;
use super::own::find_own;
use super::reserving::reserve_for;
use super::settlement::{Outcome, RunningCall, Used};
use super::table::{Offer, read_snapshot};
use crate::app::Cx;
use crate::error::ApiError;
use crate::http::output::{Body, Output};
use crate::meter::money::Need;
use crate::ports::{Flow, InboundBody, StreamEnd, StreamTap};

/// An answer on its way to the client.
pub struct Answer {
    /// The answer.
    pub output: Output,
    /// The registered model that answers.
    pub negotiated_model: String,
    /// The name that an alias replaced.
    pub alias_from: Option<String>,
}

/// Runs a call of one kind.
///
/// # Errors
/// As [`super::completion::complete_chat`].
pub async fn run_media(cx: Cx, kind: ModelKind, content_type: &str, body: &[u8]) -> Result<Answer, ApiError> {
    run_media_until(cx, None, kind, content_type, body).await
}

/// [`run_media`] for who waits no longer than until `deadline_ms`.
///
/// # Errors
/// The same.
pub async fn run_media_until(
    cx: Cx,
    deadline_ms: Option<i64>,
    kind: ModelKind,
    content_type: &str,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let request = MediaRequest::parse(kind, content_type, body)?;
    let choice = choose_for_media(&cx, kind, &request).await?;
    let question = Question::of_media(&cx, kind, &request, body);
    let keep = match find_kept(&cx, question, request.model(), &choice).await? {
        Kept::Missed(keep) => keep,
        Kept::Found(kept) => {
            let (call, found) = *kept;
            let output = answer_media(call, &found)?;
            return Ok(Answer { output, negotiated_model: found.entry.model, alias_from: choice.alias_from });
        }
    };
    let mut offers = choice.best_offers();
    let reservation = reserve_for(&cx, &choice, &mut offers, |offers| need(offers, &request, deadline_ms)).await?;
    let call = RunningCall::begin(cx, kind, request.model(), &choice, reservation)?;
    let call = RunningCall { deadline_ms, keep, ..call };
    let (output, offer) = climb(call, choice.ladder(offers), &request).await?;
    Ok(Answer { output, negotiated_model: offer.model_id.to_string(), alias_from: choice.alias_from })
}

/// Which models may serve the call.
///
/// # Errors
/// As [`super::choice::choose`].
pub async fn choose_for_media(cx: &Cx, kind: ModelKind, request: &MediaRequest<'_>) -> Result<Choice, ApiError> {
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let expected = match request.quantity_estimate() {
        Quantity::Tokens(usage) => usage,
        Quantity::Steps(steps) => TokenUsage { input: steps, ..TokenUsage::default() },
    };
    let counted_input = expected.input;
    let ask =
        Ask { kind, model: request.model(), is_named: request.names_model(), expected, counted_input, chat: None };
    let own = find_own(cx).await;
    choose_for(cx, &snapshot, own.as_deref(), &ask, &Policy::default())
}

/// What to reserve: what the dearest of the routes that may be tried costs at most.
fn need(offers: &[Rc<Offer>], request: &MediaRequest<'_>, until_ms: Option<i64>) -> Need {
    let dearest = |quantity| offers.iter().map(|offer| offer.cost(quantity)).max().unwrap_or(MicroUsd::ZERO);
    let most = dearest(request.quantity_upper());
    // Only tokens are uncertain by nature: the estimate must be there.
    let least = dearest(request.quantity_estimate()).min(most);
    // Who is in a hurry does not wait for a card.
    Need { most, least, is_guess: false, until_ms, may_reload: until_ms.is_none() }
}

/// Tries one upstream after the other.
async fn climb(
    mut call: RunningCall,
    mut ladder: Ladder,
    request: &MediaRequest<'_>,
) -> Result<(Output, Rc<Offer>), ApiError> {
    let mut failures = Failures::default();
    while let Some(step) = ladder.climb(|| draw_uniform(&call.cx)) {
        step.wait(&call.cx).await;
        if call.is_too_late() {
            break;
        }
        let offer = step.offer;
        call.reason.clone_from(&step.reason);
        let wire = Wire {
            kind: call.kind,
            content_type: request.content_type(),
            body: request.with_model(&offer.upstream_model),
            stream: matches!(request.task(), Task::Speech(_)),
        };
        match send(&mut call, &offer, wire).await {
            Attempt::Answered { inbound, latency_ms } => {
                let cx = call.cx.clone();
                match deliver(call, inbound.content_type, inbound.body, request) {
                    Ok(output) => {
                        note_success(&cx, &offer.provider, latency_ms);
                        return Ok((output, offer));
                    }
                    Err(undelivered) => {
                        let failure;
                        (call, failure) = *undelivered;
                        failures.note(&mut call, &mut ladder, &offer, &failure);
                    }
                }
            }
            // That is no fault of the provider's.
            Attempt::Failed(_) if call.is_too_late() => note_nothing(&call.cx, &offer.provider),
            Attempt::Failed(failure) => failures.note(&mut call, &mut ladder, &offer, &failure),
            Attempt::Overflowed(_) | Attempt::Rejected(_) | Attempt::OptionsRefused(_)
                if offer.provider.own.is_some() && ladder.has_more() => {}
            Attempt::Overflowed(error) | Attempt::Rejected(error) | Attempt::OptionsRefused(error) => {
                note_nothing(&call.cx, &offer.provider);
                return Err(reject(call, error));
            }
            Attempt::TooLarge => {
                return Err(decline_large(call, &offer, Used::Measured(request.quantity_estimate())));
            }
            Attempt::ClientGone { was_asked } => {
                let all = Used::Measured(request.quantity_estimate());
                return Err(leave(call, &offer, was_asked.then_some(all)));
            }
        }
    }
    let error = failures.to_error();
    let outcome = if call.is_too_late() { Outcome::GivenUp } else { Outcome::UpstreamFailed };
    call.settle(outcome, error.kind.status(), Used::Nothing);
    Err(error)
}

/// The call back, for another attempt, and why this one could not be delivered.
type Undelivered = Box<(RunningCall, Failure)>;

fn deliver(
    call: RunningCall,
    content_type: String,
    body: InboundBody,
    request: &MediaRequest<'_>,
) -> Result<Output, Undelivered> {
    match (body, request.task()) {
        (InboundBody::Stream { first, rest }, Task::Speech(_)) if !content_type.starts_with("text/") => {
            let used = Used::Counted(request.quantity_upper());
            let tap = SoundTap { call: Some(call), used };
            let body = Body::Relay { first, rest: Some((rest, Box::new(tap))) };
            Ok(Output { status: 200, headers: Vec::new(), body }.header("content-type", content_type))
        }
        (InboundBody::Stream { .. }, _) => Err(Box::new((call, Failure::new("answered with an event stream")))),
        (InboundBody::Whole(body), _) => deliver_whole(call, &content_type, body, request),
    }
}

fn deliver_whole(
    mut call: RunningCall,
    content_type: &str,
    body: Vec<u8>,
    request: &MediaRequest<'_>,
) -> Result<Output, Undelivered> {
    let is_json = content_type.starts_with("application/json");
    let (body, used, content_type) = match request.task() {
        Task::Speech(_) if body.is_empty() || is_json => {
            return Err(Box::new((call, Failure::new("answered without sound"))));
        }
        Task::Speech(task) => {
            let content_type =
                if content_type.is_empty() { task.format.content_type().to_owned() } else { content_type.to_owned() };
            (body, Used::Counted(request.quantity_upper()), content_type)
        }
        Task::Transcription(task) if !task.format.is_json() => {
            let content_type = task.format.content_type().to_owned();
            (body, Used::Counted(measure(request)), content_type)
        }
        _ => {
            let answer = match read_answer(&body, call.model_to_echo()) {
                Ok(answer) => answer,
                Err(error) => return Err(Box::new((call, Failure::new(error)))),
            };
            let used = believe(&call, used_of(&answer, request), request);
            (answer.body, used, "application/json".to_owned())
        }
    };
    if let Some(keep) = call.keep.take() {
        keep.keep_whole(&call.cx, &body, call.worth(used));
    }
    let charged = call.settle(Outcome::Completed, 200, used);
    Ok(Output::bytes(&content_type, body)
        .header("x-tokaroo-cost", charged.to_usd_string())
        .header("x-tokaroo-cache", "miss"))
}

/// What an answer in JSON says was used; where it says nothing, what the request says.
fn used_of(answer: &MediaAnswer, request: &MediaRequest<'_>) -> Used {
    match (request.task(), answer.usage, answer.seconds) {
        (Task::Embeddings(_), Some(usage), _) => Used::Counted(Quantity::Tokens(usage)),
        (Task::Embeddings(_), None, _) => Used::Measured(request.quantity_estimate()),
        (Task::Transcription(_), _, Some(seconds)) => Used::Counted(Quantity::Steps(seconds.max(1))),
        (Task::Transcription(_), _, None) => Used::Measured(measure(request)),
        // Fewer pictures than asked for cost less.
        (Task::Images(task), _, _) => {
            let each = task.images() / u64::from(task.n.max(1));
            Used::Counted(Quantity::Steps(answer.items.min(u64::from(task.n)) * each))
        }
        (Task::Speech(_) | Task::Video(_), _, _) => Used::Counted(request.quantity_upper()),
    }
}

/// What an upstream counted. What an endpoint of the caller's own counts must be plausible, where it can be measured here.
fn believe(call: &RunningCall, used: Used, request: &MediaRequest<'_>) -> Used {
    let Used::Counted(counted) = used else { return used };
    if !call.judges_itself() {
        return used;
    }
    let measured = match request.task() {
        Task::Embeddings(_) => Some(request.quantity_estimate()),
        Task::Transcription(task) => audio::measure_seconds(task.file.bytes).map(Quantity::Steps),
        Task::Images(_) | Task::Speech(_) | Task::Video(_) => None,
    };
    match (counted, measured) {
        (_, None) => used,
        (Quantity::Tokens(told), Some(Quantity::Tokens(is))) if is_plausible(told.input, is.input) => {
            Used::Counted(Quantity::Tokens(TokenUsage { input: told.input, ..TokenUsage::default() }))
        }
        (Quantity::Steps(told), Some(Quantity::Steps(is))) if is_plausible(told, is) => used,
        (_, Some(measured)) => Used::Measured(measured),
    }
}

/// How long the recording is, when the upstream does not say.
fn measure(request: &MediaRequest<'_>) -> Quantity {
    match request.task() {
        Task::Transcription(task) => Quantity::Steps(audio::seconds_upper(task.file.bytes)),
        _ => request.quantity_upper(),
    }
}

/// The tap of speech that streams: it passes everything on and settles once.
struct SoundTap {
    /// `None` once settled.
    call: Option<RunningCall>,
    used: Used,
}

impl StreamTap for SoundTap {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Flow {
        out.extend_from_slice(chunk);
        Flow::Continue
    }

    fn tick(&mut self) {
        if let Some(call) = &self.call {
            call.cx.keep_up();
        }
    }

    fn end(&mut self, end: StreamEnd, _out: &mut Vec<u8>) {
        let Some(call) = self.call.take() else { return };
        match end {
            StreamEnd::Eof => call.settle(Outcome::Completed, 200, self.used),
            // The upstream speaks to the end, and is paid for it.
            StreamEnd::ClientGone => call.settle(Outcome::ClientGone, 200, self.used),
            // Half a file is none.
            StreamEnd::Broken | StreamEnd::Stalled => call.settle(Outcome::StreamBroken, 200, Used::Nothing),
        };
    }
}
