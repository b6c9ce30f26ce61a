//! The rate limiter over SQLite, evicted whenever nobody calls it: what was counted and what is held goes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::host::{Host, Turn};
use durable_objects::rate_limiter::protocol::{Command, Lease, Leased, Limits, Reply, Status};
use durable_objects::rate_limiter::state::RateLimiterMachine;
use durable_objects::sql::SqlStore;
use support::SqliteConnection;

const LIMITS: Limits = Limits { per_minute: 60, per_hour: 1_000, concurrent: 2, per_second: 0 };
const HOUR_MS: i64 = 3_600_000;
/// So long after a change all of it is written.
const SAVED_MS: i64 = 3_000;

struct Limiter {
    host: Host<RateLimiterMachine, SqlStore<SqliteConnection>>,
    limits: Limits,
    /// Of the last turn.
    turn: Option<Turn>,
}

impl Limiter {
    fn new(name: &str, limits: Limits) -> Self {
        let store = SqlStore::new(SqliteConnection::open(), false);
        Self { host: Host::new(name.to_owned(), store), limits, turn: None }
    }

    fn ask(&mut self, command: &Command, now_ms: i64) -> Reply {
        let turn = self.host.call(&serde_json::to_vec(command).unwrap(), now_ms).unwrap();
        serde_json::from_slice(&self.turn.insert(turn).reply).unwrap()
    }

    fn lease_until(&mut self, id: &str, [used, requests, slots]: [u32; 3], now_ms: i64, expires_at_ms: i64) -> Leased {
        let (id, limits, want_requests, want_slots) = (id.to_owned(), self.limits, requests, slots);
        let lease = Lease { id, limits, used, want_requests, want_slots, expires_at_ms, secret_at_ms: None };
        match self.ask(&Command::Lease(lease), now_ms) {
            Reply::Leased(leased) => leased,
            other => panic!("{other:?}"),
        }
    }

    /// A request that is checked on its own and over at once; says whether it was granted.
    fn pass(&mut self, id: i64, now_ms: i64) -> bool {
        let granted = self.lease_until(&id.to_string(), [0, 1, 1], now_ms, now_ms + 45_000);
        if granted.requests == 0 {
            return false;
        }
        self.lease_until(&id.to_string(), [1, 0, 0], now_ms, now_ms + 45_000);
        true
    }

