//! The system text and the messages.

use std::borrow::Cow;

use super::blocks::{add_media, add_text};
use super::content::Content;
use crate::anthropic::calls::Calls;
use crate::anthropic::fields::{Fields, Value};
use crate::anthropic::ids::to_call_id;
use crate::anthropic::writer::{Writer, inside};
use crate::anthropic::{MISSING_RESULT, TranslateError};
use crate::json::Kind;

/// What a thinking block is called in `reasoning_details`.
pub(in crate::anthropic) const THINKING_FORMAT: &str = "anthropic-claude-v1";

/// What a tool returned, but for the images.
#[derive(Default)]
struct ToolResult {
    content: Content,
    is_error: bool,
    cache: Option<Vec<u8>>,
}

/// An assistant's turn and the user's turn after it.
#[derive(Default)]
struct Round<'a> {
    content: Content,
    thoughts: Vec<&'a [u8]>,
    details: Vec<u8>,
    details_count: u64,
    tool_calls: Vec<u8>,
    calls: Calls<'a, ToolResult>,
    user: Content,
}

pub(super) fn write_messages(request: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let messages = request.need("messages")?;
    // Of what is said before anybody speaks one message is made: many chat templates take no second one.
    let mut system = Content::default();
    if let Some(text) = request.get("system") {
        read_system(text, &mut system)?;
    }
    let mut round = Round::default();
    let mut is_empty = true;
    for message in messages.items()? {
        is_empty = false;
        let message = message?.object()?;
        let role = message.need("role")?.text()?;
        if role != "system" {
            write_system(&std::mem::take(&mut system), w);
        }
        match role.as_ref() {
            "user" => round.read_user(&message)?,
            "assistant" => {
                if round.is_answered() {
                    std::mem::take(&mut round).write(w);
                }
                round.read_assistant(&message)?;
            }
            "tool" => round.read_tool_message(&message)?,
            "system" => {
                std::mem::take(&mut round).write(w);
                read_system(message.need("content")?, &mut system)?;
            }
            _ => return Err(message.invalid("role", "Input should be 'user' or 'assistant'")),
        }
    }
    if is_empty {
        return Err(messages.path.invalid("at least one message is required"));
    }
    write_system(&system, w);
    round.write(w);
    Ok(())
}

fn read_system(system: Value<'_, '_>, out: &mut Content) -> Result<(), TranslateError> {
    if system.is_string() {
        let literal = system.literal()?;
        if !inside(literal).is_empty() {
            out.add_text(literal, None);
        }
    } else {
        for block in system.items()? {
            let block = block?.object()?;
            if block.need("type")?.text()? != "text" {
                return Err(block.invalid("type", "Input should be 'text'"));
            }
            add_text(&block, out)?;
        }
    }
    Ok(())
}

fn write_system(system: &Content, w: &mut Writer<'_>) {
    if !system.is_empty() {
        w.open_object().member_text("role", "system").key("content");
        system.write(w);
        w.close_object();
    }
}

impl<'a> Round<'a> {
    fn is_answered(&self) -> bool {
        !self.user.is_empty() || self.calls.has_results()
    }

    fn read_user(&mut self, message: &Fields<'a, '_>) -> Result<(), TranslateError> {
        let content = message.need("content")?;
        if content.is_string() {
            let literal = content.literal()?;
            if inside(literal).is_empty() {
                return Err(content.path.invalid("must not be empty"));
            }
            self.user.add_text(literal, None);
            return Ok(());
        }
        if content.items()?.next().is_none() {
            return Err(content.path.invalid("must not be empty"));
        }
        for block in content.items()? {
            let block = block?.object()?;
            let kind = block.need("type")?.text()?;
            match kind.as_ref() {
                "text" => add_text(&block, &mut self.user)?,
                "image" | "document" => add_media(&kind, &block, None, &mut self.user)?,
                "tool_result" => self.read_result(&block)?,
                _ => return Err(refuse_block(&block)),
            }
        }
        Ok(())
    }

