//! `POST /v1/chat`: one routed call.

use serde_json::Value;

use super::answer::AnswerFault;
use super::directive::{Directive, take_directives};
use super::envelope::NativeRequest;
use super::format::OutputFormat;
use super::members::{Members, ParseError, read_schema};
use super::policy::Policy;
use crate::routing::Mode;

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
