//! The machine of the idempotency guard: one row, from the first `Begin` until it expires.

use serde::{Deserialize, Serialize};

use super::protocol::{Answer, BODY_MAX_BYTES, Command, HEADERS_MAX_BYTES, Idempotency, Reply, STORED_MS};
use crate::machine::{Facts, Machine, MachineError, Outcome, Row, Step, Write};

/// How long a run may keep the key without an answer: longer than any request may take, so that no request that still
/// runs is run again, and short enough that a client whose request died with its isolate can try again.
pub const IN_FLIGHT_MS: i64 = 45 * 1_000;
const TEXT_MAX_BYTES: usize = 128;
const ENTRY_KEY: &str = "entry";

/// The state of one caller's key.
#[derive(Debug, PartialEq, Eq)]
pub struct IdempotencyMachine {
    entry: Option<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    fingerprint: String,
    token: String,
    expires_at_ms: i64,
    progress: Progress,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    InFlight,
    Stored(Answer),
    /// The answer was too large to keep; its status.
    TooLarge(u16),
}

impl Machine for IdempotencyMachine {
    type Protocol = Idempotency;
    const HAS_LEDGER: bool = false;

    fn load(_name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let Some(row) = rows.into_iter().find(|row| row.key == ENTRY_KEY) else {
            return Ok(Self { entry: None });
        };
        let entry = serde_json::from_str(&row.value).map_err(|error| MachineError::unreadable(ENTRY_KEY, &error))?;
        Ok(Self { entry: Some(entry) })
    }

    fn apply(&mut self, command: Command, _facts: Facts, now_ms: i64) -> Step<Reply> {
        let expiry = self.expire(now_ms);
        let outcome = match command {
            Command::Begin { fingerprint, token } => self.begin(fingerprint, token, now_ms),
            Command::Prolong { token } => self.prolong(&token, now_ms),
            Command::Finish { token, answer } => self.finish(&token, answer, now_ms),
            Command::Abandon { token } => Ok(self.abandon(&token)),
        }?;
        // A new entry replaces the expired one in its row, so there is nothing to delete then.
        let writes = if outcome.writes.is_empty() { expiry } else { outcome.writes };
        Ok(Outcome { reply: outcome.reply, writes })
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        Ok(Outcome { reply: (), writes: self.expire(now_ms) })
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        self.entry.as_ref().map(|entry| entry.expires_at_ms)
    }

    fn is_vacant(&self) -> bool {
        self.entry.is_none()
    }
}

impl IdempotencyMachine {
    fn expire(&mut self, now_ms: i64) -> Vec<Write> {
        match &self.entry {
            Some(entry) if entry.expires_at_ms <= now_ms => self.clear(),
            _ => Vec::new(),
        }
    }

    fn clear(&mut self) -> Vec<Write> {
        self.entry = None;
        vec![Write::Delete { key: ENTRY_KEY.to_owned() }]
    }

    fn begin(&mut self, fingerprint: String, token: String, now_ms: i64) -> Step<Reply> {
        let is_bad = |text: &str| text.is_empty() || text.len() > TEXT_MAX_BYTES;
        if is_bad(&fingerprint) || is_bad(&token) {
            let message = format!("a fingerprint and a token have 1 to {TEXT_MAX_BYTES} bytes");
            return Ok(Outcome::of(Reply::Refused { message }));
        }
        let Some(entry) = &self.entry else {
            let expires_at_ms = now_ms.saturating_add(IN_FLIGHT_MS);
            let entry = Entry { fingerprint, token, expires_at_ms, progress: Progress::InFlight };
            return self.put(entry, Reply::Started);
        };
        if entry.fingerprint == fingerprint && entry.token == token && entry.progress == Progress::InFlight {
            return self.prolong(&token, now_ms);
        }
        Ok(Outcome::of(match &entry.progress {
            _ if entry.fingerprint != fingerprint => Reply::Mismatch,
            Progress::InFlight => Reply::InFlight { expires_at_ms: entry.expires_at_ms },
            Progress::Stored(answer) => Reply::Stored { answer: answer.clone() },
            Progress::TooLarge(status) => Reply::TooLarge { status: *status },
        }))
    }

    /// Gives a run more time. One that was abandoned meanwhile is not begun again: nobody would end it.
    fn prolong(&mut self, token: &str, now_ms: i64) -> Step<Reply> {
        let is_run = |entry: &mut Entry| entry.token == token && entry.progress == Progress::InFlight;
        match self.entry.take_if(is_run) {
            Some(entry) => {
                self.put(Entry { expires_at_ms: now_ms.saturating_add(IN_FLIGHT_MS), ..entry }, Reply::Started)
            }
            None => Ok(Outcome::of(Reply::Stale)),
        }
    }

    fn finish(&mut self, token: &str, answer: Answer, now_ms: i64) -> Step<Reply> {
        let Some(entry) = self.entry.take_if(|entry| entry.token == token) else {
            return Ok(Outcome::of(Reply::Stale));
        };
        if entry.progress != Progress::InFlight {
            self.entry = Some(entry);
            return Ok(Outcome::of(Reply::Closed));
        }
        let headers_bytes: usize = answer.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let fits = answer.body.0.len() <= BODY_MAX_BYTES && headers_bytes <= HEADERS_MAX_BYTES;
        let progress = if fits { Progress::Stored(answer) } else { Progress::TooLarge(answer.status) };
        self.put(Entry { expires_at_ms: now_ms.saturating_add(STORED_MS), progress, ..entry }, Reply::Closed)
    }

    /// Frees the key. An answer that is stored stays: it was given, so the request had an effect.
    fn abandon(&mut self, token: &str) -> Outcome<Reply> {
        match &self.entry {
            None => Outcome::of(Reply::Closed),
            Some(entry) if entry.token == token && entry.progress == Progress::InFlight => {
                Outcome { reply: Reply::Closed, writes: self.clear() }
            }
            Some(_) => Outcome::of(Reply::Stale),
        }
    }

    fn put(&mut self, entry: Entry, reply: Reply) -> Step<Reply> {
        let writes = vec![Write::put(ENTRY_KEY, &entry)?];
        self.entry = Some(entry);
        Ok(Outcome { reply, writes })
    }
}
