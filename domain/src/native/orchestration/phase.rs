//! The phases of the modes: what each asks, and what follows from the replies.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::plan::{Plan, PlanMode};
use super::ballot::parse_choice;
use super::prompting::{Writer, compose_original, compose_phase, quote, quote_numbered};
use super::{Ask, Failure, Outcome, PlanFailure, Reply, RouteWish, prompts};
use crate::money::MicroUsd;
use crate::routing::Mode;

/// Voters where the plan does not say.
const DEFAULT_VOTERS: usize = 3;
/// Rounds of refinement where the plan does not say.
const DEFAULT_REFINEMENTS: u8 = 2;

/// Where an orchestration stands. Stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// One routed call.
    Single,
    /// The first plan.
    Planning,
    /// The plan is reviewed.
    Critique(Draft),
    /// The plan is improved after its review.
    Replanning {
        /// The plan.
        draft: Draft,
        /// Its review.
        critique: String,
    },
    /// The models that answer.
    Voting {
        /// Their ids.
        voters: Vec<String>,
    },
    /// A judge takes one of the answers.
    Judging {
        /// At least two.
        ballots: Vec<Ballot>,
    },
    /// The first response.
    Responding,
    /// The response is improved by the model that wrote it.
    Improving {
        /// The response so far.
        response: String,
        /// Its model.
        model: String,
        /// Rounds done.
        rounds: u8,
    },
    Done(Outcome),
    Failed(PlanFailure),
}

/// A plan on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Draft {
    /// The first plan.
    initial: String,
    /// The plan as it stands.
    current: String,
    /// The latest review.
    last_critique: String,
    /// Reviews taken in.
    rounds: u8,
}

/// An answer that is voted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    model: String,
    content: String,
}

/// The phase that a plan begins with.
pub(super) fn first(plan: &Plan, eligible_models: &[String]) -> Phase {
    match plan.mode {
        PlanMode::Single | PlanMode::Planning => Phase::Single,
        PlanMode::Adversarial => Phase::Planning,
        PlanMode::Refine => Phase::Responding,
        PlanMode::Vote => {
            let voters = choose_voters(plan, eligible_models);
            if voters.is_empty() {
                return Phase::Failed(PlanFailure::new("no eligible models for vote"));
            }
            Phase::Voting { voters }
        }
    }
}

/// The best models, without the judge unless nobody else is there.
fn choose_voters(plan: &Plan, eligible_models: &[String]) -> Vec<String> {
    let count = if plan.iterations >= 2 { usize::from(plan.iterations) } else { DEFAULT_VOTERS };
    let is_judge = |model: &&String| plan.review_model_id.as_ref() == Some(*model);
    let others: Vec<String> = eligible_models.iter().filter(|model| !is_judge(model)).take(count).cloned().collect();
    if others.is_empty() { eligible_models.iter().take(1).cloned().collect() } else { others }
}

impl Phase {
    /// The calls that are due; none when all is over.
    pub fn asks(&self, plan: &Plan) -> Vec<Ask> {
        let primary = |mode| wish(plan.primary_model_id.as_ref(), mode, plan.primary_min_weight);
        let review = |mode| wish(plan.review_model_id.as_ref(), mode, plan.review_min_weight);
        let ask = match self {
            Self::Single => {
                let model = plan.primary_model_id.as_ref().or(plan.request.model_hint.as_ref());
                let mode = (plan.mode == PlanMode::Planning).then_some(Mode::Planning);
                original(
                    plan,
                    "chat".to_owned(),
                    RouteWish { mode, ..wish(model, Mode::Normal, plan.primary_min_weight) },
                )
            }
            Self::Planning => {
                generated(plan, Writer::Planner, "plan".to_owned(), primary(Mode::Planning), String::new())
            }
            Self::Critique(draft) => {
                let name = format!("critique-{}", draft.rounds + 1);
                let addition = quote("plan", &draft.current) + prompts::ASK_CRITIQUE;
                generated(plan, Writer::Critic, name, review(Mode::Adversarial), addition)
            }
            Self::Replanning { draft, critique } => {
                let name = format!("refine-{}", draft.rounds + 1);
                let addition = quote("plan", &draft.current) + &quote("critique", critique) + prompts::ASK_BETTER_PLAN;
                generated(plan, Writer::PlanRefiner, name, primary(Mode::Planning), addition)
            }
            Self::Voting { voters } => {
                let ask = |(index, model): (usize, &String)| {
                    let route = RouteWish { may_fall_back: false, ..wish(Some(model), Mode::Normal, 0) };
                    original(plan, format!("vote-{}", index + 1), route)
                };
                return voters.iter().enumerate().map(ask).collect();
            }
            Self::Judging { ballots } => {
                let addition =
                    quote_numbered(ballots.iter().map(|ballot| ballot.content.as_str())) + prompts::ASK_CHOICE;
                generated(plan, Writer::Judge, "judge".to_owned(), review(Mode::HighConfidence), addition)
            }
            Self::Responding => original(plan, "initial".to_owned(), primary(Mode::HighConfidence)),
            Self::Improving { response, model, rounds } => {
                let route = RouteWish { may_fall_back: false, ..wish(Some(model), Mode::HighConfidence, 0) };
                let addition = quote("response", response) + prompts::ASK_BETTER_RESPONSE;
                generated(plan, Writer::Improver, format!("refine-{}", rounds + 1), route, addition)
            }
            Self::Done(_) | Self::Failed(_) => return Vec::new(),
        };
        vec![ask]
    }

