//! The histories of orchestrations, for operators: each is a workflow of its own, written down when it has ended.
//!
//! Nothing is written while one runs: an isolate that dies would leave it running for ever.

use guildhall_domain::native::{EventType, HistoryEvent};
use serde_json::{Map, Value};

use crate::ports::Ports;
use crate::store::ops::workflows::{WorkflowStatus, append_event, begin_workflow, end_workflow};

/// As TokenHub's clients know them.
const WORKFLOW_TYPE: &str = "OrchestrationWorkflow";

/// Files the history of an orchestration that has ended, as the workflow `plan-<request id>`. Filing it again changes
/// nothing; a database that does not answer costs the operators this history and the caller nothing.
pub async fn file_orchestration(ports: &Ports, request_id: &str, events: &[HistoryEvent]) {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
    let id = format!("plan-{request_id}");
    let is_completed = last.event_type == EventType::WorkflowExecutionCompleted;
    let status = if is_completed { WorkflowStatus::Completed } else { WorkflowStatus::Failed };
    let mut statements = vec![begin_workflow(&id, request_id, WORKFLOW_TYPE, to_ms(first)).statement];
    for event in events {
        let (name, detail) = describe(event);
        statements.push(append_event(&id, i64::from(event.event_id), &name, &detail, to_ms(event)).statement);
    }
    statements.push(end_workflow(&id, status.name(), to_ms(last)).statement);
    if let Err(error) = ports.db.run(statements).await {
        ports.background.log(&format!("{request_id}: its history is lost: {error:?}"));
    }
}

fn to_ms(event: &HistoryEvent) -> i64 {
    i64::try_from(event.at_ms).unwrap_or(i64::MAX)
}

/// The event's kind, and all that has no column of its own as JSON; empty when there is nothing.
fn describe(event: &HistoryEvent) -> (String, String) {
    let mut told = match serde_json::to_value(event) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    for column in ["event_id", "at_ms"] {
        told.remove(column);
    }
    let name = told.remove("event_type").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let detail = if told.is_empty() { String::new() } else { Value::Object(told).to_string() };
    (name, detail)
}
