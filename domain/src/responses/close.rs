//! The events that end items and their parts.

use std::borrow::Cow;

use serde::Deserialize;

use super::events::{Event, EventWriter};
use super::output::{Item, ItemBody, Part, reasoning_view};
use super::tools::Origin;

impl Item {
    /// Takes a free-form tool's input out of the JSON that it came in.
    pub(super) fn settle_input(&mut self) {
        #[derive(Deserialize)]
        struct Wrapped<'a> {
            #[serde(borrow)]
            input: Cow<'a, str>,
        }
        if let ItemBody::Call { tool: Origin { is_custom: true, .. }, text, .. } = &mut self.body
            && let Ok(wrapped) = serde_json::from_str::<Wrapped<'_>>(text)
        {
            // What is not wrapped as told stays as the model wrote it.
            *text = wrapped.input.into_owned();
        }
    }
}

/// Writes the events that end an item, its status set before.
pub(super) fn close_item(events: &mut EventWriter, place: usize, item: &mut Item, out: &mut Vec<u8>) {
    item.settle_input();
    let id = item.id.as_str();
    let event = Event { item_id: Some(id), output_index: Some(place), ..Event::default() };
    match &item.body {
        ItemBody::Reasoning { text, is_summary } => {
            if *is_summary {
                let event = Event { summary_index: Some(0), text: Some(text), ..event };
                events.write("response.reasoning_summary_text.done", &event, out);
            } else {
                let event = Event { content_index: Some(0), text: Some(text), ..event };
                events.write("response.reasoning_text.done", &event, out);
            }
            write_reasoning_part(events, "done", (id, place), text, *is_summary, out);
        }
        ItemBody::Message { parts } => {
            if let Some(part) = parts.last() {
                close_part(events, (id, place, parts.len() - 1), part, out);
            }
        }
        ItemBody::Call { tool, text, .. } if tool.is_custom => {
            let delta = Event { item_id: Some(id), output_index: Some(place), delta: Some(text), ..Event::default() };
            events.write("response.custom_tool_call_input.delta", &delta, out);
            events.write("response.custom_tool_call_input.done", &Event { input: Some(text), ..event }, out);
        }
        ItemBody::Call { tool, text, .. } => {
            let event = Event { name: Some(&tool.name), arguments: Some(text), ..event };
            events.write("response.function_call_arguments.done", &event, out);
        }
    }
    let event = Event { output_index: Some(place), item: Some(item.view()), ..Event::default() };
    events.write("response.output_item.done", &event, out);
}

/// Writes the events that end a content part; `at` is its item's id and place and its own place.
pub(super) fn close_part(events: &mut EventWriter, at: (&str, usize, usize), part: &Part, out: &mut Vec<u8>) {
    let (id, place, content) = at;
    let here =
        || Event { item_id: Some(id), output_index: Some(place), content_index: Some(content), ..Event::default() };
    match part {
        Part::Text { text, logprobs } => {
            let event = Event { text: Some(text), logprobs: Some(logprobs), ..here() };
            events.write("response.output_text.done", &event, out);
        }
        Part::Refusal { text } => {
            events.write("response.refusal.done", &Event { refusal: Some(text), ..here() }, out);
        }
    }
    events.write("response.content_part.done", &Event { part: Some(part.view()), ..here() }, out);
}

/// Writes the event that begins or ends the one part of a reasoning item; `at` is its id and place.
pub(super) fn write_reasoning_part(
    events: &mut EventWriter,
    step: &str,
    at: (&str, usize),
    text: &str,
    is_summary: bool,
    out: &mut Vec<u8>,
) {
    let (name, summary_index, content_index) = match (is_summary, step) {
        (true, "added") => ("response.reasoning_summary_part.added", Some(0), None),
        (true, _) => ("response.reasoning_summary_part.done", Some(0), None),
        (false, "added") => ("response.content_part.added", None, Some(0)),
        (false, _) => ("response.content_part.done", None, Some(0)),
    };
    let part = Some(reasoning_view(text, is_summary));
    let event =
        Event { item_id: Some(at.0), output_index: Some(at.1), content_index, summary_index, part, ..Event::default() };
    events.write(name, &event, out);
}
