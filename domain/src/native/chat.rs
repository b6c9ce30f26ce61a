//! `POST /v1/chat`: one routed call.

use serde_json::{Number, Value};

use super::answer::AnswerFault;
use super::directive::{Directive, take_directives};
use super::envelope::NativeRequest;
use super::format::OutputFormat;
use super::members::{Members, ParseError, read_schema};
use super::{MAX_BUDGET_MICROS, MAX_LATENCY_MS};
use crate::money::MicroUsd;
use crate::routing::{MAX_WEIGHT, Mode};

/// A checked chat request. Directives have been obeyed and taken out of the messages.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeChat {
    /// What is asked; its `output_schema` is the directive's if there was one.
    pub request: NativeRequest,
    /// How to route it.
    pub policy: Policy,
    /// How the answer is to look. Streams know `strip_think` only.
    pub output_format: OutputFormat,
}

/// What the client wants of the route; `None` and 0 leave it to the house.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the route is to be good at.
    pub mode: Option<Mode>,
    /// Most that the call may cost.
    pub max_budget: Option<MicroUsd>,
    /// Longest that the call may take, in milliseconds.
    pub max_latency_ms: Option<u64>,
    /// Least weight of a model.
    pub min_weight: u8,
}

/// Reads and checks the body of `POST /v1/chat`.
///
/// `policy.directives: false` leaves `@@tokenhub` directives in the messages alone.
/// `capabilities.planning` stands for the mode `planning` where the policy names none.
///
/// # Errors
/// [`ParseError`] for the first fault.
pub fn parse_chat(body: &[u8]) -> Result<NativeChat, ParseError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| ParseError::bad_json())?;
    let members = Members::of_body(&body)?;
    let mut chat = NativeChat {
        request: NativeRequest::read(members)?,
        policy: Policy::read(members.section("policy")?)?,
        output_format: OutputFormat::read(members.section("output_format")?)?,
    };
    if members.section("policy")?.flag("directives")?.unwrap_or(true) {
        let directive = take_directives(&mut chat.request.messages)?;
        chat.obey(directive)?;
    }
    let can_plan = members.section("capabilities")?.flag("planning")?.unwrap_or(false);
    if can_plan && chat.policy.mode.is_none() {
        chat.policy.mode = Some(Mode::Planning);
    }
    Ok(chat)
}

impl NativeChat {
    /// The provider's answer, an OpenAI chat completion, as the client is to get it.
    ///
    /// # Errors
    /// [`AnswerFault`] (502): the text does not fit a schema, or can't be cut.
    pub fn shape(&self, answer: Vec<u8>) -> Result<Vec<u8>, AnswerFault> {
        self.output_format.shape_answer(answer, self.request.output_schema.as_ref())
    }

    /// A directive overrides the policy where it says something.
    fn obey(&mut self, directive: Directive) -> Result<(), ParseError> {
        let Directive { policy, output_schema } = directive;
        self.policy = Policy {
            mode: policy.mode.or(self.policy.mode),
            max_budget: policy.max_budget.or(self.policy.max_budget),
            max_latency_ms: policy.max_latency_ms.or(self.policy.max_latency_ms),
            min_weight: if policy.min_weight > 0 { policy.min_weight } else { self.policy.min_weight },
        };
        if let Some(source) = output_schema {
            self.request.output_schema = Some(read_schema(source, "output_schema")?);
        }
        Ok(())
    }
}

impl Policy {
    fn read(policy: Members<'_>) -> Result<Self, ParseError> {
        let mode = policy.text("mode")?.map(|name| {
            let known = Mode::POLICIES.map(Mode::as_str).join(", ");
            parse_mode(name).ok_or_else(|| policy.fault("mode", format_args!("must be one of {known}, vote, refine")))
        });
        Ok(Self {
            mode: mode.transpose()?,
            max_budget: read_budget(policy)?,
            max_latency_ms: Some(policy.whole("max_latency_ms", MAX_LATENCY_MS)?).filter(|latency| *latency > 0),
            min_weight: read_weight(policy, "min_weight")?,
        })
    }
}

/// A mode by its name. `vote` and `refine` are orchestrations; for one call they mean `normal`.
pub(super) fn parse_mode(name: &str) -> Option<Mode> {
    match name {
        "vote" | "refine" => Some(Mode::Normal),
        _ => Mode::POLICIES.into_iter().find(|mode| mode.as_str() == name),
    }
}

/// A weight, 0 if absent.
pub(super) fn read_weight(members: Members<'_>, key: &str) -> Result<u8, ParseError> {
    let weight = members.whole(key, u64::from(MAX_WEIGHT))?;
    Ok(u8::try_from(weight).unwrap_or(MAX_WEIGHT))
}

fn read_budget(policy: Members<'_>) -> Result<Option<MicroUsd>, ParseError> {
    let key = "max_budget_usd";
    let Some(value) = policy.get(key) else { return Ok(None) };
    let range = || ParseError::new(policy.param(key), "max_budget_usd must be between 0 and 100");
    let dollars: &Number = value.as_number().ok_or_else(range)?;
    // Compared before it is read: a number out of range may also be too precise.
    let is_in_range = dollars.as_f64().is_some_and(|dollars| (0.0..=100.0).contains(&dollars));
    if !is_in_range {
        return Err(range());
    }
    let budget = MicroUsd::from_usd(dollars).map_err(|error| policy.fault(key, error))?;
    Ok(Some(budget).filter(|budget| (1..=MAX_BUDGET_MICROS).contains(&budget.0)))
}
