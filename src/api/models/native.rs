//! `TokenHub`'s own chat: a request in an envelope with a policy, an answer that says who gave it and what it cost.

use guildhall_domain::native::{NativeChat, parse_chat};
use guildhall_domain::routing::Limits;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::shapes::{FormatBody, NativeAnswer, RequestBody};
use crate::app::Cx;
use crate::auth::scope::Scope;
use crate::error::{ApiError, Kind};
use crate::gateway::choice::Naming;
use crate::gateway::completion::Answer;
use crate::gateway::face::tell_model;
use crate::gateway::native::{Wanted, complete_natively, resolve_hint, to_output};
use crate::gateway::table::read_snapshot;
use crate::gateway::think::strip_think;
use crate::http::input::RawJson;
use crate::http::output::{Body, Output, Streamed};
use crate::http::route::Access;
use crate::routes;

routes! {
    tag "Chat", dialect TokenHub;
    /// Send a chat with a policy.
    ///
    /// The model is chosen by `policy`, which `@@tokenhub` directives in user messages override. The answer is
    /// `{negotiated_model, estimated_cost_usd, routing_reason, response}` with the provider's completion as `response`, shaped
    /// by `output_format` and held against `request.output_schema` (502 if it does not fit). With `request.stream` the
    /// completion's chunks are sent as they come; of `output_format` they know `strip_think` only. `x-negotiated-model` names the model, `x-alias-from` the alias that stood for it.
    Post "/v1/chat" Access::Key(Scope::Chat), body_max_bytes = 10 << 20 => send_chat;
}

/// A chat with a wish for its routing.
#[derive(JsonSchema)]
#[schemars(rename = "NativeChatRequest")]
#[expect(dead_code, reason = "the document has its schema; `domain::native` reads what is sent")]
struct ChatBody {
    /// What is asked.
    request: RequestBody,
    /// `planning`: where the policy names no mode, route for a plan.
    capabilities: Option<Map<String, Value>>,
    /// How to route it.
    policy: Option<PolicyBody>,
    /// How the answer's text is to look.
    output_format: Option<FormatBody>,
}

/// How to route a call; what is left out, empty or 0 is the administrator's default.
#[derive(JsonSchema)]
#[schemars(rename = "NativePolicy")]
#[expect(dead_code, reason = "only its schema is used")]
struct PolicyBody {
    /// `cheap`, `normal`, `high_confidence`, `planning`, `adversarial`, `thompson`, `vote` or `refine`.
    mode: Option<String>,
    /// Most that the call may cost, in US dollars, up to 100. The administrator's default leaves models out whose usual answer
    /// (512 tokens, or fewer with `max_tokens`) is dearer, and cuts no answer.
    max_budget_usd: Option<f64>,
    /// Longest that the call may take, in milliseconds, up to 300,000.
    max_latency_ms: Option<u64>,
    /// Least weight of the model, up to 10.
    min_weight: Option<u8>,
    /// `false` leaves `@@tokenhub` directives in the messages alone.
    directives: Option<bool>,
}

async fn send_chat(cx: Cx, request: RawJson<ChatBody>) -> Result<Streamed<NativeAnswer>, ApiError> {
    let chat = parse_chat(&request.body)?;
    let snapshot = read_snapshot(&cx.app, &cx.ports).await?;
    let body = chat.request.to_chat_request(resolve_hint(&snapshot, chat.request.model_hint.as_deref()));
    let policy = &chat.policy;
    let limits =
        Limits { max_cost: policy.max_budget, max_latency_ms: policy.max_latency_ms, min_weight: policy.min_weight };
    let wanted = Wanted { mode: policy.mode, limits, naming: Naming::Hint };
    let answer = complete_natively(cx, &body, wanted, &chat.request).await?;
    wrap(&chat, answer).map(Streamed::from)
}

fn wrap(chat: &NativeChat, answer: Answer) -> Result<Output, ApiError> {
    let Answer { output, negotiated_model, alias_from, reason, cost } = answer;
    let output = match output.body {
        Body::Whole(body) => {
            let shaped =
                chat.shape(body).map_err(|fault| ApiError::new(Kind::UpstreamFailed, fault.message).paid(true))?;
            to_output(&negotiated_model, cost, &reason, &shaped)
        }
        body if chat.output_format.strip_think => Output { body: strip_think(body), ..output },
        body => Output { body, ..output },
    };
    Ok(tell_model(output, negotiated_model, alias_from))
}
