//! The machine of an index: a row per vector, all of them in memory while the object is awake.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_domain::vector::{DIMENSIONS_MAX, cosine, normalise, read_vector, write_vector};
use serde::{Deserialize, Serialize};

use super::protocol::{
    BATCH_MAX, Command, Item, METADATA_MAX_BYTES, Match, NAME_MAX_BYTES, NUMBERS_MAX, RefusalCode, Reply, TOP_K_MAX,
    VECTORS_MAX, VectorIndex,
};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// Vectors that expire within the same ten minutes are removed together: an alarm for each would cost as much as the rest.
const SWEEP_MS: i64 = 10 * 60 * 1_000;

/// An index.
#[derive(Debug, PartialEq)]
pub struct VectorIndexMachine {
    vectors: BTreeMap<String, Vector>,
    /// What expires, the soonest first.
    expiring: BTreeSet<(i64, String)>,
    numbers: usize,
    bounds: Bounds,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    numbers: usize,
    vectors: usize,
}

/// One vector.
#[derive(Debug, PartialEq)]
struct Vector {
    namespace: String,
    /// Of length one.
    direction: Vec<f32>,
    metadata: String,
    expires_at_ms: Option<i64>,
}

/// A vector as its row has it. The row's key is `v:` and the id.
#[derive(Serialize, Deserialize)]
struct Stored {
    n: String,
    v: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    m: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<i64>,
}

impl Default for VectorIndexMachine {
    fn default() -> Self {
        Self::with_bounds(NUMBERS_MAX, VECTORS_MAX)
    }
}

impl Machine for VectorIndexMachine {
    type Protocol = VectorIndex;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let mut index = Self::default();
        for Row { key, value } in rows {
            let stored: Stored =
                serde_json::from_str(&value).map_err(|error| MachineError::unreadable(&key, &error))?;
            let id = key.strip_prefix("v:").ok_or_else(|| MachineError::unreadable(&key, &"no vector"))?;
            let direction = read_vector(&stored.v).ok_or_else(|| MachineError::unreadable(&key, &"no numbers"))?;
            let vector = Vector { namespace: stored.n, direction, metadata: stored.m, expires_at_ms: stored.e };
            index.insert(id.to_owned(), vector);
        }
        Ok(index)
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        match command {
            Command::Upsert { items } => self.upsert(items, now_ms),
            Command::Query { namespace, vector, top_k } => {
                Ok(Outcome::of(self.query(&namespace, &vector, top_k, now_ms)))
            }
            Command::Delete { ids } if ids.len() > BATCH_MAX => Ok(Outcome::of(invalid("too many ids"))),
            Command::Delete { ids } => {
                let ids: BTreeSet<_> = ids.into_iter().filter(|id| self.vectors.contains_key(id)).collect();
                Ok(Outcome { reply: Reply::Done, writes: ids.into_iter().map(|id| self.remove(&id)).collect() })
            }
            Command::Stats => {
                Ok(Outcome::of(Reply::Stats { vectors: self.vectors.len() as u64, numbers: self.numbers as u64 }))
            }
        }
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        Ok(Outcome { reply: (), writes: self.sweep(now_ms) })
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        let (soonest_ms, _) = self.expiring.first()?;
        Some(soonest_ms.saturating_add(SWEEP_MS).div_euclid(SWEEP_MS).saturating_mul(SWEEP_MS))
    }

    fn is_vacant(&self) -> bool {
        self.vectors.is_empty()
    }
}

impl VectorIndexMachine {
    /// An empty index of another size.
    #[must_use]
    pub const fn with_bounds(numbers: usize, vectors: usize) -> Self {
        Self { vectors: BTreeMap::new(), expiring: BTreeSet::new(), numbers: 0, bounds: Bounds { numbers, vectors } }
    }

    fn upsert(&mut self, items: Vec<Item>, now_ms: i64) -> Step<Reply> {
        if items.len() > BATCH_MAX {
            return Ok(Outcome::of(invalid("too many vectors")));
        }
        // The last one of an id counts; nothing is stored unless everything can be.
        let mut fresh = BTreeMap::new();
        for item in items {
            match read_item(&item) {
                Ok(vector) => drop(fresh.insert(item.id, vector)),
                Err(why) => return Ok(Outcome::of(invalid(why))),
            }
        }
        let Some(evicted) = self.find_room(&fresh, now_ms) else {
            let message = format!("{} vectors of {} numbers", self.vectors.len(), self.numbers);
            return Ok(Outcome::of(Reply::Refused { code: RefusalCode::Full, message }));
        };
        let mut writes: Vec<_> = evicted.iter().map(|id| self.remove(id)).collect();
        for (id, vector) in fresh {
            writes.push(write_row(&id, &vector)?);
            self.remove(&id);
            self.insert(id, vector);
        }
        Ok(Outcome { reply: Reply::Done, writes })
    }

