//! The providers' health as its callers see it: one object for the platform.

use std::collections::BTreeMap;

use guildhall_domain::routing::{ErrorClass, ProviderHealth as Record};
use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// The protocol of the `ProviderHealth` object.
#[derive(Debug)]
pub enum ProviderHealth {}

impl Protocol for ProviderHealth {
    const BINDING: &'static str = "PROVIDER_HEALTH";
    type Command = Command;
    type Reply = Reply;
}

/// The one object.
pub const NAME: &str = "all";
/// Most providers in a report, and most that are remembered.
pub const PROVIDERS_MAX: usize = 1_000;
/// Most runs of a provider in a report.
pub const RUNS_MAX: usize = 64;

/// What a caller may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Tells what an isolate saw since its last report, which may be nothing, and asks for what all have seen.
    Report {
        /// By provider, in the order in which it happened.
        seen: BTreeMap<String, Vec<Run>>,
    },
    /// Forgets a provider: it is gone, or another one has its name.
    Forget {
        /// Which.
        provider: String,
    },
}

/// Calls of one provider that ended alike, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
pub enum Run {
    /// It answered.
    Served {
        /// So often.
        count: u32,
        /// Milliseconds to the first byte, on average.
        latency_ms: u64,
        /// When the last of them did; milliseconds since 1970.
        at_ms: u64,
    },
    /// It failed once.
    Failed {
        /// How.
        class: ErrorClass,
        /// Milliseconds that it asks to be left alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// When; milliseconds since 1970.
        at_ms: u64,
    },
}

/// What the object answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// What all isolates have seen, by provider.
    Known {
        /// The records.
        providers: BTreeMap<String, Record>,
    },
    /// The report breaks a bound of the protocol.
    Refused {
        /// Which one; for the log.
        message: String,
    },
}

/// Adds what was seen to a provider's record. A report may arrive late: what counts is when it was seen.
pub fn apply_runs(record: &mut Record, runs: &[Run], now_ms: u64) {
    for run in runs {
        match *run {
            Run::Served { count, latency_ms, at_ms } => {
                // An average of averages: beyond this many samples the past no longer counts.
                for _ in 0..count.min(64) {
                    record.record_success(latency_ms, at_ms.min(now_ms));
                }
                record.count_requests(u64::from(count.saturating_sub(64)));
            }
            Run::Failed { class, retry_after_ms, at_ms } => {
                record.record_error(class, retry_after_ms, at_ms.min(now_ms));
            }
        }
    }
}
