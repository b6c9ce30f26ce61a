//! The idempotency guard: a request runs once, whatever fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::idempotency::protocol::{
    Answer, BODY_MAX_BYTES, Body, Command, HEADERS_MAX_BYTES, Idempotency, Reply, STORED_MS, name,
};
use durable_objects::idempotency::state::{IN_FLIGHT_MS, IdempotencyMachine};
use durable_objects::local::{FaultPoint, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::sql::SqlStore;
use proptest::prelude::*;
use support::{Bench, SqliteConnection};

type Guard = Bench<IdempotencyMachine, SqlStore<SqliteConnection>>;

fn guard() -> Guard {
    Bench::new("guard", SqlStore::new(SqliteConnection::open(), false))
}

fn begin(fingerprint: &str, token: &str) -> Command {
    Command::Begin { fingerprint: fingerprint.to_owned(), token: token.to_owned() }
}

fn answer(body: &[u8]) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status: 201, headers, body: Body(body.to_vec()), is_sealed: false }
}

fn finish(token: &str, answer: Answer) -> Command {
    Command::Finish { token: token.to_owned(), answer }
}

fn abandon(token: &str) -> Command {
    Command::Abandon { token: token.to_owned() }
}

#[test]
fn an_answer_is_replayed_for_a_day() {
    let mut guard = guard();
    assert_eq!(guard.ask(begin("f", "1"), 0), Reply::Started);
    assert_eq!(guard.ask(begin("f", "2"), 1), Reply::InFlight { expires_at_ms: IN_FLIGHT_MS });
    assert_eq!(guard.ask(finish("1", answer(b"\xffbytes")), 10), Reply::Closed);
    assert_eq!(guard.ask(begin("f", "3"), 9 + STORED_MS), Reply::Stored { answer: answer(b"\xffbytes") });
    assert_eq!(guard.ask(begin("f", "4"), 10 + STORED_MS), Reply::Started);
}

#[test]
fn another_request_under_the_same_key_is_refused() {
    let mut guard = guard();
    guard.ask(begin("f", "1"), 0);
    assert_eq!(guard.ask(begin("g", "2"), 0), Reply::Mismatch);
    guard.ask(finish("1", answer(b"")), 0);
    assert_eq!(guard.ask(begin("g", "2"), 0), Reply::Mismatch);
}

fn prolong(token: &str) -> Command {
    Command::Prolong { token: token.to_owned() }
}

#[test]
fn a_run_that_lives_keeps_the_key() {
    let mut guard = guard();
    guard.ask(begin("f", "1"), 0);
    assert_eq!(guard.ask(prolong("2"), 10), Reply::Stale);
    assert_eq!(guard.ask(prolong("1"), IN_FLIGHT_MS - 1), Reply::Started);
    assert_eq!(guard.ask(begin("f", "2"), IN_FLIGHT_MS), Reply::InFlight { expires_at_ms: 2 * IN_FLIGHT_MS - 1 });
    guard.ask(finish("1", answer(b"")), IN_FLIGHT_MS);
    assert_eq!(guard.ask(prolong("1"), IN_FLIGHT_MS), Reply::Stale, "it has answered");
    assert_eq!(guard.ask(begin("f", "2"), IN_FLIGHT_MS - 1 + STORED_MS), Reply::Stored { answer: answer(b"") });
}

#[test]
fn to_say_that_a_run_lives_begins_none() {
    let mut guard = guard();
    assert_eq!(guard.ask(prolong("1"), 0), Reply::Stale);
    guard.ask(begin("f", "1"), 0);
    guard.ask(abandon("1"), 0);
    assert_eq!(guard.ask(prolong("1"), 0), Reply::Stale);
    assert_eq!(guard.ask(begin("f", "2"), 0), Reply::Started);
}

#[test]
fn an_abandoned_key_is_free() {
    let mut guard = guard();
    guard.ask(begin("f", "1"), 0);
    assert_eq!(guard.ask(abandon("2"), 0), Reply::Stale);
    assert_eq!(guard.ask(abandon("1"), 0), Reply::Closed);
    assert_eq!(guard.ask(abandon("1"), 0), Reply::Closed, "again");
    assert_eq!(guard.ask(begin("g", "3"), 0), Reply::Started);
}

#[test]
fn an_answer_cannot_be_abandoned_or_replaced() {
    let mut guard = guard();
    guard.ask(begin("f", "1"), 0);
    guard.ask(finish("1", answer(b"first")), 0);
    assert_eq!(guard.ask(abandon("1"), 0), Reply::Stale);
    assert_eq!(guard.ask(finish("1", answer(b"second")), 0), Reply::Closed, "a repetition");
    assert_eq!(guard.ask(finish("2", answer(b"third")), 0), Reply::Stale);
    assert_eq!(guard.ask(begin("f", "2"), 0), Reply::Stored { answer: answer(b"first") });
}

#[test]
fn a_run_that_vanished_frees_the_key_and_cannot_come_back() {
    let mut guard = guard();
    guard.ask(begin("f", "1"), 0);
    assert_eq!(guard.ask(begin("f", "2"), IN_FLIGHT_MS), Reply::Started);
    assert_eq!(guard.ask(finish("1", answer(b"late")), IN_FLIGHT_MS), Reply::Stale);
    assert_eq!(guard.ask(finish("2", answer(b"right")), IN_FLIGHT_MS), Reply::Closed);
}

