//! What happened in an orchestration, as workflow engines tell it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::MicroUsd;

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// The orchestration began.
    WorkflowExecutionStarted,
    /// A model call was handed out.
    ActivityTaskScheduled,
    /// A model answered.
    ActivityTaskCompleted,
    /// A model call failed.
    ActivityTaskFailed,
    /// The orchestration has its result.
    WorkflowExecutionCompleted,
    /// The orchestration failed.
    WorkflowExecutionFailed,
}

impl EventType {
    /// As histories say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkflowExecutionStarted => "WorkflowExecutionStarted",
            Self::ActivityTaskScheduled => "ActivityTaskScheduled",
            Self::ActivityTaskCompleted => "ActivityTaskCompleted",
            Self::ActivityTaskFailed => "ActivityTaskFailed",
            Self::WorkflowExecutionCompleted => "WorkflowExecutionCompleted",
            Self::WorkflowExecutionFailed => "WorkflowExecutionFailed",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEvent {
    /// Its number, from 1.
    pub event_id: u32,
    /// Its kind.
    pub event_type: EventType,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// The model call's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// The model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it cost, in micro-dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<MicroUsd>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The events so far; their number is bounded by the phases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct History {
    events: Vec<HistoryEvent>,
}

impl History {
    pub fn events(&self) -> &[HistoryEvent] {
        &self.events
    }

    /// Appends an event and hands it out for its details.
    pub fn push(&mut self, event_type: EventType, at_ms: u64, details: impl FnOnce(&mut HistoryEvent)) {
        let event_id = u32::try_from(self.events.len() + 1).unwrap_or(u32::MAX);
        let mut event =
            HistoryEvent { event_id, event_type, at_ms, activity: None, model: None, cost_micros: None, message: None };
        details(&mut event);
        self.events.push(event);
    }
}
