//! A Messages answer as a chat completion.

use std::borrow::Cow;

use super::fields::{Fields, Style, read_body};
use super::ids::{to_answered_call_id, to_completion_id};
use super::outcome::{MessageUsage, matched_stop, to_finish_reason, write_chat_usage};
use super::to_chat::THINKING_FORMAT;
use super::writer::{Writer, inside};
use super::{JSON_ANSWER_TOOL, TranslateError};

/// What a message's blocks hold.
#[derive(Default)]
struct Answer<'a> {
    texts: Vec<Cow<'a, [u8]>>,
    thoughts: Vec<&'a [u8]>,
    details: Vec<u8>,
    details_count: u64,
    calls: Vec<u8>,
    calls_count: u64,
}

/// Translates an upstream's Messages answer into a chat completion.
///
/// Texts are joined (`null` if there are none), thinking is joined to `reasoning_content` and kept with its
/// signatures in `reasoning_details`, tool uses become `tool_calls` whose ids begin with `call_`. Cached tokens
/// are parts of `prompt_tokens`. `created_s` is the time in seconds since 1970.
///
/// # Errors
/// [`TranslateError`] when the text is no message; its words are for the log.
pub fn to_chat_completion(message: &[u8], asked_model: &str, created_s: i64) -> Result<Vec<u8>, TranslateError> {
    let fields = read_body(message, Style::Messages)?;
    if fields.text("type")?.as_deref() == Some("error") {
        return Err(fields.invalid("type", "the upstream answered with an error under a status of success"));
    }
    let mut answer = Answer::default();
    for block in fields.need("content")?.items()? {
        answer.read_block(&block?.object()?)?;
    }
    let id = to_completion_id(fields.text("id")?.as_deref().unwrap_or_default());
    let stop_reason = fields.text("stop_reason")?;
    let mut usage = MessageUsage::default();
    usage.take(&fields);

    let mut out = Vec::with_capacity(message.len() + 512);
    let mut w = Writer::new(&mut out);
    w.open_object().member_text("id", &id).member_text("object", "chat.completion");
    w.member("created", created_s.to_string().as_bytes()).member_text("model", asked_model);
    w.key("choices").open_array().open_object().member_count("index", 0);
    w.key("message").open_object();
    answer.write(&mut w);
    w.close_object().member("logprobs", b"null");
    w.member_text("finish_reason", to_finish_reason(stop_reason.as_deref(), answer.calls_count > 0));
    w.member_if("stop_reason", matched_stop(&fields));
    w.close_object().close_array();
    if let Some(usage) = usage.total() {
        write_chat_usage(&usage, &mut w);
    }
    w.close_object();
    Ok(out)
}

impl<'a> Answer<'a> {
    fn read_block(&mut self, block: &Fields<'a, '_>) -> Result<(), TranslateError> {
        match block.need("type")?.text()?.as_ref() {
            "text" => self.texts.push(Cow::Borrowed(block.need("text")?.literal()?)),
            "thinking" => {
                let thinking = block.need("thinking")?.literal()?;
                self.thoughts.push(thinking);
                let signature = block.get("signature").map(|value| value.literal()).transpose()?;
                self.add_detail(|w| {
                    w.member_text("type", "reasoning.text").member("text", thinking).member_if("signature", signature);
                });
            }
            "redacted_thinking" => {
                let data = block.need("data")?.literal()?;
                self.add_detail(|w| _ = w.member_text("type", "reasoning.encrypted").member("data", data));
            }
            "tool_use" => self.read_call(block)?,
            // What ran at Anthropic's has left its words in the texts.
            _ => {}
        }
        Ok(())
    }

    fn read_call(&mut self, block: &Fields<'a, '_>) -> Result<(), TranslateError> {
        let name = block.need("name")?;
        // UTF-8 was checked with the body.
        let input = block.get("input").map_or(Cow::Borrowed("{}"), |input| String::from_utf8_lossy(input.raw.bytes));
        if name.text()? == JSON_ANSWER_TOOL {
            let mut literal = Vec::with_capacity(input.len() + 16);
            Writer::new(&mut literal).text(&input);
            self.texts.push(Cow::Owned(literal));
            return Ok(());
        }
        let id = to_answered_call_id(&block.text("id")?.unwrap_or_default(), self.calls_count);
        self.calls_count += 1;
        let mut w = Writer::new(&mut self.calls);
        w.open_object().member_text("id", &id).member_text("type", "function").key("function").open_object();
        w.member("name", name.raw.bytes).member_text("arguments", &input).close_object().close_object();
        Ok(())
    }

    fn add_detail(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut w = Writer::new(&mut self.details);
        w.open_object();
        write(&mut w);
        w.member_text("format", THINKING_FORMAT).member_count("index", self.details_count).close_object();
        self.details_count += 1;
    }

