//! Output items: how they grow, and how they are written.

use serde::Serialize;
use serde_json::value::RawValue;

use super::tools::Origin;

/// How far an item or an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

/// An output item that is gathered.
#[derive(Debug)]
pub(super) struct Item {
    pub id: String,
    pub status: Status,
    pub body: ItemBody,
}

#[derive(Debug)]
pub(super) enum ItemBody {
    Reasoning { text: String, is_summary: bool },
    Message { parts: Vec<Part> },
    Call { call_id: String, tool: Origin, text: String },
}

/// A content part of a message that is gathered.
#[derive(Debug)]
pub(super) enum Part {
    Text { text: String, logprobs: Vec<Box<RawValue>> },
    Refusal { text: String },
}

/// An output item as the client sees it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemView<'i> {
    Reasoning {
        id: &'i str,
        summary: Vec<PartView<'i>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Vec<PartView<'i>>>,
        status: Status,
    },
    Message {
        id: &'i str,
        status: Status,
        role: &'static str,
        content: Vec<PartView<'i>>,
    },
    FunctionCall {
        id: &'i str,
        call_id: &'i str,
        name: &'i str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'i str>,
        arguments: &'i str,
        status: Status,
    },
    CustomToolCall {
        id: &'i str,
        call_id: &'i str,
        name: &'i str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'i str>,
        input: &'i str,
        status: Status,
    },
}

/// A content part as the client sees it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartView<'i> {
    OutputText { annotations: [(); 0], logprobs: &'i [Box<RawValue>], text: &'i str },
    Refusal { refusal: &'i str },
    ReasoningText { text: &'i str },
    SummaryText { text: &'i str },
}

impl Item {
    /// The item with all that it holds.
    pub(super) fn view(&self) -> ItemView<'_> {
        let (id, status) = (self.id.as_str(), self.status);
        match &self.body {
            ItemBody::Reasoning { text, is_summary } => {
                let parts = vec![reasoning_view(text, *is_summary)];
                let (summary, content) = if *is_summary { (parts, None) } else { (Vec::new(), Some(parts)) };
                ItemView::Reasoning { id, summary, content, status }
            }
            ItemBody::Message { parts } => {
                ItemView::Message { id, status, role: "assistant", content: parts.iter().map(Part::view).collect() }
            }
            ItemBody::Call { call_id, tool, text } => call_view(id, call_id, tool, text, status),
        }
    }

    /// The item as it is announced: nothing in it yet.
    pub(super) fn view_empty(&self) -> ItemView<'_> {
        let (id, status) = (self.id.as_str(), Status::InProgress);
        match &self.body {
            ItemBody::Reasoning { is_summary, .. } => {
                let content = if *is_summary { None } else { Some(Vec::new()) };
                ItemView::Reasoning { id, summary: Vec::new(), content, status }
            }
            ItemBody::Message { .. } => ItemView::Message { id, status, role: "assistant", content: Vec::new() },
            ItemBody::Call { call_id, tool, .. } => call_view(id, call_id, tool, "", status),
        }
    }
}

/// Thoughts as a content part or as a summary part.
pub(super) const fn reasoning_view(text: &str, is_summary: bool) -> PartView<'_> {
    if is_summary { PartView::SummaryText { text } } else { PartView::ReasoningText { text } }
}

fn call_view<'i>(id: &'i str, call_id: &'i str, tool: &'i Origin, text: &'i str, status: Status) -> ItemView<'i> {
    let (name, namespace) = (tool.name.as_str(), tool.namespace.as_deref());
    if tool.is_custom {
        ItemView::CustomToolCall { id, call_id, name, namespace, input: text, status }
    } else {
        ItemView::FunctionCall { id, call_id, name, namespace, arguments: text, status }
    }
}

impl Part {
    pub(super) const fn view(&self) -> PartView<'_> {
        match self {
            Self::Text { text, logprobs } => {
                PartView::OutputText { annotations: [], logprobs: logprobs.as_slice(), text: text.as_str() }
            }
            Self::Refusal { text } => PartView::Refusal { refusal: text.as_str() },
        }
    }

    pub(super) const fn view_empty(&self) -> PartView<'_> {
        match self {
            Self::Text { .. } => PartView::OutputText { annotations: [], logprobs: &[], text: "" },
            Self::Refusal { .. } => PartView::Refusal { refusal: "" },
        }
    }
}
