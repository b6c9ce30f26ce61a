//! What changes of a job while it runs.

use serde::{Deserialize, Serialize};

use super::protocol::{EVENTS_MAX, Event, Status};
use crate::machine::Write;

/// From the end of one step to the call for the next: at first, and at most. In between it doubles with each step.
const STEP_MIN_MS: i64 = 2_000;
const STEP_MAX_MS: i64 = 30_000;
/// The longest reason or event, in bytes.
const REASON_MAX_BYTES: usize = 1_024;

/// The call for a worker in the outbox.
pub const CALL_ID: &str = "call";

/// What changes of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub status: Status,
    pub progress: u8,
    pub reference: Option<String>,
    pub result: Option<String>,
    pub error: Option<String>,
    pub attempts: u32,
    /// Steps that failed since the last one that did not.
    pub failures: u32,
    pub created_at_ms: i64,
    /// When the last step ended.
    pub stepped_at_ms: i64,
    /// When the next step is called for; of a finished job: when it is forgotten.
    pub next_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    pub claim: Option<Claim>,
    /// Whether the outbox holds a call for a worker.
    pub is_called: bool,
    /// Whether the outbox holds the outcome.
    pub is_outcome_due: bool,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub token: String,
    pub until_ms: i64,
}

impl Run {
    /// When a worker is called for: a step is due, and whoever claimed it has had their time.
    pub fn call_at_ms(&self) -> i64 {
        self.claim.as_ref().map_or(self.next_at_ms, |claim| claim.until_ms)
    }

    pub fn stop_calling(&mut self, writes: &mut Vec<Write>) {
        if std::mem::take(&mut self.is_called) {
            writes.push(Write::Strike { id: CALL_ID.to_owned() });
        }
    }

    pub fn note(&mut self, at_ms: i64, what: &str) {
        if self.events.len() >= EVENTS_MAX {
            // The first one says where it came from.
            self.events.remove(1);
        }
        self.events.push(Event { at_ms, what: cut(what) });
    }
}

/// As much of a text as is kept.
pub fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(REASON_MAX_BYTES)).unwrap_or_default().to_owned()
}

/// The time to the next step, doubling.
pub fn delay_ms(steps: u32) -> i64 {
    STEP_MIN_MS.saturating_mul(1 << steps.saturating_sub(1).min(10)).min(STEP_MAX_MS)
}
