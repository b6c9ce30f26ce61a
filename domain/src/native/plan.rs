//! `POST /v1/plan`: what is asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MAX_ITERATIONS;
use super::envelope::NativeRequest;
use super::format::OutputFormat;
use super::members::{Members, ParseError};
use super::policy::read_weight;
use crate::json_schema::Schema;

/// A checked request for an orchestration. Directives are not read here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is asked. `stream` says nothing here.
    pub request: NativeRequest,
    /// How the models work together.
    pub mode: PlanMode,
    /// Rounds, or voters; 0 leaves them to the mode.
    pub iterations: u8,
    /// The model that does the work; `None` lets the router choose.
    pub primary_model_id: Option<String>,
    /// The model that reviews or judges; `None` lets the router choose.
    pub review_model_id: Option<String>,
    /// Least weight of the model that does the work, where the router chooses.
    pub primary_min_weight: u8,
    /// Least weight of the model that reviews, where the router chooses.
    pub review_min_weight: u8,
    /// Whether an adversarial orchestration stops at its first plan.
    pub return_plan_only: bool,
    /// What the text of the result has to fit.
    pub output_schema: Option<Schema>,
    /// How the text of the result is to look.
    pub output_format: OutputFormat,
}

/// How models work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// One routed call.
    Single,
    /// One call, routed for planning.
    Planning,
    /// A plan, its critique, a better plan.
    Adversarial,
    /// Several answers, of which a judge takes one.
    Vote,
    /// One model that improves its own answer.
    Refine,
}

/// Reads and checks the body of `POST /v1/plan`.
///
/// # Errors
/// [`ParseError`] for the first fault.
pub fn parse_plan(body: &[u8]) -> Result<Plan, ParseError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| ParseError::bad_json())?;
    let members = Members::of_body(&body)?;
    let request = NativeRequest::read(members)?;
    // A composite has one text per call.
    if request.parameters.get("n").is_some_and(|n| *n != 1) {
        return Err(ParseError::new("request.parameters.n", "request.parameters.n must be 1"));
    }
    let orchestration = members.section("orchestration")?;
    let iterations = orchestration.whole("iterations", MAX_ITERATIONS)?;
    let output_schema = orchestration.schema("output_schema")?.or_else(|| request.output_schema.clone());
    Ok(Plan {
        request: NativeRequest { is_stream: false, output_schema: None, ..request },
        mode: read_mode(orchestration)?,
        iterations: u8::try_from(iterations).unwrap_or_default(),
        primary_model_id: orchestration.text("primary_model_id")?.map(str::to_owned),
        review_model_id: orchestration.text("review_model_id")?.map(str::to_owned),
        primary_min_weight: read_weight(orchestration, "primary_min_weight")?,
        review_min_weight: read_weight(orchestration, "review_min_weight")?,
        return_plan_only: orchestration.flag("return_plan_only")?.unwrap_or(false),
        output_schema,
        output_format: OutputFormat::read(members.section("output_format")?)?,
    })
}

fn read_mode(orchestration: Members<'_>) -> Result<PlanMode, ParseError> {
    // As it stands: " vote" is no mode either.
    match orchestration.get("mode").map_or(Some(""), Value::as_str) {
        Some("") => Ok(PlanMode::Single),
        Some("planning") => Ok(PlanMode::Planning),
        Some("adversarial") => Ok(PlanMode::Adversarial),
        Some("vote") => Ok(PlanMode::Vote),
        Some("refine") => Ok(PlanMode::Refine),
        _ => Err(ParseError::new("orchestration.mode", "unknown orchestration mode")),
    }
}
