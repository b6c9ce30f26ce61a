//! A kept answer on its way to the client. The model has done nothing, so nothing is charged; the record says what it would
//! have cost.

use guildhall_domain::cache::{Replay, replay_stream, replay_whole};
use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::media::read_answer;
use guildhall_domain::money::MicroUsd;

use super::Found;
use crate::error::ApiError;
use crate::gateway::completion::EVENT_STREAM;
use crate::gateway::settlement::RunningCall;
use crate::http::output::{Body, Output};

/// Answers a chat; under a new id, whole or as a stream, as the client wants it.
///
/// # Errors
/// 500 when what was kept is no completion, which it was when it was kept.
pub fn answer_chat(call: RunningCall, request: &ChatRequest<'_>, found: &Found) -> Result<Output, ApiError> {
    let id = format!("chatcmpl-{}", call.cx.request_id);
    let model = call.model_to_echo_of(&found.entry.model).to_owned();
    let replay = Replay { id: &id, created_s: call.cx.started_ms / 1_000, model: &model };
    let kept = found.entry.body.get().as_bytes();
    let output = if request.stream() {
        let events = replay_stream(kept, &replay, request.include_usage()).ok_or_else(unreadable)?;
        let body = Body::Relay { first: events, rest: None };
        Output { status: 200, headers: Vec::new(), body }
            .header("content-type", EVENT_STREAM)
            .header("cache-control", "no-cache")
    } else {
        Output::bytes("application/json", replay_whole(kept, &replay).ok_or_else(unreadable)?)
    };
    Ok(settle(call, output, found))
}

/// Answers a call that is no chat.
///
/// # Errors
/// As [`answer_chat`].
pub fn answer_media(call: RunningCall, found: &Found) -> Result<Output, ApiError> {
    let model = call.model_to_echo_of(&found.entry.model).to_owned();
    let answer = read_answer(found.entry.body.get().as_bytes(), &model).map_err(ApiError::internal)?;
    Ok(settle(call, Output::bytes("application/json", answer.body), found))
}

fn settle(call: RunningCall, output: Output, found: &Found) -> Output {
    call.settle_cached(found);
    output
        .header("x-tokaroo-cost", MicroUsd::ZERO.to_usd_string())
        .header("x-tokaroo-cache", "hit")
        .header("x-tokaroo-cache-tier", found.tier.name())
        .header("age", (found.age_ms / 1_000).to_string())
}

fn unreadable() -> ApiError {
    ApiError::internal("a kept answer is no completion")
}