    fn read_result(&mut self, block: &Fields<'_, '_>) -> Result<(), TranslateError> {
        let id = block.need("tool_use_id")?;
        let id_text = id.text()?;
        let (call_id, mut result) = self.begin_result(&id_text).ok_or_else(|| {
            id.path.invalid(format_args!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id_text}. Each `tool_result` block must have \
                 a corresponding `tool_use` block in the previous message, and each call one result."
            ))
        })?;
        result.is_error = block.get("is_error").map(Value::boolean).transpose()?.unwrap_or(false);
        result.cache = block.raw_object("cache_control").map(<[u8]>::to_vec);
        let mut has_media = false;
        match block.get("content") {
            None => {}
            Some(content) if content.is_string() => result.content.add_text(content.literal()?, None),
            Some(content) => {
                for part in content.items()? {
                    let part = part?.object()?;
                    let kind = part.need("type")?.text()?;
                    match kind.as_ref() {
                        "text" => add_text(&part, &mut result.content)?,
                        "image" | "document" => {
                            if !std::mem::replace(&mut has_media, true) {
                                self.label_media(&call_id);
                            }
                            add_media(&kind, &part, Some(&call_id), &mut self.user)?;
                        }
                        _ => return Err(refuse_block(&part)),
                    }
                }
            }
        }
        self.end_result(&id_text, result);
        Ok(())
    }

    /// The chat id of a call that waits for its result.
    fn begin_result(&mut self, id: &str) -> Option<(String, ToolResult)> {
        let call = self.calls.find(id)?;
        call.result.is_none().then(|| (call.translated_id.clone(), ToolResult::default()))
    }

    fn end_result(&mut self, id: &str, result: ToolResult) {
        if let Some(call) = self.calls.find(id) {
            call.result = Some(result);
        }
    }

    /// Tells the model what the images are that follow.
    fn label_media(&mut self, call_id: &str) {
        let label = format!("Returned by the tool call {call_id}:");
        self.user.add(|w| {
            w.member_text("type", "text").member_text("text", &label).member_text("tool_call_id", call_id);
        });
    }

    /// An OpenAI client's result of a call.
    fn read_tool_message(&mut self, message: &Fields<'_, '_>) -> Result<(), TranslateError> {
        let id = message.need("tool_call_id")?;
        let id_text = id.text()?;
        let (_, mut result) = self.begin_result(&id_text).ok_or_else(|| {
            id.path.invalid("must be that of a call in the previous message, and each call has one result")
        })?;
        if let Some(content) = message.get("content") {
            if content.is_string() {
                result.content.add_text(content.literal()?, None);
            } else {
                for part in content.items()? {
                    add_text(&part?.object()?, &mut result.content)?;
                }
            }
        }
        self.end_result(&id_text, result);
        Ok(())
    }

    fn read_assistant(&mut self, message: &Fields<'a, '_>) -> Result<(), TranslateError> {
        let tool_calls = message.get("tool_calls");
        match message.get("content") {
            // With OpenAI's calls the content may be null.
            None if tool_calls.is_some() => {}
            None => {
                return Err(message.need("content").err().unwrap_or_else(|| message.invalid("content", "is wrong")));
            }
            Some(content) if content.is_string() => {
                let literal = content.literal()?;
                if !inside(literal).is_empty() {
                    self.content.add_text(literal, None);
                }
            }
            Some(content) => {
                for block in content.items()? {
                    self.read_assistant_block(&block?.object()?)?;
                }
            }
        }
        if let Some(calls) = tool_calls {
            for call in calls.items()? {
                let call = call?.object()?;
                let value = call.need("function")?;
                let function = value.object()?;
                let name = function.need("name")?.literal()?;
                let arguments = match function.get("arguments") {
                    Some(arguments) => arguments.literal()?,
                    None => b"\"{}\"",
                };
                self.add_call(call.need("id")?, name, |w| _ = w.raw(arguments), None)?;
            }
        }
        Ok(())
    }

    fn read_assistant_block(&mut self, block: &Fields<'a, '_>) -> Result<(), TranslateError> {
        match block.need("type")?.text()?.as_ref() {
            "text" => add_text(block, &mut self.content),
            "thinking" => {
                let thinking = block.need("thinking")?.literal()?;
                let signature = block.get("signature").map(Value::literal).transpose()?;
                self.thoughts.push(thinking);
                self.add_detail(|w| {
                    w.member_text("type", "reasoning.text").member("text", thinking).member_if("signature", signature);
                });
                Ok(())
            }
            "redacted_thinking" => {
                let data = block.need("data")?.literal()?;
                self.add_detail(|w| _ = w.member_text("type", "reasoning.encrypted").member("data", data));
                Ok(())
            }
            "tool_use" => {
                let name = block.need("name")?.literal()?;
                let input = block.need("input")?;
                if input.kind() != Kind::Object {
                    return Err(input.path.invalid("Input should be a valid dictionary"));
                }
                // JSON in a string: the text of the body was found to be UTF-8.
                let input = String::from_utf8_lossy(input.raw.bytes);
                self.add_call(block.need("id")?, name, |w| _ = w.text(&input), block.raw_object("cache_control"))
            }
            _ => Err(refuse_block(block)),
        }
    }

    fn add_detail(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut w = Writer::new(&mut self.details);
        w.open_object();
        write(&mut w);
        w.member_text("format", THINKING_FORMAT).member_count("index", self.details_count).close_object();
        self.details_count += 1;
    }

    fn add_call(
        &mut self,
        id: Value<'a, '_>,
        name: &[u8],
        write_arguments: impl FnOnce(&mut Writer<'_>),
        cache: Option<&[u8]>,
    ) -> Result<(), TranslateError> {
        let id_text: Cow<'a, str> = id.text()?;
        if id_text.is_empty() || self.calls.contains(&id_text) {
            return Err(id.path.invalid("`tool_use` ids must be unique and not empty"));
        }
        let call_id = to_call_id(&id_text);
        let mut w = Writer::new(&mut self.tool_calls);
        w.open_object().member_text("id", &call_id).member_text("type", "function");
        w.key("function").open_object().member("name", name).key("arguments");
        write_arguments(&mut w);
        w.close_object().member_if("cache_control", cache).close_object();
        self.calls.add(id_text, call_id);
        Ok(())
    }

    /// Writes the messages of the round: the assistant's, the tools', the user's.
    fn write(mut self, w: &mut Writer<'_>) {
        let calls = self.calls.take();
        if !self.content.is_empty() || !self.details.is_empty() || !calls.is_empty() {
            w.open_object().member_text("role", "assistant").key("content");
            if self.content.is_empty() {
                w.raw(if calls.is_empty() { b"\"\"" } else { b"null" });
            } else {
                self.content.write(w);
            }
            if !self.thoughts.is_empty() {
                w.key("reasoning_content").joined(self.thoughts);
            }
            if !self.details.is_empty() {
                w.key("reasoning_details").open_array().raw(&self.details).close_array();
            }
            if !calls.is_empty() {
                w.key("tool_calls").open_array().raw(&self.tool_calls).close_array();
            }
            w.close_object();
        }
        for call in calls {
            let result = call.result.unwrap_or_else(|| {
                let mut missing = ToolResult { is_error: true, ..ToolResult::default() };
                let mut literal = Vec::new();
                Writer::new(&mut literal).text(MISSING_RESULT);
                missing.content.add_text(&literal, None);
                missing
            });
            w.open_object().member_text("role", "tool").member_text("tool_call_id", &call.translated_id).key("content");
            if result.content.is_empty() {
                w.text("");
            } else {
                result.content.write(w);
            }
            if result.is_error {
                w.member("is_error", b"true");
            }
            w.member_if("cache_control", result.cache.as_deref()).close_object();
        }
        if !self.user.is_empty() {
            w.open_object().member_text("role", "user").key("content");
            self.user.write(w);
            w.close_object();
        }
    }
}

fn refuse_block(block: &Fields<'_, '_>) -> TranslateError {
    let kind = block.text("type").ok().flatten().unwrap_or_default();
    let kind: String = kind.chars().take(64).collect();
    block.unsupported("type", format_args!("content blocks of type {kind:?} are not supported here"))
}
