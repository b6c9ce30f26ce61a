//! A counting window of fixed length that opens at the first request after the last one closed.
//!
//! Aligned to the clock, every client of the world would come back at the full minute.

use serde::{Deserialize, Serialize};

/// Counts requests in one window at a time, of so many milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Window<const LENGTH_MS: i64> {
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    start_ms: i64,
    count: u32,
}

/// Where a request was counted, so that it can be taken back; `None` when no window was open.
pub type Counted = Option<i64>;

impl<const LENGTH_MS: i64> Window<LENGTH_MS> {
    /// Closes the window when its time is over. A clock that went back before its start closes it too.
    pub fn roll(&mut self, now_ms: i64) {
        let is_current = |open: &Open| open.start_ms <= now_ms && now_ms < open.start_ms.saturating_add(LENGTH_MS);
        self.open = self.open.filter(is_current);
    }

    /// Counts requests, opening the window if it must.
    pub fn add(&mut self, requests: u32, now_ms: i64) -> Counted {
        if requests > 0 {
            let open = self.open.get_or_insert(Open { start_ms: now_ms, count: 0 });
            open.count = open.count.saturating_add(requests);
        }
        self.open.map(|open| open.start_ms)
    }

    /// Takes requests back that were counted, if that window is still open.
    pub fn take_back(&mut self, requests: u32, counted: Counted) {
        if let Some(open) = &mut self.open
            && counted == Some(open.start_ms)
        {
            open.count = open.count.saturating_sub(requests);
        }
    }

    /// Whether the window is open that `counted` names.
    pub fn holds(&self, counted: Counted) -> bool {
        self.open.is_some_and(|open| counted == Some(open.start_ms))
    }

    /// Requests counted.
    pub fn count(&self) -> u32 {
        self.open.map_or(0, |open| open.count)
    }

    /// Requests that `limit` leaves.
    pub fn remaining(&self, limit: u32) -> u32 {
        limit.saturating_sub(self.count())
    }

    /// When the window closes, or would if it opened now; milliseconds since 1970.
    pub fn reset_at_ms(&self, now_ms: i64) -> i64 {
        self.open.map_or(now_ms, |open| open.start_ms).saturating_add(LENGTH_MS)
    }

    /// When the window closes, if it is open.
    pub fn closes_at_ms(&self) -> Option<i64> {
        self.open.map(|open| open.start_ms.saturating_add(LENGTH_MS))
    }

    /// Whether nothing has opened it since it closed.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_first_request_and_closes_after_its_length() {
        let mut window = Window::<1_000>::default();
        assert_eq!(window.add(0, 5), None, "nothing to count opens nothing");
        assert_eq!(window.add(2, 100), Some(100));
        assert_eq!((window.remaining(3), window.reset_at_ms(500)), (1, 1_100));
        window.roll(1_099);
        assert_eq!(window.count(), 2);
        window.roll(1_100);
        assert_eq!((window.count(), window.reset_at_ms(1_100)), (0, 2_100));
    }

    #[test]
    fn takes_back_only_into_the_same_window() {
        let mut window = Window::<1_000>::default();
        let counted = window.add(5, 0);
        window.take_back(2, counted);
        assert_eq!(window.count(), 3);
        window.roll(1_000);
        window.add(1, 1_000);
        window.take_back(3, counted);
        assert_eq!(window.count(), 1);
        assert!(!window.holds(counted));
    }
}