#[test]
fn an_answer_too_large_is_not_run_again() {
    let mut fits = guard();
    fits.ask(begin("f", "1"), 0);
    fits.ask(finish("1", answer(&vec![0; BODY_MAX_BYTES])), 0);
    assert!(matches!(fits.ask(begin("f", "2"), 0), Reply::Stored { .. }));
    let long_header = vec![("x".to_owned(), "y".repeat(HEADERS_MAX_BYTES))];
    let long = Answer { headers: long_header, ..answer(b"") };
    for too_large in [answer(&vec![0; BODY_MAX_BYTES + 1]), long] {
        let mut guard = guard();
        guard.ask(begin("f", "1"), 0);
        assert_eq!(guard.ask(finish("1", too_large), 0), Reply::Closed);
        assert_eq!(guard.ask(begin("f", "2"), 0), Reply::TooLarge { status: 201 });
    }
}

#[test]
fn texts_are_bounded() {
    let mut guard = guard();
    for command in [begin("", "1"), begin("f", ""), begin(&"x".repeat(129), "1")] {
        assert!(matches!(guard.ask(command, 0), Reply::Refused { .. }));
    }
}

#[test]
fn names_of_different_pairs_differ() {
    assert_ne!(name("a", "b:c"), name("a:b", "c"));
}

#[test]
fn nothing_is_left_in_the_end() {
    let objects = LocalObjects::new();
    let ask = |command, now_ms| objects.ask::<Idempotency>("k", &command, now_ms).unwrap();
    let is_vacant = || objects.is_vacant(Idempotency::BINDING, "k");
    ask(begin("f", "1"), 0);
    assert!(!is_vacant());
    ask(abandon("1"), 0);
    assert!(is_vacant() && objects.next_alarm_ms().is_none());
    ask(begin("f", "1"), 0);
    ask(finish("1", answer(b"")), 5);
    assert_eq!(objects.next_alarm_ms(), Some(5 + STORED_MS));
    objects.restart();
    objects.run_due_alarms(5 + STORED_MS);
    assert!(is_vacant() && objects.next_alarm_ms().is_none());
}

#[test]
fn a_start_whose_answer_was_lost_is_asked_for_again() {
    let objects = LocalObjects::new();
    let ask = |command| objects.ask::<Idempotency>("k", &command, 0);
    objects.fail_next(Idempotency::BINDING, FaultPoint::AfterPersist);
    ask(begin("f", "1")).unwrap_err();
    assert_eq!(ask(begin("f", "1")).unwrap(), Reply::Started);
    assert!(matches!(ask(begin("f", "2")).unwrap(), Reply::InFlight { .. }));
}

#[derive(Clone, Debug)]
enum Event {
    Begin { token: u8 },
    Finish { token: u8 },
    Prolong { token: u8 },
    FailNext(FaultPoint),
    Restart,
    Wait { ms: i64, alarms: bool },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4_u8).prop_map(|token| Event::Begin { token }),
        2 => (0..4_u8).prop_map(|token| Event::Finish { token }),
        2 => (0..4_u8).prop_map(|token| Event::Prolong { token }),
        1 => Just(Event::FailNext(FaultPoint::BeforePersist)),
        1 => Just(Event::FailNext(FaultPoint::AfterPersist)),
        1 => Just(Event::Restart),
        1 => (0..IN_FLIGHT_MS, any::<bool>()).prop_map(|(ms, alarms)| Event::Wait { ms, alarms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// While a run is in flight no other may start; once it has answered, only its answer is ever given.
    #[test]
    fn a_request_runs_once(events in prop::collection::vec(any_event(), 1..40)) {
        let objects = LocalObjects::new();
        let (mut now_ms, mut running, mut answered) = (0, None::<(u8, i64)>, None::<(u8, i64)>);
        for event in events {
            let ask = |command| (0..3).find_map(|_| objects.ask::<Idempotency>("k", &command, now_ms).ok()).unwrap();
            running = running.filter(|(_, until_ms)| now_ms < *until_ms);
            answered = answered.filter(|(_, until_ms)| now_ms < *until_ms);
            match event {
                Event::Begin { token } => match ask(begin("f", &token.to_string())) {
                    Reply::Started => {
                        prop_assert!(answered.is_none() && running.is_none_or(|(runner, _)| runner == token));
                        running = Some((token, now_ms + IN_FLIGHT_MS));
                    }
                    Reply::InFlight { .. } => prop_assert!(running.is_some_and(|(runner, _)| runner != token)),
                    Reply::Stored { answer: stored } => {
                        prop_assert_eq!(Some(stored), answered.map(|(runner, _)| answer(&[runner])));
                    }
                    other => prop_assert!(false, "{:?}", other),
                },
                Event::Finish { token } => {
                    let reply = ask(finish(&token.to_string(), answer(&[token])));
                    let owns = running.or(answered).is_some_and(|(runner, _)| runner == token);
                    prop_assert_eq!(reply, if owns { Reply::Closed } else { Reply::Stale });
                    if running.take_if(|(runner, _)| *runner == token).is_some() {
                        answered = Some((token, now_ms + STORED_MS));
                    }
                }
                Event::Prolong { token } => {
                    let reply = ask(prolong(&token.to_string()));
                    let run = running.as_mut().filter(|(runner, _)| *runner == token);
                    prop_assert_eq!(reply, if run.is_some() { Reply::Started } else { Reply::Stale });
                    if let Some((_, until_ms)) = run {
                        *until_ms = now_ms + IN_FLIGHT_MS;
                    }
                }
                Event::FailNext(point) => objects.fail_next(Idempotency::BINDING, point),
                Event::Restart => objects.restart(),
                Event::Wait { ms, alarms } => {
                    now_ms += ms;
                    if alarms {
                        (0..3).for_each(|_| objects.run_due_alarms(now_ms));
                    }
                }
            }
        }
    }
}
