//! The machine of the rate limiter.
//!
//! An idle object is evicted within seconds, so what has been counted and what is held is stored; a write per request would
//! double the cost of a check, so it is one row, written [`SAVE_MS`] after the first change that it lacks. An eviction takes
//! ten seconds without a call and finds it written; a crash or a deployment takes the last three seconds. What is counted
//! for an address is rare and worth money, and is written before the answer.
//!
//! Seconds and rotations live in memory only: both are over before an idle object is evicted.

use super::bucket::Bucket;
use super::counts::{Counts, Holding};
use super::protocol::{Command, Lease, Leased, Limits, RateLimiter, Reply, Status, is_name_of_address};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

const ID_MAX_BYTES: usize = 128;
/// For so long an old secret is refused: longer than anybody believes what was read of a key.
const ROTATION_MS: i64 = 5_000;
/// When to come back for a slot, in milliseconds: whenever a request ends, which nobody knows.
const SLOT_RETRY_MS: i64 = 1_000;
/// How long a change may wait for others to be written with it; longer than a burst takes to drain.
const SAVE_MS: i64 = 3_000;
/// The row that exists while the key is revoked.
const REVOKED_KEY: &str = "revoked";
/// The row of [`Counts`] that have not run out.
const COUNTS_KEY: &str = "counts";

/// The rate limits of one key or address.
#[derive(Debug, PartialEq, Eq)]
pub struct RateLimiterMachine {
    revoked: bool,
    rotation: Option<Rotation>,
    second: Bucket,
    counts: Counts,
    /// As they were last written.
    stored: Counts,
    save_at_ms: Option<i64>,
    saves_at_once: bool,
}

/// A secret took another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rotation {
    secret_at_ms: i64,
    until_ms: i64,
}

impl Machine for RateLimiterMachine {
    type Protocol = RateLimiter;
    const HAS_LEDGER: bool = false;

    fn load(name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let read = |row: &Row| serde_json::from_str(&row.value).map_err(|e| MachineError::unreadable(&row.key, &e));
        let counts = rows.iter().find(|row| row.key == COUNTS_KEY).map(read);
        let counts: Counts = counts.transpose()?.unwrap_or_default();
        Ok(Self {
            revoked: rows.iter().any(|row| row.key == REVOKED_KEY),
            rotation: None,
            second: Bucket::default(),
            stored: counts.clone(),
            counts,
            save_at_ms: None,
            saves_at_once: is_name_of_address(name),
        })
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        self.tidy(now_ms);
        match command {
            Command::Lease(lease) => {
                let reply = self.lease(&lease, now_ms);
                Ok(Outcome { reply, writes: self.save_soon(now_ms)? })
            }
            Command::Revoke => self.set_revoked(true),
            Command::Restore => self.set_revoked(false),
            Command::Rotate { secret_at_ms } => {
                self.rotation = Some(Rotation { secret_at_ms, until_ms: now_ms.saturating_add(ROTATION_MS) });
                Ok(Outcome::of(Reply::Status(self.status())))
            }
            Command::Status => Ok(Outcome::of(Reply::Status(self.status()))),
        }
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        self.tidy(now_ms);
        Ok(Outcome { reply: (), writes: self.save()? })
    }

    /// When the row has run out, and the last burst has drained.
    fn next_alarm_ms(&self) -> Option<i64> {
        self.stored.end_ms().map(|end_ms| end_ms.saturating_add(SAVE_MS))
    }

    fn next_save_ms(&self) -> Option<i64> {
        self.save_at_ms
    }

