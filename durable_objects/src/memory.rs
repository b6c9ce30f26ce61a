//! Storage in memory, for native runs: the same promises as SQLite, and it can be made to fail.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::machine::{
    Effect, Enlisted, Entry, Facts, ITEMS_MAX_BYTES, Needs, Newest, NumberedEntry, Page, Row, Total, Write,
};
use crate::store::{Attempt, Due, Store, StoreError};

/// The storage of one object, in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: RefCell<Tables>,
    fails_next_commit: Cell<bool>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: BTreeMap<String, String>,
    /// By number.
    journal: BTreeMap<i64, Entry>,
    /// Which number an id has.
    index: BTreeMap<String, i64>,
    outbox: BTreeMap<String, Listed>,
    /// Effects ever enlisted.
    listed: u64,
}

#[derive(Debug)]
struct Listed {
    seq: u64,
    enlisted: Enlisted,
    attempts: u32,
    due_ms: i64,
}

impl MemoryStore {
    /// Makes the next commit fail, or takes that back. Answers whether it was set before.
    pub fn set_failing(&self, failing: bool) -> bool {
        self.fails_next_commit.replace(failing)
    }

    /// Removes everything.
    pub fn wipe(&self) {
        self.tables.take();
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let tables = self.tables.borrow();
        tables.rows.is_empty() && tables.journal.is_empty() && tables.outbox.is_empty()
    }

    /// All entries of the journal, oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.tables.borrow().journal.values().cloned().collect()
    }
}

fn numbered((&seq, entry): (&i64, &Entry)) -> NumberedEntry {
    NumberedEntry { seq, entry: entry.clone() }
}

/// The numbers of the entries that a write stands for.
fn folded_by(write: &Write) -> &[i64] {
    match write {
        Write::Fold { seqs, .. } => seqs,
        _ => &[],
    }
}

