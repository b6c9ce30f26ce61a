//! Workflows: work in several steps, and the history of it.
//!
//! Whoever runs one says when it begins, what happens in it, and how it ends. Each of these is a statement, to be put into
//! the transaction of what it tells of, and may be repeated: beginning twice, ending twice and an event of a number that
//! is there already change nothing.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// How a workflow stands; stored, and filtered by, in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkflowStatus {
    /// Under way.
    Running,
    /// Has a result.
    Completed,
    /// Has none.
    Failed,
    /// Was called off.
    Canceled,
    /// Was ended from outside.
    Terminated,
    /// Goes on as another run.
    ContinuedAsNew,
    /// Took too long.
    TimedOut,
}

impl WorkflowStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::Terminated,
        Self::ContinuedAsNew,
        Self::TimedOut,
    ];

    /// As it is stored and asked for: `TIMED_OUT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Terminated => "TERMINATED",
            Self::ContinuedAsNew => "CONTINUED_AS_NEW",
            Self::TimedOut => "TIMED_OUT",
        }
    }

    /// As answers say it: `TimedOut`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Terminated => "Terminated",
            Self::ContinuedAsNew => "ContinuedAsNew",
            Self::TimedOut => "TimedOut",
        }
    }

    /// Reads [`WorkflowStatus::name`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A workflow.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkflowRow {
    /// Its id, such as `plan-req_…`.
    pub id: String,
    /// Its run's id.
    pub run_id: String,
    /// Such as `OrchestrationWorkflow`.
    pub r#type: String,
    /// A [`WorkflowStatus::name`].
    pub status: String,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended.
    pub closed_at_ms: Option<i64>,
}

/// Something that happened in a workflow.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkflowEventRow {
    /// Rising from 1 within the workflow.
    pub event_id: i64,
    /// Such as `ActivityTaskCompleted`.
    pub r#type: String,
    /// When.
    pub at_ms: i64,
    /// JSON, or empty.
    pub detail: String,
}

queries! {
    /// Begins a workflow; its id names it for ever.
    global("the platform's own work") fn begin_workflow(id: &str, run_id: &str, r#type: &str, now_ms: i64) -> Changed =
        "INSERT INTO workflows (id, run_id, type, status, started_at_ms) VALUES (?1, ?2, ?3, 'RUNNING', ?4) ON CONFLICT (id) DO NOTHING";
    /// Says what happened in a workflow, as its event number `event_id`, rising from 1; `detail` is JSON or empty.
    global("the platform's own work") fn append_event(workflow_id: &str, event_id: i64, r#type: &str, detail: &str, now_ms: i64) -> Changed =
        "INSERT INTO workflow_events (workflow_id, event_id, type, at_ms, detail) VALUES (?1, ?2, ?3, ?5, ?4)
         ON CONFLICT (workflow_id, event_id) DO NOTHING";
    /// Ends a workflow that runs, with a `WorkflowStatus::name`.
    global("the platform's own work") fn end_workflow(id: &str, status: &str, now_ms: i64) -> Changed =
        "UPDATE workflows SET status = ?2, closed_at_ms = ?3 WHERE id = ?1 AND status = 'RUNNING'";
    /// Ends, as timed out, workflows that began before a time and still run: whoever ran them is gone.
    global("the platform's own work") fn end_abandoned(before_ms: i64, now_ms: i64) -> Changed =
        "UPDATE workflows SET status = 'TIMED_OUT', closed_at_ms = ?2 WHERE id IN
           (SELECT id FROM workflows WHERE status = 'RUNNING' AND started_at_ms < ?1 ORDER BY started_at_ms LIMIT 500)";
    /// Lists workflows, the last begun first.
    global("the platform's own work") fn list_workflows(limit: i64) -> Vec<WorkflowRow> =
        "SELECT id, run_id, type, status, started_at_ms, closed_at_ms FROM workflows ORDER BY started_at_ms DESC, id LIMIT ?1";
    /// Lists workflows of one status, the last begun first.
    global("the platform's own work") fn list_workflows_of(status: &str, limit: i64) -> Vec<WorkflowRow> =
        "SELECT id, run_id, type, status, started_at_ms, closed_at_ms FROM workflows WHERE status = ?1
         ORDER BY started_at_ms DESC, id LIMIT ?2";
    /// Finds a workflow.
    global("the platform's own work") fn find_workflow(id: &str) -> Option<WorkflowRow> =
        "SELECT id, run_id, type, status, started_at_ms, closed_at_ms FROM workflows WHERE id = ?1";
    /// What happened in a workflow, in order.
    global("the platform's own work") fn list_workflow_events(workflow_id: &str, limit: i64) -> Vec<WorkflowEventRow> =
        "SELECT event_id, type, at_ms, detail FROM workflow_events WHERE workflow_id = ?1 ORDER BY event_id LIMIT ?2";
    /// Deletes workflows that began before a time, with their histories, a part at once.
    global("retention is the platform's") fn prune_workflows(before_ms: i64) -> Changed =
        "DELETE FROM workflows WHERE id IN (SELECT id FROM workflows WHERE started_at_ms < ?1
           ORDER BY started_at_ms LIMIT 500)";
}
