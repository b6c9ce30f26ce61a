//! The machine of the rate limiter.
//!
//! Only the revocation is stored. Windows, leases and rotations live in memory: a write per request would double the cost of a
//! check, and an object that the platform moves or evicts (rarely, and never while it is busy) lets at most one more
//! window's requests through.

use std::collections::BTreeMap;

use super::bucket::Bucket;
use super::protocol::{Command, Lease, Leased, Limits, RateLimiter, Reply, Status};
use super::window::{Counted, Window};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

const MINUTE_MS: i64 = 60 * 1_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Leases remembered; a new one beyond is refused.
const LEASES_MAX: usize = 1_000;
const ID_MAX_BYTES: usize = 128;
/// For so long an old secret is refused: longer than anybody believes what was read of a key.
const ROTATION_MS: i64 = 5_000;
/// When to come back for a slot, in milliseconds: whenever a request ends, which nobody knows.
const SLOT_RETRY_MS: i64 = 1_000;
/// The row that exists while the key is revoked.
const REVOKED_KEY: &str = "revoked";

/// The rate limits of one key or address.
#[derive(Debug, PartialEq, Eq)]
pub struct RateLimiterMachine {
    revoked: bool,
    rotation: Option<Rotation>,
    second: Bucket,
    minute: Window,
    hour: Window,
    leases: BTreeMap<String, Holding>,
}

/// A secret took another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rotation {
    secret_at_ms: i64,
    until_ms: i64,
}

/// What a lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    /// Requests reserved, and thus counted, but not reported as used.
    reserved: u32,
    minute: Counted,
    hour: Counted,
    slots: u32,
    expires_at_ms: i64,
}

impl Machine for RateLimiterMachine {
    type Protocol = RateLimiter;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        Ok(Self {
            revoked: rows.iter().any(|row| row.key == REVOKED_KEY),
            rotation: None,
            second: Bucket::default(),
            minute: Window::new(MINUTE_MS),
            hour: Window::new(HOUR_MS),
            leases: BTreeMap::new(),
        })
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        self.tidy(now_ms);
        match command {
            Command::Lease(lease) => Ok(Outcome::of(self.lease(&lease, now_ms))),
            Command::Revoke => self.set_revoked(true),
            Command::Restore => self.set_revoked(false),
            Command::Rotate { secret_at_ms } => {
                self.rotation = Some(Rotation { secret_at_ms, until_ms: now_ms.saturating_add(ROTATION_MS) });
                Ok(Outcome::of(Reply::Status(self.status())))
            }
            Command::Status => Ok(Outcome::of(Reply::Status(self.status()))),
        }
    }
}

impl RateLimiterMachine {
    fn set_revoked(&mut self, revoked: bool) -> Step<Reply> {
        let write =
            if revoked { Write::put(REVOKED_KEY, &true)? } else { Write::Delete { key: REVOKED_KEY.to_owned() } };
        let writes = if self.revoked == revoked { Vec::new() } else { vec![write] };
        self.revoked = revoked;
        Ok(Outcome { reply: Reply::Status(self.status()), writes })
    }

    fn status(&self) -> Status {
        Status {
            revoked: self.revoked,
            minute_count: self.minute.count(),
            hour_count: self.hour.count(),
            slots: self.slots(),
            leases: u32::try_from(self.leases.len()).unwrap_or(u32::MAX),
        }
    }

    /// Whether nothing is granted, now or later.
    fn refuses(&self, lease: &Lease, now_ms: i64) -> bool {
        let rotation = self.rotation.filter(|rotation| now_ms < rotation.until_ms);
        let is_old = |rotation: Rotation| lease.secret_at_ms.is_some_and(|at_ms| at_ms < rotation.secret_at_ms);
        self.revoked || rotation.is_some_and(is_old)
    }

    fn slots(&self) -> u32 {
        self.leases.values().fold(0, |sum, holding| sum.saturating_add(holding.slots))
    }

