//! What an account wants of the cache.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CacheControl, TTL_DEFAULT_S};

/// Least likeness that an account can set, in ten-thousandths.
pub const THRESHOLD_LEAST: u16 = 8_000;
/// Most likeness that an account can set, in ten-thousandths: the same direction exactly.
pub const THRESHOLD_MOST: u16 = 10_000;
/// Likeness from which on a question counts as the same, unless the account says otherwise, in ten-thousandths.
pub const THRESHOLD_DEFAULT: u16 = 9_500;

/// Which requests are answered from the cache when the very same has been asked before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExactCaching {
    /// None.
    Off,
    /// Those that ask for the same answer each time: with temperature 0 or a seed, and embeddings.
    #[default]
    Deterministic,
    /// All.
    All,
}

/// An account's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// Which requests take part.
    pub exact: ExactCaching,
    /// Whether a request may also be answered with the answer to one that is nearly the same.
    pub semantic: bool,
    /// How near, in ten-thousandths of the cosine.
    pub threshold: u16,
    /// How long answers are kept, in seconds.
    pub ttl_s: u32,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { exact: ExactCaching::default(), semantic: false, threshold: THRESHOLD_DEFAULT, ttl_s: TTL_DEFAULT_S }
    }
}

/// What the cache may do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participation {
    /// A kept answer may be given.
    pub reads: bool,
    /// The answer may be kept.
    pub keeps: bool,
}

impl CacheSettings {
    /// What the cache may do for a request; `is_repeatable` when it asks for the same answer each time.
    #[must_use]
    pub fn admit(&self, control: CacheControl, is_repeatable: bool) -> Participation {
        let takes_part = match self.exact {
            _ if control.no_store => false,
            ExactCaching::Off => false,
            ExactCaching::Deterministic => is_repeatable || control.force,
            ExactCaching::All => true,
        };
        Participation { reads: takes_part && !control.no_cache && control.max_age_s != Some(0), keeps: takes_part }
    }

    /// Whether an answer of this age, in milliseconds, may still be given.
    #[must_use]
    pub fn is_fresh(&self, control: CacheControl, age_ms: i64) -> bool {
        let limit_s = self.ttl_s.min(control.max_age_s.unwrap_or(u32::MAX));
        age_ms < i64::from(limit_s) * 1_000
    }

    /// Whether two questions of this likeness (a cosine) count as the same.
    #[must_use]
    #[expect(clippy::float_arithmetic, reason = "a likeness, never money")]
    pub fn is_near(&self, likeness: f32) -> bool {
        // A direction compared with itself comes out a hair below one.
        likeness >= f32::from(self.threshold) / 10_000.0 - 1e-5
    }
}