    fn status(&mut self, now_ms: i64) -> Status {
        match self.ask(&Command::Status, now_ms) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Nobody calls any more: what is planned is done, and the memory is lost.
    fn evict(&mut self) {
        if let Some(at_ms) = self.turn.as_ref().unwrap().save_at_ms {
            self.turn = Some(self.host.alarm(at_ms).unwrap());
        }
        self.host.forget();
    }

    fn alarm_at_ms(&self) -> i64 {
        self.turn.as_ref().unwrap().alarm_at_ms.unwrap()
    }
}

#[test]
fn minutes_and_hours_go_on() {
    for (per_minute, per_hour, closes_ms) in [(3, 1_000, 60_000), (1_000, 3, HOUR_MS)] {
        let mut limiter = Limiter::new("key:1", Limits { per_minute, per_hour, concurrent: 5, per_second: 0 });
        for round in 0..4 {
            assert_eq!(limiter.pass(round, round * 11_000), round < 3, "{round} of {closes_ms}");
            limiter.evict();
        }
        let refused = limiter.lease_until("late", [0, 1, 1], 50_000, 95_000);
        assert_eq!((refused.remaining, refused.reset_at_ms), (0, closes_ms));
        limiter.evict();
        assert!(!limiter.pass(5, closes_ms - 1) && limiter.pass(6, closes_ms));
    }
}

#[test]
fn what_a_lease_holds_is_held_and_what_it_did_not_use_comes_back() {
    let mut limiter = Limiter::new("key:1", LIMITS);
    assert_eq!(limiter.lease_until("a", [0, 40, 0], 0, 1_000).requests, 40);
    limiter.evict();
    assert_eq!(limiter.lease_until("b", [0, 40, 0], 20_000, 21_000).requests, 20);
    limiter.evict();
    assert_eq!(limiter.lease_until("a", [3, 0, 0], 40_000, 41_000).remaining, 37);
}

#[test]
fn places_of_calls_that_run_on_are_taken_and_come_back() {
    let mut limiter = Limiter::new("key:1", LIMITS);
    for id in ["a", "b"] {
        assert_eq!(limiter.lease_until(id, [0, 1, 1], 0, 45_000).slots, 1);
    }
    limiter.evict();
    let refused = limiter.lease_until("c", [0, 1, 1], 13_000, 58_000);
    assert_eq!((refused.requests, refused.slots, refused.retry_after_ms), (0, 0, Some(1_000)));
    limiter.evict();
    // The one ends, the other renews its place, and its isolate dies.
    limiter.lease_until("a", [1, 0, 0], 25_000, 45_000);
    limiter.lease_until("b", [1, 0, 1], 25_000, 70_000);
    limiter.evict();
    let status = limiter.status(40_000);
    assert_eq!((status.slots, status.minute_count), (1, 2), "a call counts once");
    limiter.evict();
    assert_eq!((limiter.status(69_999).slots, limiter.status(70_000).slots), (1, 0));
}

#[test]
fn what_is_counted_for_an_address_is_never_lost() {
    let limits = Limits { per_minute: 2, per_hour: 2, concurrent: 0, per_second: 0 };
    let mut limiter = Limiter::new("ip:provision:::1", limits);
    for round in 0..3 {
        // The answer is lost, and the object dies at once.
        let granted = limiter.lease_until(&round.to_string(), [0, 1, 0], round, 60_000).requests;
        assert_eq!(granted, u32::from(round < 2));
        assert_eq!(limiter.turn.as_ref().unwrap().save_at_ms, None, "nothing is left to write");
        limiter.host.forget();
    }
}

#[test]
fn many_changes_are_one_write_and_none_is_none() {
    let mut limiter = Limiter::new("key:1", LIMITS);
    let mut saves = std::collections::BTreeSet::new();
    for number in 0..20 {
        limiter.pass(number, 100 * number);
        saves.extend(limiter.turn.as_ref().unwrap().save_at_ms);
        assert_eq!(limiter.turn.as_ref().unwrap().alarm_at_ms, None, "not even an alarm");
    }
    assert_eq!(saves.into_iter().collect::<Vec<_>>(), [SAVED_MS]);
    limiter.evict();
    assert_eq!(limiter.turn.as_ref().unwrap().save_at_ms, None, "until the next change");
    limiter.status(10_000);
    assert_eq!(limiter.turn.as_ref().unwrap().save_at_ms, None);
}

#[test]
fn an_object_that_was_used_once_ceases_to_be() {
    for name in ["key:1", "ip:provision:::1"] {
        let mut limiter = Limiter::new(name, LIMITS);
        limiter.pass(0, 0);
        limiter.evict();
        limiter.status(20_000);
        assert_eq!(limiter.alarm_at_ms(), HOUR_MS + SAVED_MS, "after a burst of the hour's last moment too");
        limiter.evict();
        let early = limiter.host.alarm(HOUR_MS - 1).unwrap();
        assert!(!early.vacant && early.alarm_at_ms == Some(HOUR_MS + SAVED_MS), "{early:?}");
        limiter.host.forget();
        let last = limiter.host.alarm(HOUR_MS + SAVED_MS).unwrap();
        assert!(last.vacant && last.alarm_at_ms.is_none(), "{last:?}");
    }
}

#[test]
fn a_revocation_outlives_the_counts() {
    let mut limiter = Limiter::new("key:1", LIMITS);
    limiter.pass(0, 0);
    limiter.ask(&Command::Revoke, 0);
    limiter.evict();
    let turn = limiter.host.alarm(HOUR_MS + SAVED_MS).unwrap();
    assert!(!turn.vacant && turn.alarm_at_ms.is_none(), "{turn:?}");
    limiter.host.forget();
    assert!(limiter.status(2 * HOUR_MS).revoked);
    limiter.ask(&Command::Restore, 2 * HOUR_MS);
    assert!(limiter.turn.as_ref().unwrap().vacant);
}
