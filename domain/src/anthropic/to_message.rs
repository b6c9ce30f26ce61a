//! A chat completion as a Messages answer.

use super::TranslateError;
use super::calls::write_input;
use super::fields::{Fields, Style, Value, read_body};
use super::ids::to_tool_use_id;
use super::outcome::{matched_stop_of_choice, read_chat_usage, write_message_usage, write_stop};
use super::writer::{Writer, inside};
use crate::chat::calls::Calls;
use crate::json::Kind;

/// Translates a chat completion into a Messages answer that has this id, and names `asked_model`.
///
/// The first choice's reasoning becomes thinking (signed, if the house's `reasoning_details` carry the
/// signature), its content and refusal texts, its calls tool uses. Arguments that are no JSON
/// object are the value of a member `invalid_arguments`, so that the caller's tool can complain.
///
/// # Errors
/// [`TranslateError`] when the text is no chat completion; its words are for the log.
pub fn to_message(chat_completion: &[u8], asked_model: &str, id: &str) -> Result<Vec<u8>, TranslateError> {
    let fields = read_body(chat_completion, Style::Chat)?;
    let choices = fields.need("choices")?;
    let choice = choices.items()?.next().ok_or_else(|| choices.path.invalid("must not be empty"))??.object()?;
    let value = choice.need("message")?;
    let message = value.object()?;

    let mut out = Vec::with_capacity(chat_completion.len() + 512);
    let mut w = Writer::new(&mut out);
    w.open_object().member_text("id", id).member_text("type", "message").member_text("role", "assistant");
    w.member_text("model", asked_model).key("content").open_array();
    write_thinking(&message, &mut w)?;
    write_texts(&message, &mut w)?;
    let has_calls = write_calls(&message, &mut w)?;
    w.close_array();
    let finish_reason = choice.text("finish_reason")?;
    write_stop(finish_reason.as_deref(), has_calls, matched_stop_of_choice(&choice), &mut w);
    let usage = fields.get("usage").and_then(|usage| read_chat_usage(usage.raw)).unwrap_or_default();
    write_message_usage(&usage, &mut w);
    w.close_object();
    Ok(out)
}

fn write_thinking(message: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let mut has_text = false;
    if let Some(details) = message.get("reasoning_details").filter(|details| details.kind() == Kind::Array) {
        for detail in details.items()? {
            let detail = detail?.object()?;
            let is_ours = detail.text("format")?.is_none_or(|format| format.starts_with("anthropic"));
            match detail.text("type")?.as_deref() {
                Some("reasoning.encrypted") if is_ours => {
                    let data = detail.need("data")?.literal()?;
                    w.open_object().member_text("type", "redacted_thinking").member("data", data).close_object();
                }
                Some("reasoning.text") => {
                    let signature = detail.get("signature").filter(|_| is_ours).map(Value::literal).transpose()?;
                    let text = detail.get("text").map(Value::literal).transpose()?;
                    has_text = true;
                    write_thought(text.unwrap_or(b"\"\""), signature, w);
                }
                _ => {}
            }
        }
    }
    let reasoning = message.get("reasoning_content").or_else(|| message.get("reasoning"));
    if let Some(reasoning) = reasoning.filter(|reasoning| !has_text && reasoning.is_string()) {
        let literal = reasoning.literal()?;
        if !inside(literal).is_empty() {
            write_thought(literal, None, w);
        }
    }
    Ok(())
}

/// Writes a thinking block; what is not signed has an empty signature, for clients expect one.
fn write_thought(text: &[u8], signature: Option<&[u8]>, w: &mut Writer<'_>) {
    w.open_object().member_text("type", "thinking").member("thinking", text);
    w.member("signature", signature.unwrap_or(b"\"\"")).close_object();
}

