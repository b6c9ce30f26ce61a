//! A job as its callers see it: one object per job.
//!
//! The object does no work. It says whose turn it is: a worker **claims** the next step, does it outside, and
//! **reports**. When nobody asks for too long, the alarm puts a [`QueuedStep`] on the queue, whose consumer is a worker
//! like any other. So a job goes on whether its client polls or not, and no two workers step at the same time.
//!
//! ```text
//! queued ──▶ processing ──▶ completed | failed | canceled
//! ```

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// The longest specification or result, in bytes.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;
/// The longest id, kind, owner or token, in bytes.
pub const NAME_MAX_BYTES: usize = 256;
/// Events that a job remembers: the first and the latest.
pub const EVENTS_MAX: usize = 50;
/// The longest that a job may run, in milliseconds; a later deadline is brought forward.
pub const RUN_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// The longest that a finished job is kept, in milliseconds.
pub const RETAIN_MAX_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// The protocol of the `Job` object.
#[derive(Debug)]
pub enum Job {}

impl Protocol for Job {
    const BINDING: &'static str = "JOB";
    type Command = Command;
    type Reply = Reply;
}

/// The object of a job, by the job's id.
#[must_use]
pub fn name(job_id: &str) -> String {
    job_id.to_owned()
}

/// What a caller may ask of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Creates the job, its first step claimed by `token`. Creating it again changes nothing. Answer: [`Reply::Job`],
    /// claimed if the token still has the first step.
    Create {
        /// What is to be done.
        order: Order,
        /// Names the creator's step.
        token: String,
    },
    /// Reads the job. Answer: [`Reply::Job`], or [`Reply::Absent`] when it is somebody else's.
    Get {
        /// Whose it must be.
        owner: String,
    },
    /// Asks for the next step. Answer: [`Reply::Job`], claimed or not.
    Claim {
        /// Names the step, by a text that no other worker uses.
        token: String,
        /// Whose it must be; `None` for the platform's own workers.
        owner: Option<String>,
        /// Only if no step ended in so many milliseconds; 0 for a worker that was called for.
        idle_ms: i64,
    },
    /// Says what a claimed step came to. Answer: [`Reply::Job`], or [`Reply::Stale`].
    Report {
        /// As claimed.
        token: String,
        /// What came of it.
        report: Report,
    },
    /// Gives the job up; without effect on a finished one. Answer: [`Reply::Job`].
    Cancel,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What kind of job it is; its workers know it.
    pub kind: String,
    /// Whose it is; callers compare.
    pub owner: String,
    /// What a worker needs to know, opaque to the job; at most [`TEXT_MAX_BYTES`].
    pub spec: String,
    /// When the job fails by itself; milliseconds since 1970.
    pub deadline_at_ms: i64,
    /// How long it is kept once finished, in milliseconds.
    pub retain_ms: i64,
    /// Sent when the job ends without a result: it gives back what was set aside for it.
    pub on_unfinished: Option<Delivery>,
}

/// A command for another object. It is written down together with the job's end and delivered until that object has
/// answered with anything but a refusal, whatever fails in between; at most for [`RETAIN_MAX_MS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The other object's namespace.
    pub binding: String,
    /// The other object.
    pub name: String,
    /// The command as JSON text.
    pub command: String,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The work goes on elsewhere.
    Working {
        /// What names it there; the first one given stays.
        reference: Option<String>,
        /// Percent done; never goes back.
        progress: Option<u8>,
    },
    /// The step could not be done; another may be. The job fails by too many of them that were due.
    Retry {
        /// Why, for the log.
        cause: String,
    },
    /// The job is done.
    Completed {
        /// What came of it, opaque to the job; at most [`TEXT_MAX_BYTES`].
        result: String,
        /// Sent because of it, instead of [`Order::on_unfinished`].
        then: Option<Delivery>,
    },
    /// The job can't be done.
    Failed {
        /// Why, for its owner.
        reason: String,
    },
}

/// What a job answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The job as it is now.
    Job {
        /// Whether the asker has the next step.
        claimed: bool,
        /// The job.
        job: Box<View>,
    },
    /// There is no such job, or no longer.
    Absent,
    /// The step belongs to somebody else, or the job is finished; nothing was changed.
    Stale,
    /// The command breaks a bound of the protocol, or the id was used for another order.
    Refused {
        /// Which one; for the log.
        message: String,
    },
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// As ordered.
    pub kind: String,
    /// As ordered.
    pub owner: String,
    /// As ordered.
    pub spec: String,
    /// How far it is.
    pub status: Status,
    /// Percent done.
    pub progress: u8,
    /// What names the work where it is done.
    pub reference: Option<String>,
    /// What came of it, once completed.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Steps that were claimed.
    pub attempts: u32,
    /// When it was created; milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it ended; milliseconds since 1970.
    pub finished_at_ms: Option<i64>,
    /// When it is forgotten, once it has ended; milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Ordered.
    Queued,
    /// Under way.
    Processing,
    /// Done.
    Completed,
    /// Will never be done.
    Failed,
    /// Given up.
    Canceled,
}

impl Status {
    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When; milliseconds since 1970.
    pub at_ms: i64,
    /// What, in a word or a sentence.
    pub what: String,
}

/// A step that is due, on the queue: an item beside the wallets' records. It may arrive more than once and late;
/// whoever consumes it claims the job's next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedStep {
    /// The name of the job's object.
    pub job: String,
}
