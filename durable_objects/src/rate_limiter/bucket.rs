//! A token bucket: so many requests a second, in bursts of at most twice as many.
//!
//! Kept as what has been poured in and has not yet drained, in thousandths of a request: at `per_second` requests a
//! second exactly `per_second` of them drain each millisecond, so no fraction is ever lost.

/// What a request weighs.
const REQUEST: i64 = 1_000;
/// A burst, in seconds' worth of requests.
const BURST_S: i64 = 2;

/// Counts requests as they drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    level: i64,
    at_ms: i64,
}

impl Bucket {
    /// Lets drain what the time since the last call allows. A clock that went back drains nothing.
    pub fn roll(&mut self, per_second: u32, now_ms: i64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms).max(0);
        let drained = passed_ms.saturating_mul(i64::from(per_second));
        // What came while there was no limit does not count once there is one.
        self.level = if per_second == 0 { 0 } else { self.level.saturating_sub(drained).max(0) };
        self.at_ms = now_ms;
    }

    /// Counts requests.
    pub fn add(&mut self, requests: u32) {
        self.level = self.level.saturating_add(i64::from(requests) * REQUEST);
    }

    /// Takes requests back that were counted and not made.
    pub fn take_back(&mut self, requests: u32) {
        self.level = self.level.saturating_sub(i64::from(requests) * REQUEST).max(0);
    }

    /// The largest burst.
    pub fn burst(per_second: u32) -> u32 {
        u32::try_from(i64::from(per_second) * BURST_S).unwrap_or(u32::MAX)
    }

    /// Whole requests that the bucket takes now; any number when there is no limit.
    pub fn remaining(&self, per_second: u32) -> u32 {
        if per_second == 0 {
            return u32::MAX;
        }
        let left = i64::from(Self::burst(per_second)) * REQUEST - self.level;
        u32::try_from(left.max(0) / REQUEST).unwrap_or(u32::MAX)
    }

    /// When the bucket takes one more request.
    pub fn next_at_ms(&self, per_second: u32) -> i64 {
        let above = self.level + REQUEST - i64::from(Self::burst(per_second)) * REQUEST;
        self.drained_at_ms(above, per_second)
    }

    /// When the whole burst is there again.
    pub fn empty_at_ms(&self, per_second: u32) -> i64 {
        self.drained_at_ms(self.level, per_second)
    }

    fn drained_at_ms(&self, amount: i64, per_second: u32) -> i64 {
        let rate = i64::from(per_second.max(1));
        self.at_ms.saturating_add((amount.max(0) + rate - 1) / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_two_seconds_worth_and_comes_back_evenly() {
        let mut bucket = Bucket::default();
        bucket.roll(3, 1_000);
        assert_eq!(bucket.remaining(3), 6);
        bucket.add(6);
        assert_eq!((bucket.remaining(3), bucket.next_at_ms(3), bucket.empty_at_ms(3)), (0, 1_334, 3_000));
        bucket.roll(3, 1_333);
        assert_eq!(bucket.remaining(3), 0);
        bucket.roll(3, 1_334);
        assert_eq!(bucket.remaining(3), 1);
        bucket.roll(3, 90_000);
        assert_eq!(bucket.remaining(3), 6);
    }

    #[test]
    fn what_was_not_made_comes_back_and_no_limit_is_none() {
        let mut bucket = Bucket::default();
        bucket.add(2);
        bucket.take_back(1);
        assert_eq!(bucket.remaining(1), 1);
        bucket.take_back(9);
        assert_eq!(bucket.remaining(1), 2);
        assert_eq!(bucket.remaining(0), u32::MAX);
        bucket.roll(1, -5);
        assert_eq!(bucket.remaining(1), 2);
    }
}
