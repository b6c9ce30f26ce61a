//! Turns: messages put together as Anthropic wants them.
//!
//! User and assistant take turns; the results of a turn's calls begin the user's next turn, all of
//! them, in the order of the calls.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::parts::{Blocks, Place, write_part};
use crate::anthropic::calls::{Call, Calls};
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::ids::to_tool_use_id;
use crate::anthropic::writer::Writer;
use crate::anthropic::{MISSING_RESULT, TranslateError};

/// What the user says where Anthropic wants a user turn and the caller has none.
const GO_ON: &[u8] = b"\"Continue.\"";

/// What a tool returned.
#[derive(Debug, Default)]
pub(super) struct ToolResult {
    pub blocks: Blocks,
    pub is_error: bool,
    pub cache: Option<Vec<u8>>,
}

/// An assistant's turn and the user's turn after it.
#[derive(Debug, Default)]
struct Round<'a> {
    assistant: Blocks,
    begins_with_thinking: bool,
    calls: Calls<'a, ToolResult>,
    user: Blocks,
}

/// The turns of a conversation.
#[derive(Debug, Default)]
pub(super) struct Turns<'a> {
    json: Vec<u8>,
    round: Round<'a>,
    /// Ids of Anthropic's that were given, with the number of times they were wanted again.
    used_ids: BTreeMap<String, u64>,
}

/// What a whole conversation has come to.
pub(super) struct Ended {
    pub json: Vec<u8>,
    /// The last turn holds results of calls that were made without (signed) thinking.
    pub is_in_loop_without_thinking: bool,
}

impl<'a> Turns<'a> {
    /// Appends what the assistant said beside its calls.
    pub(super) fn add_assistant(&mut self, blocks: &Blocks, begins_with_thinking: bool) {
        if blocks.is_empty() {
            return;
        }
        self.close_answered_round();
        self.round.begins_with_thinking |= begins_with_thinking && self.round.assistant.is_empty();
        self.round.assistant.append(blocks);
    }

    /// Appends a call of the assistant; `input` is an object.
    pub(super) fn add_call(
        &mut self,
        id: Value<'a, '_>,
        name: Value<'_, '_>,
        input: &[u8],
        cache: Option<&[u8]>,
    ) -> Result<(), TranslateError> {
        let text = id.text()?;
        if text.is_empty() {
            return Err(id.path.invalid("must not be empty"));
        }
        self.close_answered_round();
        if self.round.calls.contains(&text) {
            return Err(id.path.invalid("must be unique"));
        }
        self.add_named_call(text, name, input, cache)
    }

    /// As [`Turns::add_call`], for an id that is known to be good.
    pub(super) fn add_named_call(
        &mut self,
        id: Cow<'a, str>,
        name: Value<'_, '_>,
        input: &[u8],
        cache: Option<&[u8]>,
    ) -> Result<(), TranslateError> {
        self.close_answered_round();
        let name = name.literal()?;
        let block_id = self.claim_id(to_tool_use_id(&id));
        self.round.assistant.add(|w| {
            w.member_text("type", "tool_use").member_text("id", &block_id).member("name", name).member("input", input);
            w.member_if("cache_control", cache);
        });
        self.round.calls.add(id, block_id);
        Ok(())
    }

    /// The result of one of the last turn's calls, to be filled in; `None` when there is no such call
    /// or it has its result.
    pub(super) fn answer(&mut self, call_id: &str) -> Option<&mut ToolResult> {
        let call = self.round.calls.find(call_id)?;
        if call.result.is_some() {
            return None;
        }
        Some(call.result.insert(ToolResult::default()))
    }

