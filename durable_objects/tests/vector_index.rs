//! The index of vectors beside a naive model of it, and its rules.

#![allow(clippy::unwrap_used, clippy::panic, clippy::float_arithmetic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use durable_objects::local::{FaultPoint, LocalObjects};
use durable_objects::machine::{Facts, Machine, Write};
use durable_objects::memory::MemoryStore;
use durable_objects::protocol::Protocol;
use durable_objects::sql::SqlStore;
use durable_objects::vector_index::protocol::{
    BATCH_MAX, Command, Item, METADATA_MAX_BYTES, Match, NAME_MAX_BYTES, RefusalCode, Reply, TOP_K_MAX, VectorIndex,
};
use durable_objects::vector_index::state::VectorIndexMachine;
use guildhall_domain::vector::write_vector;
use proptest::prelude::*;
use support::{Bench, SqliteConnection};

const NOW_MS: i64 = 1_000_000;

fn item(id: &str, vector: &[f32]) -> Item {
    Item {
        id: id.to_owned(),
        namespace: "n".to_owned(),
        vector: write_vector(vector),
        metadata: String::new(),
        expires_at_ms: None,
    }
}

fn expiring(id: &str, vector: &[f32], expires_at_ms: i64) -> Item {
    Item { expires_at_ms: Some(expires_at_ms), ..item(id, vector) }
}

fn query(namespace: &str, vector: &[f32], top_k: u32) -> Command {
    Command::Query { namespace: namespace.to_owned(), vector: write_vector(vector), top_k }
}

fn tell(machine: &mut VectorIndexMachine, command: Command) -> (Reply, Vec<Write>) {
    let outcome = machine.apply(command, Facts::default(), NOW_MS).unwrap();
    (outcome.reply, outcome.writes)
}

fn ids(reply: &Reply) -> Vec<&str> {
    let Reply::Matches { matches } = reply else { panic!("{reply:?}") };
    matches.iter().map(|found| found.id.as_str()).collect()
}

fn refused(reply: &Reply) -> Option<RefusalCode> {
    match reply {
        Reply::Refused { code, .. } => Some(*code),
        _ => None,
    }
}

#[test]
fn the_nearest_of_the_namespace_come_first() {
    for sql in [false, true] {
        let commands = [
            Command::Upsert {
                items: vec![
                    item("b", &[1.0, 1.0]),
                    item("a", &[2.0, 2.0]),
                    item("c", &[0.0, 1.0]),
                    item("d", &[-1.0, -1.0]),
                    Item { namespace: "other".to_owned(), ..item("e", &[1.0, 1.0]) },
                    item("f", &[1.0, 1.0, 1.0]),
                    Item { metadata: "{\"k\":1}".to_owned(), ..item("g", &[1.0, 0.0]) },
                ],
            },
            query("n", &[3.0, 3.0], 10),
            query("n", &[3.0, 3.0], 2),
            query("other", &[1.0, 0.0], 10),
            query("nobody", &[1.0, 0.0], 10),
            Command::Delete { ids: vec!["a".to_owned(), "a".to_owned(), "unknown".to_owned()] },
            query("n", &[1.0, 1.0], 1),
            Command::Stats,
        ];
        let replies: Vec<Reply> = if sql {
            let mut bench = Bench::<VectorIndexMachine, _>::new("i", SqlStore::new(SqliteConnection::open(), false));
            commands.into_iter().map(|command| bench.ask(command, NOW_MS)).collect()
        } else {
            let mut bench = Bench::<VectorIndexMachine, _>::new("i", MemoryStore::default());
            commands.into_iter().map(|command| bench.ask(command, NOW_MS)).collect()
        };
        assert_eq!(replies[0], Reply::Done);
        assert_eq!(ids(&replies[1]), ["a", "b", "c", "g", "d"], "those as near by their ids");
        assert_eq!(ids(&replies[2]), ["a", "b"]);
        assert_eq!((ids(&replies[3]), ids(&replies[4])), (vec!["e"], vec![]));
        assert_eq!((&replies[5], ids(&replies[6])), (&Reply::Done, vec!["b"]));
        assert_eq!(replies[7], Reply::Stats { vectors: 6, numbers: 13 });
        let Reply::Matches { matches } = &replies[1] else { panic!() };
        assert_eq!(matches[3].metadata, "{\"k\":1}");
        assert!((matches[0].score - 1.0).abs() < 1e-6 && (matches[4].score + 1.0).abs() < 1e-6);
    }
}

