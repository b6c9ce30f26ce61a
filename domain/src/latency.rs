//! Latencies in steps: so few that they can be summed per minute and model, so fine that a percentile means something.

/// Hundredths of a millisecond at which the first octave's steps end: four steps an octave, so that every fourth ends at
/// 10·2^k milliseconds, as the histogram of `/metrics` has them.
const OCTAVE: [u64; 4] = [1_000, 1_189, 1_414, 1_682];
const STEPS_PER_OCTAVE: u8 = 4;
/// The last step with an end, 655 s; what took longer is in the one after it.
const LAST_BOUNDED: u8 = 16 * STEPS_PER_OCTAVE;

/// How many steps there are.
pub const BUCKETS: usize = LAST_BOUNDED as usize + 2;

/// The end of a step, in milliseconds; none for the last.
#[must_use]
pub fn bucket_end_ms(bucket: u8) -> Option<u64> {
    if bucket > LAST_BOUNDED {
        return None;
    }
    let base = OCTAVE.get(usize::from(bucket % STEPS_PER_OCTAVE))?;
    Some((base << (bucket / STEPS_PER_OCTAVE)) / 100)
}

/// The step that ends at 10·2^k milliseconds, for `k` up to 16.
#[must_use]
pub const fn bucket_of_doubling(k: u8) -> u8 {
    k * STEPS_PER_OCTAVE
}

/// The step that a latency falls into: the first that does not end before it.
#[must_use]
pub fn bucket_of(latency_ms: u64) -> u8 {
    (0..=LAST_BOUNDED)
        .find(|bucket| bucket_end_ms(*bucket).is_some_and(|end_ms| latency_ms <= end_ms))
        .unwrap_or(LAST_BOUNDED + 1)
}

/// How many calls fell into each step, and how long they took together.
#[derive(Clone, Debug)]
pub struct Histogram {
    steps: [(u64, u64); BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { steps: [(0, 0); BUCKETS] }
    }
}

impl Histogram {
    /// Adds calls of one step; a step that there is not counts as the last.
    pub fn add(&mut self, bucket: u8, calls: u64, latency_ms: u64) {
        let at = usize::from(bucket).min(BUCKETS - 1);
        if let Some((count, sum_ms)) = self.steps.get_mut(at) {
            *count = count.saturating_add(calls);
            *sum_ms = sum_ms.saturating_add(latency_ms);
        }
    }

    /// How many calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.steps.iter().map(|(count, _)| count).sum()
    }

    /// How long they took together, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self) -> u64 {
        self.steps.iter().map(|(_, sum_ms)| sum_ms).sum()
    }

    /// How many calls took no longer than the end of a step.
    #[must_use]
    pub fn calls_up_to(&self, bucket: u8) -> u64 {
        self.steps.iter().take(usize::from(bucket) + 1).map(|(count, _)| count).sum()
    }

    /// The average, in milliseconds; 0 of no calls.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        mean(self.calls(), self.latency_ms())
    }

    /// The latency that `percent` of a hundred calls do not exceed, in milliseconds: the average of the step in which that
    /// call is, so exact when the step's calls are alike and never off by more than a step's width (a fifth). 0 of no calls.
    #[must_use]
    pub fn percentile_ms(&self, percent: u64) -> f64 {
        let calls = self.calls();
        let rank = (calls.saturating_mul(percent) / 100).min(calls.saturating_sub(1));
        let mut before = 0;
        for (count, sum_ms) in &self.steps {
            before += count;
            if before > rank {
                return mean(*count, *sum_ms);
            }
        }
        0.0
    }
}

#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "an average for people, never money")]
fn mean(calls: u64, sum_ms: u64) -> f64 {
    if calls == 0 { 0.0 } else { sum_ms as f64 / calls as f64 }
}

#[cfg(test)]
#[allow(clippy::float_arithmetic, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(latencies: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for latency_ms in latencies {
            histogram.add(bucket_of(latency_ms), 1, latency_ms);
        }
        histogram
    }

    #[test]
    fn every_fourth_step_ends_at_a_doubling() {
        for k in 0..=16 {
            assert_eq!(bucket_end_ms(bucket_of_doubling(k)), Some(10 << k));
        }
        assert_eq!((bucket_of(0), bucket_of(10), bucket_of(11), bucket_of(12)), (0, 0, 1, 2));
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKETS - 1);
        assert!((1..=LAST_BOUNDED).all(|b| bucket_end_ms(b) > bucket_end_ms(b - 1)), "steps rise");
    }

    #[test]
    fn equal_latencies_have_exact_percentiles() {
        let histogram = of([137; 20]);
        assert_eq!(
            (histogram.percentile_ms(95), histogram.percentile_ms(50), histogram.mean_ms()),
            (137.0, 137.0, 137.0)
        );
        assert_eq!(of([]).percentile_ms(95), 0.0);
        assert_eq!(of([]).mean_ms(), 0.0);
    }

    #[test]
    fn the_slow_twentieth_shows_at_its_rank() {
        // Sorted, the call of rank floor(0.95 × 100) is the first of the five slow ones.
        let histogram = of(std::iter::repeat_n(20, 95).chain([4_000; 5]));
        assert_eq!((histogram.percentile_ms(95), histogram.percentile_ms(90)), (4_000.0, 20.0));
        assert_eq!(histogram.calls_up_to(bucket_of_doubling(1)), 95);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_a_fifth_of_the_real_one(mut latencies in prop::collection::vec(10_u64..600_000, 1..300)) {
            let found = of(latencies.iter().copied()).percentile_ms(95);
            latencies.sort_unstable();
            let real = latencies[(latencies.len() * 95 / 100).min(latencies.len() - 1)] as f64;
            prop_assert!((found - real).abs() <= real * 0.21, "{found} for {real}");
        }
    }
}