    /// Appends a part of what the user said. A part that came out of a tool's result goes back
    /// there.
    pub(super) fn add_user_part(&mut self, part: &Fields<'a, '_>) -> Result<(), TranslateError> {
        if let Some(call_id) = part.get("tool_call_id")
            && let Some(call) = self.round.calls.find(&call_id.text()?)
        {
            // A text only tells the reader what the parts behind it are.
            if part.text("type")?.as_deref() == Some("text") {
                return Ok(());
            }
            return write_part(part, Place::ToolResult, &mut call.result.get_or_insert_default().blocks);
        }
        write_part(part, Place::User, &mut self.round.user)
    }

    /// Appends what the user said.
    pub(super) fn add_user_text(&mut self, text: Value<'_, '_>, cache: Option<&[u8]>) -> Result<(), TranslateError> {
        self.round.user.add_text(text, cache)
    }

    pub(super) fn add_user(&mut self, blocks: &Blocks) {
        self.round.user.append(blocks);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.json.is_empty() && self.round.assistant.is_empty() && self.round.user.is_empty()
    }

    /// Ends the conversation; `ends_with_user` if the model refuses another end.
    pub(super) fn end(mut self, ends_with_user: bool) -> Ended {
        let has_calls = !self.round.calls.is_empty();
        let is_in_loop_without_thinking = has_calls && !self.round.begins_with_thinking;
        if !has_calls && self.round.user.is_empty() {
            self.round.assistant.trim_end();
            if ends_with_user {
                self.round.user.add_literal(GO_ON, None);
            }
        }
        self.close_round();
        Ended { json: self.json, is_in_loop_without_thinking }
    }

    /// An id that no call of the conversation has yet.
    fn claim_id(&mut self, id: String) -> String {
        let mut claimed = id.clone();
        // Each turn of the loop uses up a number of this id, or meets one that was claimed before:
        // together no more turns than there are calls.
        while self.used_ids.contains_key(&claimed) {
            let again = self.used_ids.entry(id.clone()).or_default();
            *again += 1;
            claimed = format!("{id}_{}", *again + 1);
        }
        self.used_ids.insert(claimed.clone(), 0);
        claimed
    }

    /// Begins a new round if the assistant was answered.
    fn close_answered_round(&mut self) {
        let is_answered = !self.round.user.is_empty() || self.round.calls.has_results();
        if is_answered {
            self.close_round();
        }
    }

    fn close_round(&mut self) {
        let mut round = std::mem::take(&mut self.round);
        if !round.assistant.is_empty() {
            if self.json.is_empty() {
                let mut opening = Blocks::default();
                opening.add_literal(GO_ON, None);
                self.write_turn("user", &opening);
            }
            self.write_turn("assistant", &round.assistant);
        }
        let calls = round.calls.take();
        if calls.is_empty() {
            self.write_turn("user", &round.user);
            return;
        }
        let mut user = Blocks::default();
        for call in calls {
            write_result(call, &mut user);
        }
        user.append(&round.user);
        self.write_turn("user", &user);
    }

    fn write_turn(&mut self, role: &str, blocks: &Blocks) {
        if blocks.is_empty() {
            return;
        }
        let mut w = Writer::new(&mut self.json);
        w.open_object().member_text("role", role).key("content");
        write_blocks(blocks, &mut w);
        w.close_object();
    }
}

fn write_result(call: Call<ToolResult>, out: &mut Blocks) {
    out.add(|w| {
        w.member_text("type", "tool_result").member_text("tool_use_id", &call.translated_id);
        let Some(result) = call.result else {
            w.member_text("content", MISSING_RESULT).member("is_error", b"true");
            return;
        };
        if !result.blocks.is_empty() {
            w.key("content");
            write_blocks(&result.blocks, w);
        }
        if result.is_error {
            w.member("is_error", b"true");
        }
        w.member_if("cache_control", result.cache.as_deref());
    });
}

/// One plain text as a string, all else as an array.
pub(super) fn write_blocks(blocks: &Blocks, w: &mut Writer<'_>) {
    match blocks.only_text() {
        Some(text) => w.raw(text),
        None => w.open_array().raw_items(&blocks.json).close_array(),
    };
}