fn write_texts(message: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    match message.get("content") {
        None => {}
        Some(content) if content.is_string() => write_text(content, w)?,
        Some(content) => {
            for part in content.items()? {
                let part = part?.object()?;
                if let Some(thoughts) = thoughts_of(&part)? {
                    write_thought(&thoughts, None, w);
                }
                if let Some(text) = part.get("text").or_else(|| part.get("refusal")) {
                    write_text(text, w)?;
                }
            }
        }
    }
    message.get("refusal").filter(Value::is_string).map_or(Ok(()), |refusal| write_text(refusal, w))
}

fn write_text(text: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let literal = text.literal()?;
    if !inside(literal).is_empty() {
        w.open_object().member_text("type", "text").member("text", literal).close_object();
    }
    Ok(())
}

/// The literal of what a part of the content thinks: Mistral's are parts with parts of their own.
pub(super) fn thoughts_of(part: &Fields<'_, '_>) -> Result<Option<Vec<u8>>, TranslateError> {
    let Some(thinking) = part.get("thinking") else { return Ok(None) };
    let mut texts = Vec::new();
    match thinking.kind() {
        Kind::String => texts.push(thinking.literal()?),
        Kind::Array => {
            for inner in thinking.items()? {
                let inner = inner?.object().ok();
                texts.extend(inner.and_then(|inner| inner.get("text")?.literal().ok()));
            }
        }
        _ => {}
    }
    let mut literal = Vec::new();
    Writer::new(&mut literal).joined(texts);
    Ok(Some(literal))
}

/// Writes the tool uses; tells whether there are any.
fn write_calls(message: &Fields<'_, '_>, w: &mut Writer<'_>) -> Result<bool, TranslateError> {
    let mut has_calls = false;
    let mut taken = Calls::default();
    let mut take_id = |id: &str, index: usize| to_tool_use_id(&taken.take_id(id, format!("call_{index}")));
    if let Some(calls) = message.get("tool_calls") {
        for (index, call) in calls.items()?.enumerate() {
            let call = call?.object()?;
            let id = take_id(&call.text("id")?.unwrap_or_default(), index);
            write_call(&id, call.need("function")?, w)?;
            has_calls = true;
        }
    }
    if let Some(function) = message.get("function_call") {
        write_call(&take_id("", 0), function, w)?;
        has_calls = true;
    }
    Ok(has_calls)
}