    /// Writes the members of the assistant's message.
    fn write(&self, w: &mut Writer<'_>) {
        w.member_text("role", "assistant").key("content");
        if self.texts.iter().all(|text| inside(text).is_empty()) {
            w.raw(b"null");
        } else {
            w.joined(self.texts.iter().map(AsRef::as_ref));
        }
        w.member("refusal", b"null");
        if !self.thoughts.is_empty() {
            w.key("reasoning_content").joined(self.thoughts.iter().copied());
        }
        if !self.details.is_empty() {
            w.key("reasoning_details").open_array().raw(&self.details).close_array();
        }
        if !self.calls.is_empty() {
            w.key("tool_calls").open_array().raw(&self.calls).close_array();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn translate(message: &Value) -> Value {
        let out = to_chat_completion(message.to_string().as_bytes(), "auto", 1_700_000_000).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_text_is_content() {
        let completion = translate(&json!({
            "id": "msg_01X", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "Hel\"lo "}, {"type": "text", "text": "wörld"}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 4, "service_tier": "standard"},
        }));
        assert_eq!(
            completion,
            json!({
                "id": "chatcmpl-01X", "object": "chat.completion", "created": 1_700_000_000, "model": "auto",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hel\"lo wörld", "refusal": null},
                    "logprobs": null, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 17, "completion_tokens": 20, "total_tokens": 37,
                    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4}},
            })
        );
    }

    #[test]
    fn the_text_that_ended_it_is_told() {
        let end = |stop_reason: &str, stop_sequence: Value| {
            translate(&json!({"type": "message", "content": [], "stop_reason": stop_reason,
                "stop_sequence": stop_sequence}))["choices"][0]["stop_reason"]
                .clone()
        };
        assert_eq!(end("stop_sequence", json!("Q")), "Q");
        assert_eq!(end("stop_sequence", Value::Null), Value::Null);
        assert_eq!(end("end_turn", Value::Null), Value::Null);
    }

    #[test]
    fn tool_uses_are_calls_beside_the_text() {
        let message = r#"{"id":"m","type":"message","content":[{"type":"text","text":"Let me see."},
            {"type":"tool_use","id":"tooluse_X","name":"get","input":{"b":1.0,"a":123456789012345678901234567890}},
            {"type":"tool_use","id":"toolu_Y","name":"no_input","input":{}},
            {"type":"tool_use","id":"","name":"c","input":{}}],"stop_reason":"tool_use"}"#;
        let out = to_chat_completion(message.as_bytes(), "auto", 1).unwrap();
        let completion: Value = serde_json::from_slice(&out).unwrap();
        let choice = &completion["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], "Let me see.");
        let arguments = r#"{"b":1.0,"a":123456789012345678901234567890}"#;
        assert_eq!(
            choice["message"]["tool_calls"],
            json!([
                {"id": "call_X", "type": "function", "function": {"name": "get", "arguments": arguments}},
                {"id": "call_Y", "type": "function", "function": {"name": "no_input", "arguments": "{}"}},
                {"id": "call_2", "type": "function", "function": {"name": "c", "arguments": "{}"}},
            ])
        );
        assert_eq!(completion.get("usage"), None);
    }

    #[test]
    fn only_calls_leave_the_content_null() {
        let completion = translate(&json!({"id": "msg_1", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}], "stop_reason": "tool_use"}));
        assert_eq!(completion["choices"][0]["message"]["content"], Value::Null);
    }

    #[test]
    fn thinking_is_reasoning_with_its_signature() {
        let completion = translate(&json!({"id": "msg_1", "content": [
            {"type": "thinking", "thinking": "a", "signature": "S1"}, {"type": "redacted_thinking", "data": "D"},
            {"type": "thinking", "thinking": "b", "signature": "S2"}, {"type": "text", "text": "t"}],
            "stop_reason": "max_tokens"}));
        let message = &completion["choices"][0]["message"];
        assert_eq!(message["reasoning_content"], "ab");
        let format = "anthropic-claude-v1";
        assert_eq!(
            message["reasoning_details"],
            json!([
                {"type": "reasoning.text", "text": "a", "signature": "S1", "format": format, "index": 0},
                {"type": "reasoning.encrypted", "data": "D", "format": format, "index": 1},
                {"type": "reasoning.text", "text": "b", "signature": "S2", "format": format, "index": 2},
            ])
        );
        assert_eq!(completion["choices"][0]["finish_reason"], "length");
    }

    #[test]
    fn an_answer_in_json_is_content() {
        let completion = translate(&json!({"id": "msg_1", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": JSON_ANSWER_TOOL, "input": {"city": "Oslo"}}],
            "stop_reason": "tool_use"}));
        let choice = &completion["choices"][0];
        assert_eq!(choice["message"]["content"], "{\"city\":\"Oslo\"}");
        assert_eq!(choice["message"].get("tool_calls"), None);
        assert_eq!(choice["finish_reason"], "stop");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (text, words) in [
            ("", "not valid JSON"),
            ("[]", "must be an object"),
            ("{}", "content: Field required"),
            ("{\"content\":\"x\"}", "content: must be an array"),
            ("{\"type\":\"error\",\"error\":{}}", "error under a status of success"),
        ] {
            let error = to_chat_completion(text.as_bytes(), "auto", 1).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        }
        assert!(to_chat_completion(b"{\"content\":[{\"type\":\"\xff\"}]}", "auto", 1).is_err());
    }
}
