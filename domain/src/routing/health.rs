//! How a provider is doing, learnt from the requests it served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ErrorClass;

/// Errors in a row that make a provider degraded.
const DEGRADED_ERRORS: u32 = 2;
/// Errors in a row that take a provider down.
const DOWN_ERRORS: u32 = 5;
/// How long a provider that is down is left alone, in milliseconds.
const COOLDOWN_MS: u64 = 30_000;
/// How long the one request that tries a provider again keeps the others away, in milliseconds.
const PROBE_MS: u64 = 30_000;
/// How long a provider that limits us without saying until when is left alone, in milliseconds.
const DEFAULT_SET_ASIDE_MS: u64 = 2_000;
/// What a new sample counts in the averages.
const NEW_SAMPLE: f64 = 0.1;
/// Time in which a failure rate halves when nothing is heard, in milliseconds: a provider that was
/// bad gets another chance.
const FAILURE_HALF_LIFE_MS: f64 = 60_000.0;

/// A provider's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Serves.
    #[default]
    Healthy,
    /// Failed lately, is still tried.
    Degraded,
    /// Has answered 429 and asked to be left alone for a while.
    RateLimited,
    /// Failed so often that it is left alone for a while.
    Down,
    /// Was down; one request may try it.
    HalfOpen,
}

impl Health {
    /// As reports and events say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::RateLimited => "rate_limited",
            Self::Down => "down",
            Self::HalfOpen => "half_open",
        }
    }

    /// Whether requests are sent to it.
    #[must_use]
    pub const fn is_routable(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded | Self::HalfOpen)
    }
}

/// A provider's record. Times are milliseconds since 1970, handed in by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderHealth {
    consecutive_errors: u32,
    down_until_ms: u64,
    /// While somebody tries it again after a cooldown.
    #[serde(default)]
    probed_until_ms: u64,
    set_aside_until_ms: u64,
    /// Average time to the first byte; 0 before the first answer.
    latency_ms: f64,
    /// As of `rated_at_ms`.
    failure_rate: f64,
    rated_at_ms: u64,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    errors: u64,
    #[serde(default)]
    succeeded_ms: u64,
    #[serde(default)]
    failed_ms: u64,
}

impl ProviderHealth {
    /// The state at a time. After a cooldown one request tries the provider while the others still stay away.
    #[must_use]
    pub const fn health(&self, now_ms: u64) -> Health {
        if now_ms < self.down_until_ms || now_ms < self.probed_until_ms {
            Health::Down
        } else if now_ms < self.set_aside_until_ms {
            Health::RateLimited
        } else if self.consecutive_errors >= DOWN_ERRORS {
            Health::HalfOpen
        } else if self.consecutive_errors >= DEGRADED_ERRORS {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// Until when the provider is left alone; 0 when it is not.
    #[must_use]
    pub fn left_alone_until_ms(&self, now_ms: u64) -> u64 {
        let until_ms = self.down_until_ms.max(self.set_aside_until_ms);
        if now_ms < until_ms { until_ms } else { 0 }
    }

    /// Average time to the first byte, in milliseconds; 0 before the first answer.
    #[must_use]
    pub const fn latency_ms(&self) -> f64 {
        self.latency_ms
    }

    /// Errors since the last success.
    #[must_use]
    pub const fn consecutive_errors(&self) -> u32 {
        self.consecutive_errors
    }

    /// Requests that told something about the provider.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Those of them that failed.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// When it answered last; 0 when never.
    #[must_use]
    pub const fn succeeded_ms(&self) -> u64 {
        self.succeeded_ms
    }

    /// When it failed last; 0 when never.
    #[must_use]
    pub const fn failed_ms(&self) -> u64 {
        self.failed_ms
    }

    /// When it was heard of last.
    #[must_use]
    pub const fn heard_ms(&self) -> u64 {
        if self.succeeded_ms > self.failed_ms { self.succeeded_ms } else { self.failed_ms }
    }

    /// Counts requests that went like the one before.
    pub const fn count_requests(&mut self, count: u64) {
        self.requests = self.requests.saturating_add(count);
    }

    /// The share of requests that failed, 0 to 1, where recent ones count more and silence heals.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a rate for scores, never money")]
    pub fn failure_rate(&self, now_ms: u64) -> f64 {
        let silent_ms = now_ms.saturating_sub(self.rated_at_ms) as f64;
        self.failure_rate * (-silent_ms / FAILURE_HALF_LIFE_MS).exp2()
    }

    /// A request is sent to the provider: if it is the one that tries it again, the others stay away meanwhile.
    pub const fn begin(&mut self, now_ms: u64) {
        if matches!(self.health(now_ms), Health::HalfOpen) {
            self.probed_until_ms = now_ms.saturating_add(PROBE_MS);
        }
    }

    /// Keeps what another record of the same provider knows of a request that tries it again just now.
    pub const fn keep_probe(&mut self, other: &Self) {
        if self.consecutive_errors >= DOWN_ERRORS && other.probed_until_ms > self.probed_until_ms {
            self.probed_until_ms = other.probed_until_ms;
        }
    }

    /// A request ended without telling anything about the provider: another may try it.
    pub const fn forget_probe(&mut self) {
        self.probed_until_ms = 0;
    }

    /// The provider answered; `latency_ms` is the time to its first byte. An answer from before its last failure, told late, says
    /// nothing of how it is now.
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "an average for scores, never money")]
    pub fn record_success(&mut self, latency_ms: u64, now_ms: u64) {
        let sample = latency_ms as f64;
        self.latency_ms =
            if self.latency_ms > 0.0 { self.latency_ms + NEW_SAMPLE * (sample - self.latency_ms) } else { sample };
        self.requests = self.requests.saturating_add(1);
        self.succeeded_ms = self.succeeded_ms.max(now_ms);
        if now_ms < self.failed_ms {
            return;
        }
        self.consecutive_errors = 0;
        self.down_until_ms = 0;
        self.probed_until_ms = 0;
        self.rate(0.0, now_ms);
    }

