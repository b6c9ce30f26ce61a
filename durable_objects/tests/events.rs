//! The feed: numbers rise and are never given twice, a reader misses nothing that is kept and hears of what is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::events::protocol::{BATCH_MAX, Command, DATA_MAX_BYTES, Event, KEPT_MAX, NewEvent, Reply};
use durable_objects::events::state::EventsMachine;
use durable_objects::memory::MemoryStore;
use durable_objects::store::Store;
use proptest::prelude::*;
use support::Bench;

type Feed = Bench<EventsMachine, MemoryStore>;

fn feed() -> Feed {
    Bench::new("admins", MemoryStore::default())
}

fn publish(feed: &mut Feed, data: impl IntoIterator<Item = String>) -> u64 {
    let events = data.into_iter().map(|data| NewEvent { kind: "k".into(), data }).collect();
    let Reply::Events { events, last, .. } = feed.ask(Command::Publish { events }, 0);
    assert_eq!(events, []);
    last
}

fn read(feed: &mut Feed, after: Option<u64>, limit: u32) -> (Vec<Event>, u64, u64) {
    let Reply::Events { events, last, missed } = feed.ask(Command::Read { after, limit }, 0);
    (events, last, missed)
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let mut feed = feed();
    assert_eq!(read(&mut feed, None, 10), (vec![], 0, 0));
    assert_eq!(publish(&mut feed, ["a".into(), "b".into()]), 2);
    assert_eq!(publish(&mut feed, ["c".into()]), 3);
    let (events, last, missed) = read(&mut feed, Some(1), 10);
    let told: Vec<_> = events.iter().map(|event| (event.id, event.data.as_str())).collect();
    assert_eq!((told, last, missed), (vec![(2, "b"), (3, "c")], 3, 0));
    assert_eq!(read(&mut feed, Some(1), 1).0.len(), 1);
    assert_eq!(read(&mut feed, None, 10), (vec![], 3, 0), "whoever comes new starts at the end");
    assert_eq!(read(&mut feed, Some(99), 10).0.len(), 3, "a number of another feed starts anew");
}

#[test]
fn what_is_not_kept_is_told_and_never_too_much_is_kept() {
    let mut feed = feed();
    for at in 0..600 {
        publish(&mut feed, [at.to_string()]);
    }
    let rows = feed.store.load().unwrap().len();
    assert!(rows <= 256, "{rows}");
    let (events, last, missed) = read(&mut feed, Some(10), 5_000);
    assert_eq!((last, missed + events.len() as u64), (600, 590));
    assert_eq!(events.first().unwrap().id, 11 + missed);
    publish(&mut feed, (0..10_000).map(|at| at.to_string()));
    let (events, last, missed) = read(&mut feed, Some(600), 5_000);
    assert_eq!((events.len(), last, missed), (BATCH_MAX, 10_600, 10_000 - BATCH_MAX as u64));
    assert!(read(&mut feed, Some(0), 10_000).0.len() <= KEPT_MAX);
}

#[test]
fn an_event_that_cannot_be_sent_only_counts() {
    let mut feed = feed();
    publish(&mut feed, ["x".repeat(DATA_MAX_BYTES + 1), "two\nlines".into(), "good".into()]);
    let (events, last, missed) = read(&mut feed, Some(0), 10);
    assert_eq!((events.len(), events[0].id, last, missed), (1, 3, 3, 2));
}

#[test]
fn rows_and_messages_are_unchanged() {
    let mut feed = feed();
    publish(&mut feed, ["{}".into()]);
    let rows: Vec<_> = feed.store.load().unwrap().into_iter().map(|row| (row.key, row.value)).collect();
    assert_eq!(rows, [("batch:1".to_owned(), r#"{"last":1,"events":[{"kind":"k","data":"{}"}]}"#.to_owned())]);
    let read = serde_json::to_string(&Command::Read { after: Some(1), limit: 2 }).unwrap();
    assert_eq!(read, r#"{"command":"read","after":1,"limit":2}"#);
    let event = Event { id: 1, kind: "k".into(), data: "{}".into() };
    let reply = serde_json::to_string(&Reply::Events { events: vec![event], last: 1, missed: 0 }).unwrap();
    assert_eq!(reply, r#"{"reply":"events","events":[{"id":1,"kind":"k","data":"{}"}],"last":1,"missed":0}"#);
}

proptest! {
    #[test]
    fn reading_in_steps_is_reading_at_once(batches in prop::collection::vec(1_usize..40, 1..15), limit in 1_u32..50) {
        let mut feed = feed();
        for (at, size) in batches.iter().enumerate() {
            publish(&mut feed, (0..*size).map(|part| format!("{at}.{part}")));
        }
        let (whole, last, missed) = read(&mut feed, Some(0), 100_000);
        let (mut stepwise, mut after, mut lost) = (Vec::new(), 0, 0);
        loop {
            let (events, _, missed) = read(&mut feed, Some(after), limit);
            lost += missed;
            let Some(newest) = events.last() else { break };
            after = newest.id;
            stepwise.extend(events);
        }
        prop_assert_eq!(last, batches.iter().sum::<usize>() as u64);
        prop_assert_eq!(lost, missed);
        prop_assert_eq!(stepwise, whole);
    }
}
