//! SQLite and memory keep the same promises: whatever is written, both answer alike.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::machine::{Effect, Enlisted, Entry, Needs, Newest, NumberedEntry, Page, Row, Write};
use durable_objects::memory::MemoryStore;
use durable_objects::sql::SqlStore;
use durable_objects::store::{Attempt, Store};
use proptest::prelude::*;
use support::SqliteConnection;

fn plain_entry(id: String, amount_usd_micros: i64) -> Entry {
    let (debit, credit) = if amount_usd_micros % 2 == 0 { ("a", "b") } else { ("b", "c") };
    Entry {
        id,
        at_ms: 1_700_000_000_123,
        debit: debit.to_owned(),
        credit: credit.to_owned(),
        amount_usd_micros,
        note: r#"{"reason":"\"quoted\" ü"}"#.to_owned(),
    }
}

fn entry(id: String, amount_usd_micros: i64) -> Write {
    Write::Append(plain_entry(id, amount_usd_micros))
}

/// One entry in the place of others, at the number of the last.
fn fold(seqs: &[i64], id: &str, amount: i64) -> Write {
    let seq = seqs.iter().copied().max().unwrap_or(1);
    Write::Fold { seqs: seqs.to_vec(), into: NumberedEntry { seq, entry: plain_entry(id.to_owned(), amount) } }
}

