//! The decision: who may serve, and in which order.

use std::cmp::Ordering;

use super::bandit::Arm;
use super::{Health, Mode, ScoreWeights};
use crate::ids::{ModelId, ProviderId};
use crate::money::MicroUsd;
use crate::own::Origin;
use crate::pricing::{Price, TokenUsage};

/// Room that is kept in a model's context beyond the estimated input, in percent: the estimate is
/// rough.
pub const CONTEXT_HEADROOM_PERCENT: u64 = 15;
/// What a warm candidate's score is better by: as much as a tenth to a half of the prompt's price is worth, and too little to
/// stand against a clear preference.
const WARM_BONUS: f64 = 0.2;

/// A model at a provider that may serve a request.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The registered model.
    pub model: &'a ModelId,
    /// Its provider.
    pub provider: &'a ProviderId,
    /// Whose upstream it is: what is the caller's own goes first, whatever the scores, and costs its part of the price.
    pub origin: Origin,
    /// Whether model and provider are enabled.
    pub is_enabled: bool,
    /// The administrator's preference, 0 to [`super::MAX_WEIGHT`].
    pub weight: u8,
    /// What its tokens cost.
    pub price: &'a Price,
    /// Context window in tokens; `None` when not known.
    pub context_tokens: Option<u64>,
    /// The provider's average time to the first byte, in milliseconds; 0 when not known.
    pub latency_ms: f64,
    /// The share of recent requests that failed at the provider, 0 to 1.
    pub failure_rate: f64,
    /// The provider's health now.
    pub health: Health,
    /// What the model earned so far with requests of this size; only [`Mode::Thompson`] looks at it.
    pub arm: Arm,
    /// Whether the provider likely still has the beginning of the prompt, because this model has just answered one that
    /// begins alike there.
    pub is_warm: bool,
}

/// Limits that the client sets. They are limits, not preferences: nothing that breaks one is ever chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Dearest estimated cost.
    pub max_cost: Option<MicroUsd>,
    /// Longest average latency, in milliseconds; a provider that has none yet passes.
    pub max_latency_ms: Option<u64>,
    /// Least weight.
    pub min_weight: u8,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What the route is to be good at.
    pub mode: Mode,
    /// What it must not exceed.
    pub limits: Limits,
    /// The estimated usage: its input is held against each context, the whole prices each candidate.
    pub expected: &'a TokenUsage,
    /// The model that goes first if it is eligible.
    pub hint: Option<&'a str>,
    /// Whether providers that are down or set aside take part: better than refusing untried.
    pub ignore_health: bool,
}

/// Why a candidate may not serve, in the order in which the reasons are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Model or provider are disabled.
    Disabled,
    /// Below the least weight.
    WeightBelowMinimum,
    /// The request does not fit the model's context.
    ContextOverflow,
    /// The provider is down or has asked to be left alone.
    HealthDown,
    /// Dearer than the limit.
    BudgetExceeded,
    /// Slower than the limit.
    LatencyExceeded,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Disabled,
        Self::WeightBelowMinimum,
        Self::ContextOverflow,
        Self::HealthDown,
        Self::BudgetExceeded,
        Self::LatencyExceeded,
    ];

    /// As metrics and simulations say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::WeightBelowMinimum => "weight_below_minimum",
            Self::ContextOverflow => "context_overflow",
            Self::HealthDown => "health_down",
            Self::BudgetExceeded => "budget_exceeded",
            Self::LatencyExceeded => "latency_exceeded",
        }
    }
}

/// A candidate that may serve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Its place in the list of candidates.
    pub index: usize,
    /// What the expected usage costs there.
    pub cost: MicroUsd,
    /// Lower is better among those of one origin. In [`Mode::Thompson`] the negative of the sample.
    pub score: f64,
    /// Whether it leads because the client named it.
    pub is_hint: bool,
    /// As [`Candidate::is_warm`].
    pub is_warm: bool,
}

/// A candidate that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the list of candidates.
    pub index: usize,
    /// The first reason.
    pub reason: SkipReason,
}

/// Who may serve, best first, and why the others may not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Best first.
    pub ranked: Vec<Ranked>,
    /// In the order of the candidates.
    pub skipped: Vec<Skipped>,
}

