//! Carries out an orchestration: every call that its machine asks for, until it has its answer.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::native::{
    Answered, Ask, Failure, NativeRequest, Orchestration, Outcome, Plan, PlanFailure, PlanMode, Step,
};
use guildhall_domain::routing::{Limits, Mode};

use super::choice::{Naming, choose};
use super::native::{Wanted, complete_natively, to_policy};
use super::table::read_snapshot;
use crate::app::Cx;
use crate::error::{ApiError, Kind};
use crate::http::output::Body;
use crate::observe::history::Chronicle;

/// Carries out a plan.
///
/// # Errors
/// 502 with the phase that failed; what the house itself refused (402, 429, a 4xx of an upstream) keeps its status.
pub async fn carry_out(cx: &Cx, plan: Plan) -> Result<Outcome, ApiError> {
    let voters = if plan.mode == PlanMode::Vote { list_voters(cx, &plan).await? } else { Vec::new() };
    let (mut run, mut step) = Orchestration::begin(plan, &voters, now_ms(cx));
    // Why the last calls failed, as it would be told of each alone.
    let mut refusals = Vec::new();
    let mut is_paid = false;
    let mut chronicle = Chronicle::new("plan", &cx.request_id, "OrchestrationWorkflow", cx.started_ms);
    // Ends: the machine has no more than two phases a round.
    loop {
        chronicle.write(&cx.ports, run.events());
        step = match step {
            Step::Ask(asks) => {
                cx.keep_up();
                let results = join_all(asks.iter().map(|ask| call(cx, ask, &run.plan().request))).await;
                is_paid |= results.iter().any(Result::is_ok);
                refusals = results.iter().filter_map(|result| result.as_ref().err().cloned()).collect();
                let results = results.into_iter().map(|result| result.map_err(|error| to_failure(&error)));
                run.answer(results.collect(), now_ms(cx))
            }
            Step::Done(outcome) => return Ok(outcome),
            Step::Failed(failure) => return Err(to_error(failure, refusals).paid(is_paid)),
        };
    }
}

fn now_ms(cx: &Cx) -> u64 {
    u64::try_from(cx.ports.clock.now_ms()).unwrap_or(0)
}

/// The models that may vote, best first.
async fn list_voters(cx: &Cx, plan: &Plan) -> Result<Vec<String>, ApiError> {
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let body = plan.request.to_chat_request(guildhall_domain::native::ANY_MODEL);
    let request = ChatRequest::parse(&body)?;
    let limits = Limits { min_weight: plan.primary_min_weight, ..Limits::default() };
    let wanted = Wanted { mode: Some(Mode::Normal), limits, naming: Naming::Hint };
    let policy = to_policy(&snapshot, wanted, &plan.request);
    // Nobody eligible is the machine's to tell.
    let Ok(choice) = choose(cx, &snapshot, None, &request, &policy) else { return Ok(Vec::new()) };
    Ok(choice.ranked_offers().map(|offer| offer.model_id.to_string()).collect())
}

/// One call of an orchestration: a request of its own in the usage and in the wallet.
async fn call(cx: &Cx, ask: &Ask, request: &NativeRequest) -> Result<Answered, ApiError> {
    let own = Cx {
        request_id: Rc::from(format!("{}-{}", cx.request_id, ask.name)),
        started_ms: cx.ports.clock.now_ms(),
        ..cx.clone()
    };
    let route = &ask.route;
    let naming = if route.model.is_some() && !route.may_fall_back { Naming::Exact } else { Naming::Hint };
    let limits = Limits { min_weight: route.min_weight, ..Limits::default() };
    let wanted = Wanted { mode: route.mode, limits, naming };
    let answer = complete_natively(own, &ask.body, wanted, request).await?;
    let Body::Whole(body) = answer.output.body else {
        return Err(ApiError::internal("a stream that nobody asked for"));
    };
    Ok(Answered { model: answer.negotiated_model, cost_micros: answer.cost, routing_reason: answer.reason, body })
}

fn to_failure(error: &ApiError) -> Failure {
    Failure { status: error.kind.status(), message: error.message.clone(), cost_micros: MicroUsd::ZERO }
}

/// Why a plan failed: where a call was refused for it, with all that is told beside the message (what is spent, when to come again).
fn to_error(failure: PlanFailure, refusals: Vec<ApiError>) -> ApiError {
    let refusal = refusals.into_iter().find(|error| error.kind.status() == failure.status);
    let mut error = refusal.unwrap_or_else(|| ApiError::new(Kind::UpstreamFailed, ""));
    error.message = failure.message;
    error
}

/// A call under way, then its result.
enum Running<F: Future> {
    Going(Pin<Box<F>>),
    Over(Option<F::Output>),
}

/// Runs futures at once; their results in the same order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Unpin,
{
    let mut running: Vec<Running<F>> = futures.map(|future| Running::Going(Box::pin(future))).collect();
    std::future::poll_fn(move |context| {
        let mut is_over = true;
        for slot in &mut running {
            if let Running::Going(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Running::Over(Some(output)),
                    Poll::Pending => is_over = false,
                }
            }
        }
        if !is_over {
            return Poll::Pending;
        }
        let outputs = running.iter_mut().filter_map(|slot| match slot {
            Running::Over(output) => output.take(),
            Running::Going(_) => None,
        });
        Poll::Ready(outputs.collect())
    })
    .await
}
