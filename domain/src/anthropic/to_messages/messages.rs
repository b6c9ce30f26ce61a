//! The messages of a chat, one after the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::parts::{Blocks, Place, write_content, write_part};
use super::turns::{Turns, write_blocks};
use crate::anthropic::TranslateError;
use crate::anthropic::calls::write_input;
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::generation::Generation;
use crate::anthropic::writer::{Writer, inside};
use crate::json::Kind;

/// A conversation in Anthropic's words.
pub(super) struct Conversation {
    /// Turns, with commas between them.
    pub turns: Vec<u8>,
    system: Blocks,
    /// Names of the tools that were called, as JSON strings, in the order of their first call.
    pub called: Vec<Vec<u8>>,
    /// See [`super::turns::Ended`].
    pub is_in_loop_without_thinking: bool,
}

impl Conversation {
    /// Writes the `system` member: what the caller said there, and our own instruction.
    pub(super) fn write_system(&self, instruction: Option<&[u8]>, w: &mut Writer<'_>) {
        match (self.system.is_empty(), instruction) {
            (true, None) => {}
            (true, Some(instruction)) => _ = w.member("system", instruction),
            (false, None) => {
                w.key("system");
                write_blocks(&self.system, w);
            }
            (false, Some(instruction)) => {
                w.key("system").open_array().raw_items(&self.system.json);
                w.open_object().member_text("type", "text").member("text", instruction);
                w.close_object().close_array();
            }
        }
    }
}

/// What is read along the messages.
#[derive(Default)]
struct Reading<'a> {
    system: Blocks,
    turns: Turns<'a>,
    called: BTreeMap<&'a [u8], usize>,
}

pub(super) fn read_messages(request: &Fields<'_, '_>, generation: Generation) -> Result<Conversation, TranslateError> {
    let messages = request.need("messages")?;
    let mut reading = Reading::default();
    for message in messages.items()? {
        reading.read_message(&message?.object()?)?;
    }
    let Reading { mut system, mut turns, called } = reading;
    if turns.is_empty() {
        if system.is_empty() {
            return Err(messages.path.invalid("must hold at least one message that is not empty"));
        }
        turns.add_user(&std::mem::take(&mut system));
    }
    let mut names: Vec<_> = called.into_iter().collect();
    names.sort_by_key(|(_, first)| *first);
    let ended = turns.end(generation.is_adaptive());
    Ok(Conversation {
        turns: ended.json,
        system,
        called: names.into_iter().map(|(name, _)| name.to_vec()).collect(),
        is_in_loop_without_thinking: ended.is_in_loop_without_thinking,
    })
}

impl<'a> Reading<'a> {
    fn read_message(&mut self, message: &Fields<'a, '_>) -> Result<(), TranslateError> {
        match message.need("role")?.text()?.as_ref() {
            "system" | "developer" => write_content(message, Place::System, &mut self.system),
            "user" => self.read_user(message),
            "assistant" => self.read_assistant(message),
            "tool" => {
                let call_id = message.need("tool_call_id")?;
                self.read_result(message, &call_id.text()?, &call_id)
            }
            "function" => {
                let name = message.need("name")?;
                self.read_result(message, &function_call_id(&name.text()?), &name)
            }
            _ => Err(message.invalid("role", "must be one of system, developer, user, assistant, tool, function")),
        }
    }

    fn read_user(&mut self, message: &Fields<'a, '_>) -> Result<(), TranslateError> {
        let content = message.need("content")?;
        if content.is_string() {
            return self.turns.add_user_text(content, message.raw_object("cache_control"));
        }
        for part in content.items()? {
            self.turns.add_user_part(&part?.object()?)?;
        }
        Ok(())
    }

    fn read_result(
        &mut self,
        message: &Fields<'a, '_>,
        call_id: &str,
        place: &Value<'_, '_>,
    ) -> Result<(), TranslateError> {
        let result = self.turns.answer(call_id).ok_or_else(|| {
            place.path.invalid("must be that of a call in the assistant message before, and each call has one result")
        })?;
        result.is_error = message.get("is_error").is_some_and(|flag| flag.raw.to_bool() == Some(true));
        result.cache = message.raw_object("cache_control").map(<[u8]>::to_vec);
        let Some(content) = message.get("content") else {
            return Ok(());
        };
        if content.is_string() {
            return result.blocks.add_text(content, None);
        }
        for part in content.items()? {
            write_part(&part?.object()?, Place::ToolResult, &mut result.blocks)?;
        }
        Ok(())
    }