/// Decides.
///
/// The order is the same for the same input: equal scores go by cost, then model, then provider. Only
/// [`Mode::Thompson`] draws from `uniform`, which gives numbers in 0..1.
#[must_use]
pub fn decide(wish: &Wish<'_>, candidates: &[Candidate<'_>], uniform: &mut dyn FnMut() -> f64) -> Decision {
    let mut decision = Decision::default();
    for (index, candidate) in candidates.iter().enumerate() {
        let cost = candidate.origin.charge(candidate.price.cost(wish.expected));
        match find_obstacle(wish, candidate, cost) {
            Some(reason) => decision.skipped.push(Skipped { index, reason }),
            None => {
                let is_hint = wish.hint.is_some_and(|hint| candidate.model.as_str() == hint);
                decision.ranked.push(Ranked { index, cost, score: 0.0, is_hint, is_warm: candidate.is_warm });
            }
        }
    }
    if decision.ranked.len() > 1 {
        let origin_of = |one: &Ranked| candidates.get(one.index).map(|candidate| candidate.origin);
        decision.ranked.sort_by_key(origin_of);
        // Each group by itself: what somebody has of their own does not change how the others compare.
        for group in decision.ranked.chunk_by_mut(|a, b| origin_of(a) == origin_of(b)) {
            match wish.mode {
                Mode::Thompson => sample(group, candidates, uniform),
                mode => score(mode.weights(), wish.expected, group, candidates),
            }
            group.sort_by(|a, b| compare(a, b, candidates));
        }
    }
    decision
}

fn find_obstacle(wish: &Wish<'_>, candidate: &Candidate<'_>, cost: MicroUsd) -> Option<SkipReason> {
    let limits = &wish.limits;
    let needed = wish.expected.input.saturating_mul(100 + CONTEXT_HEADROOM_PERCENT) / 100;
    let is_slower = |max_ms: u64| candidate.latency_ms > ms_to_f64(max_ms);
    if !candidate.is_enabled {
        Some(SkipReason::Disabled)
    } else if candidate.weight < limits.min_weight {
        Some(SkipReason::WeightBelowMinimum)
    } else if candidate.context_tokens.is_some_and(|context| needed > context) {
        Some(SkipReason::ContextOverflow)
    } else if !candidate.health.is_routable() && !wish.ignore_health {
        Some(SkipReason::HealthDown)
    } else if limits.max_cost.is_some_and(|max| cost > max) {
        Some(SkipReason::BudgetExceeded)
    } else if limits.max_latency_ms.is_some_and(is_slower) {
        Some(SkipReason::LatencyExceeded)
    } else {
        None
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency")]
const fn ms_to_f64(ms: u64) -> f64 {
    ms as f64
}

fn compare(a: &Ranked, b: &Ranked, candidates: &[Candidate<'_>]) -> Ordering {
    let names = |ranked: &Ranked| candidates.get(ranked.index).map(|candidate| (candidate.model, candidate.provider));
    b.is_hint
        .cmp(&a.is_hint)
        .then_with(|| a.score.total_cmp(&b.score))
        .then_with(|| a.cost.cmp(&b.cost))
        .then_with(|| names(a).cmp(&names(b)))
}

#[expect(clippy::float_arithmetic, reason = "a score orders candidates and is never money")]
fn sample(ranked: &mut [Ranked], candidates: &[Candidate<'_>], uniform: &mut dyn FnMut() -> f64) {
    for one in ranked {
        one.score = -candidates.get(one.index).map_or(0.0, |candidate| candidate.arm.sample(uniform));
    }
}

/// score = Wc·c/maxc + Wl·l/maxl + Wf·f/maxf − Ww·w/maxw, the maxima taken over the eligible; less [`WARM_BONUS`] where the
/// provider has the prompt's beginning. What explores ([`Mode::Thompson`]) is not drawn to where it was.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a score orders candidates and is never money"
)]
fn score(weights: ScoreWeights, expected: &TokenUsage, ranked: &mut [Ranked], candidates: &[Candidate<'_>]) {
    // Cost, latency, failures, weight. Not the rounded cost: small requests would all cost the same.
    let qualities = |one: &Ranked| {
        candidates.get(one.index).map_or([0.0; 4], |candidate| {
            let cost = candidate.price.cost_pico_usd(expected) as f64;
            [cost, candidate.latency_ms, candidate.failure_rate, f64::from(candidate.weight)]
        })
    };
    let mut maxima = [0.0_f64; 4];
    for one in ranked.iter() {
        for (max, quality) in maxima.iter_mut().zip(qualities(one)) {
            *max = max.max(quality);
        }
    }
    let factors = [weights.cost, weights.latency, weights.failures, -weights.weight];
    for one in ranked {
        one.score = qualities(one)
            .into_iter()
            .zip(maxima)
            .zip(factors)
            .map(|((quality, max), factor)| if max > 0.0 { factor * (quality / max).clamp(0.0, 1.0) } else { 0.0 })
            .sum();
        if one.is_warm {
            one.score -= WARM_BONUS;
        }
    }
}
