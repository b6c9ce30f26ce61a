//! The rate limiter, by example and by model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use durable_objects::local::{FaultPoint, LocalObjects};
use durable_objects::memory::MemoryStore;
use durable_objects::protocol::Protocol;
use durable_objects::rate_limiter::protocol::{
    Command, Lease, Leased, Limits, RateLimiter, Reply, Status, name_of_address, name_of_key,
};
use durable_objects::rate_limiter::state::RateLimiterMachine;
use proptest::prelude::*;
use support::Bench;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const LIMITS: Limits = Limits { per_minute: 60, per_hour: 1_000, concurrent: 2, per_second: 0 };

struct Limiter {
    objects: LocalObjects,
    limits: Limits,
}

impl Limiter {
    fn new(limits: Limits) -> Self {
        Self { objects: LocalObjects::new(), limits }
    }

    fn ask(&self, command: &Command, now_ms: i64) -> Reply {
        self.objects.ask::<RateLimiter>("key:1", command, now_ms).unwrap()
    }

    /// A lease of ten seconds.
    fn lease(&self, id: &str, used: u32, want_requests: u32, want_slots: u32, now_ms: i64) -> Leased {
        let (id, limits, expires_at_ms) = (id.to_owned(), self.limits, now_ms + 10_000);
        let lease = Lease { id, limits, used, want_requests, want_slots, expires_at_ms, secret_at_ms: None };
        match self.ask(&Command::Lease(lease), now_ms) {
            Reply::Leased(leased) => leased,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, now_ms: i64) -> Status {
        match self.ask(&Command::Status, now_ms) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_exact_caller_counts_down_and_is_told_when_to_come_back() {
    let limiter = Limiter::new(LIMITS);
    for number in 0..60 {
        let granted = limiter.lease(&number.to_string(), 0, 1, 1, 1_000 + i64::from(number));
        assert_eq!((granted.requests, granted.slots, granted.remaining), (1, 1, 59 - number));
        assert_eq!((granted.limit, granted.reset_at_ms, granted.retry_after_ms), (60, 61_000, None));
        let done = limiter.lease(&number.to_string(), 1, 0, 0, 1_000 + i64::from(number));
        assert_eq!((done.slots, done.remaining, done.retry_after_ms), (0, 59 - number, None));
    }
    let refused = limiter.lease("late", 0, 1, 1, 31_000);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, Some(30_000)));
    assert_eq!(limiter.status(31_000).leases, 0, "a refused caller holds nothing to give back");
    assert_eq!(limiter.lease("next", 0, 1, 1, 61_000).remaining, 59);
}

#[test]
fn the_hour_blocks_when_it_is_tighter() {
    let limiter = Limiter::new(Limits { per_minute: 10, per_hour: 15, concurrent: 1, per_second: 0 });
    assert_eq!(limiter.lease("a", 0, 10, 0, 0).requests, 10);
    assert_eq!(limiter.lease("a", 10, 10, 0, MINUTE_MS).requests, 5);
    let refused = limiter.lease("a", 5, 1, 0, 2 * MINUTE_MS);
    assert_eq!((refused.requests, refused.limit, refused.remaining), (0, 15, 0));
    assert_eq!((refused.reset_at_ms, refused.retry_after_ms), (HOUR_MS, Some(HOUR_MS - 2 * MINUTE_MS)));
}

#[test]
fn slots_are_shared_and_come_back_when_a_lease_lapses() {
    let limiter = Limiter::new(LIMITS);
    assert_eq!(limiter.lease("a", 0, 5, 5, 0).slots, 2, "as many as there are");
    let refused = limiter.lease("b", 0, 5, 1, 0);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, Some(1_000)));
    assert_eq!(limiter.lease("a", 0, 0, 1, 0).slots, 1);
    assert_eq!(limiter.lease("b", 0, 1, 1, 0).slots, 1);
    assert_eq!(limiter.status(10_000).slots, 0);
}

