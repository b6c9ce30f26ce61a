//! What a route is to be good at.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the client wants a route to be good at: Tokaroo's tiers, which are `model` names that are no models, and
/// TokenHub's modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything alike; as `normal`.
    #[default]
    Auto,
    /// The quickest answer.
    Fast,
    /// The best answer; as `high_confidence`.
    Max,
    /// The cheapest answer.
    Cheap,
    /// Everything alike.
    Normal,
    /// The best answer.
    HighConfidence,
    /// A good plan: strong models that do not fail.
    Planning,
    /// A good critique: as planning.
    Adversarial,
    /// Whatever served best so far, with room for surprises.
    Thompson,
}

impl Mode {
    /// Tokaroo's tiers.
    pub const TIERS: [Self; 3] = [Self::Auto, Self::Fast, Self::Max];
    /// TokenHub's modes.
    pub const POLICIES: [Self; 6] =
        [Self::Cheap, Self::Normal, Self::HighConfidence, Self::Planning, Self::Adversarial, Self::Thompson];

    /// The mode's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fast => "fast",
            Self::Max => "max",
            Self::Cheap => "cheap",
            Self::Normal => "normal",
            Self::HighConfidence => "high_confidence",
            Self::Planning => "planning",
            Self::Adversarial => "adversarial",
            Self::Thompson => "thompson",
        }
    }

    /// The tier that a `model` names; `None` for anything else, which is a model's name.
    #[must_use]
    pub fn parse_tier(model: &str) -> Option<Self> {
        Self::TIERS.into_iter().find(|tier| tier.as_str() == model)
    }

    /// How much each quality counts in a score.
    #[must_use]
    pub const fn weights(self) -> ScoreWeights {
        match self {
            Self::Auto | Self::Normal | Self::Thompson => {
                ScoreWeights { cost: 0.25, latency: 0.25, failures: 0.25, weight: 0.25 }
            }
            Self::Fast => ScoreWeights { cost: 0.3, latency: 0.5, failures: 0.1, weight: 0.1 },
            Self::Max | Self::HighConfidence => ScoreWeights { cost: 0.05, latency: 0.1, failures: 0.15, weight: 0.7 },
            Self::Cheap => ScoreWeights { cost: 0.7, latency: 0.1, failures: 0.1, weight: 0.1 },
            Self::Planning | Self::Adversarial => ScoreWeights { cost: 0.1, latency: 0.1, failures: 0.2, weight: 0.6 },
        }
    }
}

/// A name that no mode has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mode must be cheap, normal, high_confidence, planning, adversarial or thompson")
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    /// Reads the name of one of TokenHub's modes, or of a tier.
    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::POLICIES.into_iter().chain(Self::TIERS).find(|mode| mode.as_str() == text).ok_or(UnknownMode)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_names() {
        for mode in Mode::TIERS.into_iter().chain(Mode::POLICIES) {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
            let ScoreWeights { cost, latency, failures, weight } = mode.weights();
            assert!((cost + latency + failures + weight - 1.0).abs() < 1e-12, "{mode:?}");
        }
        for name in ["gpt-4o", "", "NORMAL", "vote"] {
            assert_eq!(name.parse::<Mode>(), Err(UnknownMode));
        }
        assert_eq!(Mode::parse_tier("max"), Some(Mode::Max));
        assert_eq!(Mode::parse_tier("cheap"), None);
    }
}
