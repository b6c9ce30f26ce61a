//! The order of a call's attempts: the chosen models one after the other, those of a provider that has just failed last or not at
//! all; while there are attempts left, those again whose failure may pass, after a pause with jitter. Nothing is tried again once a
//! byte has gone to the client.

use std::rc::Rc;

use guildhall_domain::own::Origin;
use guildhall_domain::routing::{ErrorClass, Ranked};

use super::dispatch::Failure;
use super::table::{Offer, Provider};
use crate::app::Cx;

/// Attempts of one call at the platform's providers.
pub const ATTEMPTS_MAX: usize = 3;
/// Attempts at upstreams of the caller's own, before those.
pub const OWN_ATTEMPTS_MAX: usize = 2;
/// The pause before the first repetition, in milliseconds; it doubles with each.
const PAUSE_MS: f64 = 100.0;
/// An upstream that asks for a longer pause is not asked again in the same call.
const PAUSE_MAX_MS: u64 = 1_000;
/// What a prompt keeps free for its answer's own overhead when its output is cut to the context, in tokens.
const OVERFLOW_MARGIN_TOKENS: u64 = 256;
/// Less output than this is no answer, in tokens.
pub const OUTPUT_LEAST_TOKENS: u64 = 64;

/// The next attempt.
pub struct Step {
    /// Who is asked.
    pub offer: Rc<Offer>,
    /// Cap on the output, beside the one that the money sets.
    pub max_output_tokens: Option<u64>,
    /// Milliseconds to wait before.
    pause_ms: u32,
    /// Why this one, as `routing_reason` says it.
    pub reason: String,
    /// Whether it is asked without `stream_options`, because it refused them.
    pub is_without_options: bool,
}

impl Step {
    fn new(offer: &Rc<Offer>, reason: String) -> Self {
        Self { offer: Rc::clone(offer), max_output_tokens: None, pause_ms: 0, reason, is_without_options: false }
    }

    /// Waits as long as the step wants, and keeps up what the call holds.
    pub async fn wait(&self, cx: &Cx) {
        if self.pause_ms > 0 {
            cx.ports.clock.sleep_ms(self.pause_ms).await;
            cx.keep_up();
        }
    }
}

/// Why the first model is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// By its score.
    Weight,
    /// By its score, and its provider likely has the beginning of the prompt.
    Prefix,
    /// The client named it.
    Hint,
}

impl Lead {
    /// Of a decision's first.
    #[must_use]
    pub fn of(ranked: Option<&Ranked>) -> Self {
        match ranked {
            Some(ranked) if ranked.is_hint => Self::Hint,
            Some(ranked) if ranked.is_warm => Self::Prefix,
            _ => Self::Weight,
        }
    }
}

/// The attempts of one call.
pub struct Ladder {
    /// Those that were not asked yet, best first.
    offers: Vec<Rc<Offer>>,
    /// Why the next of them is asked.
    lead: Lead,
    /// The failures that may pass, and for how long their upstream asks to wait.
    passing: Vec<(Rc<Offer>, u64)>,
    /// Comes before all others.
    next: Option<Step>,
    /// Who failed in this call, and whether they may be asked again.
    failed: Vec<(Rc<Provider>, bool)>,
    /// The largest known context that the request did not fit.
    overflowed_tokens: u64,
    tries: usize,
    tries_max: usize,
    repeats: i32,
    /// Whether a model's output was cut to its context already.
    is_cut: bool,
}

impl Ladder {
    /// The attempts on these models; `lead` says why the first is the first.
    #[must_use]
    pub fn new(offers: Vec<Rc<Offer>>, lead: Lead) -> Self {
        // What the caller's own upstreams fail at costs the others no attempt.
        let own = offers.iter().filter(|offer| offer.provider.own.is_some()).count();
        Self {
            offers,
            lead,
            passing: Vec::new(),
            next: None,
            failed: Vec::new(),
            overflowed_tokens: 0,
            tries: 0,
            tries_max: ATTEMPTS_MAX + own,
            repeats: 0,
            is_cut: false,
        }
    }