    /// Which vectors make room for new ones: all that have expired, then those that expire soonest. `None` when what
    /// stays for ever leaves no room.
    fn find_room(&self, fresh: &BTreeMap<String, Vector>, now_ms: i64) -> Option<Vec<String>> {
        let replaced = fresh.keys().filter_map(|id| self.vectors.get(id));
        let (gone, gone_numbers) =
            replaced.fold((0, 0), |(count, numbers), vector| (count + 1, numbers + vector.direction.len()));
        let mut count = self.vectors.len() - gone + fresh.len();
        let mut numbers =
            self.numbers - gone_numbers + fresh.values().map(|vector| vector.direction.len()).sum::<usize>();
        let mut evicted = Vec::new();
        for (expires_at_ms, id) in &self.expiring {
            let fits = count <= self.bounds.vectors && numbers <= self.bounds.numbers;
            if fits && *expires_at_ms > now_ms {
                break;
            }
            if let Some(vector) = self.vectors.get(id).filter(|_| !fresh.contains_key(id)) {
                count -= 1;
                numbers -= vector.direction.len();
                evicted.push(id.clone());
            }
        }
        (count <= self.bounds.vectors && numbers <= self.bounds.numbers).then_some(evicted)
    }

    fn query(&self, namespace: &str, vector: &str, top_k: u32, now_ms: i64) -> Reply {
        if top_k > TOP_K_MAX || namespace.len() > NAME_MAX_BYTES {
            return invalid("top_k or namespace out of bounds");
        }
        let Some(direction) = read_vector(vector).and_then(|vector| normalise(&vector)) else {
            return invalid("no vector");
        };
        let is_there = |vector: &Vector| {
            vector.namespace == namespace
                && vector.direction.len() == direction.len()
                && vector.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
        };
        let found = self.vectors.iter().filter(|(_, vector)| is_there(vector));
        let mut scored: Vec<_> =
            found.map(|(id, vector)| (cosine(&direction, &vector.direction), id, &vector.metadata)).collect();
        // Stable, and by id before: those as near stay in the order of their ids.
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let matches = scored.into_iter().take(top_k as usize);
        Reply::Matches {
            matches: matches
                .map(|(score, id, metadata)| Match { id: id.clone(), score, metadata: metadata.clone() })
                .collect(),
        }
    }

    fn sweep(&mut self, now_ms: i64) -> Vec<Write> {
        let expired = self.expiring.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        let expired: Vec<_> = expired.map(|(_, id)| id.clone()).collect();
        expired.iter().map(|id| self.remove(id)).collect()
    }

    fn insert(&mut self, id: String, vector: Vector) {
        self.numbers += vector.direction.len();
        if let Some(at_ms) = vector.expires_at_ms {
            self.expiring.insert((at_ms, id.clone()));
        }
        self.vectors.insert(id, vector);
    }

    fn remove(&mut self, id: &str) -> Write {
        if let Some(vector) = self.vectors.remove(id) {
            self.numbers -= vector.direction.len();
            if let Some(at_ms) = vector.expires_at_ms {
                self.expiring.remove(&(at_ms, id.to_owned()));
            }
        }
        Write::Delete { key: key_of(id) }
    }
}

fn read_item(item: &Item) -> Result<Vector, &'static str> {
    let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_MAX_BYTES;
    if !is_name(&item.id) || item.namespace.len() > NAME_MAX_BYTES {
        return Err("an id or a namespace is empty or too long");
    }
    if item.metadata.len() > METADATA_MAX_BYTES {
        return Err("metadata is too long");
    }
    let vector = read_vector(&item.vector).filter(|vector| vector.len() <= DIMENSIONS_MAX);
    let direction = vector.and_then(|vector| normalise(&vector)).ok_or("a vector is none, or has too many numbers")?;
    Ok(Vector {
        namespace: item.namespace.clone(),
        direction,
        metadata: item.metadata.clone(),
        expires_at_ms: item.expires_at_ms,
    })
}

fn write_row(id: &str, vector: &Vector) -> Result<Write, MachineError> {
    let stored = Stored {
        n: vector.namespace.clone(),
        v: write_vector(&vector.direction),
        m: vector.metadata.clone(),
        e: vector.expires_at_ms,
    };
    Write::put(&key_of(id), &stored)
}

fn key_of(id: &str) -> String {
    format!("v:{id}")
}

fn invalid(message: &str) -> Reply {
    Reply::Refused { code: RefusalCode::Invalid, message: message.to_owned() }
}
