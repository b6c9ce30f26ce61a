//! What an attempt at a model was worth: what Thompson sampling learns from.

/// US dollars, in micro-dollars, from which on an attempt's cost earns nothing.
const COST_CAP_MICROS: f64 = 100_000.0;
/// The shortest latency budget that is reckoned with, in milliseconds.
const BUDGET_MIN_MS: i64 = 1_000;
const COST_SHARE: f64 = 0.3;
const LATENCY_SHARE: f64 = 0.3;
const SUCCESS_SHARE: f64 = 0.4;

/// What an attempt was worth, 0 to 1: nothing when it failed, else 0.4 for the answer, up to 0.3 for its cheapness and up
/// to 0.3 for its speed within the budget.
#[must_use]
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a reward orders models and is never money")]
pub fn reward(success: bool, cost_micros: i64, latency_ms: i64, latency_budget_ms: i64) -> f64 {
    if !success {
        return 0.0;
    }
    let cost = (cost_micros.max(0) as f64 / COST_CAP_MICROS).min(1.0);
    let latency = (latency_ms.max(0) as f64 / latency_budget_ms.max(BUDGET_MIN_MS) as f64).min(1.0);
    COST_SHARE * (1.0 - cost) + LATENCY_SHARE * (1.0 - latency) + SUCCESS_SHARE
}

/// The size of a request, as the arms of the bandit are told apart: `small` below 1,000 tokens, `medium` up to 10,000,
/// else `large`.
#[must_use]
pub const fn token_bucket(tokens: u64) -> &'static str {
    match tokens {
        0..1_000 => "small",
        1_000..=10_000 => "medium",
        _ => "large",
    }
}

#[cfg(test)]
#[allow(clippy::float_arithmetic, reason = "tests")]
mod tests {
    use super::*;

    fn is(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn the_documented_numbers() {
        assert!(is(reward(false, 0, 0, 0), 0.0));
        assert!(is(reward(true, 0, 0, 0), 1.0));
        assert!(is(reward(true, 100_000_000, 1_000_000, 0), 0.4), "both norms are capped");
        assert!(is(reward(true, 50_000, 500, 0), 0.7));
        assert!(is(reward(true, 0, 5_000, 20_000), 0.925), "the client's own budget counts");
        assert!(is(reward(true, 0, 500, 10), 0.85), "a budget below a second counts as one");
        assert!(is(reward(true, -5, -5, -5), 1.0));
    }

    #[test]
    fn sizes_have_documented_ends() {
        let sizes = [0, 999, 1_000, 10_000, 10_001].map(token_bucket);
        assert_eq!(sizes, ["small", "small", "medium", "medium", "large"]);
    }
}