    /// The provider failed to answer.
    ///
    /// A fault of the client's or of one model's registration says nothing about the provider and
    /// changes nothing. A 429 sets the provider aside for `retry_after_ms` and is no failure.
    pub fn record_error(&mut self, class: ErrorClass, retry_after_ms: Option<u64>, now_ms: u64) {
        self.probed_until_ms = 0;
        if matches!(class, ErrorClass::ClientError | ErrorClass::ContextOverflow | ErrorClass::NotFound) {
            return;
        }
        self.requests = self.requests.saturating_add(1);
        self.errors = self.errors.saturating_add(1);
        self.failed_ms = self.failed_ms.max(now_ms);
        match class {
            ErrorClass::ClientError | ErrorClass::ContextOverflow | ErrorClass::NotFound => {}
            ErrorClass::RateLimited => {
                let until_ms = now_ms.saturating_add(retry_after_ms.unwrap_or(DEFAULT_SET_ASIDE_MS));
                self.set_aside_until_ms = self.set_aside_until_ms.max(until_ms);
            }
            ErrorClass::Transient | ErrorClass::Auth => {
                self.consecutive_errors = self.consecutive_errors.saturating_add(1);
                if self.consecutive_errors >= DOWN_ERRORS {
                    self.down_until_ms = now_ms.saturating_add(COOLDOWN_MS);
                }
                self.rate(1.0, now_ms);
            }
        }
    }

    #[expect(clippy::float_arithmetic, reason = "an average for scores, never money")]
    fn rate(&mut self, sample: f64, now_ms: u64) {
        let rate = self.failure_rate(now_ms);
        self.failure_rate = rate + NEW_SAMPLE * (sample - rate);
        self.rated_at_ms = self.rated_at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &mut ProviderHealth, times: u32, now_ms: u64) {
        for _ in 0..times {
            health.record_error(ErrorClass::Transient, None, now_ms);
        }
    }

    #[test]
    fn two_errors_degrade_and_five_take_down() {
        let mut provider = ProviderHealth::default();
        assert_eq!(provider.health(0), Health::Healthy);
        fail(&mut provider, 1, 1_000);
        assert_eq!(provider.health(1_000), Health::Healthy);
        fail(&mut provider, 1, 1_000);
        assert_eq!(provider.health(1_000), Health::Degraded);
        fail(&mut provider, 3, 1_000);
        assert_eq!(provider.health(1_000), Health::Down);
        assert_eq!(provider.health(30_999), Health::Down);
        assert_eq!((provider.left_alone_until_ms(30_999), provider.left_alone_until_ms(31_000)), (31_000, 0));
        assert_eq!(provider.health(31_000), Health::HalfOpen);
        // Another error arms the cooldown again; a success ends it all.
        fail(&mut provider, 1, 31_000);
        assert_eq!(provider.health(60_999), Health::Down);
        provider.record_success(10, 61_000);
        assert_eq!(provider.health(61_000), Health::Healthy);
        assert_eq!(provider.consecutive_errors(), 0);
    }