#[test]
fn running_requests_keep_their_slots_when_the_window_is_exhausted() {
    let limiter = Limiter::new(Limits { per_minute: 2, ..LIMITS });
    assert_eq!(limiter.lease("a", 0, 2, 1, 0).slots, 1);
    let after = limiter.lease("a", 2, 5, 2, 0);
    assert_eq!((after.requests, after.slots, after.retry_after_ms), (0, 1, Some(MINUTE_MS)));
}

#[test]
fn what_a_lease_did_not_use_comes_back() {
    let limiter = Limiter::new(LIMITS);
    assert_eq!(limiter.lease("a", 0, 40, 0, 0).remaining, 20);
    assert_eq!(limiter.lease("b", 0, 40, 0, 0).requests, 20);
    assert_eq!(limiter.lease("a", 3, 0, 0, 0).remaining, 37);
    assert_eq!(limiter.lease("b", 20, 40, 0, 0).requests, 37);
    // Reported after the lease lapsed, but in the same window: still given back.
    assert_eq!(limiter.lease("b", 0, 0, 0, 30_000).remaining, 37);
    // Reserved in the last window: nothing of the new one is given back for it.
    limiter.lease("b", 0, 37, 0, 59_000);
    limiter.lease("c", 0, 5, 0, MINUTE_MS);
    assert_eq!(limiter.lease("b", 0, 0, 0, MINUTE_MS).remaining, 55);
    assert_eq!(limiter.status(MINUTE_MS).hour_count, 28, "3, 20 and 5: of the same hour all the rest is given back");
}

#[test]
fn what_was_used_beyond_a_lease_is_counted() {
    let limiter = Limiter::new(LIMITS);
    assert_eq!(limiter.lease("forgotten", 50, 0, 0, 0).remaining, 10);
    assert_eq!(limiter.lease("forgotten", 50, 5, 0, 0).requests, 0);
}

#[test]
fn the_newest_limits_hold() {
    let mut limiter = Limiter::new(LIMITS);
    limiter.lease("a", 0, 30, 0, 0);
    limiter.limits.per_minute = 20;
    assert_eq!(limiter.lease("b", 0, 1, 0, 0).requests, 0);
    limiter.limits.per_minute = 31;
    assert_eq!(limiter.lease("b", 0, 9, 0, 0).requests, 1);
    limiter.limits.per_minute = 0;
    let refused = limiter.lease("b", 1, 1, 0, 0);
    assert_eq!((refused.requests, refused.retry_after_ms), (0, Some(MINUTE_MS)));
}

#[test]
fn a_revocation_survives_everything_until_it_is_taken_back() {
    let limiter = Limiter::new(LIMITS);
    limiter.objects.fail_next(RateLimiter::BINDING, FaultPoint::BeforePersist);
    limiter.objects.ask::<RateLimiter>("key:1", &Command::Revoke, 0).unwrap_err();
    assert!(!limiter.status(0).revoked, "not written, not so");
    limiter.ask(&Command::Revoke, 0);
    limiter.objects.restart();
    let refused = limiter.lease("a", 0, 1, 1, 0);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, None));
    assert!(refused.revoked);
    limiter.ask(&Command::Restore, 0);
    limiter.objects.restart();
    assert_eq!(limiter.lease("a", 0, 1, 1, 0).requests, 1);
    assert!(limiter.objects.is_vacant(RateLimiter::BINDING, "key:1"));
}

#[test]
fn counting_writes_nothing_and_a_revocation_writes_a_row() {
    let mut limiter: Bench<RateLimiterMachine, _> = Bench::new("key:1", MemoryStore::default());
    limiter.ask(Command::Status, 0);
    limiter.ask(Command::Revoke, 0);
    assert!(!limiter.store.is_empty());
    limiter.ask(Command::Restore, 0);
    assert!(limiter.store.is_empty());
}

