//! The assembler: pieces of a chat completion in, the Response and the events that build it out.

use serde_json::value::RawValue;

use super::close::{close_item, close_part, write_reasoning_part};
use super::completion::{CallPiece, Completion, Message, arguments_of, text_of, view_usage};
use super::echo::Echo;
use super::events::{
    ErrorView, Event, EventWriter, FailureError, FailureView, IncompleteView, ResponseView, UsageView,
};
use super::items::output_item_id;
use super::output::{Item, ItemBody, Part, Status};
use super::tools::Origin;
use super::{MAX_OUTPUT_BYTES, MAX_OUTPUT_ITEMS};
use crate::chat::calls::{Call, Calls};
use crate::ids::ResponseId;
use crate::json::Raw;

/// An answer over [`MAX_OUTPUT_BYTES`] or [`MAX_OUTPUT_ITEMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// How the answer ended.
#[derive(Debug)]
enum Outcome {
    Running,
    Ended,
    Failed { code: String, message: String },
}

/// Gathers one answer.
#[derive(Debug)]
pub(super) struct Assembler {
    echo: Echo,
    id: ResponseId,
    created_at_s: u64,
    items: Vec<Item>,
    /// The item at the end, while text may still be added to it.
    open_text: Option<usize>,
    calls: Calls,
    events: EventWriter,
    bytes_left: usize,
    items_left: usize,
    usage: Option<UsageView>,
    service_tier: Option<Box<RawValue>>,
    finish_reason: Option<String>,
    outcome: Outcome,
}

/// What a stretch of text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextKind {
    Reasoning,
    Output,
    Refusal,
}

impl Assembler {
    /// Gathers a stream, with events and bounds.
    pub(super) fn new(echo: Echo, id: ResponseId, created_at_s: u64) -> Self {
        Self {
            echo,
            id,
            created_at_s,
            items: Vec::new(),
            open_text: None,
            calls: Calls::default(),
            events: EventWriter::new(false),
            bytes_left: MAX_OUTPUT_BYTES,
            items_left: MAX_OUTPUT_ITEMS,
            usage: None,
            service_tier: None,
            finish_reason: None,
            outcome: Outcome::Running,
        }
    }

