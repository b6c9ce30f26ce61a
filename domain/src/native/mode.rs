//! What a client wants a route to be good at, in TokenHub's words.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The routing modes of TokenHub's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// The least cost.
    Cheap,
    /// Everything alike.
    Normal,
    /// The heaviest model.
    HighConfidence,
    /// A heavy model, for a plan.
    Planning,
    /// A heavy model, for a review.
    Adversarial,
    /// Routed like `normal`.
    Vote,
    /// Routed like `normal`.
    Refine,
    /// Learned from rewards.
    Thompson,
}

impl PolicyMode {
    /// Every mode.
    pub const ALL: [Self; 8] = [
        Self::Cheap,
        Self::Normal,
        Self::HighConfidence,
        Self::Planning,
        Self::Adversarial,
        Self::Vote,
        Self::Refine,
        Self::Thompson,
    ];

    /// The mode's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cheap => "cheap",
            Self::Normal => "normal",
            Self::HighConfidence => "high_confidence",
            Self::Planning => "planning",
            Self::Adversarial => "adversarial",
            Self::Vote => "vote",
            Self::Refine => "refine",
            Self::Thompson => "thompson",
        }
    }
}

impl FromStr for PolicyMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}