impl Tables {
    /// Refuses, before anything is written, what SQLite's unique indexes refuse, and outcomes that write one thing
    /// twice, whose order SQLite would not keep.
    fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut written = BTreeSet::new();
        let folded: BTreeSet<i64> = writes.iter().flat_map(folded_by).copied().collect();
        let stands = |seq: &i64| !folded.contains(seq);
        for write in writes {
            let (table, id, is_taken) = match write {
                Write::Put(Row { key, .. }) | Write::Delete { key } => ("state", key, false),
                Write::Append(Entry { id, .. }) => ("journal", id, self.index.get(id).is_some_and(stands)),
                Write::Fold { into: NumberedEntry { seq, entry }, .. } => {
                    let is_taken = self.journal.contains_key(seq) && stands(seq);
                    ("journal", &entry.id, is_taken || self.index.get(&entry.id).is_some_and(stands))
                }
                Write::Enlist(Enlisted { id, .. }) => ("outbox", id, self.outbox.contains_key(id)),
                Write::Strike { id } => ("outbox", id, false),
            };
            if is_taken || !written.insert((table, id)) {
                return Err(StoreError(format!("UNIQUE constraint failed: {table}.id {id}")));
            }
        }
        Ok(())
    }

    fn write(&mut self, write: &Write, now_ms: i64) {
        match write {
            Write::Put(row) => drop(self.rows.insert(row.key.clone(), row.value.clone())),
            Write::Delete { key } => drop(self.rows.remove(key)),
            Write::Strike { id } => drop(self.outbox.remove(id)),
            Write::Append(entry) => {
                let newest = self.journal.last_key_value().map_or(0, |(seq, _)| *seq);
                self.place(newest + 1, entry);
            }
            Write::Fold { into: NumberedEntry { seq, entry }, .. } => self.place(*seq, entry),
            Write::Enlist(enlisted) => {
                self.listed += 1;
                let listed = Listed {
                    seq: self.listed,
                    enlisted: enlisted.clone(),
                    attempts: 1,
                    due_ms: now_ms.saturating_add(enlisted.retry_after_ms),
                };
                self.outbox.insert(enlisted.id.clone(), listed);
            }
        }
    }

    fn place(&mut self, seq: i64, entry: &Entry) {
        self.index.insert(entry.id.clone(), seq);
        self.journal.insert(seq, entry.clone());
    }

    fn remove_folded(&mut self, seq: i64) {
        if let Some(entry) = self.journal.remove(&seq) {
            self.index.remove(&entry.id);
        }
    }

    fn page(&self, Page { after, limit }: Page) -> Vec<NumberedEntry> {
        self.journal.range(after.saturating_add(1)..).take(limit as usize).map(numbered).collect()
    }

    fn newest_entries(&self, Newest { before, limit }: Newest) -> Vec<NumberedEntry> {
        self.journal.range(..before.unwrap_or(i64::MAX)).rev().take(limit as usize).map(numbered).collect()
    }

    fn newest_items(&self, limit: u32) -> Vec<String> {
        let item = |listed: &Listed| match &listed.enlisted.effect {
            Effect::Enqueue { item } => Some(item.clone()),
            Effect::Deliver { .. } => None,
        };
        let mut newest: Vec<&Listed> = self.outbox.values().collect();
        newest.sort_by_key(|listed| Reverse(listed.seq));
        let mut bytes = 0;
        let fits = |item: &String| {
            let has_room = bytes < ITEMS_MAX_BYTES;
            bytes += item.len();
            has_room
        };
        newest.into_iter().filter_map(item).take(limit as usize).take_while(fits).collect()
    }

    fn totals(&self, after: i64) -> Vec<Total> {
        let mut totals: BTreeMap<(&str, &str), Total> = BTreeMap::new();
        for (&seq, entry) in self.journal.range(after.saturating_add(1)..) {
            let total = totals.entry((&entry.debit, &entry.credit)).or_insert_with(|| Total {
                debit: entry.debit.clone(),
                credit: entry.credit.clone(),
                entries: 0,
                amount_usd_micros: 0,
                last_seq: seq,
            });
            total.entries += 1;
            total.amount_usd_micros = total.amount_usd_micros.saturating_add(entry.amount_usd_micros);
            total.last_seq = seq;
        }
        totals.into_values().collect()
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        let row = |(key, value): (&String, &String)| Row { key: key.clone(), value: value.clone() };
        Ok(self.tables.borrow().rows.iter().map(row).collect())
    }

    fn read(&self, needs: &Needs) -> Result<Facts, StoreError> {
        let tables = self.tables.borrow();
        let known = |id: &String| {
            let entry = tables.journal.get(tables.index.get(id)?)?;
            Some((id.clone(), entry.clone()))
        };
        Ok(Facts {
            known: needs.ids.iter().filter_map(known).collect(),
            enlisted: needs.enlisted.iter().filter(|id| tables.outbox.contains_key(*id)).cloned().collect(),
            page: needs.page.map(|page| tables.page(page)).unwrap_or_default(),
            newest_entries: needs.newest_entries.map(|newest| tables.newest_entries(newest)).unwrap_or_default(),
            newest_items: needs.newest_items.map(|limit| tables.newest_items(limit)).unwrap_or_default(),
            totals: needs.totals_after.map(|after| tables.totals(after)).unwrap_or_default(),
        })
    }

    fn commit(&self, writes: &[Write], now_ms: i64) -> Result<(), StoreError> {
        if self.fails_next_commit.take() {
            return Err(StoreError("made to fail".to_owned()));
        }
        let mut tables = self.tables.borrow_mut();
        tables.check(writes)?;
        // As SQLite does it: the numbers of what is appended go on after those of what was folded.
        let (folds, others): (Vec<_>, Vec<_>) = writes.iter().partition(|write| matches!(write, Write::Fold { .. }));
        folds.iter().flat_map(|write| folded_by(write)).for_each(|seq| tables.remove_folded(*seq));
        folds.iter().chain(&others).for_each(|write| tables.write(write, now_ms));
        Ok(())
    }

    fn enlisted(&self, id: &str) -> Result<Option<Enlisted>, StoreError> {
        Ok(self.tables.borrow().outbox.get(id).map(|listed| listed.enlisted.clone()))
    }

    fn due(&self, now_ms: i64, limit: u32) -> Result<Vec<Due>, StoreError> {
        let tables = self.tables.borrow();
        let mut due: Vec<&Listed> = tables.outbox.values().filter(|listed| listed.due_ms <= now_ms).collect();
        due.sort_by_key(|listed| (listed.due_ms, listed.seq));
        let effect = |listed: &Listed| Due { enlisted: listed.enlisted.clone(), attempts: listed.attempts };
        Ok(due.into_iter().take(limit as usize).map(effect).collect())
    }

    fn postpone(&self, attempts: &[Attempt]) -> Result<(), StoreError> {
        let mut tables = self.tables.borrow_mut();
        for attempt in attempts {
            if let Some(listed) = tables.outbox.get_mut(&attempt.id) {
                listed.attempts = attempt.attempts;
                listed.due_ms = attempt.due_ms;
            }
        }
        Ok(())
    }

    fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.tables.borrow().outbox.values().map(|listed| listed.due_ms).min())
    }
}
