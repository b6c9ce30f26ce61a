//! What one request, answer or stream becomes; properties over many are in `tests/properties`.

mod answer;
mod input;
mod params;
mod stored;
mod stream;
mod tools;

use serde_json::{Value, json};

use super::*;
use crate::chat::request::{ChatRequest, InvalidRequest};
use crate::ids::ResponseId;

/// When all answers of these tests were made, Unix time in seconds.
const CREATED_AT_S: u64 = 1_700_000_000;

fn response_id() -> ResponseId {
    ResponseId::from_random([0xab; 16])
}

fn try_translate(request: &Value) -> Result<Translated, InvalidRequest> {
    let body = request.to_string();
    Request::parse(body.as_bytes())?.translate(&[], &[])
}

fn translate(request: &Value) -> Translated {
    let translated = try_translate(request).unwrap();
    // Whatever comes out is a request that the house takes.
    ChatRequest::parse(&translated.chat_body).unwrap();
    translated
}

fn chat_body(request: &Value) -> Value {
    serde_json::from_slice(&translate(request).chat_body).unwrap()
}

fn messages(items: Value) -> Value {
    chat_body(&json!({ "model": "m", "input": items }))["messages"].clone()
}

/// The parameter at fault and what is said about it.
fn fault(request: &Value) -> (String, String) {
    let fault = try_translate(request).unwrap_err();
    (fault.param.unwrap_or_default(), fault.message)
}

fn echo(request: &Value) -> Echo {
    translate(request).echo
}

fn simple_echo() -> Echo {
    echo(&json!({ "model": "m", "input": "hi" }))
}

fn respond(message: &Value, finish_reason: &str, echo: &Echo) -> Value {
    let completion = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }] });
    let response = to_response(completion.to_string().as_bytes(), echo, response_id(), CREATED_AT_S).unwrap();
    serde_json::from_slice(&response).unwrap()
}
