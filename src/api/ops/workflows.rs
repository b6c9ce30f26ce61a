//! Workflows: what runs in several steps, and its history.

use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::Cx;
use crate::error::ApiError;
use crate::http::input::{Path, Query};
use crate::http::output::Reply;
use crate::http::route::Access;
use crate::routes;
use crate::store::ops::workflows::{
    WorkflowEventRow, WorkflowRow, WorkflowStatus, find_workflow, list_workflow_events, list_workflows as list_rows,
    list_workflows_of,
};
use crate::store::statement::run_all;

routes! {
    tag "Observability", dialect TokenHub;
    /// List workflows.
    ///
    /// The last begun first.
    Get "/admin/v1/workflows" Access::Admin => list_workflows;
    /// Describe a workflow.
    Get "/admin/v1/workflows/{id}" Access::Admin => get_workflow;
    /// Get a workflow's history.
    Get "/admin/v1/workflows/{id}/history" Access::Admin => get_workflow_history;
}

/// Which workflows.
#[derive(Deserialize, JsonSchema)]
pub struct WorkflowQuery {
    /// 1 to 200; 50 when left out or anything else.
    #[schemars(with = "Option<i64>")]
    limit: Option<String>,
    /// `RUNNING`, `COMPLETED`, `FAILED`, `CANCELED`, `TERMINATED`, `CONTINUED_AS_NEW` or `TIMED_OUT`.
    status: Option<String>,
}

/// Workflows.
#[derive(Serialize, JsonSchema)]
pub struct WorkflowList {
    workflows: Vec<Workflow>,
    /// Always true: the engine is built in.
    temporal_enabled: bool,
}

/// A workflow.
#[derive(Serialize, JsonSchema)]
pub struct Workflow {
    workflow_id: String,
    run_id: String,
    /// Such as `OrchestrationWorkflow`.
    #[serde(rename = "type")]
    kind: String,
    /// `Running`, `Completed`, `Failed`, `Canceled`, `Terminated`, `ContinuedAsNew` or `TimedOut`.
    status: &'static str,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
}

/// A workflow, described.
#[derive(Serialize, JsonSchema)]
pub struct WorkflowDescription {
    #[serde(flatten)]
    workflow: Workflow,
    /// Always true: the engine is built in.
    temporal_enabled: bool,
}

/// What happened in a workflow.
#[derive(Serialize, JsonSchema)]
pub struct WorkflowHistory {
    workflow_id: String,
    events: Vec<WorkflowEvent>,
    /// Always true: the engine is built in.
    temporal_enabled: bool,
}

/// One thing that happened.
#[derive(Serialize, JsonSchema)]
pub struct WorkflowEvent {
    event_id: i64,
    /// Such as `ActivityTaskCompleted`.
    event_type: String,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;
const EVENTS_MAX: i64 = 10_000;

async fn list_workflows(cx: Cx, Query(query): Query<WorkflowQuery>) -> Result<Reply<WorkflowList>, ApiError> {
    let limit = query.limit.and_then(|text| text.parse().ok()).filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    let rows = match query.status.as_deref().filter(|status| !status.is_empty()) {
        None => list_rows(limit),
        Some(name) => {
            let status = WorkflowStatus::parse(name);
            let status = status.ok_or_else(|| ApiError::invalid("status", "invalid status filter"))?;
            list_workflows_of(status.name(), limit)
        }
    };
    let rows = rows.run(&*cx.ports.db).await?;
    Ok(Reply(WorkflowList { workflows: rows.into_iter().map(Workflow::from).collect(), temporal_enabled: true }))
}

async fn get_workflow(cx: Cx, Path(id): Path) -> Result<Reply<WorkflowDescription>, ApiError> {
    let row = find_workflow(&id).run(&*cx.ports.db).await?.ok_or_else(|| ApiError::not_found("workflow"))?;
    Ok(Reply(WorkflowDescription { workflow: row.into(), temporal_enabled: true }))
}

async fn get_workflow_history(cx: Cx, Path(id): Path) -> Result<Reply<WorkflowHistory>, ApiError> {
    let reads = run_all(&*cx.ports.db, (find_workflow(&id), list_workflow_events(&id, EVENTS_MAX)));
    let (Some(row), events) = reads.await? else { return Err(ApiError::not_found("workflow")) };
    let events = events.into_iter().map(WorkflowEvent::from).collect();
    Ok(Reply(WorkflowHistory { workflow_id: row.id, events, temporal_enabled: true }))
}

impl From<WorkflowRow> for Workflow {
    fn from(row: WorkflowRow) -> Self {
        Self {
            workflow_id: row.id,
            run_id: row.run_id,
            kind: row.r#type,
            // A status of a newer version than this one is under way at least.
            status: WorkflowStatus::parse(&row.status).unwrap_or(WorkflowStatus::Running).title(),
            start_time: format_rfc3339(row.started_at_ms),
            close_time: row.closed_at_ms.map(format_rfc3339),
            duration_ms: row.closed_at_ms.map(|closed_at_ms| closed_at_ms - row.started_at_ms),
        }
    }
}

impl From<WorkflowEventRow> for WorkflowEvent {
    fn from(row: WorkflowEventRow) -> Self {
        Self {
            event_id: row.event_id,
            event_type: row.r#type,
            timestamp: format_rfc3339(row.at_ms),
            detail: serde_json::from_str(&row.detail).ok(),
        }
    }
}
