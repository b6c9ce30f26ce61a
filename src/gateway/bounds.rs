//! What a chat may cost: what is reserved for it, and how far the answer may go for that.

use std::rc::Rc;

use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::media::Quantity;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::pricing::TokenUsage;

use super::adapter::write_chat;
use super::dispatch::Wire;
use super::ladder::{OUTPUT_LEAST_TOKENS, Step};
use super::table::Offer;
use crate::error::ApiError;
use crate::meter::money::Need;

/// What a call may cost.
pub struct Bounds<'r> {
    /// What is asked.
    pub request: &'r ChatRequest<'r>,
    /// Whether the router chooses the model.
    pub is_open: bool,
    /// As [`super::choice::Policy::is_extended`].
    pub is_extended: bool,
    /// The client's own limit.
    pub max_cost: Option<MicroUsd>,
    /// When the client's patience is over.
    pub deadline_ms: Option<i64>,
}

impl Bounds<'_> {
    /// What to reserve: the dearest of the routes that may be tried, within the client's limit.
    #[must_use]
    pub fn need(&self, offers: &[Rc<Offer>]) -> Need {
        let is_guess = self.max_cost.is_none() && self.is_guess(offers);
        let (most, until_ms) = (MicroUsd::ZERO, self.deadline_ms);
        let mut need = Need { most, least: MicroUsd::ZERO, is_guess, until_ms, may_reload: true };
        for offer in offers {
            need.most = need.most.max(self.most(offer));
            need.least = need.least.max(self.least(offer));
        }
        if let Some(max_cost) = self.max_cost {
            need.most = need.most.min(max_cost);
            need.least = need.least.min(max_cost);
        }
        need
    }

    /// Whether nobody knows a maximum: of images, documents and what else is not counted in bytes, or of an answer that neither
    /// the client nor a model limits.
    fn is_guess(&self, offers: &[Rc<Offer>]) -> bool {
        let has_no_end = self.request.max_output_tokens().is_none();
        self.request.is_input_guessed() || has_no_end && offers.iter().any(|offer| offer.max_output_tokens == 0)
    }

    /// The least with which the call is worth making at a model: what is asked for, if the input is shorter than estimated;
    /// but the whole input, as estimated, and a beginning of the answer.
    fn least(&self, offer: &Offer) -> MicroUsd {
        let request = self.request;
        let cost = |input: u64, output: u64| {
            let output = offer.bound_output(output).saturating_mul(request.n());
            offer.cost(Quantity::Tokens(TokenUsage { input, output, ..TokenUsage::default() }))
        };
        let asked = request.max_output_tokens().unwrap_or(1);
        cost(request.input_tokens_lower(), asked).max(cost(request.input_tokens_estimate(), 1))
    }

    /// The most that the call can cost at a model.
    fn most(&self, offer: &Offer) -> MicroUsd {
        let input = self.request.input_tokens_upper();
        offer.provider.origin().charge(offer.price.cost_at_most(input, self.output_at_most(offer)))
    }

    /// The most output tokens to reckon with at a model, over all choices.
    #[must_use]
    pub fn output_at_most(&self, offer: &Offer) -> u64 {
        let asked = self.request.max_output_tokens().map(|asked| offer.bound_output(asked));
        asked.unwrap_or_else(|| offer.output_tokens_cap()).saturating_mul(self.request.n())
    }

    /// Whether an amount covers the estimated input at a model, and an answer beside it.
    #[must_use]
    pub fn is_covered(&self, amount: MicroUsd, offer: &Offer) -> bool {
        let request = self.request;
        let output = offer.bound_output(request.max_output_tokens().unwrap_or(OUTPUT_LEAST_TOKENS));
        let output = output.saturating_mul(request.n());
        let usage = TokenUsage { input: request.input_tokens_estimate(), output, ..TokenUsage::default() };
        offer.cost(Quantity::Tokens(usage)) <= amount
    }

    /// A request in the words of a step's provider.
    ///
    /// # Errors
    /// As [`write_chat`].
    pub fn write(&self, amount: MicroUsd, step: &Step) -> Result<Wire, ApiError> {
        write_chat(step, self.request, self.is_extended, self.cap(amount, step))
    }

    /// The limit that is put on a step's output, beside the client's own: what the money pays for, what the context leaves, and
    /// what the model can give, where the client asks for more than that of a model that it did not name.
    #[must_use]
    pub fn cap(&self, amount: MicroUsd, step: &Step) -> Option<u64> {
        let most = step.offer.max_output_tokens;
        let is_too_much = |asked| self.is_open && most > 0 && asked > most;
        let given = self.request.max_output_tokens().filter(|asked| is_too_much(*asked)).map(|_| most);
        self.affordable_output(amount, &step.offer).into_iter().chain(step.max_output_tokens).chain(given).min()
    }

    /// Only where an amount does not cover the model's maximum: how many output tokens per choice it covers beside the
    /// estimated input; at least one.
    fn affordable_output(&self, amount: MicroUsd, offer: &Offer) -> Option<u64> {
        if amount >= self.most(offer) {
            return None;
        }
        let request = self.request;
        let input = TokenUsage { input: request.input_tokens_estimate(), ..TokenUsage::default() };
        let covered = offer.provider.origin().cover(amount);
        let left = covered.0.saturating_sub(offer.price.cost(&input).0).max(0);
        let rate = offer.price.output.pico_usd_per_token();
        if rate <= 0 {
            return Some(offer.output_tokens_cap());
        }
        let tokens = i128::from(left) * 1_000_000 / i128::from(rate) / i128::from(request.n().max(1));
        Some(u64::try_from(tokens).unwrap_or(u64::MAX).clamp(1, offer.output_tokens_cap()))
    }
}
