//! What outlives a step: the history and the stored run.

use super::*;

#[test]
fn history_tells_what_happened() {
    let mut run = Run::begin(plan(json!({"mode":"vote"})), &models(2));
    run.answer(vec![says("m1", "a"), fails(502)]);
    let events: Vec<_> =
        run.run.events().iter().map(|event| (event.event_id, event.event_type, event.activity.as_deref())).collect();
    let expected = [
        (1, EventType::WorkflowExecutionStarted, None),
        (2, EventType::ActivityTaskScheduled, Some("vote-1")),
        (3, EventType::ActivityTaskScheduled, Some("vote-2")),
        (4, EventType::ActivityTaskCompleted, Some("vote-1")),
        (5, EventType::ActivityTaskFailed, Some("vote-2")),
        (6, EventType::WorkflowExecutionCompleted, None),
    ];
    assert_eq!(events, expected);
    let failed = serde_json::to_value(&run.run.events()[4]).unwrap();
    let expected = json!({"event_id":5,"event_type":"ActivityTaskFailed","at_ms":2000,"activity":"vote-2",
        "cost_micros":1,"message":"all providers failed"});
    assert_eq!(failed, expected);
    assert_eq!((run.run.events()[0].at_ms, run.run.cost_micros()), (1_000, MicroUsd(11)));
    // What is over stays over.
    let (events, step) = (run.run.events().len(), run.step.clone());
    run.answer(vec![says("m1", "a")]);
    assert_eq!((run.run.events().len(), &run.step), (events, &step));

    let mut failed = Run::begin(plan(json!({})), &[]);
    failed.answer(vec![fails(502)]);
    assert_eq!(failed.run.events().last().unwrap().event_type, EventType::WorkflowExecutionFailed);
}

/// Runs outlive the code that began them.
#[test]
fn stored_format_is_unchanged() {
    let body = json!({"request":{"messages":[{"role":"user","content":"Hi"}]},"orchestration":{"mode":"adversarial"}});
    let mut run = Run::begin(parse_plan(body.to_string().as_bytes()).unwrap(), &[]);
    run.answer(vec![says("p", "Plan")]).answer(vec![says("r", "Weak")]);
    let stored = serde_json::to_value(&run.run).unwrap();
    let expected = json!({
        "plan": {
            "request": {"messages":[{"role":"user","content":"Hi"}],"model_hint":null,"estimated_input_tokens":0,
                "parameters":{},"is_stream":false,"id":null,"meta":{},"output_schema":null},
            "mode":"adversarial","iterations":0,"primary_model_id":null,"review_model_id":null,"primary_min_weight":0,
            "review_min_weight":0,"return_plan_only":false,"output_schema":null,
            "output_format":{"kind":null,"schema":null,"max_tokens":0,"strip_think":false},
        },
        "phase": {"replanning":{"draft":{"initial":"Plan","current":"Plan","last_critique":"","rounds":0},"critique":"Weak"}},
        "cost_micros": 20,
        "history": [
            {"event_id":1,"event_type":"WorkflowExecutionStarted","at_ms":1000},
            {"event_id":2,"event_type":"ActivityTaskScheduled","at_ms":1000,"activity":"plan"},
            {"event_id":3,"event_type":"ActivityTaskCompleted","at_ms":2000,"activity":"plan","model":"p","cost_micros":10},
            {"event_id":4,"event_type":"ActivityTaskScheduled","at_ms":2000,"activity":"critique-1"},
            {"event_id":5,"event_type":"ActivityTaskCompleted","at_ms":2000,"activity":"critique-1","model":"r","cost_micros":10},
            {"event_id":6,"event_type":"ActivityTaskScheduled","at_ms":2000,"activity":"refine-1"},
        ],
    });
    assert_eq!(stored, expected);
    let phases = [
        json!("single"),
        json!("planning"),
        json!({"critique":{"initial":"a","current":"b","last_critique":"c","rounds":1}}),
        json!({"voting":{"voters":["m"]}}),
        json!({"judging":{"ballots":[{"model":"m","content":"c"}]}}),
        json!("responding"),
        json!({"improving":{"response":"r","model":"m","rounds":1}}),
        json!({"done":{"response":"{}","routing_reason":"r","negotiated_model":"m","cost_micros":1}}),
        json!({"failed":{"status":502,"message":"m","cost_micros":1}}),
    ];
    for phase in phases {
        let read: Phase = serde_json::from_value(phase.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), phase);
    }
}
