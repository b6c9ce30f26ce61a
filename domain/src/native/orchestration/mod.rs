//! Several model calls that make one answer, as a machine: ask, be answered, ask again, be done.
//!
//! The machine does nothing itself. [`Orchestration::begin`] says what to ask; the caller asks all
//! of it (at once, if it is several) and hands the results to [`Orchestration::answer`], until the
//! step is [`Step::Done`] or [`Step::Failed`]. Between the steps it can be stored:
//! [`Orchestration::step`] says again what is due. Names of asks never repeat, so that they can be
//! the keys of durable calls.

mod ballot;
mod history;
mod phase;
mod prompting;
mod prompts;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::extract_text;
use super::plan::Plan;
use crate::money::MicroUsd;
use crate::routing::Mode;
use history::History;
use phase::Phase;

pub use history::{EventType, HistoryEvent};

/// Status of a failure for which nobody but the models is to blame.
const BAD_GATEWAY: u16 = 502;

/// A run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orchestration {
    plan: Plan,
    phase: Phase,
    /// Of all calls so far, failed ones included.
    cost_micros: MicroUsd,
    history: History,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make these calls, all of them, and bring their results in this order.
    Ask(Vec<Ask>),
    /// The answer.
    Done(Outcome),
    /// There is none.
    Failed(PlanFailure),
}

/// A model call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its name: `plan`, `critique-1`, `vote-2`, `judge`.
    pub name: String,
    /// An OpenAI chat completion request.
    pub body: Vec<u8>,
    /// Who is to answer.
    pub route: RouteWish,
}

/// Which model is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteWish {
    /// The model to try first; `None` leaves it to the router.
    pub model: Option<String>,
    /// Whether the router may choose when `model` fails. Without a model it always chooses.
    pub may_fall_back: bool,
    /// What the router's choice is to be good at; `None` is the house's default.
    pub mode: Option<Mode>,
    /// Least weight of the router's choice.
    pub min_weight: u8,
}

/// A model's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The model that answered.
    pub model: String,
    /// What it cost.
    pub cost_micros: MicroUsd,
    /// Why it was chosen.
    pub routing_reason: String,
    /// An OpenAI chat completion.
    pub body: Vec<u8>,
}

/// A model call without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status that it would be on its own.
    pub status: u16,
    /// Why; goes to the client.
    pub message: String,
    /// What it cost nevertheless.
    pub cost_micros: MicroUsd,
}

/// The result of an orchestration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The `response` of the envelope: JSON text.
    pub response: String,
    /// The `routing_reason` of the envelope.
    pub routing_reason: String,
    /// The model of the text that counts.
    pub negotiated_model: String,
    /// Of all calls.
    pub cost_micros: MicroUsd,
}

/// Why an orchestration has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFailure {
    /// HTTP status: 502, unless the house itself refused the call (no money, a limit).
    pub status: u16,
    /// Why; goes to the client.
    pub message: String,
    /// What was spent all the same.
    pub cost_micros: MicroUsd,
}

/// An answer with its text.
struct Reply {
    text: String,
    model: String,
    routing_reason: String,
    completion: Value,
}

impl Orchestration {
    /// Begins a plan. `eligible_models` are the models that may vote, the best (mode `normal`, at
    /// least [`Plan::primary_min_weight`]) first; other modes do not look at them. `now_ms` is in
    /// milliseconds since 1970.
    #[must_use]
    pub fn begin(plan: Plan, eligible_models: &[String], now_ms: u64) -> (Self, Step) {
        let phase = phase::first(&plan, eligible_models);
        let mut run = Self { plan, phase, cost_micros: MicroUsd::ZERO, history: History::default() };
        run.history.push(EventType::WorkflowExecutionStarted, now_ms, |_| {});
        let step = run.announce(now_ms);
        (run, step)
    }