fn write_call(id: &str, function: Value<'_, '_>, w: &mut Writer<'_>) -> Result<(), TranslateError> {
    let function = function.object()?;
    w.open_object().member_text("type", "tool_use").member_text("id", id);
    w.member("name", function.need("name")?.literal()?).key("input");
    let arguments = match function.get("arguments") {
        // From some servers it is JSON as it is.
        Some(object) if object.kind() == Kind::Object => String::from_utf8_lossy(object.raw.bytes),
        other => other.map(Value::text).transpose()?.unwrap_or_default(),
    };
    write_input(&arguments, w);
    w.close_object();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn translate(completion: &Value) -> Value {
        serde_json::from_slice(&to_message(completion.to_string().as_bytes(), "auto", "msg_own").unwrap()).unwrap()
    }

    fn answer(message: Value, finish_reason: &str) -> Value {
        translate(&json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}))
    }

    #[test]
    fn content_is_a_text() {
        let message = translate(&json!({
            "id": "chatcmpl-01X", "object": "chat.completion", "created": 1, "model": "gpt",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": null},
                "finish_reason": "stop", "logprobs": null}],
            "usage": {"prompt_tokens": 17, "completion_tokens": 20, "total_tokens": 37,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4}},
        }));
        assert_eq!(
            message,
            json!({
                "id": "msg_own", "type": "message", "role": "assistant", "model": "auto",
                "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 10, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3,
                    "output_tokens": 20},
            })
        );
    }

    #[test]
    fn calls_are_tool_uses() {
        let call = |id: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
        let message = answer(
            json!({"role": "assistant", "content": null, "tool_calls": [
                call("call_A", json!("{\"x\": [1]}")), call("functions.f:0", json!("")), call("", json!("{\"cut")),
                call("call_A", json!("{}")), call("call_B", json!("[1]")), call("call_C", json!({"y": 2})), call("call_D", json!(" null"))]}),
            "tool_calls",
        );
        assert_eq!(message["stop_reason"], "tool_use");
        assert_eq!(
            message["content"],
            json!([
                {"type": "tool_use", "id": "toolu_A", "name": "f", "input": {"x": [1]}},
                {"type": "tool_use", "id": "toolu_chat_ZnVuY3Rpb25zLmY6MA", "name": "f", "input": {}},
                {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {"invalid_arguments": "{\"cut"}},
                // Results must find their call.
                {"type": "tool_use", "id": "toolu_3", "name": "f", "input": {}},
                {"type": "tool_use", "id": "toolu_B", "name": "f", "input": {"invalid_arguments": "[1]"}},
                {"type": "tool_use", "id": "toolu_C", "name": "f", "input": {"y": 2}},
                {"type": "tool_use", "id": "toolu_D", "name": "f", "input": {}},
            ])
        );
    }

    #[test]
    fn the_text_that_ended_it_is_told() {
        let end = |stop_reason: Value, finish_reason: &str| {
            let message = translate(&json!({"id": "c", "choices": [{"index": 0, "message": {"content": "a"},
                "finish_reason": finish_reason, "stop_reason": stop_reason}]}));
            (message["stop_reason"].clone(), message["stop_sequence"].clone())
        };
        assert_eq!(end(json!("\n\"Q"), "stop"), (json!("stop_sequence"), json!("\n\"Q")));
        assert_eq!(end(json!(128_009), "stop"), (json!("end_turn"), Value::Null));
        assert_eq!(end(json!("x"), "length"), (json!("max_tokens"), Value::Null));
    }

    #[test]
    fn reasoning_is_thinking() {
        let message = answer(json!({"role": "assistant", "reasoning_content": "hm", "content": "x"}), "length");
        assert_eq!(
            message["content"],
            json!([{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "x"}])
        );
        assert_eq!(message["stop_reason"], "max_tokens");
        let message = answer(
            json!({"role": "assistant", "reasoning_content": "hm", "content": "", "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "D", "index": 1},
                {"type": "reasoning.encrypted", "data": "E", "format": "openai-responses-v1"}]}),
            "stop",
        );
        assert_eq!(
            message["content"],
            json!([{"type": "thinking", "thinking": "hm", "signature": "S"}, {"type": "redacted_thinking", "data": "D"}])
        );
    }

    #[test]
    fn parts_refusals_and_old_calls_are_understood() {
        let message = answer(
            json!({"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"},
                {"type": "text", "text": "m"}]}, {"type": "text", "text": "a"}], "refusal": "no",
                "function_call": {"name": "g", "arguments": "{}"}}),
            "content_filter",
        );
        assert_eq!(
            message["content"],
            json!([{"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "a"}, {"type": "text", "text": "no"},
                {"type": "tool_use", "id": "toolu_0", "name": "g", "input": {}}])
        );
        assert_eq!(message["stop_reason"], "refusal");
    }

    #[test]
    fn a_refusal_that_is_no_text_is_none() {
        let message = answer(json!({"role": "assistant", "content": "a", "refusal": {"x": 1}}), "stop");
        assert_eq!(message["content"], json!([{"type": "text", "text": "a"}]));
    }

    #[test]
    fn what_is_no_completion_is_refused() {
        for (text, words) in [
            ("nope", "not valid JSON"),
            ("{}", "choices is required"),
            ("{\"choices\":[]}", "choices must not be empty"),
            ("{\"choices\":[{}]}", "choices[0].message is required"),
            ("{\"choices\":[{\"message\":{\"content\":5}}]}", "choices[0].message.content must be an array"),
        ] {
            let error = to_message(text.as_bytes(), "auto", "msg_own").unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        }
    }
}
