//! What a client of the native surface wants of the route.

use serde_json::Number;

use super::members::{Members, ParseError};
use super::{MAX_BUDGET_MICROS, MAX_LATENCY_MS};
use crate::money::MicroUsd;
use crate::routing::{MAX_WEIGHT, Mode};

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

impl Policy {
    pub(super) fn read(policy: Members<'_>) -> Result<Self, ParseError> {
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