    /// Gathers an answer that is whole already: no events, no bounds.
    pub(super) fn new_silent(echo: Echo, id: ResponseId, created_at_s: u64) -> Self {
        Self {
            events: EventWriter::new(true),
            bytes_left: usize::MAX,
            items_left: usize::MAX,
            ..Self::new(echo, id, created_at_s)
        }
    }

    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        for name in ["response.created", "response.in_progress"] {
            self.write_response(name, out);
        }
    }

    pub(super) fn take(&mut self, completion: &Completion<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        if let Some(usage) = completion.usage.and_then(view_usage) {
            self.usage = Some(usage);
        }
        if let Some(tier) = completion.service_tier {
            self.service_tier = own(tier);
        }
        for choice in completion.choices.iter().filter(|choice| choice.index.unwrap_or(0) == 0) {
            if let Some(message) = choice.message.as_ref().or(choice.delta.as_ref()) {
                self.take_texts(message, &choice.logprobs, out)?;
                for (place, piece) in message.tool_calls.iter().enumerate() {
                    // A whole message lists its calls; pieces say which call they belong to.
                    let index = if choice.message.is_some() { Some(place as u64) } else { piece.index };
                    self.take_call(index, piece, out)?;
                }
            }
            if let Some(reason) = choice.finish_reason.as_ref().filter(|reason| !reason.is_empty()) {
                self.finish_reason = Some(reason.clone().into_owned());
            }
        }
        Ok(())
    }

    /// Ends the answer as its finish reason says.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        let last = if self.incomplete().is_some() { Status::Incomplete } else { Status::Completed };
        self.close_all(last, out);
        self.outcome = Outcome::Ended;
        let name = if last == Status::Incomplete { "response.incomplete" } else { "response.completed" };
        self.write_response(name, out);
    }

    /// Ends the answer with an error: an `error` event and a failed Response that holds what there was.
    pub(super) fn fail(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        for item in &mut self.items {
            if item.status == Status::InProgress {
                item.status = Status::Incomplete;
                item.settle_input();
            }
        }
        let error = FailureError { r#type: "upstream_error", code, message, param: None };
        let failure = Some(FailureView { code, message, param: None, error });
        self.events.write("error", &Event { failure, ..Event::default() }, out);
        self.outcome = Outcome::Failed { code: response_error_code(code).to_owned(), message: message.to_owned() };
        self.write_response("response.failed", out);
    }

    /// The Response as it stands.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Writing texts and numbers to a `Vec` can't fail.
        serde_json::to_vec(&self.view()).unwrap_or_default()
    }

    fn view(&self) -> ResponseView<'_> {
        let (status, error) = match &self.outcome {
            Outcome::Running => (Status::InProgress, None),
            Outcome::Ended if self.incomplete().is_some() => (Status::Incomplete, None),
            Outcome::Ended => (Status::Completed, None),
            Outcome::Failed { code, message } => (Status::Failed, Some(ErrorView { code, message })),
        };
        ResponseView {
            id: &self.id,
            object: "response",
            created_at: self.created_at_s,
            status,
            error,
            incomplete_details: self.incomplete().filter(|_| status == Status::Incomplete),
            output: self.items.iter().map(Item::view).collect(),
            usage: self.usage,
            service_tier: self.service_tier.as_deref().or(self.echo.service_tier.as_deref()),
            echo: &self.echo,
        }
    }

    fn incomplete(&self) -> Option<IncompleteView> {
        match self.finish_reason.as_deref() {
            Some("length") => Some(IncompleteView { reason: "max_output_tokens" }),
            Some("content_filter") => Some(IncompleteView { reason: "content_filter" }),
            _ => None,
        }
    }

    fn take_texts(&mut self, message: &Message<'_>, logprobs: &[Raw<'_>], out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let mut reasoning = text_of(message.reasoning_content);
        if reasoning.is_empty() {
            reasoning = text_of(message.reasoning);
        }
        self.take_text(TextKind::Reasoning, &reasoning, &[], out)?;
        self.take_text(TextKind::Output, &text_of(message.content), logprobs, out)?;
        self.take_text(TextKind::Refusal, &text_of(message.refusal), &[], out)
    }

    fn take_text(
        &mut self,
        kind: TextKind,
        delta: &str,
        logprobs: &[Raw<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        if delta.is_empty() {
            return Ok(());
        }
        let logprobs_bytes: usize = logprobs.iter().map(|entry| entry.bytes.len()).sum();
        self.count_bytes(delta.len().saturating_add(logprobs_bytes))?;
        let place = self.open_item(kind, out)?;
        self.open_part(place, kind, out);
        let Some(item) = self.items.get_mut(place) else { return Ok(()) };
        let logprobs: Vec<Box<RawValue>> = logprobs.iter().filter_map(|entry| own(*entry)).collect();
        let event =
            Event { item_id: Some(&item.id), output_index: Some(place), delta: Some(delta), ..Event::default() };
        match &mut item.body {
            ItemBody::Reasoning { text, is_summary: true } => {
                text.push_str(delta);
                let event = Event { summary_index: Some(0), ..event };
                self.events.write("response.reasoning_summary_text.delta", &event, out);
            }
            ItemBody::Reasoning { text, is_summary: false } => {
                text.push_str(delta);
                let event = Event { content_index: Some(0), ..event };
                self.events.write("response.reasoning_text.delta", &event, out);
            }
            ItemBody::Message { parts } => {
                let event = Event { content_index: parts.len().checked_sub(1), ..event };
                match parts.last_mut() {
                    Some(Part::Text { text, logprobs: all }) => {
                        text.push_str(delta);
                        let event = Event { logprobs: Some(&logprobs), ..event };
                        self.events.write("response.output_text.delta", &event, out);
                        all.extend(logprobs);
                    }
                    Some(Part::Refusal { text }) => {
                        text.push_str(delta);
                        self.events.write("response.refusal.delta", &event, out);
                    }
                    None => {}
                }
            }
            ItemBody::Call { .. } => {}
        }
        Ok(())
    }

    /// The item that text of this kind goes to: the open one, or a new one behind it.
    fn open_item(&mut self, kind: TextKind, out: &mut Vec<u8>) -> Result<usize, TooLarge> {
        let is_reasoning = kind == TextKind::Reasoning;
        if let Some(place) = self.open_text
            && self.items.get(place).is_some_and(|item| matches!(item.body, ItemBody::Reasoning { .. }) == is_reasoning)
        {
            return Ok(place);
        }
        self.close_text(Status::Completed, out);
        let place = if is_reasoning {
            let body = ItemBody::Reasoning { text: String::new(), is_summary: self.echo.has_summary };
            self.add_item("rs", body, out)?
        } else {
            self.add_item("msg", ItemBody::Message { parts: Vec::new() }, out)?
        };
        self.open_text = Some(place);
        if let Some(Item { id, body: ItemBody::Reasoning { is_summary, .. }, .. }) = self.items.get(place) {
            write_reasoning_part(&mut self.events, "added", (id, place), "", *is_summary, out);
        }
        Ok(place)
    }

    /// Makes sure that the message's last part is of this kind.
    fn open_part(&mut self, place: usize, kind: TextKind, out: &mut Vec<u8>) {
        let Some(Item { id, body: ItemBody::Message { parts }, .. }) = self.items.get_mut(place) else { return };
        match (parts.last(), kind) {
            (Some(Part::Text { .. }), TextKind::Output) | (Some(Part::Refusal { .. }), TextKind::Refusal) => return,
            (Some(part), _) => close_part(&mut self.events, (id, place, parts.len() - 1), part, out),
            (None, _) => {}
        }
        let part = match kind {
            TextKind::Refusal => Part::Refusal { text: String::new() },
            _ => Part::Text { text: String::new(), logprobs: Vec::new() },
        };
        let event = Event {
            item_id: Some(id),
            output_index: Some(place),
            content_index: Some(parts.len()),
            part: Some(part.view_empty()),
            ..Event::default()
        };
        self.events.write("response.content_part.added", &event, out);
        parts.push(part);
    }

    fn take_call(&mut self, index: Option<u64>, piece: &CallPiece<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let (id, name) = (text_of(piece.id), text_of(piece.function.name));
        let arguments = arguments_of(piece.function.arguments);
        self.count_bytes(arguments.len().saturating_add(id.len()).saturating_add(name.len()))?;
        let place = self.calls.place_of(index, &id, &name);
        if self.calls.list.len() > self.items_left.saturating_add(self.items.len()) {
            return Err(TooLarge);
        }
        if self.calls.list.get(place).is_some_and(|call| call.item.is_none() && call.name.is_empty()) {
            self.calls.keep_early(place, &arguments);
            return Ok(());
        }
        let (item, early) = self.open_call(place, out)?;
        self.add_arguments(item, &early, out);
        self.add_arguments(item, &arguments, out);
        Ok(())
    }

    /// The item of a call, and the arguments that came before there was one.
    fn open_call(&mut self, place: usize, out: &mut Vec<u8>) -> Result<(usize, String), TooLarge> {
        let Some(call) = self.calls.list.get_mut(place) else { return Err(TooLarge) };
        if let Some(item) = call.item {
            return Ok((item, String::new()));
        }
        let Call { id, name, early, .. } = std::mem::take(call);
        self.close_text(Status::Completed, out);
        let index = self.items.len();
        let call_id = self.calls.take_id(&id, output_item_id("call", &self.id, index));
        let unknown = || Origin { name: name.clone(), namespace: None, is_custom: false };
        let tool = self.echo.origins.get(&name).cloned().unwrap_or_else(unknown);
        let prefix = if tool.is_custom { "ctc" } else { "fc" };
        let item = self.add_item(prefix, ItemBody::Call { call_id, tool, text: String::new() }, out)?;
        if let Some(call) = self.calls.list.get_mut(place) {
            *call = Call { id, name, early: String::new(), item: Some(item) };
        }
        Ok((item, early))
    }

    fn add_arguments(&mut self, place: usize, delta: &str, out: &mut Vec<u8>) {
        let Some(Item { id, body: ItemBody::Call { tool, text, .. }, .. }) = self.items.get_mut(place) else { return };
        text.push_str(delta);
        // A free-form tool's input is wrapped in JSON, and leaves as soon as that is whole.
        if !tool.is_custom && !delta.is_empty() {
            let event = Event { item_id: Some(id), output_index: Some(place), delta: Some(delta), ..Event::default() };
            self.events.write("response.function_call_arguments.delta", &event, out);
        }
    }

    fn add_item(&mut self, prefix: &str, body: ItemBody, out: &mut Vec<u8>) -> Result<usize, TooLarge> {
        self.items_left = self.items_left.checked_sub(1).ok_or(TooLarge)?;
        let place = self.items.len();
        let item = Item { id: output_item_id(prefix, &self.id, place), status: Status::InProgress, body };
        let event = Event { output_index: Some(place), item: Some(item.view_empty()), ..Event::default() };
        self.events.write("response.output_item.added", &event, out);
        self.items.push(item);
        Ok(place)
    }

    /// Closes all that is open, in order; the last item gets this status.
    ///
    /// Calls stay open until here: some servers send them in turns.
    fn close_all(&mut self, last: Status, out: &mut Vec<u8>) {
        for place in 0..self.calls.list.len() {
            if self.calls.list.get(place).is_some_and(|call| call.item.is_none())
                && let Ok((item, early)) = self.open_call(place, out)
            {
                self.add_arguments(item, &early, out);
            }
        }
        let end = self.items.len();
        for (place, item) in self.items.iter_mut().enumerate() {
            if item.status == Status::InProgress {
                item.status = if place + 1 == end { last } else { Status::Completed };
                close_item(&mut self.events, place, item, out);
            }
        }
        self.open_text = None;
    }

    fn close_text(&mut self, status: Status, out: &mut Vec<u8>) {
        let Some(place) = self.open_text.take() else { return };
        if let Some(item) = self.items.get_mut(place) {
            item.status = status;
            close_item(&mut self.events, place, item, out);
        }
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    }

    fn write_response(&mut self, name: &'static str, out: &mut Vec<u8>) {
        // The view borrows all of this but the writer, which steps out for so long.
        let mut events = std::mem::replace(&mut self.events, EventWriter::new(true));
        events.write(name, &Event { response: Some(self.view()), ..Event::default() }, out);
        self.events = events;
    }
}

/// A value to keep.
fn own(value: Raw<'_>) -> Option<Box<RawValue>> {
    serde_json::from_slice(value.bytes).ok()
}

/// The code of a failed Response: one that clients know, or the general one.
fn response_error_code(code: &str) -> &str {
    match code {
        "rate_limit_exceeded" | "invalid_prompt" | "context_length_exceeded" | "insufficient_quota" => code,
        _ => "server_error",
    }
}