    /// The phase after the replies to this one's asks.
    pub fn follow(self, plan: &Plan, mut replies: Vec<Result<Reply, Failure>>) -> Self {
        if let Self::Voting { .. } = self {
            return count_ballots(plan, replies);
        }
        let reply = replies.pop().unwrap_or_else(|| Err(Failure::new("the call was not made")));
        let next = match self {
            Self::Single => follow_single(plan, reply),
            Self::Planning => spoken(reply, "adversarial plan phase").and_then(|reply| {
                let draft =
                    Draft { initial: reply.text.clone(), current: reply.text, last_critique: String::new(), rounds: 0 };
                if plan.return_plan_only { conclude_plan(plan, draft, reply.model) } else { Ok(Self::Critique(draft)) }
            }),
            Self::Critique(draft) => spoken(reply, "adversarial critique phase")
                .map(|reply| Self::Replanning { draft, critique: reply.text }),
            Self::Replanning { draft, critique } => spoken(reply, "adversarial refine phase").and_then(|reply| {
                let rounds = draft.rounds + 1;
                let draft = Draft { current: reply.text, last_critique: critique, rounds, ..draft };
                if rounds < plan.iterations.max(1) {
                    return Ok(Self::Critique(draft));
                }
                conclude_plan(plan, draft, reply.model)
            }),
            Self::Judging { ballots } => Ok(take_choice(plan, ballots, reply)),
            Self::Responding => spoken(reply, "refine initial phase").map(|reply| Self::Improving {
                response: reply.text,
                model: reply.model,
                rounds: 0,
            }),
            Self::Improving { response, model, rounds } => follow_improving(plan, response, model, rounds, reply),
            phase @ (Self::Voting { .. } | Self::Done(_) | Self::Failed(_)) => Ok(phase),
        };
        next.unwrap_or_else(Self::Failed)
    }
}

fn wish(model: Option<&String>, mode: Mode, min_weight: u8) -> RouteWish {
    RouteWish { model: model.cloned(), may_fall_back: true, mode: Some(mode), min_weight }
}

fn original(plan: &Plan, name: String, route: RouteWish) -> Ask {
    let body = compose_original(&plan.request.messages, &plan.request.parameters, route.model.as_deref());
    Ask { name, body, route }
}

fn generated(plan: &Plan, writer: Writer, name: String, route: RouteWish, addition: String) -> Ask {
    let request = &plan.request;
    let body = compose_phase(writer, &request.messages, &request.parameters, route.model.as_deref(), &addition);
    Ask { name, body, route }
}

/// A reply that says something.
fn spoken(reply: Result<Reply, Failure>, phase: &str) -> Result<Reply, PlanFailure> {
    let reply = reply.and_then(|reply| {
        if reply.text.is_empty() { Err(Failure::new("the model's answer is empty")) } else { Ok(reply) }
    });
    reply.map_err(|failure| PlanFailure::of_phase(phase, failure))
}

/// The text that counts, in its format and held against the schemas.
fn shape(plan: &Plan, text: &str) -> Result<String, PlanFailure> {
    let shaped = plan.output_format.shape_text(text, plan.output_schema.as_ref());
    shaped.map_err(|fault| PlanFailure::new(fault.message))
}

