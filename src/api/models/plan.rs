//! Several models on one request.

use guildhall_domain::native::parse_plan;
use schemars::JsonSchema;

use super::shapes::{FormatBody, NativeAnswer, RequestBody};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::ApiError;
use crate::gateway::native::{resolve_hint, to_output};
use crate::gateway::orchestration::carry_out;
use crate::gateway::table::read_snapshot;
use crate::http::input::RawJson;
use crate::http::output::RawReply;
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Chat", dialect TokenHub;
    /// Have several models work on one request.
    ///
    /// `adversarial`: a plan, its critique, a better plan. `vote`: several answers, of which a judge takes one. `refine`: one
    /// model improves its own answer. `planning` or nothing: one call. The answer is the envelope of `/v1/chat`; its cost is
    /// that of all calls, each of which is a record of its own in the usage.
    Post "/v1/plan" Access::Key(Scope::Plan), body_max_bytes = 10 << 20 => send_plan;
}

/// A question for several models.
#[derive(JsonSchema)]
#[schemars(rename = "PlanRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::native` reads what is sent")]
struct PlanBody {
    /// What is asked; `stream` says nothing here.
    request: RequestBody,
    /// How the models work together.
    orchestration: Option<OrchestrationBody>,
    /// How the result's text is to look.
    output_format: Option<FormatBody>,
}

/// How models work together.
#[derive(JsonSchema)]
#[schemars(rename = "OrchestrationRequest")]
#[expect(dead_code, reason = "only its schema is used")]
struct OrchestrationBody {
    /// `planning`, `adversarial`, `vote`, `refine`, or empty.
    mode: Option<String>,
    /// Rounds, or voters: 0 to 10; 0 is the mode's default.
    iterations: Option<u8>,
    /// The model that does the work.
    primary_model_id: Option<String>,
    /// The model that reviews or judges.
    review_model_id: Option<String>,
    /// Least weight of the model that does the work, 0 to 10.
    primary_min_weight: Option<u8>,
    /// Least weight of the model that reviews, 0 to 10.
    review_min_weight: Option<u8>,
    /// Stop at the first plan.
    return_plan_only: Option<bool>,
    /// A JSON schema as JSON text; the text of the result is held against it.
    output_schema: Option<String>,
}

async fn send_plan(cx: Cx, request: RawJson<PlanBody>) -> Result<RawReply<NativeAnswer>, ApiError> {
    let mut plan = parse_plan(&request.body)?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let hint = plan.request.model_hint.take();
    plan.request.model_hint = hint.map(|hint| resolve_hint(&snapshot, Some(&hint)).to_owned());
    let outcome = carry_out(&cx, plan).await?;
    let response = outcome.response.as_bytes();
    Ok(to_output(&outcome.negotiated_model, outcome.cost_micros, &outcome.routing_reason, response).into())
}
