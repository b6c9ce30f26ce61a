//! `/admin/v1/workflows`.

use guildhall::store::ops::workflows::{WorkflowStatus, append_event, begin_workflow, end_workflow};
use serde_json::{Value, json};

use crate::support::{TestApp, run};

async fn list(app: &TestApp, query: &str) -> Vec<String> {
    let page = app.admin("GET", &format!("/admin/v1/workflows{query}")).send().await.expect(200).json();
    assert_eq!(page["temporal_enabled"], true);
    let id = |workflow: &Value| workflow["workflow_id"].as_str().unwrap().to_owned();
    page["workflows"].as_array().unwrap().iter().map(id).collect()
}

/// Begins a workflow; tells of two things in it; ends it, if it is to end.
fn record(app: &TestApp, id: &str, end: Option<WorkflowStatus>, started_at_ms: i64) {
    let mut statements = vec![
        begin_workflow(id, "run_1", "OrchestrationWorkflow", started_at_ms).statement,
        append_event(id, 1, "WorkflowExecutionStarted", "", started_at_ms).statement,
        append_event(id, 2, "ActivityTaskScheduled", r#"{"model":"m1"}"#, started_at_ms + 5).statement,
    ];
    statements.extend(end.map(|status| end_workflow(id, status.name(), started_at_ms + 90).statement));
    app.database.run(&statements).unwrap();
}

#[test]
fn without_workflows_it_is_a_list() {
    run(async |app| {
        for path in ["", "/none", "/none/history"] {
            app.get(&format!("/admin/v1/workflows{path}")).send().await.expect(401);
        }
        let page = app.admin("GET", "/admin/v1/workflows").send().await.expect(200).json();
        assert_eq!(page, json!({ "workflows": [], "temporal_enabled": true }));
    });
}

#[test]
fn a_workflow_is_described_with_its_history() {
    run(async |app| {
        let at = app.now_ms();
        record(&app, "plan-req_1", Some(WorkflowStatus::TimedOut), at);
        let told = app.admin("GET", "/admin/v1/workflows/plan-req_1").send().await.expect(200).json();
        let expected = json!({
            "workflow_id": "plan-req_1", "run_id": "run_1", "type": "OrchestrationWorkflow", "status": "TimedOut",
            "start_time": "2027-01-15T08:00:00.000Z", "close_time": "2027-01-15T08:00:00.090Z", "duration_ms": 90,
            "temporal_enabled": true,
        });
        assert_eq!(told, expected);
        let history = app.admin("GET", "/admin/v1/workflows/plan-req_1/history").send().await.expect(200).json();
        let expected = json!({
            "workflow_id": "plan-req_1", "temporal_enabled": true, "events": [
                { "event_id": 1, "event_type": "WorkflowExecutionStarted", "timestamp": "2027-01-15T08:00:00.000Z" },
                { "event_id": 2, "event_type": "ActivityTaskScheduled", "timestamp": "2027-01-15T08:00:00.005Z",
                  "detail": { "model": "m1" } },
            ],
        });
        assert_eq!(history, expected);
        for path in ["/none", "/none/history"] {
            app.admin("GET", &format!("/admin/v1/workflows{path}")).send().await.expect(404);
        }
    });
}

#[test]
fn an_id_with_a_slash_is_found() {
    run(async |app| {
        record(&app, "plan-host/7", None, app.now_ms());
        let told = app.admin("GET", "/admin/v1/workflows/plan-host%2F7").send().await.expect(200).json();
        assert_eq!((&told["workflow_id"], told.get("close_time")), (&json!("plan-host/7"), None));
        app.admin("GET", "/admin/v1/workflows/plan-host%2F7/history").send().await.expect(200);
    });
}

#[test]
fn every_status_is_filtered_by_and_nothing_else() {
    run(async |app| {
        for (at, status) in (0..).zip(WorkflowStatus::ALL) {
            let end = (status != WorkflowStatus::Running).then_some(status);
            record(&app, status.name(), end, app.now_ms() + at);
        }
        for status in WorkflowStatus::ALL {
            let name = status.name();
            assert_eq!(list(&app, &format!("?status={name}")).await, [name]);
            let told = app.admin("GET", &format!("/admin/v1/workflows/{name}")).send().await.expect(200).json();
            assert_eq!(told["status"], status.title());
        }
        let newest_first: Vec<_> =
            WorkflowStatus::ALL.into_iter().rev().map(|status| status.name().to_owned()).collect();
        assert_eq!(list(&app, "").await, newest_first);
        for wrong in ["running", "DONE", "Completed"] {
            let answer = app.admin("GET", &format!("/admin/v1/workflows?status={wrong}")).send().await.expect(400);
            assert_eq!(answer.json(), json!({ "error": "invalid status filter" }));
        }
    });
}

#[test]
fn limits_hold() {
    run(async |app| {
        for at in 0..210 {
            record(&app, &format!("w{at}"), None, app.now_ms() + at);
        }
        for (query, count) in
            [("", 50), ("?limit=3", 3), ("?limit=200", 200), ("?limit=201", 50), ("?limit=0", 50), ("?limit=x", 50)]
        {
            assert_eq!(list(&app, query).await.len(), count, "{query}");
        }
    });
}

#[test]
fn saying_it_twice_changes_nothing() {
    run(async |app| {
        for _ in 0..2 {
            record(&app, "w", Some(WorkflowStatus::Completed), app.now_ms());
        }
        app.database.run(&[end_workflow("w", WorkflowStatus::Failed.name(), app.now_ms()).statement]).unwrap();
        assert_eq!(list(&app, "?status=COMPLETED").await, ["w"]);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM workflow_events"), 2);
    });
}

#[test]
fn old_ones_go_with_their_histories_also_those_that_were_left_half_way() {
    run(async |app| {
        let old_ms = app.now_ms() - 91 * 86_400_000;
        record(&app, "ended", Some(WorkflowStatus::Completed), old_ms);
        record(&app, "left half-way", None, old_ms);
        record(&app, "running", None, app.now_ms() - 1_000);
        record(&app, "young", Some(WorkflowStatus::Completed), app.now_ms());
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(list(&app, "").await, ["young", "running"]);
        assert_eq!(app.database.number("SELECT COUNT(*) FROM workflow_events WHERE workflow_id = 'ended'"), 0);
    });
}

#[test]
fn what_its_isolate_left_half_way_times_out() {
    run(async |app| {
        record(&app, "left", None, app.now_ms() - 3_700_000);
        record(&app, "running", None, app.now_ms() - 3_500_000);
        record(&app, "ended", Some(WorkflowStatus::Completed), app.now_ms() - 3_700_000);
        guildhall::jobs::hourly::run_hourly(&app.isolate(), &app.ports()).await;
        assert_eq!(list(&app, "?status=TIMED_OUT").await, ["left"]);
        assert_eq!(list(&app, "?status=RUNNING").await, ["running"]);
        assert_eq!(list(&app, "?status=COMPLETED").await, ["ended"]);
        assert_eq!(app.database.number("SELECT closed_at_ms > 0 FROM workflows WHERE id = 'left'"), 1);
    });
}
