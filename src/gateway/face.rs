//! In whose form an answer leaves. Inside, every answer is a chat completion; a face turns it into what the client's own
//! API promises.

use guildhall_domain::anthropic::{ChatToMessagesStream, to_message};
use guildhall_domain::chat::stream::StreamEnd;
use guildhall_domain::ids::ResponseId;
use guildhall_domain::responses::{ChatToResponsesStream, Echo, to_response};

use super::relay::{Rewrite, rewrite_relay};
use crate::error::{ApiError, Kind};
use crate::http::output::{Body, Output};

/// What is told when a whole answer has no such form. It is paid for: a repeated request gets this error again.
fn unfit(cause: impl std::fmt::Display) -> ApiError {
    let text = "The model's provider gave an answer that makes no sense";
    ApiError::new(Kind::UpstreamFailed, text).caused_by(cause).paid(true)
}

/// Names the model that answers, and the alias that stood for it.
#[must_use]
pub fn tell_model(output: Output, negotiated_model: String, alias_from: Option<String>) -> Output {
    let output = output.header("x-negotiated-model", negotiated_model);
    match alias_from {
        Some(alias) => output.header("x-alias-from", alias),
        None => output,
    }
}

/// An answer as Anthropic's messages, with an id of the request's own: some upstreams give one id to many answers, and
/// clients take those for one message.
///
/// # Errors
/// 502 when a whole answer has no such form.
pub fn as_message(mut output: Output, asked_model: &str, request_id: &str) -> Result<Output, ApiError> {
    let id = format!("msg_{request_id}");
    output.body = match output.body {
        Body::Whole(completion) => Body::Whole(to_message(&completion, asked_model, &id).map_err(unfit)?),
        body => rewrite_relay(body, MessagesFace(ChatToMessagesStream::new(asked_model, id))),
    };
    Ok(output)
}

struct MessagesFace(ChatToMessagesStream);

impl Rewrite for MessagesFace {
    fn push(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        self.0.push(lines, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

/// What an answer of `OpenAI`'s responses is made of.
pub struct ResponsePlan {
    /// What it repeats of the request.
    pub echo: Echo,
    /// Its id.
    pub id: ResponseId,
    /// When it is made, in seconds since 1970.
    pub created_s: u64,
}

/// A stream as `OpenAI`'s responses; `keep` takes the finished response. Other bodies stay.
pub fn stream_response(body: Body, plan: ResponsePlan, keep: impl FnOnce(Vec<u8>) + 'static) -> Body {
    let events = ChatToResponsesStream::new(plan.echo, plan.id, plan.created_s);
    rewrite_relay(body, ResponsesFace { events, keep: Some(Box::new(keep)) })
}

/// A whole completion as a response.
///
/// # Errors
/// 502 when it has no such form.
pub fn to_whole_response(completion: &[u8], plan: &ResponsePlan) -> Result<Vec<u8>, ApiError> {
    to_response(completion, &plan.echo, plan.id, plan.created_s).map_err(unfit)
}

struct ResponsesFace {
    events: ChatToResponsesStream,
    keep: Option<Box<dyn FnOnce(Vec<u8>)>>,
}

impl Rewrite for ResponsesFace {
    fn push(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        self.events.push(lines, out);
        self.keep_if_ended();
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.events.finish(StreamEnd::Eof, out);
        self.keep_if_ended();
    }
}

impl ResponsesFace {
    fn keep_if_ended(&mut self) {
        if !self.events.has_ended() {
            return;
        }
        if let (Some(keep), Some(response)) = (self.keep.take(), self.events.response()) {
            keep(response);
        }
    }
}