#[test]
fn what_breaks_a_bound_is_refused_and_nothing_is_stored() {
    let good = item("good", &[1.0]);
    let bad = [
        item("", &[1.0]),
        item(&"x".repeat(NAME_MAX_BYTES + 1), &[1.0]),
        item("zero", &[0.0, 0.0]),
        item("nan", &[f32::NAN]),
        item("none", &[]),
        item("wide", &vec![1.0; 4_097]),
        Item { vector: "?".to_owned(), ..item("text", &[1.0]) },
        Item { namespace: "x".repeat(NAME_MAX_BYTES + 1), ..item("far", &[1.0]) },
        Item { metadata: "x".repeat(METADATA_MAX_BYTES + 1), ..item("chatty", &[1.0]) },
    ];
    let mut machine = VectorIndexMachine::default();
    for bad in bad {
        let (reply, writes) = tell(&mut machine, Command::Upsert { items: vec![good.clone(), bad.clone()] });
        assert_eq!((refused(&reply), writes.len()), (Some(RefusalCode::Invalid), 0), "{}", bad.id);
    }
    let many = vec![good; BATCH_MAX + 1];
    let ids = vec![String::new(); BATCH_MAX + 1];
    for command in [
        Command::Upsert { items: many },
        Command::Delete { ids },
        query("n", &[1.0], TOP_K_MAX + 1),
        query("n", &[0.0], 1),
    ] {
        assert_eq!(refused(&tell(&mut machine, command).0), Some(RefusalCode::Invalid));
    }
    assert_eq!(tell(&mut machine, Command::Stats).0, Reply::Stats { vectors: 0, numbers: 0 });
    assert!(machine.is_vacant());
}

#[test]
fn what_expires_soonest_makes_room_and_what_stays_does_not() {
    let mut machine = VectorIndexMachine::with_bounds(6, 3);
    let upsert = |machine: &mut VectorIndexMachine, item: Item| tell(machine, Command::Upsert { items: vec![item] }).0;
    assert_eq!(upsert(&mut machine, item("stays", &[1.0, 0.0])), Reply::Done);
    assert_eq!(upsert(&mut machine, expiring("late", &[1.0, 1.0], NOW_MS + 20)), Reply::Done);
    assert_eq!(upsert(&mut machine, expiring("soon", &[1.0, 2.0], NOW_MS + 10)), Reply::Done);
    assert_eq!(upsert(&mut machine, expiring("late", &[2.0, 1.0], NOW_MS + 30)), Reply::Done, "in its own place");
    assert_eq!(ids(&tell(&mut machine, query("n", &[1.0, 0.0], 9)).0), ["stays", "late", "soon"]);
    assert_eq!(upsert(&mut machine, expiring("new", &[0.0, 1.0], NOW_MS + 5)), Reply::Done);
    assert_eq!(ids(&tell(&mut machine, query("n", &[1.0, 0.0], 9)).0), ["stays", "late", "new"]);
    // Numbers are a bound of their own.
    assert_eq!(upsert(&mut machine, item("long", &[1.0, 1.0, 1.0, 1.0])), Reply::Done);
    assert_eq!(tell(&mut machine, Command::Stats).0, Reply::Stats { vectors: 2, numbers: 6 });
    assert_eq!(refused(&upsert(&mut machine, item("more", &[1.0]))), Some(RefusalCode::Full));
    assert_eq!(tell(&mut machine, Command::Stats).0, Reply::Stats { vectors: 2, numbers: 6 });
}