fn done(response: &Value, routing_reason: &str, negotiated_model: String) -> Phase {
    let routing_reason = routing_reason.to_owned();
    Phase::Done(Outcome {
        response: response.to_string(),
        routing_reason,
        negotiated_model,
        cost_micros: MicroUsd::ZERO,
    })
}

fn follow_single(plan: &Plan, reply: Result<Reply, Failure>) -> Result<Phase, PlanFailure> {
    let reply = reply.map_err(|failure| PlanFailure { status: failure.status, ..PlanFailure::new(failure.message) })?;
    let mut completion = reply.completion;
    let shaped = plan.output_format.shape_completion(&mut completion, plan.output_schema.as_ref());
    shaped.map_err(|fault| PlanFailure::new(fault.message))?;
    Ok(done(&completion, &reply.routing_reason, reply.model))
}

fn conclude_plan(plan: &Plan, draft: Draft, model: String) -> Result<Phase, PlanFailure> {
    let result = shape(plan, &draft.current)?;
    if plan.return_plan_only {
        return Ok(done(&json!({"initial_plan":result}), "adversarial-plan-only", model));
    }
    let response = json!({"initial_plan":draft.initial,"critique":draft.last_critique,"refined_plan":result});
    Ok(done(&response, "adversarial-orchestration", model))
}

/// Voters that failed or said nothing have no ballot.
fn count_ballots(plan: &Plan, replies: Vec<Result<Reply, Failure>>) -> Phase {
    let statuses: Vec<u16> =
        replies.iter().filter_map(|reply| reply.as_ref().err()).map(|failure| failure.status).collect();
    let is_refused = statuses.len() == replies.len();
    let spoken = replies.into_iter().flatten().filter(|reply| !reply.text.is_empty());
    let mut ballots: Vec<Ballot> = spoken.map(|reply| Ballot { model: reply.model, content: reply.text }).collect();
    match ballots.len() {
        0 => {
            let failure = PlanFailure::new("all voters failed");
            // The house's own word (no money, a limit) if it is the same to all of them.
            let status = statuses.first().filter(|first| is_refused && statuses.iter().all(|status| status == *first));
            Phase::Failed(PlanFailure { status: status.copied().unwrap_or(failure.status), ..failure })
        }
        1 => {
            let Ballot { model, content } = ballots.remove(0);
            shape(plan, &content).map_or_else(Phase::Failed, |content| {
                let response = json!({"responses":[{"model":model,"content":content}],"selected":0});
                done(&response, "vote-single-response", model)
            })
        }
        _ => Phase::Judging { ballots },
    }
}

/// Without a judge's word the first answer stands.
fn take_choice(plan: &Plan, mut ballots: Vec<Ballot>, reply: Result<Reply, Failure>) -> Phase {
    let (judge, choice) = reply.map_or((String::new(), None), |reply| {
        let choice = parse_choice(&reply.text, ballots.len());
        (reply.model, choice)
    });
    let selected = choice.unwrap_or(0);
    let mut negotiated_model = String::new();
    if let Some(ballot) = ballots.get_mut(selected) {
        match shape(plan, &ballot.content) {
            Ok(content) => ballot.content = content,
            Err(failure) => return Phase::Failed(failure),
        }
        negotiated_model.clone_from(&ballot.model);
    }
    let responses = ballots
        .into_iter()
        .enumerate()
        .map(|(index, ballot)| json!({"model":ballot.model,"content":ballot.content,"selected":index == selected}));
    let response = json!({"responses":responses.collect::<Vec<_>>(),"selected":selected,"judge":judge});
    done(&response, "vote-orchestration", negotiated_model)
}

/// The first failure ends the rounds; what there is stands.
fn follow_improving(
    plan: &Plan,
    response: String,
    model: String,
    rounds: u8,
    reply: Result<Reply, Failure>,
) -> Result<Phase, PlanFailure> {
    let wanted = if plan.iterations == 0 { DEFAULT_REFINEMENTS } else { plan.iterations };
    let (response, model, rounds) = match spoken(reply, "") {
        Ok(reply) if rounds + 1 < wanted => {
            return Ok(Phase::Improving { response: reply.text, model: reply.model, rounds: rounds + 1 });
        }
        Ok(reply) => (reply.text, reply.model, rounds + 1),
        Err(_) => (response, model, rounds),
    };
    let refined = shape(plan, &response)?;
    let response = json!({"refined_response":refined,"iterations":rounds,"model":model});
    Ok(done(&response, "refine-orchestration", model))
}
