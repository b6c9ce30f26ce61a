//! Work in several steps, written down as it goes on, for `/admin/v1/workflows`. What an isolate left half-way is ended by the
//! hour's job.

use std::rc::Rc;

use guildhall_domain::native::{EventType, HistoryEvent};
use serde_json::Value;

use crate::ports::{PortError, Ports};
use crate::store::ops::workflows::{WorkflowStatus, append_event, begin_workflow, end_abandoned, end_workflow};

/// A workflow that is being written down. Each write is of its own and in the background: it keeps nobody waiting, and one
/// that comes late or twice changes nothing.
pub struct Chronicle {
    id: String,
    run_id: Rc<str>,
    kind: &'static str,
    started_at_ms: i64,
    written: usize,
}

impl Chronicle {
    /// Of a workflow of this kind that a request has begun; its id is the request's behind `prefix`.
    #[must_use]
    pub fn new(prefix: &str, request_id: &Rc<str>, kind: &'static str, started_at_ms: i64) -> Self {
        Self { id: format!("{prefix}-{request_id}"), run_id: Rc::clone(request_id), kind, started_at_ms, written: 0 }
    }

    /// Writes what has happened since the last time. `events` are all that there are so far.
    pub fn write(&mut self, ports: &Rc<Ports>, events: &[HistoryEvent]) {
        let fresh = events.get(self.written..).unwrap_or_default();
        if fresh.is_empty() {
            return;
        }
        self.written = events.len();
        let mut statements = vec![begin_workflow(&self.id, &self.run_id, self.kind, self.started_at_ms).statement];
        for event in fresh {
            let at_ms = i64::try_from(event.at_ms).unwrap_or(i64::MAX);
            let (name, detail) = (event.event_type.name(), describe(event));
            statements.push(append_event(&self.id, i64::from(event.event_id), name, &detail, at_ms).statement);
            if let Some(status) = status_of(event.event_type) {
                statements.push(end_workflow(&self.id, status.name(), at_ms).statement);
            }
        }
        let (id, ports_then) = (self.id.clone(), Rc::clone(ports));
        ports.background.spawn(Box::pin(async move {
            if let Err(error) = ports_then.db.run(statements).await {
                ports_then.background.log(&format!("workflow {id}: {error}"));
            }
        }));
    }
}

/// No work of one request takes longer, in milliseconds.
const RUN_MAX_MS: i64 = 60 * 60_000;

/// Ends what has run for longer than anything does: its isolate is gone.
///
/// # Errors
/// When the database fails.
pub async fn end_abandoned_workflows(ports: &Ports) -> Result<(), PortError> {
    let now_ms = ports.clock.now_ms();
    end_abandoned(now_ms - RUN_MAX_MS, now_ms).run(&*ports.db).await.map(drop)
}

/// All that has no column of its own, as JSON; empty when there is nothing.
fn describe(event: &HistoryEvent) -> String {
    let Ok(Value::Object(mut told)) = serde_json::to_value(event) else { return String::new() };
    for column in ["event_id", "event_type", "at_ms"] {
        told.remove(column);
    }
    if told.is_empty() { String::new() } else { Value::Object(told).to_string() }
}

/// How a workflow stands after such an event, if it has ended.
const fn status_of(event: EventType) -> Option<WorkflowStatus> {
    match event {
        EventType::WorkflowExecutionCompleted => Some(WorkflowStatus::Completed),
        EventType::WorkflowExecutionFailed => Some(WorkflowStatus::Failed),
        EventType::WorkflowExecutionStarted
        | EventType::ActivityTaskScheduled
        | EventType::ActivityTaskCompleted
        | EventType::ActivityTaskFailed => None,
    }
}
