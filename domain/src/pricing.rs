//! What a model call costs: token counts times token rates, or units times the unit's rate; rounded once.

mod unit;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::{MicroUsd, Rate};

pub use unit::{Unit, UnitPrice};

/// Pico-dollars in a micro-dollar.
const PICO_PER_MICRO: i128 = 1_000_000;

/// Tokens of one model call.
///
/// `input` is the whole prompt: `cache_read` and `cache_write` are parts of it, as OpenAI reports
/// `prompt_tokens_details.cached_tokens`. An adapter for a provider that reports them beside the
/// input (Anthropic) adds them up first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenUsage {
    /// Prompt tokens, cached ones included.
    pub input: u64,
    /// Completion tokens, reasoning included.
    pub output: u64,
    /// Part of `input` that the provider read from its cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Part of `input` that the provider wrote to its cache.
    #[serde(default)]
    pub cache_write: u64,
}

/// Above this a count is a fault of the upstream, not a bill; no call is taken to have used more.
pub const TOKENS_MAX: u64 = 1_000_000_000_000;

impl TokenUsage {
    /// Input and output together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// A model's price list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// For an input token.
    pub input: Rate,
    /// For an output token.
    pub output: Rate,
    /// For an input token read from the provider's cache; `None` charges it as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// For an input token written to the provider's cache; `None` charges it as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
}

impl Price {
    /// Nothing for any token.
    pub const FREE: Self = Self { input: Rate::ZERO, output: Rate::ZERO, cache_read: None, cache_write: None };

    /// The charge for one call.
    ///
    /// The rule: each token is multiplied by its exact rate, the products are summed in
    /// pico-dollars, and the sum is rounded **up, once**, to the next micro-dollar. So a priced
    /// call is never free, splitting a call never makes it cheaper, and the error is below one
    /// micro-dollar a call. A sum past [`MicroUsd::MAX`] is that maximum: it fails any budget,
    /// which is the safe side.
    #[must_use]
    pub fn cost(&self, usage: &TokenUsage) -> MicroUsd {
        round_up(self.cost_pico_usd(usage), PICO_PER_MICRO)
    }

    /// The most that so many tokens can cost: the whole input may be written to the provider's cache.
    #[must_use]
    pub fn cost_at_most(&self, input: u64, output: u64) -> MicroUsd {
        let is_dearer = self.cache_write.is_some_and(|write| write > self.input);
        let cache_write = if is_dearer { input } else { 0 };
        self.cost(&TokenUsage { input, output, cache_read: 0, cache_write })
    }

    /// The exact cost in pico-dollars, saturating; for comparing prices, never for charging.
    #[must_use]
    pub fn cost_pico_usd(&self, usage: &TokenUsage) -> i128 {
        // A provider that claims more cached tokens than input must not make the rest negative.
        let read = usage.cache_read.min(usage.input);
        let write = usage.cache_write.min(usage.input - read);
        let fresh = usage.input - read - write;
        [
            (fresh, self.input),
            (read, self.cache_read.unwrap_or(self.input)),
            (write, self.cache_write.unwrap_or(self.input)),
            (usage.output, self.output),
        ]
        .into_iter()
        // One product is below 2^127; only the sum can saturate.
        .map(|(tokens, rate)| i128::from(tokens) * i128::from(rate.pico_usd_per_token()))
        .fold(0_i128, i128::saturating_add)
    }

    /// Whether every rate is zero: such a call needs no hold.
    #[must_use]
    pub fn is_free(&self) -> bool {
        [Some(self.input), Some(self.output), self.cache_read, self.cache_write]
            .into_iter()
            .flatten()
            .all(|rate| rate == Rate::ZERO)
    }
}