    fn is_vacant(&self) -> bool {
        !self.revoked && self.rotation.is_none() && self.counts.end_ms().is_none()
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
            minute_count: self.counts.minute.count(),
            hour_count: self.counts.hour.count(),
            slots: self.counts.slots(),
            leases: u32::try_from(self.counts.leases.len()).unwrap_or(u32::MAX),
        }
    }

    /// Whether nothing is granted, now or later.
    fn refuses(&self, lease: &Lease) -> bool {
        let is_old = |rotation: Rotation| lease.secret_at_ms.is_some_and(|at_ms| at_ms < rotation.secret_at_ms);
        self.revoked || self.rotation.is_some_and(is_old)
    }

    fn tidy(&mut self, now_ms: i64) {
        self.counts.tidy(now_ms);
        self.rotation = self.rotation.filter(|rotation| now_ms < rotation.until_ms);
    }

    /// Plans to write what may have changed, or writes it now.
    fn save_soon(&mut self, now_ms: i64) -> Result<Vec<Write>, MachineError> {
        if self.saves_at_once {
            return self.save();
        }
        self.save_at_ms.get_or_insert(now_ms.saturating_add(SAVE_MS));
        Ok(Vec::new())
    }

    /// Writes what has changed.
    fn save(&mut self) -> Result<Vec<Write>, MachineError> {
        self.save_at_ms = None;
        if self.counts == self.stored {
            return Ok(Vec::new());
        }
        self.stored = self.counts.clone();
        let write = match self.stored.end_ms() {
            Some(_) => Write::put(COUNTS_KEY, &self.stored)?,
            None => Write::Delete { key: COUNTS_KEY.to_owned() },
        };
        Ok(vec![write])
    }

    fn lease(&mut self, lease: &Lease, now_ms: i64) -> Reply {
        if lease.id.is_empty() || lease.id.len() > ID_MAX_BYTES {
            return Reply::Refused { message: format!("a lease id has 1 to {ID_MAX_BYTES} bytes") };
        }
        self.second.roll(lease.limits.per_second, now_ms);
        if let Some(latest) = self.counts.leases.get(&lease.id).copied()
            && lease.expires_at_ms < latest.expires_at_ms
        {
            // Each statement of a holder expires later than the one before it: this one was overtaken on its way.
            self.report(None, lease.used, now_ms);
            return Reply::Leased(self.leased(lease, latest.reserved, latest.slots, now_ms));
        }
        let previous = self.counts.leases.remove(&lease.id);
        self.report(previous, lease.used, now_ms);
        let previous_slots = previous.map_or(0, |holding| holding.slots);
        let (requests, slots) = self.grant(lease, previous_slots, now_ms);
        if requests > 0 || slots > 0 {
            self.second.add(requests);
            let (minute, hour) = self.counts.add(requests, now_ms);
            let holding = Holding { reserved: requests, minute, hour, slots, expires_at_ms: lease.expires_at_ms };
            self.counts.leases.insert(lease.id.clone(), holding);
        }
        Reply::Leased(self.leased(lease, requests, slots, now_ms))
    }

    /// Settles what a lease held: gives back what was not used; counts what was used beyond it.
    fn report(&mut self, previous: Option<Holding>, used: u32, now_ms: i64) {
        let reserved = previous.map_or(0, |holding| holding.reserved);
        if let Some(holding) = previous {
            let unused = reserved.saturating_sub(used);
            self.counts.take_back(unused, &holding);
            self.second.take_back(unused);
        }
        let beyond = used.saturating_sub(reserved);
        self.second.add(beyond);
        self.counts.add(beyond, now_ms);
    }

    /// What to grant: requests and slots. A request needs a slot where slots are wanted, and a slot beyond those in use
    /// already is of no use without a request, so neither is granted alone: a refused caller holds nothing to give back.
    fn grant(&mut self, lease: &Lease, previous_slots: u32, now_ms: i64) -> (u32, u32) {
        if self.refuses(lease) || lease.expires_at_ms <= now_ms || !self.counts.has_room() {
            return (0, 0);
        }
        let Limits { per_minute, per_hour, concurrent, per_second } = lease.limits;
        let slots = lease.want_slots.min(concurrent.saturating_sub(self.counts.slots()));
        if lease.want_slots > 0 && slots == 0 {
            return (0, 0);
        }
        let requests =
            lease.want_requests.min(self.counts.minute.remaining(per_minute)).min(self.counts.hour.remaining(per_hour));
        let requests = requests.min(self.second.remaining(per_second));
        if requests == 0 && lease.want_requests > 0 { (0, slots.min(previous_slots)) } else { (requests, slots) }
    }

    fn leased(&self, lease: &Lease, requests: u32, slots: u32, now_ms: i64) -> Leased {
        let Limits { per_minute, per_hour, per_second, .. } = lease.limits;
        let closes_ms = [self.counts.minute.reset_at_ms(now_ms), self.counts.hour.reset_at_ms(now_ms)];
        let minute = Gauge::new(self.counts.minute.remaining(per_minute), per_minute, closes_ms[0], closes_ms[0]);
        let hour = Gauge::new(self.counts.hour.remaining(per_hour), per_hour, closes_ms[1], closes_ms[1]);
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
        let revoked = self.refuses(lease);
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