#[test]
fn what_has_expired_is_not_found_and_is_swept() {
    let objects = LocalObjects::new();
    let ask = |command: Command, now_ms| objects.ask::<VectorIndex>("i", &command, now_ms).unwrap();
    ask(Command::Upsert { items: vec![expiring("a", &[1.0], NOW_MS + 5), expiring("b", &[1.0], NOW_MS + 10)] }, NOW_MS);
    assert_eq!(ids(&ask(query("n", &[1.0], 9), NOW_MS + 4)), ["a", "b"]);
    assert_eq!(ids(&ask(query("n", &[1.0], 9), NOW_MS + 5)), ["b"]);
    let alarm_ms = objects.next_alarm_ms().unwrap();
    assert!((NOW_MS + 10..=NOW_MS + 600_005).contains(&alarm_ms), "{alarm_ms}");
    objects.restart();
    objects.run_due_alarms(alarm_ms);
    assert!(objects.is_vacant(VectorIndex::BINDING, "i"), "nothing is left");
    assert_eq!(objects.next_alarm_ms(), None);
}

#[test]
fn what_failed_is_not_there_and_what_was_stored_is() {
    let objects = LocalObjects::new();
    let upsert = |id: &str| objects.ask::<VectorIndex>("i", &Command::Upsert { items: vec![item(id, &[1.0])] }, NOW_MS);
    objects.fail_next(VectorIndex::BINDING, FaultPoint::BeforePersist);
    upsert("a").unwrap_err();
    objects.fail_next(VectorIndex::BINDING, FaultPoint::AfterPersist);
    upsert("b").unwrap_err();
    let found = objects.ask::<VectorIndex>("i", &query("n", &[1.0], 9), NOW_MS).unwrap();
    assert_eq!(ids(&found), ["b"]);
}