    /// What is due, as `begin` or `answer` said it last.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.phase {
            Phase::Done(outcome) => Step::Done(outcome.clone()),
            Phase::Failed(failure) => Step::Failed(failure.clone()),
            phase => Step::Ask(phase.asks(&self.plan)),
        }
    }

    /// Takes the results of the asks, in their order. A missing result is a failure. When all is
    /// over nothing changes any more.
    pub fn answer(&mut self, results: Vec<Result<Answered, Failure>>, now_ms: u64) -> Step {
        let Step::Ask(asks) = self.step() else { return self.step() };
        let mut results = results.into_iter();
        let replies: Vec<Result<Reply, Failure>> = asks
            .into_iter()
            .map(|ask| {
                let result = results.next().unwrap_or_else(|| Err(Failure::new("the call was not made")));
                self.record(ask.name, result, now_ms)
            })
            .collect();
        self.phase = self.phase.clone().follow(&self.plan, replies);
        self.announce(now_ms)
    }

    /// What happened so far.
    #[must_use]
    pub fn events(&self) -> &[HistoryEvent] {
        self.history.events()
    }

    /// What was spent so far.
    #[must_use]
    pub const fn cost_micros(&self) -> MicroUsd {
        self.cost_micros
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Notes what a new phase begins with: its asks, or the end.
    fn announce(&mut self, now_ms: u64) -> Step {
        match &mut self.phase {
            Phase::Done(outcome) => outcome.cost_micros = self.cost_micros,
            Phase::Failed(failure) => failure.cost_micros = self.cost_micros,
            _ => {}
        }
        let step = self.step();
        match &step {
            Step::Ask(asks) => {
                for ask in asks {
                    let name = ask.name.clone();
                    self.history.push(EventType::ActivityTaskScheduled, now_ms, |event| event.activity = Some(name));
                }
            }
            Step::Done(outcome) => {
                let model = outcome.negotiated_model.clone();
                self.history.push(EventType::WorkflowExecutionCompleted, now_ms, |event| {
                    event.model = Some(model);
                    event.cost_micros = Some(outcome.cost_micros);
                });
            }
            Step::Failed(failure) => {
                self.history.push(EventType::WorkflowExecutionFailed, now_ms, |event| {
                    event.cost_micros = Some(failure.cost_micros);
                    event.message = Some(failure.message.clone());
                });
            }
        }
        step
    }

    /// Counts a result's cost, notes it, and reads its text.
    fn record(&mut self, name: String, result: Result<Answered, Failure>, now_ms: u64) -> Result<Reply, Failure> {
        let (cost, model) = match &result {
            Ok(answered) => (answered.cost_micros, Some(answered.model.clone())),
            Err(failure) => (failure.cost_micros, None),
        };
        self.cost_micros = self.cost_micros.checked_add(cost).unwrap_or(MicroUsd::MAX);
        let reply = result.and_then(Reply::read);
        let kind = if reply.is_ok() { EventType::ActivityTaskCompleted } else { EventType::ActivityTaskFailed };
        self.history.push(kind, now_ms, |event| {
            event.activity = Some(name);
            event.model = model;
            event.cost_micros = Some(cost);
            event.message = reply.as_ref().err().map(|failure| failure.message.clone());
        });
        reply
    }
}

impl Reply {
    fn read(answered: Answered) -> Result<Self, Failure> {
        let Answered { model, routing_reason, body, .. } = answered;
        let completion: Value =
            serde_json::from_slice(&body).map_err(|_| Failure::new("the provider's answer is not JSON"))?;
        Ok(Self { text: extract_text(&completion), model, routing_reason, completion })
    }
}

impl Failure {
    fn new(message: &str) -> Self {
        Self { status: BAD_GATEWAY, message: message.to_owned(), cost_micros: MicroUsd::ZERO }
    }
}

impl PlanFailure {
    /// The cost is filled in when the phase is announced.
    fn new(message: impl Into<String>) -> Self {
        Self { status: BAD_GATEWAY, message: message.into(), cost_micros: MicroUsd::ZERO }
    }

    fn of_phase(phase: &str, failure: Failure) -> Self {
        Self { status: failure.status, ..Self::new(format!("{phase}: {}", failure.message)) }
    }
}

#[cfg(test)]
mod tests;