/// So many parts of a micro-dollar, rounded up to a whole one; an amount past [`MicroUsd::MAX`] is that maximum.
fn round_up(parts: i128, parts_per_micro: i128) -> MicroUsd {
    let whole = parts / parts_per_micro;
    let rounded_up = if parts % parts_per_micro == 0 { whole } else { whole + 1 };
    i64::try_from(rounded_up).map_or(MicroUsd::MAX, MicroUsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(usd_per_1m: &str) -> Rate {
        Rate::from_usd_per_1m_str(usd_per_1m).unwrap()
    }

    fn price(input: &str, output: &str) -> Price {
        Price { input: rate(input), output: rate(output), ..Price::FREE }
    }

    fn usage(input: u64, output: u64) -> TokenUsage {
        TokenUsage { input, output, ..TokenUsage::default() }
    }

    #[test]
    fn cost_rounds_up_once() {
        let cases = [
            (price("2.5", "10"), usage(1_000, 500), 7_500),
            (price("2.5", "10"), usage(0, 0), 0),
            // One token at $0.15 a million is 0.15 micro-dollars.
            (price("0.15", "0"), usage(1, 0), 1),
            // 0.15 + 0.6 = 0.75: rounded once, not once per line.
            (price("0.15", "0.6"), usage(1, 1), 1),
            (price("0.15", "0.6"), usage(7, 0), 2),
            (price("1", "1"), usage(3, 4), 7),
            (Price::FREE, usage(1_000, 1_000), 0),
        ];
        for (price, usage, micros) in cases {
            assert_eq!(price.cost(&usage), MicroUsd(micros), "{price:?} {usage:?}");
        }
    }

    #[test]
    fn cached_tokens_are_part_of_the_input() {
        let price = Price { cache_read: Some(rate("0.25")), cache_write: Some(rate("3.125")), ..price("2.5", "10") };
        let usage = TokenUsage { input: 1_000, output: 10, cache_read: 600, cache_write: 200 };
        // 200 × 2.5 + 600 × 0.25 + 200 × 3.125 + 10 × 10
        assert_eq!(price.cost(&usage), MicroUsd(500 + 150 + 625 + 100));
        let without_rates = Price { cache_read: None, cache_write: None, ..price };
        assert_eq!(without_rates.cost(&usage), MicroUsd(2_500 + 100));
    }

    #[test]
    fn the_most_counts_the_dearest_input() {
        let plain = price("2", "10");
        assert_eq!(plain.cost_at_most(1_000, 10), MicroUsd(2_100));
        let dear = Price { cache_write: Some(rate("2.5")), ..plain };
        assert_eq!(dear.cost_at_most(1_000, 10), MicroUsd(2_600));
        let cheap = Price { cache_write: Some(rate("1")), ..plain };
        assert_eq!(cheap.cost_at_most(1_000, 10), MicroUsd(2_100));
    }

    #[test]
    fn cached_tokens_beyond_the_input_are_not_charged_twice() {
        let price = Price { cache_read: Some(rate("1")), ..price("2", "0") };
        let usage = TokenUsage { input: 10, output: 0, cache_read: 50, cache_write: 50 };
        assert_eq!(price.cost(&usage), MicroUsd(10));
    }

    #[test]
    fn cost_saturates() {
        let dearest = Rate::from_pico_usd_per_token(i64::MAX).unwrap();
        let price = Price { input: dearest, output: dearest, ..Price::FREE };
        assert_eq!(price.cost(&usage(u64::MAX, u64::MAX)), MicroUsd::MAX);
    }

    #[test]
    fn free_is_free() {
        assert!(Price::FREE.is_free());
        assert!(!price("0", "0.000001").is_free());
    }

    /// Prices stand in receipts: their JSON never changes.
    #[test]
    fn stored_format_is_unchanged() {
        let price = Price { cache_read: Some(rate("0.25")), ..price("2.5", "10") };
        let text = r#"{"input":2500000,"output":10000000,"cache_read":250000}"#;
        assert_eq!(serde_json::to_string(&price).unwrap(), text);
        assert_eq!(serde_json::from_str::<Price>(text).unwrap(), price);
        let usage: TokenUsage = serde_json::from_str(r#"{"input":1,"output":2}"#).unwrap();
        assert_eq!(usage.total(), 3);
    }
}