#[test]
fn formats_are_unchanged() {
    assert_eq!(VectorIndex::BINDING, "VECTOR_INDEX");
    let mut machine = VectorIndexMachine::default();
    let stored = Item { metadata: "x".to_owned(), ..expiring("a", &[3.0, 4.0], 7_000_000) };
    let (_, writes) = tell(&mut machine, Command::Upsert { items: vec![stored, item("b", &[1.0])] });
    let rows: Vec<_> = writes
        .iter()
        .map(|write| match write {
            Write::Put(row) => (row.key.as_str(), row.value.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        [("v:a", r#"{"n":"n","v":"mpkZP83MTD8=","m":"x","e":7000000}"#), ("v:b", r#"{"n":"n","v":"AACAPw=="}"#)];
    assert_eq!(rows, expected);
    let command = Command::Upsert { items: vec![item("b", &[1.0])] };
    let text = r#"{"command":"upsert","items":[{"id":"b","namespace":"n","vector":"AACAPw=="}]}"#;
    assert_eq!(serde_json::to_string(&command).unwrap(), text);
    let reply = Reply::Matches { matches: vec![Match { id: "b".to_owned(), score: 0.5, metadata: String::new() }] };
    assert_eq!(serde_json::to_string(&reply).unwrap(), r#"{"reply":"matches","matches":[{"id":"b","score":0.5}]}"#);
}

/// What happens to an index.
#[derive(Clone, Debug)]
enum Event {
    Upsert { id: u8, namespace: u8, vector: Vec<i8>, lives_ms: Option<i64> },
    Delete { id: u8 },
    Query { namespace: u8, vector: Vec<i8>, top_k: u32 },
    FailNext(FaultPoint),
    Evict,
    Wait { ms: i64 },
}

fn vector() -> impl Strategy<Value = Vec<i8>> {
    // Two lengths, so that some do not compare.
    prop_oneof![prop::collection::vec(-3_i8..=3, 3), prop::collection::vec(-3_i8..=3, 5)]
        .prop_filter("a direction", |vector| vector.iter().any(|number| *number != 0))
}

fn any_event() -> impl Strategy<Value = Event> {
    let lives_ms = prop_oneof![Just(None), (1_i64..2_000).prop_map(Some)];
    prop_oneof![
        6 => (0..12_u8, 0..2_u8, vector(), lives_ms)
            .prop_map(|(id, namespace, vector, lives_ms)| Event::Upsert { id, namespace, vector, lives_ms }),
        2 => (0..12_u8).prop_map(|id| Event::Delete { id }),
        6 => (0..2_u8, vector(), 0..6_u32)
            .prop_map(|(namespace, vector, top_k)| Event::Query { namespace, vector, top_k }),
        1 => Just(Event::FailNext(FaultPoint::BeforePersist)),
        1 => Just(Event::FailNext(FaultPoint::AfterPersist)),
        1 => Just(Event::Evict),
        1 => (1_i64..1_500).prop_map(|ms| Event::Wait { ms }),
    ]
}

fn floats(vector: &[i8]) -> Vec<f32> {
    vector.iter().map(|number| f32::from(*number)).collect()
}

/// The cosine, as one learns it.
fn cosine(a: &[i8], b: &[i8]) -> f64 {
    let dot = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

/// An index in plain words: namespace, vector and when it is gone, by id.
#[derive(Default)]
struct Model(BTreeMap<String, (u8, Vec<i8>, Option<i64>)>);

impl Model {
    fn scores(&self, namespace: u8, vector: &[i8], now_ms: i64) -> BTreeMap<&str, f64> {
        let is_there = |(n, v, gone): &(u8, Vec<i8>, Option<i64>)| {
            *n == namespace && v.len() == vector.len() && gone.is_none_or(|gone| gone > now_ms)
        };
        let found = self.0.iter().filter(|(_, known)| is_there(known));
        found.map(|(id, (_, known, _))| (id.as_str(), cosine(vector, known))).collect()
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_naive_search_finds(events in prop::collection::vec(any_event(), 1..60)) {
        let objects = LocalObjects::new();
        let mut model = Model::default();
        let mut now_ms = NOW_MS;
        let mut fault: Option<FaultPoint> = None;
        for event in events {
            let ask = |command: Command| objects.ask::<VectorIndex>("i", &command, now_ms);
            // A failure hits the next turn; after the writes, the command has had its effect.
            let takes_effect = fault != Some(FaultPoint::BeforePersist);
            match event {
                Event::Upsert { id, namespace, vector, lives_ms } => {
                    let expires_at_ms = lives_ms.map(|ms| now_ms + ms);
                    let id = format!("{id:02}");
                    let stored = Item {
                        id: id.clone(), namespace: namespace.to_string(), vector: write_vector(&floats(&vector)),
                        metadata: String::new(), expires_at_ms,
                    };
                    prop_assert_eq!(ask(Command::Upsert { items: vec![stored] }).is_err(), fault.take().is_some());
                    if takes_effect {
                        model.0.insert(id, (namespace, vector, expires_at_ms));
                    }
                }
                Event::Delete { id } => {
                    let id = format!("{id:02}");
                    prop_assert_eq!(ask(Command::Delete { ids: vec![id.clone()] }).is_err(), fault.take().is_some());
                    if takes_effect {
                        model.0.remove(&id);
                    }
                }
                Event::Query { namespace, vector, top_k } => {
                    let reply = ask(query(&namespace.to_string(), &floats(&vector), top_k));
                    if fault.take().is_some() {
                        prop_assert!(reply.is_err());
                        continue;
                    }
                    let Reply::Matches { matches } = reply.unwrap() else { panic!("no matches") };
                    let scores = model.scores(namespace, &vector, now_ms);
                    prop_assert_eq!(matches.len(), scores.len().min(top_k as usize));
                    let mut best: Vec<f64> = scores.values().copied().collect();
                    best.sort_by(|a, b| b.total_cmp(a));
                    for (found, best) in matches.iter().zip(best) {
                        let naive = scores.get(found.id.as_str()).copied();
                        prop_assert!(naive.is_some_and(|naive| (naive - f64::from(found.score)).abs() < 1e-5));
                        prop_assert!((best - f64::from(found.score)).abs() < 1e-5, "the nearest come first");
                    }
                }
                Event::FailNext(point) => {
                    if fault.is_none() {
                        objects.fail_next(VectorIndex::BINDING, point);
                        fault = Some(point);
                    }
                }
                Event::Evict => objects.restart(),
                Event::Wait { ms } => now_ms += ms,
            }
        }
    }
}