    fn read_assistant(&mut self, message: &Fields<'a, '_>) -> Result<(), TranslateError> {
        let mut blocks = Blocks::default();
        if let Some(details) = message.get("reasoning_details").filter(|details| details.kind() == Kind::Array) {
            write_thinking(&details, &mut blocks)?;
        }
        let begins_with_thinking = !blocks.is_empty();
        write_content(message, Place::Assistant, &mut blocks)?;
        if let Some(refusal) = message.get("refusal") {
            blocks.add_text(refusal, None)?;
        }
        self.turns.add_assistant(&blocks, begins_with_thinking);
        if let Some(calls) = message.get("tool_calls") {
            for call in calls.items()? {
                self.read_call(&call?.object()?)?;
            }
        }
        if let Some(call) = message.get("function_call") {
            let function = call.object()?;
            let name = function.need("name")?;
            let id = function_call_id(&name.text()?);
            let input = read_input(&function)?;
            self.note_called(name)?;
            self.turns.add_named_call(Cow::Owned(id), name, &input, None)?;
        }
        Ok(())
    }

    fn read_call(&mut self, call: &Fields<'a, '_>) -> Result<(), TranslateError> {
        if let Some(kind) = call.text("type")?
            && kind != "function"
        {
            return Err(call.unsupported("type", "must be function for this model"));
        }
        let value = call.need("function")?;
        let function = value.object()?;
        let name = function.need("name")?;
        let input = read_input(&function)?;
        self.note_called(name)?;
        self.turns.add_call(call.need("id")?, name, &input, call.raw_object("cache_control"))
    }

    fn note_called(&mut self, name: Value<'a, '_>) -> Result<(), TranslateError> {
        let next = self.called.len();
        self.called.entry(name.literal()?).or_insert(next);
        Ok(())
    }
}

/// An id for calls of the old form, which have a name only.
fn function_call_id(name: &str) -> String {
    format!("function:{name}")
}

/// The arguments of a call as the object that Anthropic wants.
fn read_input<'a>(function: &Fields<'a, '_>) -> Result<Cow<'a, [u8]>, TranslateError> {
    let Some(arguments) = function.get("arguments") else {
        return Ok(Cow::Borrowed(b"{}"));
    };
    if arguments.kind() == Kind::Object {
        return Ok(Cow::Borrowed(arguments.raw.bytes));
    }
    let mut input = Vec::new();
    write_input(&arguments.text()?, &mut Writer::new(&mut input));
    Ok(Cow::Owned(input))
}

/// One thinking block in the making: streams bring it in pieces.
#[derive(Default)]
struct Thought<'a> {
    index: Option<u64>,
    texts: Vec<&'a [u8]>,
    signature: Option<&'a [u8]>,
}

impl Thought<'_> {
    /// Anthropic takes no thinking that it has not signed.
    fn write(self, out: &mut Blocks) {
        if let Some(signature) = self.signature.filter(|signature| !inside(signature).is_empty()) {
            out.add(|w| {
                w.member_text("type", "thinking").key("thinking").joined(self.texts).member("signature", signature);
            });
        }
    }
}

/// Appends the thinking that `reasoning_details` carry, if it is Anthropic's own.
fn write_thinking(details: &Value<'_, '_>, out: &mut Blocks) -> Result<(), TranslateError> {
    let mut open: Option<Thought<'_>> = None;
    for detail in details.items()? {
        let detail = detail?.object()?;
        if detail.text("format")?.is_some_and(|format| !format.starts_with("anthropic")) {
            continue;
        }
        match detail.text("type")?.as_deref() {
            Some("reasoning.text") => {
                let index = detail.get("index").and_then(|index| index.raw.to_u64());
                let is_next =
                    open.as_ref().is_none_or(|open| open.signature.is_some() || index.is_none() || open.index != index);
                if is_next && let Some(done) = open.replace(Thought { index, ..Thought::default() }) {
                    done.write(out);
                }
                if let Some(open) = &mut open {
                    if let Some(text) = detail.get("text") {
                        open.texts.push(text.literal()?);
                    }
                    open.signature = detail.get("signature").map(Value::literal).transpose()?;
                }
            }
            Some("reasoning.encrypted") => {
                if let Some(done) = open.take() {
                    done.write(out);
                }
                let data = detail.need("data")?.literal()?;
                out.add(|w| _ = w.member_text("type", "redacted_thinking").member("data", data));
            }
            _ => {}
        }
    }
    if let Some(done) = open {
        done.write(out);
    }
    Ok(())
}