    /// Closes windows and lets leases lapse.
    ///
    /// A lapsed lease frees its slots at once. Its reserved requests count as used, the safe side, but it is remembered
    /// while they count, so that a late report still gives back what was not used: a client that calls every few
    /// seconds through a lease of one second must not pay for the whole lease each time.
    fn tidy(&mut self, now_ms: i64) {
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

    fn lease(&mut self, lease: &Lease, now_ms: i64) -> Reply {
        if lease.id.is_empty() || lease.id.len() > ID_MAX_BYTES {
            return Reply::Refused { message: format!("a lease id has 1 to {ID_MAX_BYTES} bytes") };
        }
        self.second.roll(lease.limits.per_second, now_ms);
        if let Some(latest) = self.leases.get(&lease.id).copied()
            && lease.expires_at_ms < latest.expires_at_ms
        {
            // Each statement of a holder expires later than the one before it: this one was overtaken on its way.
            self.report(None, lease.used, now_ms);
            return Reply::Leased(self.leased(lease, latest.reserved, latest.slots, now_ms));
        }
        let previous = self.leases.remove(&lease.id);
        self.report(previous, lease.used, now_ms);
        let previous_slots = previous.map_or(0, |holding| holding.slots);
        let (requests, slots) = self.grant(lease, previous_slots, now_ms);
        if requests > 0 || slots > 0 {
            self.second.add(requests);
            let holding = Holding {
                reserved: requests,
                minute: self.minute.add(requests, now_ms),
                hour: self.hour.add(requests, now_ms),
                slots,
                expires_at_ms: lease.expires_at_ms,
            };
            self.leases.insert(lease.id.clone(), holding);
        }
        Reply::Leased(self.leased(lease, requests, slots, now_ms))
    }

    /// Settles what a lease held: gives back what was not used; counts what was used beyond it.
    fn report(&mut self, previous: Option<Holding>, used: u32, now_ms: i64) {
        let reserved = previous.map_or(0, |holding| holding.reserved);
        if let Some(holding) = previous {
            let unused = reserved.saturating_sub(used);
            self.minute.take_back(unused, holding.minute);
            self.hour.take_back(unused, holding.hour);
            self.second.take_back(unused);
        }
        let beyond = used.saturating_sub(reserved);
        self.second.add(beyond);
        self.minute.add(beyond, now_ms);
        self.hour.add(beyond, now_ms);
    }

    /// What to grant: requests and slots. A request needs a slot where slots are wanted, and a slot beyond those in use
    /// already is of no use without a request, so neither is granted alone: a refused caller holds nothing to give back.
    fn grant(&mut self, lease: &Lease, previous_slots: u32, now_ms: i64) -> (u32, u32) {
        if self.refuses(lease, now_ms) || lease.expires_at_ms <= now_ms || !self.has_room() {
            return (0, 0);
        }
        let Limits { per_minute, per_hour, concurrent, per_second } = lease.limits;
        let slots = lease.want_slots.min(concurrent.saturating_sub(self.slots()));
        if lease.want_slots > 0 && slots == 0 {
            return (0, 0);
        }
        let requests = lease.want_requests.min(self.minute.remaining(per_minute)).min(self.hour.remaining(per_hour));
        let requests = requests.min(self.second.remaining(per_second));
        if requests == 0 && lease.want_requests > 0 { (0, slots.min(previous_slots)) } else { (requests, slots) }
    }

    /// Whether one more lease can be remembered; forgets a lapsed one for it, whose late report is then lost.
    fn has_room(&mut self) -> bool {
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

    fn leased(&self, lease: &Lease, requests: u32, slots: u32, now_ms: i64) -> Leased {
        let Limits { per_minute, per_hour, per_second, .. } = lease.limits;
        let closes_ms = [self.minute.reset_at_ms(now_ms), self.hour.reset_at_ms(now_ms)];
        let minute = Gauge::new(self.minute.remaining(per_minute), per_minute, closes_ms[0], closes_ms[0]);
        let hour = Gauge::new(self.hour.remaining(per_hour), per_hour, closes_ms[1], closes_ms[1]);
        let second = Gauge::new(
            self.second.remaining(per_second),
            if per_second == 0 { u32::MAX } else { Bucket::burst(per_second) },
            self.second.empty_at_ms(per_second),
            self.second.next_at_ms(per_second),
        );
        let Gauge { remaining, limit, reset_at_ms, .. } = minute.or_tighter(hour).or_tighter(second);
        let lacks_slots = lease.want_slots > 0 && slots == 0;
        let lacks_requests = lease.want_requests > 0 && requests == 0;
        // Of what is exhausted, the one that opens last: before that nothing can be granted.
        let exhausted = [minute, hour, second].into_iter().filter(|gauge| gauge.remaining == 0);
        let blocked = exhausted.map(|gauge| gauge.next_at_ms).max();
        let wait_ms = blocked.filter(|_| lacks_requests).map_or(SLOT_RETRY_MS, |next| next.saturating_sub(now_ms));
        let revoked = self.refuses(lease, now_ms);
        let retry_after_ms = (!revoked && (lacks_slots || lacks_requests)).then_some(wait_ms);
        Leased { requests, slots, limit, remaining, reset_at_ms, retry_after_ms, revoked }
    }
}

/// How one limit stands.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    remaining: u32,
    limit: u32,
    reset_at_ms: i64,
    /// When it takes one more request.
    next_at_ms: i64,
}

impl Gauge {
    const fn new(remaining: u32, limit: u32, reset_at_ms: i64, next_at_ms: i64) -> Self {
        Self { remaining, limit, reset_at_ms, next_at_ms }
    }

    /// The one that leaves fewer requests; with both exhausted the one that opens last: what is said must not be sooner
    /// than `retry_after_ms`.
    const fn or_tighter(self, other: Self) -> Self {
        let is_later = other.remaining == 0 && self.remaining == 0 && other.reset_at_ms > self.reset_at_ms;
        if other.remaining < self.remaining || is_later { other } else { self }
    }
}