#[test]
fn leases_are_bounded_and_lapsed_ones_make_room() {
    let limiter = Limiter::new(Limits { per_minute: 10_000, per_hour: 10_000, concurrent: 10_000, per_second: 0 });
    for number in 0..1_000 {
        assert_eq!(limiter.lease(&number.to_string(), 0, 1, 1, 0).slots, 1);
    }
    let refused = limiter.lease("one more", 0, 1, 1, 0);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, Some(1_000)));
    assert_eq!(limiter.lease("one more", 0, 1, 1, 10_000).slots, 1);
    assert_eq!(limiter.status(10_000).leases, 1_000);
}

#[test]
fn a_statement_that_was_overtaken_is_counted_and_leaves_the_lease() {
    let limiter = Limiter::new(LIMITS);
    assert_eq!(limiter.lease("a", 0, 10, 2, 1_000).requests, 10);
    let late = Lease {
        id: "a".to_owned(),
        limits: LIMITS,
        used: 3,
        want_requests: 40,
        want_slots: 1,
        expires_at_ms: 10_999,
        secret_at_ms: None,
    };
    let Reply::Leased(leased) = limiter.ask(&Command::Lease(late), 1_500) else { panic!("refused") };
    assert_eq!((leased.requests, leased.slots), (10, 2), "what the later statement holds");
    assert_eq!(limiter.status(1_500).minute_count, 13, "and the 3 that it reports");
    assert_eq!(limiter.lease("a", 10, 0, 0, 2_000).remaining, 60 - 13);
}

#[test]
fn a_second_has_a_burst_of_two_and_then_one_after_the_other() {
    let limiter = Limiter::new(Limits { per_minute: 1_000, per_hour: 10_000, concurrent: 9, per_second: 1 });
    assert_eq!(limiter.lease("1", 0, 1, 1, 500).remaining, 1);
    assert_eq!(limiter.lease("2", 0, 1, 1, 500).remaining, 0);
    let refused = limiter.lease("3", 0, 1, 1, 500);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, Some(1_000)));
    assert_eq!((refused.limit, refused.remaining, refused.reset_at_ms), (2, 0, 2_500));
    assert_eq!(limiter.lease("3", 0, 1, 1, 1_499).requests, 0);
    assert_eq!(limiter.lease("3", 0, 1, 1, 1_500).requests, 1);
    assert_eq!(limiter.lease("4", 0, 1, 1, 1_500).requests, 0);
    assert_eq!(limiter.lease("3", 0, 0, 0, 1_500).remaining, 1, "what was not made comes back");
}

#[test]
fn an_old_secret_is_refused_until_everybody_knows_the_new_one() {
    let limiter = Limiter::new(LIMITS);
    let lease = |secret_at_ms: Option<i64>, now_ms| {
        let (id, expires_at_ms) = (format!("{secret_at_ms:?}"), now_ms + 10);
        let lease = Lease { id, limits: LIMITS, used: 0, want_requests: 1, want_slots: 1, expires_at_ms, secret_at_ms };
        let Reply::Leased(leased) = limiter.ask(&Command::Lease(lease), now_ms) else { panic!("refused") };
        (leased.requests, leased.slots, leased.revoked, leased.retry_after_ms)
    };
    let (granted, refused) = ((1, 1, false, None), (0, 0, true, None));
    assert_eq!(lease(Some(10), 50), granted);
    limiter.ask(&Command::Rotate { secret_at_ms: 90 }, 100);
    for now_ms in [100, 5_099] {
        assert_eq!(lease(Some(10), now_ms), refused);
        assert_eq!(lease(Some(90), now_ms), granted);
        assert_eq!(lease(None, now_ms), granted, "a caller without a secret of the key's");
    }
    assert_eq!(lease(Some(10), 5_110), granted, "by then nobody takes it for the key's");
    assert!(!limiter.status(100).revoked);
}

