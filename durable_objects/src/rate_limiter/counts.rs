//! What has been counted and what is held: the part of a rate limiter that survives an eviction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::{Counted, Window};

/// Leases remembered; a new one beyond is refused.
const LEASES_MAX: usize = 1_000;

/// Windows and leases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    #[serde(default, skip_serializing_if = "Window::is_closed")]
    pub minute: Window<60_000>,
    #[serde(default, skip_serializing_if = "Window::is_closed")]
    pub hour: Window<3_600_000>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leases: BTreeMap<String, Holding>,
}

/// What a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Requests reserved, and thus counted, but not reported as used.
    pub reserved: u32,
    pub minute: Counted,
    pub hour: Counted,
    pub slots: u32,
    pub expires_at_ms: i64,
}

impl Counts {
    /// Closes windows and lets leases lapse.
    ///
    /// A lapsed lease frees its slots at once. Its reserved requests count as used, the safe side, but it is remembered
    /// while they count, so that a late report still gives back what was not used: a client that calls every few
    /// seconds through a lease of one second must not pay for the whole lease each time.
    pub fn tidy(&mut self, now_ms: i64) {
        self.minute.roll(now_ms);
        self.hour.roll(now_ms);
        let hour = self.hour;
        self.leases.retain(|_, holding| {
            let lapsed = holding.expires_at_ms <= now_ms;
            if lapsed {
                holding.slots = 0;
            }
            !lapsed || (holding.reserved > 0 && hour.holds(holding.hour))
        });
    }

    /// Counts requests; says where.
    pub fn add(&mut self, requests: u32, now_ms: i64) -> (Counted, Counted) {
        (self.minute.add(requests, now_ms), self.hour.add(requests, now_ms))
    }

    /// Takes requests of a lease back.
    pub fn take_back(&mut self, requests: u32, holding: &Holding) {
        self.minute.take_back(requests, holding.minute);
        self.hour.take_back(requests, holding.hour);
    }

    /// Slots held.
    pub fn slots(&self) -> u32 {
        self.leases.values().fold(0, |sum, holding| sum.saturating_add(holding.slots))
    }

    /// Whether one more lease can be remembered; forgets a lapsed one for it, whose late report is then lost.
    pub fn has_room(&mut self) -> bool {
        if self.leases.len() < LEASES_MAX {
            return true;
        }
        let oldest = self.leases.iter().min_by_key(|(_, holding)| (holding.slots, holding.expires_at_ms));
        let Some((id, _)) = oldest.filter(|(_, holding)| holding.slots == 0) else {
            return false;
        };
        let id = id.clone();
        self.leases.remove(&id);
        true
    }

    /// When all of it has run out; nothing when it has.
    pub fn end_ms(&self) -> Option<i64> {
        let windows = self.minute.closes_at_ms().into_iter().chain(self.hour.closes_at_ms());
        windows.chain(self.leases.values().map(|holding| holding.expires_at_ms)).max()
    }
}
