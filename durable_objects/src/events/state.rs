//! The machine of a feed: a ring of batches, each a row, so that publishing many events is one write.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::protocol::{BATCH_MAX, Command, DATA_MAX_BYTES, Event, Events, KEPT_MAX, KIND_MAX_BYTES, NewEvent, Reply};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// Rows at most: a feed of single events has as many batches.
const BATCHES_MAX: usize = 256;

/// The state of a feed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EventsMachine {
    /// Oldest first, by rising numbers.
    batches: VecDeque<Batch>,
}

/// What one command published.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    /// The number of the last event; the others count back from it.
    last: u64,
    events: Vec<NewEvent>,
}

impl Batch {
    fn key(&self) -> String {
        format!("batch:{}", self.last)
    }

    /// The events with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (u64, &NewEvent)> {
        let first = (self.last + 1).saturating_sub(self.events.len() as u64);
        (first..).zip(&self.events)
    }
}

impl Machine for EventsMachine {
    type Protocol = Events;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let read = |row: &Row| serde_json::from_str(&row.value).map_err(|e| MachineError::unreadable(&row.key, &e));
        let mut batches = rows.iter().map(read).collect::<Result<Vec<Batch>, _>>()?;
        batches.sort_by_key(|batch| batch.last);
        Ok(Self { batches: batches.into() })
    }

    fn apply(&mut self, command: Command, _facts: Facts, _now_ms: i64) -> Step<Reply> {
        match command {
            Command::Publish { events } => self.publish(events),
            Command::Read { after, limit } => Ok(Outcome::of(self.read(after, limit))),
        }
    }
}

impl EventsMachine {
    fn last(&self) -> u64 {
        self.batches.back().map_or(0, |batch| batch.last)
    }

    fn publish(&mut self, mut events: Vec<NewEvent>) -> Step<Reply> {
        if events.is_empty() {
            return Ok(Outcome::of(self.read(None, 0)));
        }
        let last = self.last() + events.len() as u64;
        events.drain(..events.len().saturating_sub(BATCH_MAX));
        // The place of one that is too long stays empty, so that the others keep their numbers.
        for event in &mut events {
            if event.data.len() > DATA_MAX_BYTES
                || event.kind.len() > KIND_MAX_BYTES
                || event.data.contains(['\n', '\r'])
            {
                *event = NewEvent { kind: String::new(), data: String::new() };
            }
        }
        let batch = Batch { last, events };
        let mut writes = vec![Write::put(&batch.key(), &batch)?];
        self.batches.push_back(batch);
        while self.batches.len() > BATCHES_MAX || (self.kept() > KEPT_MAX && self.batches.len() > 1) {
            if let Some(oldest) = self.batches.pop_front() {
                writes.push(Write::Delete { key: oldest.key() });
            }
        }
        Ok(Outcome { reply: self.read(None, 0), writes })
    }

    fn kept(&self) -> usize {
        self.batches.iter().map(|batch| batch.events.len()).sum()
    }

    fn read(&self, after: Option<u64>, limit: u32) -> Reply {
        let last = self.last();
        // A number that the feed never gave is of a feed that is gone: its reader starts anew.
        let after = after.map_or(last, |after| if after > last { 0 } else { after });
        let newer = self.batches.iter().flat_map(Batch::numbered);
        let newer = newer.filter(|(id, event)| *id > after && !event.kind.is_empty()).take(limit as usize);
        let events: Vec<_> =
            newer.map(|(id, NewEvent { kind, data })| Event { id, kind: kind.clone(), data: data.clone() }).collect();
        let missed = events.first().map_or(0, |first| first.id - after - 1);
        Reply::Events { events, last, missed }
    }
}
