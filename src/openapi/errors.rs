//! What errors look like.

use serde_json::{Value, json};

use crate::http::dialect::Dialect;

/// What an error may tell beside its text, in every dialect: `docs/API.md` says which ones do.
fn details() -> Value {
    let (text, amount, count) =
        (json!({ "type": "string" }), json!({ "type": "number" }), json!({ "type": "integer" }));
    json!({
        "balance_usd": amount,
        "required_usd": amount,
        "payment_url": text,
        "claim_url": text,
        "missing_requirements": { "type": "array", "items": text },
        "budget_usd": amount,
        "spent_usd": amount,
        "payment_id": text,
        "decline_code": text,
        "limit": count,
        "max_bytes": count,
        "request_id": text,
    })
}

/// An object of these members.
fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A whole answer: these members and the [`details`].
fn answer(mut properties: Value, required: &[&str]) -> Value {
    if let (Value::Object(own), Value::Object(details)) = (&mut properties, details()) {
        own.extend(details);
    }
    object(&properties, required)
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn of_tokaroo() -> Value {
    // A code may be an upstream's own, which is passed on.
    answer(json!({ "error": text(), "message": text(), "param": text(), "code": {} }), &["error"])
}

fn of_toolrouter() -> Value {
    let error = json!({
        "code": text(), "type": text(), "message": text(), "resolution_hint": text(), "param": text(), "claim_url": text(),
    });
    answer(json!({ "error": object(&error, &["code", "message"]), "message": text() }), &["error"])
}

fn of_toku() -> Value {
    let held = json!({ "type": "array", "items": { "type": "object" } });
    answer(json!({ "error": text(), "withdrawableCents": { "type": "integer" }, "onHold": held }), &["error"])
}

fn of_openai() -> Value {
    let nullable = || json!({ "type": ["string", "null"] });
    let error = json!({ "message": text(), "type": text(), "param": nullable(), "code": nullable() });
    let error = object(&error, &["message", "type", "param", "code"]);
    answer(json!({ "error": error }), &["error"])
}

fn of_anthropic() -> Value {
    let error = object(&json!({ "type": text(), "message": text() }), &["type", "message"]);
    let error = json!({ "type": { "const": "error" }, "error": error });
    answer(error, &["type", "error", "request_id"])
}

/// What an error looks like in a dialect, under its name.
pub(super) fn error_of(dialect: Dialect) -> (String, Value) {
    let (name, schema) = match dialect {
        Dialect::Tokaroo => ("TokarooError", of_tokaroo()),
        Dialect::ToolRouter => ("ToolRouterError", of_toolrouter()),
        Dialect::Shared => ("SharedError", json!({ "anyOf": [of_tokaroo(), of_toolrouter()] })),
        Dialect::Toku => ("TokuError", of_toku()),
        Dialect::TokenHub => ("TokenHubError", answer(json!({ "error": text() }), &["error"])),
        Dialect::FastApi => ("FastApiError", answer(json!({ "detail": {} }), &["detail"])),
        Dialect::OpenAi => ("OpenAiError", of_openai()),
        Dialect::Anthropic => ("AnthropicError", of_anthropic()),
    };
    (name.to_owned(), schema)
}