    #[test]
    fn one_request_tries_a_provider_again() {
        let mut provider = ProviderHealth::default();
        fail(&mut provider, 5, 1_000);
        provider.begin(2_000);
        assert_eq!(provider.health(31_000), Health::HalfOpen, "whoever began before is no probe");
        provider.begin(31_000);
        assert_eq!(provider.health(31_001), Health::Down, "the others stay away");
        assert_eq!(provider.health(61_000), Health::HalfOpen, "a probe that never ended is forgotten");
        provider.begin(61_000);
        provider.forget_probe();
        assert_eq!(provider.health(61_001), Health::HalfOpen);
        provider.begin(61_001);
        fail(&mut provider, 1, 61_500);
        assert_eq!(provider.health(61_501), Health::Down);
        provider.begin(91_500);
        provider.record_success(10, 91_600);
        assert_eq!(provider.health(91_600), Health::Healthy);
    }

    #[test]
    fn what_is_told_late_brings_nobody_back() {
        let mut provider = ProviderHealth::default();
        fail(&mut provider, 5, 1_000);
        let rate = provider.failure_rate(1_000);
        provider.record_success(10, 999);
        assert_eq!((provider.health(1_000), provider.consecutive_errors()), (Health::Down, 5));
        assert_eq!((provider.requests(), provider.latency_ms(), provider.succeeded_ms()), (6, 10.0, 999));
        assert!((provider.failure_rate(1_000) - rate).abs() < 1e-9);
        provider.record_success(10, 1_000);
        assert_eq!(provider.health(1_000), Health::Healthy);
    }

    #[test]
    fn faults_of_clients_do_not_count() {
        let mut provider = ProviderHealth::default();
        for _ in 0..10 {
            provider.record_error(ErrorClass::ClientError, None, 5);
            provider.record_error(ErrorClass::ContextOverflow, None, 5);
            provider.record_error(ErrorClass::NotFound, None, 5);
        }
        assert_eq!(provider, ProviderHealth::default());
    }

    #[test]
    fn a_limit_sets_aside_and_is_no_failure() {
        let mut provider = ProviderHealth::default();
        provider.record_error(ErrorClass::RateLimited, Some(10_000), 1_000);
        assert_eq!(provider.health(10_999), Health::RateLimited);
        assert_eq!(provider.health(11_000), Health::Healthy);
        assert_eq!(provider.failure_rate(1_000), 0.0);
        provider.record_error(ErrorClass::RateLimited, None, 20_000);
        assert_eq!(provider.health(21_999), Health::RateLimited);
        assert_eq!(provider.health(22_000), Health::Healthy);
        // A shorter word does not undo a longer one.
        provider.record_error(ErrorClass::RateLimited, Some(60_000), 30_000);
        provider.record_error(ErrorClass::RateLimited, Some(1), 30_000);
        assert_eq!(provider.health(89_999), Health::RateLimited);
    }

    #[test]
    fn latency_is_a_moving_average() {
        let mut provider = ProviderHealth::default();
        provider.record_success(100, 0);
        assert_eq!(provider.latency_ms(), 100.0);
        provider.record_success(200, 0);
        assert!((provider.latency_ms() - 110.0).abs() < 1e-9);
    }

    #[test]
    fn failures_are_forgotten() {
        let mut provider = ProviderHealth::default();
        fail(&mut provider, 1, 0);
        assert!((provider.failure_rate(0) - 0.1).abs() < 1e-9);
        assert!((provider.failure_rate(60_000) - 0.05).abs() < 1e-9);
        fail(&mut provider, 100, 0);
        assert!(provider.failure_rate(0) > 0.99);
        for _ in 0..100 {
            provider.record_success(1, 0);
        }
        assert!(provider.failure_rate(0) < 0.01);
    }
}