    /// Whether there is a model that was not asked yet and may take the request.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.find_fresh().is_some()
    }

    /// The next attempt; `draw` gives a number in 0..1.
    pub fn climb(&mut self, draw: impl FnOnce() -> f64) -> Option<Step> {
        if !self.has_tries() {
            return None;
        }
        if let Some(step) = self.next.take() {
            self.tries += 1;
            return Some(step);
        }
        if let Some(step) = self.climb_fresh() {
            return Some(step);
        }
        if self.passing.is_empty() {
            return None;
        }
        self.tries += 1;
        let (offer, asked_ms) = self.passing.remove(0);
        let pause_ms = pause_ms(self.repeats, asked_ms, draw());
        self.repeats += 1;
        Some(Step { pause_ms, ..Step::new(&offer, "retried-transient".to_owned()) })
    }

    /// The next model that was not asked yet.
    pub fn climb_fresh(&mut self) -> Option<Step> {
        let offer = self.offers.remove(self.find_fresh()?);
        self.tries += 1;
        let reason = name_reason(&offer, std::mem::replace(&mut self.lead, Lead::Weight));
        Some(Step::new(&offer, reason))
    }

    /// The place of the next model that was not asked yet: of a provider that has not failed, else of one whose failure may pass.
    /// One whose context is no larger than what was too small is passed over.
    fn find_fresh(&self) -> Option<usize> {
        if !self.has_tries() {
            return None;
        }
        let too_small = 1..=self.overflowed_tokens;
        let find = |standing| {
            let may_take = |offer: &Rc<Offer>| {
                self.standing_of(offer) == standing && !too_small.contains(&offer.max_context_tokens)
            };
            self.offers.iter().position(may_take)
        };
        find(None).or_else(|| find(Some(true)))
    }

    /// Whether a model's provider may be asked again; `None` when it has not failed.
    fn standing_of(&self, offer: &Offer) -> Option<bool> {
        let of_provider = self.failed.iter().filter(|(provider, _)| Rc::ptr_eq(provider, &offer.provider));
        of_provider.map(|(_, may_pass)| *may_pass).reduce(|all, one| all && one)
    }

    /// An attempt failed. `is_well` says whether its provider may still be asked; one that has just said what will not pass is
    /// not asked for another model either, unless it only lacks this one.
    pub fn note(&mut self, offer: &Rc<Offer>, failure: &Failure, is_well: bool) {
        let asked_ms = failure.retry_after_ms.unwrap_or(0);
        let may_pass = is_well && failure.is_passing && asked_ms <= PAUSE_MAX_MS;
        if may_pass {
            self.passing.push((Rc::clone(offer), asked_ms));
        }
        if failure.class != ErrorClass::NotFound {
            self.failed.push((Rc::clone(&offer.provider), may_pass));
        }
    }

    /// Whether anybody may be asked once more.
    #[must_use]
    pub const fn has_tries(&self) -> bool {
        self.tries < self.tries_max
    }

    /// Has the same model asked again at once, without `stream_options`.
    pub fn go_without_options(&mut self, offer: &Rc<Offer>, max_output_tokens: Option<u64>) {
        let step = Step::new(offer, "without-stream-options".to_owned());
        self.next = Some(Step { max_output_tokens, is_without_options: true, ..step });
    }

    /// The request did not fit a model's context. Says whether something is left that may take it: the same model with
    /// a smaller cap on the output; the smallest of `others` that is large enough; or one that was not asked yet, whose context
    /// is larger or unknown.
    pub fn escalate<'o>(
        &mut self,
        offer: &Rc<Offer>,
        input_tokens: u64,
        asked_output: Option<u64>,
        others: impl Iterator<Item = &'o Rc<Offer>>,
    ) -> bool {
        if !self.has_tries() {
            return false;
        }
        let room = offer.max_context_tokens.saturating_sub(input_tokens).saturating_sub(OVERFLOW_MARGIN_TOKENS);
        if !self.is_cut && room >= OUTPUT_LEAST_TOKENS && asked_output.is_none_or(|asked| asked > room) {
            let reason = "reduced-max-tokens".to_owned();
            self.is_cut = true;
            self.next = Some(Step { max_output_tokens: Some(room), ..Step::new(offer, reason) });
            return true;
        }
        self.overflowed_tokens = self.overflowed_tokens.max(offer.max_context_tokens);
        let is_larger = |other: &&Rc<Offer>| {
            let context = other.max_context_tokens;
            let is_large = context > self.overflowed_tokens && context >= input_tokens.saturating_mul(2);
            is_large && self.standing_of(other) != Some(false)
        };
        let Some(larger) = others.filter(is_larger).min_by_key(|other| other.max_context_tokens) else {
            return self.has_more();
        };
        self.offers.retain(|other| !Rc::ptr_eq(other, larger));
        let reason = "escalated-context-overflow".to_owned();
        self.next = Some(Step::new(larger, reason));
        true
    }
}

/// Why a model is asked first.
#[must_use]
pub fn name_reason(offer: &Offer, lead: Lead) -> String {
    match offer.provider.origin() {
        Origin::Endpoint => "routed-own-endpoint".to_owned(),
        Origin::Key => "routed-own-key".to_owned(),
        Origin::Platform => match lead {
            Lead::Hint => "routed-hint-exact".to_owned(),
            Lead::Prefix => "routed-cached-prefix".to_owned(),
            Lead::Weight => format!("routed-weight-{}", offer.weight),
        },
    }
}

/// 100 ms, doubled with each repetition, times 0.5 to 1.5; never less than the upstream asks for.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a pause of at most seconds"
)]
fn pause_ms(repeats: i32, asked_ms: u64, draw: f64) -> u32 {
    let pause = PAUSE_MS * 2_f64.powi(repeats) * (0.5 + draw);
    (pause as u32).max(u32::try_from(asked_ms).unwrap_or(u32::MAX))
}
