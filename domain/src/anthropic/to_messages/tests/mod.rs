mod messages;
mod params;

use serde_json::{Value, json};

use super::to_messages_request;
use crate::anthropic::TranslateError;

const MODEL: &str = "claude-sonnet-4-5";

fn translate_for(model: &str, chat: &Value) -> Value {
    serde_json::from_slice(&to_messages_request(chat.to_string().as_bytes(), model, 4096).unwrap()).unwrap()
}

fn translate(chat: &Value) -> Value {
    translate_for(MODEL, chat)
}

fn refuse(chat: &Value) -> TranslateError {
    to_messages_request(chat.to_string().as_bytes(), MODEL, 4096).unwrap_err()
}

/// The messages that these make.
fn turns(messages: &Value) -> Value {
    translate(&json!({"messages": messages}))["messages"].clone()
}

/// A request with one user message and these members.
fn with(members: &Value) -> Value {
    let mut chat = json!({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]});
    chat.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    chat
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}