#[test]
fn an_id_is_bounded() {
    let limiter = Limiter::new(LIMITS);
    for id in [String::new(), "x".repeat(129)] {
        let lease = Lease {
            id,
            limits: LIMITS,
            used: 0,
            want_requests: 1,
            want_slots: 0,
            expires_at_ms: 1,
            secret_at_ms: None,
        };
        assert!(matches!(limiter.ask(&Command::Lease(lease), 0), Reply::Refused { .. }));
    }
}

#[test]
fn names_keep_keys_and_addresses_apart() {
    assert_eq!(name_of_key("k1"), "key:k1");
    assert_eq!(name_of_address("provision", "::1"), "ip:provision:::1");
}

/// What a caller does next: how much of its grant it used, and what it wants.
#[derive(Clone, Debug)]
struct Turn {
    caller: usize,
    used: u32,
    want_requests: u32,
    want_slots: u32,
    lasts_ms: i64,
    later_ms: i64,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let numbers = (0..4_usize, 0..30_u32, 0..30_u32, 0..5_u32, 1..20_000_i64, 0..15_000_i64);
    numbers.prop_map(|(caller, used, want_requests, want_slots, lasts_ms, later_ms)| Turn {
        caller,
        used,
        want_requests,
        want_slots,
        lasts_ms,
        later_ms,
    })
}

/// A caller's grant: the window it counts in (by when it closes), what is unspent, slots, expiry.
#[derive(Clone, Copy, Default)]
struct Grant {
    closes_at_ms: i64,
    requests: u32,
    slots: u32,
    expires_at_ms: i64,
}

/// Lets callers that keep to their grants do as they like, and checks that no window sees more than its limit. After ten
/// seconds without a call the object is evicted.
fn check_limits(limits: Limits, limit: u32, turns: Vec<Turn>) {
    let limiter = Limiter::new(limits);
    let mut grants = [Grant::default(); 4];
    let mut made: BTreeMap<i64, u32> = BTreeMap::new();
    let mut now_ms = 0;
    for turn in turns {
        if turn.later_ms >= 10_000 {
            limiter.objects.run_due_alarms(now_ms + 9_999);
            limiter.objects.restart();
        }
        now_ms += turn.later_ms;
        let grant = &mut grants[turn.caller];
        let used = turn.used.min(grant.requests);
        *made.entry(grant.closes_at_ms).or_default() += used;
        let Turn { want_requests, want_slots, .. } = turn;
        // A caller's statements expire one after the other.
        let (id, expires_at_ms) = (turn.caller.to_string(), grant.expires_at_ms.max(now_ms + turn.lasts_ms));
        let lease = Lease { id, limits, used, want_requests, want_slots, expires_at_ms, secret_at_ms: None };
        let Reply::Leased(leased) = limiter.ask(&Command::Lease(lease), now_ms) else { panic!("refused") };
        assert!(leased.requests <= want_requests && leased.slots <= want_slots);
        assert_eq!(leased.limit, limit, "the tighter window is the one under test");
        let is_refused = (want_requests > 0 && leased.requests == 0) || (want_slots > 0 && leased.slots == 0);
        assert_eq!(leased.retry_after_ms.is_some(), is_refused);
        let Leased { requests, slots, .. } = leased;
        *grant = Grant { closes_at_ms: leased.reset_at_ms, requests, slots, expires_at_ms };
        let held: u32 = grants.iter().filter(|grant| grant.expires_at_ms > now_ms).map(|grant| grant.slots).sum();
        assert!(held <= limits.concurrent, "{held} slots");
    }
    assert!(made.values().all(|count| *count <= limit), "{made:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_minute_sees_more_than_its_limit(turns in prop::collection::vec(any_turn(), 1..80)) {
        check_limits(Limits { per_minute: 20, per_hour: 1_000_000, concurrent: 6, per_second: 0 }, 20, turns);
    }

    #[test]
    fn no_hour_sees_more_than_its_limit(turns in prop::collection::vec(any_turn(), 1..80)) {
        check_limits(Limits { per_minute: 1_000_000, per_hour: 50, concurrent: 6, per_second: 0 }, 50, turns);
    }
}