fn enlist(id: String, to: Option<String>, retry_after_ms: i64) -> Write {
    let effect = match to {
        None => Effect::Enqueue { item: format!(r#"{{"id":"{id}"}}"#) },
        Some(name) => Effect::Deliver { binding: "B".to_owned(), name, command: "{}".to_owned() },
    };
    Write::Enlist(Enlisted { id, effect, retry_after_ms })
}

/// Few ids, so that they clash, disappear and come back.
fn any_write() -> impl Strategy<Value = Write> {
    let id = "[a-e]";
    prop_oneof![
        (id, ".{0,8}").prop_map(|(key, value)| Write::Put(Row { key, value })),
        id.prop_map(|key| Write::Delete { key }),
        ("[a-z]", 0..9_000_000_000_000_000_i64).prop_map(|(id, amount)| entry(id, amount)),
        (id, proptest::option::of("[xy]"), 0..5_000_i64).prop_map(|(id, to, delay)| enlist(id, to, delay)),
        id.prop_map(|id| Write::Strike { id }),
        (prop::collection::vec(1..9_i64, 1..5), "[a-z]", 0..9_000_000_000_000_000_i64)
            .prop_map(|(seqs, id, amount)| fold(&seqs, &id, amount)),
    ]
}

/// At most one write for each row, entry and effect, as outcomes promise.
fn without_repeats(mut writes: Vec<Write>) -> Vec<Write> {
    let mut seen = std::collections::BTreeSet::new();
    writes.retain(|write| {
        seen.insert(match write {
            Write::Put(Row { key, .. }) | Write::Delete { key } => ("row", key.clone()),
            Write::Append(entry) => ("entry", entry.id.clone()),
            Write::Fold { .. } => ("fold", String::new()),
            Write::Enlist(Enlisted { id, .. }) | Write::Strike { id } => ("effect", id.clone()),
        })
    });
    writes
}

fn everything(after: i64) -> Needs {
    Needs {
        ids: ('a'..='z').map(String::from).collect(),
        enlisted: ('a'..='f').map(String::from).collect(),
        page: Some(Page { after: 2, limit: 5 }),
        newest_entries: Some(Newest { before: (after > 0).then_some(after), limit: 3 }),
        newest_items: Some(3),
        totals_after: Some(after),
    }
}

fn assert_alike(sql: &impl Store, memory: &impl Store, now_ms: i64) {
    let sorted = |mut rows: Vec<Row>| {
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        rows
    };
    assert_eq!(sql.load().map(sorted), memory.load().map(sorted));
    for after in [0, 3, 6] {
        assert_eq!(sql.read(&everything(after)), memory.read(&everything(after)));
    }
    assert_eq!(sql.due(now_ms, 3), memory.due(now_ms, 3));
    assert_eq!(sql.next_due_ms(), memory.next_due_ms());
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(sql.enlisted(id), memory.enlisted(id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_stores_answer_alike(batches in prop::collection::vec(prop::collection::vec(any_write(), 0..6), 1..12)) {
        let sql = SqlStore::new(SqliteConnection::open(), true);
        let memory = MemoryStore::default();
        assert_alike(&sql, &memory, 0);
        for (now_ms, batch) in (0..).step_by(1_000).zip(batches) {
            let batch = without_repeats(batch);
            let (in_sql, in_memory) = (sql.commit(&batch, now_ms), memory.commit(&batch, now_ms));
            prop_assert_eq!(in_sql.is_ok(), in_memory.is_ok());
            assert_alike(&sql, &memory, now_ms);
            let due = memory.due(now_ms, 2).unwrap().into_iter();
            let attempt = |(id, attempts)| Attempt { id, attempts, due_ms: now_ms + 3_000 };
            let attempts: Vec<_> = due.map(|due| attempt((due.enlisted.id, due.attempts + 1))).collect();
            if !attempts.is_empty() {
                sql.postpone(&attempts).unwrap();
                memory.postpone(&attempts).unwrap();
            }
            assert_alike(&sql, &memory, now_ms);
        }
    }
}

#[test]
fn a_commit_that_fails_writes_nothing() {
    let put = |value: &str| Write::Put(Row { key: "row".to_owned(), value: value.to_owned() });
    let sql = SqlStore::new(SqliteConnection::open(), true);
    sql.commit(&[put("before"), entry("one".to_owned(), 1)], 0).unwrap();
    let clash = [put("after"), entry("two".to_owned(), 1), entry("one".to_owned(), 1)];
    let error = sql.commit(&clash, 0).unwrap_err();
    assert!(error.0.contains("UNIQUE constraint failed: journal.id"), "{error}");
    assert_eq!(sql.load().unwrap(), [Row { key: "row".to_owned(), value: "before".to_owned() }]);
    let needs = Needs { page: Some(Page { after: 0, limit: 10 }), ..Needs::default() };
    assert_eq!(sql.read(&needs).unwrap().page.len(), 1);
}

#[test]
fn the_first_commit_that_fails_leaves_no_tables_behind() {
    let sql = SqlStore::new(SqliteConnection::open(), true);
    sql.load().unwrap();
    sql.commit(&[entry("one".to_owned(), 1), entry("one".to_owned(), 1)], 0).unwrap_err();
    sql.commit(&[entry("one".to_owned(), 1)], 0).unwrap();
}

#[test]
fn lists_of_any_length_are_written() {
    let writes: Vec<Write> = (0..256).map(|number| entry(format!("{number:03}"), number)).collect();
    let sql = SqlStore::new(SqliteConnection::open(), true);
    sql.commit(&writes, 0).unwrap();
    let needs = Needs { page: Some(Page { after: 0, limit: 1_000 }), ..Needs::default() };
    let page = sql.read(&needs).unwrap().page;
    assert_eq!(page.len(), 256);
    assert!(page.iter().zip(1..).all(|(one, seq)| one.seq == seq && one.entry.id == format!("{:03}", seq - 1)));
}

#[test]
fn an_object_without_a_ledger_has_one_table() {
    let connection = SqliteConnection::open();
    let sql = SqlStore::new(connection, false);
    sql.load().unwrap();
    sql.commit(&[Write::Put(Row { key: "row".to_owned(), value: "1".to_owned() })], 0).unwrap();
    assert_eq!(sql.load().unwrap().len(), 1);
}

#[test]
fn one_entry_takes_the_place_of_several_in_both_stores() {
    let (sql, memory) = (SqlStore::new(SqliteConnection::open(), true), MemoryStore::default());
    let stores: [&dyn Store; 2] = [&sql, &memory];
    for store in stores {
        let five: Vec<Write> = (1..=5).map(|number| entry(number.to_string(), number)).collect();
        store.commit(&five, 0).unwrap();
        store.commit(&[fold(&[1, 3], "sum", 4), fold(&[2, 5], "other", 7)], 0).unwrap();
        // It takes in more, under its own id; what is appended with it comes after all that there was.
        store.commit(&[entry("new".to_owned(), 6), fold(&[3, 4], "sum", 8)], 0).unwrap();
        let error = store.commit(&[fold(&[4], "other", 8)], 0).unwrap_err();
        assert!(error.0.contains("UNIQUE constraint failed: journal.id"), "{error}");
        store
            .commit(
                &[Write::Fold { seqs: vec![4], into: NumberedEntry { seq: 5, entry: plain_entry("x".into(), 1) } }],
                0,
            )
            .unwrap_err();
        let page = Some(Page { after: 0, limit: 10 });
        let newest_entries = Some(Newest { before: Some(6), limit: 1 });
        let ids = ["1", "sum"].map(String::from).to_vec();
        let facts = store.read(&Needs { ids, page, newest_entries, ..Needs::default() }).unwrap();
        let told = |one: &NumberedEntry| (one.seq, one.entry.id.clone(), one.entry.amount_usd_micros);
        let left: Vec<_> = facts.page.iter().map(told).collect();
        assert_eq!(left, [(4, "sum".into(), 8), (5, "other".into(), 7), (6, "new".into(), 6)]);
        assert_eq!(facts.known.keys().collect::<Vec<_>>(), ["sum"]);
        assert_eq!(facts.newest_entries.iter().map(told).collect::<Vec<_>>(), [(5, "other".into(), 7)]);
    }
}
