//! What a caller brings along: keys of providers and endpoints of their own, and what calls served there are charged.

mod provider;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Capability, entries};
use crate::media::ModelKind;
use crate::money::MicroUsd;

pub use provider::KeyProvider;

/// The part of the baseline that a call is charged which the caller's own key or endpoint serves, in percent. Tokaroo's
/// documentation says so of endpoints, and of keys that only the optimisation is paid for; ToolRouter's, which has the
/// same two kinds of traffic, charges as much for calls with the caller's key.
pub const OWN_PERCENT: i64 = 5;

/// Whether a count of an endpoint that belongs to whoever pays for it may be true: at least a quarter of what was reckoned
/// with here, in the same unit.
#[must_use]
pub const fn is_plausible(counted: u64, reckoned: u64) -> bool {
    counted.saturating_mul(4) >= reckoned
}

/// Whose upstream serves a call. What is the caller's own goes first, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An endpoint of the caller's.
    Endpoint,
    /// A provider, with the caller's key for it.
    Key,
    /// A provider of the platform's.
    #[default]
    Platform,
}

impl Origin {
    /// Whether it is the caller's own.
    #[must_use]
    pub const fn is_own(self) -> bool {
        !matches!(self, Self::Platform)
    }

    /// What is charged of the baseline: all of it, or [`OWN_PERCENT`] of it, rounded up to the next micro-dollar.
    #[must_use]
    pub fn charge(self, baseline: MicroUsd) -> MicroUsd {
        if !self.is_own() {
            return baseline;
        }
        let hundredths = i128::from(baseline.0) * i128::from(OWN_PERCENT);
        // Five percent of an amount fits where the amount does.
        MicroUsd(i64::try_from((hundredths + 99).div_euclid(100)).unwrap_or(i64::MAX))
    }

    /// The greatest baseline whose charge an amount covers.
    #[must_use]
    pub fn cover(self, amount: MicroUsd) -> MicroUsd {
        if !self.is_own() {
            return amount;
        }
        let baseline = i128::from(amount.0) * 100 / i128::from(OWN_PERCENT);
        MicroUsd(i64::try_from(baseline).unwrap_or(i64::MAX))
    }
}

/// What a model of this name most likely does, where its server does not say: as the catalogue knows it, else by the words
/// that such names contain, else it chats.
#[must_use]
pub fn guess_kind(name: &str) -> ModelKind {
    let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    if entries().any(|entry| (entry.id == name || entry.id == bare) && entry.can(Capability::Chat)) {
        return ModelKind::Chat;
    }
    let lower = bare.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match () {
        () if has(&["embed", "bge-", "minilm", "gte-", "e5-"]) => ModelKind::Embedding,
        () if has(&["whisper", "transcribe", "parakeet"]) => ModelKind::Transcription,
        () if has(&["tts", "kokoro", "piper"]) => ModelKind::Speech,
        () if has(&["stable-diffusion", "sdxl", "flux", "dall-e", "gpt-image"]) => ModelKind::Image,
        () if has(&["sora", "wan2", "ltx-video"]) => ModelKind::Video,
        () => ModelKind::Chat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ones_own_costs_a_twentieth_rounded_up() {
        for (baseline, charge) in [(0, 0), (1, 1), (20, 1), (21, 2), (250, 13), (1_000_000, 50_000)] {
            for origin in [Origin::Endpoint, Origin::Key] {
                assert_eq!(origin.charge(MicroUsd(baseline)), MicroUsd(charge), "{baseline}");
            }
            assert_eq!(Origin::Platform.charge(MicroUsd(baseline)), MicroUsd(baseline));
        }
        assert!(Origin::Key.charge(MicroUsd::MAX) < MicroUsd::MAX);
    }

    #[test]
    fn what_an_amount_covers_costs_no_more_than_it() {
        for amount in [0, 1, 13, 99, 1_000] {
            let covered = Origin::Key.cover(MicroUsd(amount));
            assert_eq!(Origin::Key.charge(covered), MicroUsd(amount));
            assert!(Origin::Key.charge(MicroUsd(covered.0 + 1)) > MicroUsd(amount));
        }
        assert_eq!(Origin::Platform.cover(MicroUsd(7)), MicroUsd(7));
        assert_eq!(Origin::Key.cover(MicroUsd(i64::MAX)), MicroUsd(i64::MAX));
    }

    #[test]
    fn the_callers_own_goes_first() {
        assert!(Origin::Endpoint < Origin::Key && Origin::Key < Origin::Platform);
        assert!(!Origin::default().is_own());
    }

    #[test]
    fn a_models_name_tells_what_it_does() {
        for (name, kind) in [
            ("llama3:8b", ModelKind::Chat),
            ("Qwen/Qwen3-32B", ModelKind::Chat),
            ("gpt-4o", ModelKind::Chat),
            ("nomic-embed-text:latest", ModelKind::Embedding),
            ("BAAI/bge-m3", ModelKind::Embedding),
            ("text-embedding-3-small", ModelKind::Embedding),
            ("openai/whisper-large-v3", ModelKind::Transcription),
            ("kokoro-82m", ModelKind::Speech),
            ("flux.1-schnell", ModelKind::Image),
            ("", ModelKind::Chat),
        ] {
            assert_eq!(guess_kind(name), kind, "{name}");
        }
    }
}
