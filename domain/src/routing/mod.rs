//! Which model of which provider serves a request: eligibility, scores, order.

mod health;
mod upstream_error;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::str::FromStr;

use crate::ids::{ModelId, ProviderId};
use crate::pricing::{Price, TokenUsage};

pub use health::{Health, ProviderHealth};
pub use upstream_error::{ErrorClass, MAX_RETRY_AFTER_MS, classify_error_type, classify_status, parse_retry_after};

/// Largest weight that an administrator can give a model.
pub const MAX_WEIGHT: u8 = 10;

/// Room that is kept in a model's context beyond the estimated input, in percent: the estimate is
/// rough.
const CONTEXT_HEADROOM_PERCENT: u64 = 15;

/// What the client wants a route to be good at: the `model` names of Tokaroo that are no models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything alike.
    #[default]
    Auto,
    /// The quickest answer.
    Fast,
    /// The best answer.
    Max,
}

impl Mode {
    /// The mode's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fast => "fast",
            Self::Max => "max",
        }
    }

    /// How much each quality counts. `auto` is TokenHub's `normal`, `max` its `high_confidence`.
    #[must_use]
    pub const fn weights(self) -> ScoreWeights {
        match self {
            Self::Auto => ScoreWeights { cost: 0.25, latency: 0.25, failures: 0.25, weight: 0.25 },
            Self::Fast => ScoreWeights { cost: 0.3, latency: 0.5, failures: 0.1, weight: 0.1 },
            Self::Max => ScoreWeights { cost: 0.05, latency: 0.1, failures: 0.15, weight: 0.7 },
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    /// Anything else is a model's name.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "fast" => Ok(Self::Fast),
            "max" => Ok(Self::Max),
            _ => Err(()),
        }
    }
}

/// How much each quality of a candidate counts in its score; together 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreWeights {
    /// Estimated cost of the request.
    pub cost: f64,
    /// Average latency.
    pub latency: f64,
    /// Failure rate.
    pub failures: f64,
    /// The administrator's weight; the one that makes a score better.
    pub weight: f64,
}

/// A model at a provider that may serve a request.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The registered model.
    pub model: &'a ModelId,
    /// Its provider.
    pub provider: &'a ProviderId,
    /// Whether model and provider are enabled.
    pub is_enabled: bool,
    /// The administrator's preference, 0 to [`MAX_WEIGHT`].
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
}

impl Candidate<'_> {
    /// Whether the candidate may serve a request of so many input tokens.
    #[must_use]
    pub fn is_eligible(&self, input_tokens: u64) -> bool {
        let needed = input_tokens.saturating_mul(100 + CONTEXT_HEADROOM_PERCENT) / 100;
        self.is_enabled && self.health.is_routable() && self.context_tokens.is_none_or(|context| needed <= context)
    }
}

/// The eligible candidates, best first, as indexes into `candidates`; empty when there is none.
///
/// `expected` is the estimated usage: its input is held against each context, the whole prices each
/// candidate. The order is the same for the same input: equal scores go by cost, then model, then
/// provider.
#[must_use]
pub fn rank(mode: Mode, expected: &TokenUsage, candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut eligible: Vec<Scored> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.is_eligible(expected.input))
        .map(|(index, candidate)| Scored { index, cost_pico_usd: candidate.price.cost_pico_usd(expected), score: 0.0 })
        .collect();
    if eligible.len() > 1 {
        score(mode.weights(), &mut eligible, candidates);
        eligible.sort_by(|a, b| compare(a, b, candidates));
    }
    eligible.into_iter().map(|scored| scored.index).collect()
}

struct Scored {
    index: usize,
    cost_pico_usd: i128,
    /// Lower is better.
    score: f64,
}

fn compare(a: &Scored, b: &Scored, candidates: &[Candidate<'_>]) -> Ordering {
    let names = |scored: &Scored| candidates.get(scored.index).map(|candidate| (candidate.model, candidate.provider));
    a.score
        .total_cmp(&b.score)
        .then_with(|| a.cost_pico_usd.cmp(&b.cost_pico_usd))
        .then_with(|| names(a).cmp(&names(b)))
}

/// score = Wc·c/maxc + Wl·l/maxl + Wf·f/maxf − Ww·w/maxw, the maxima taken over the eligible.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a score orders candidates and is never money"
)]
fn score(weights: ScoreWeights, eligible: &mut [Scored], candidates: &[Candidate<'_>]) {
    // Cost, latency, failures, weight.
    let qualities = |scored: &Scored| {
        candidates.get(scored.index).map_or([0.0; 4], |candidate| {
            [scored.cost_pico_usd as f64, candidate.latency_ms, candidate.failure_rate, f64::from(candidate.weight)]
        })
    };
    let mut maxima = [0.0_f64; 4];
    for scored in eligible.iter() {
        for (max, quality) in maxima.iter_mut().zip(qualities(scored)) {
            *max = max.max(quality);
        }
    }
    let factors = [weights.cost, weights.latency, weights.failures, -weights.weight];
    for scored in eligible {
        scored.score = qualities(scored)
            .into_iter()
            .zip(maxima)
            .zip(factors)
            .map(|((quality, max), factor)| if max > 0.0 { factor * (quality / max).clamp(0.0, 1.0) } else { 0.0 })
            .sum();
    }
}

#[cfg(test)]
mod tests;
