//! Stripe in miniature: what the house asks of Stripe's API, answered from a shelf of JSON objects. The sandbox keeps the
//! shelf in its database, tests keep it in memory; the client that asks is the one that asks Stripe.

mod answers;
mod cards;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use cards::{EVENTS, PaidBy, TestCard, keep_event, pay_checkout};

/// Objects by id.
pub type Shelf = BTreeMap<String, Value>;

/// One call of the API.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path, without a query.
    pub path: &'a str,
    /// The fields of the body, or of the query.
    pub form: &'a [(String, String)],
    /// The caller's own name for the call; empty for none.
    pub idempotency_key: &'a str,
    /// Where the sandbox's pages are.
    pub origin: &'a str,
    /// Random digits for a new object's id.
    pub fresh: &'a str,
    /// The time in seconds.
    pub now_s: i64,
}

/// An answer, and what goes onto the shelf with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// Objects to keep, by id.
    pub writes: Vec<(String, Value)>,
}

/// What comes of looking at a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// These objects are wanted first; those that do not exist are put onto the shelf as null.
    Need(Vec<String>),
    /// The answer.
    Done(Answer),
}

impl Call<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> i64 {
        self.field(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The pairs of `name[…]`.
    fn pairs(&self, name: &str) -> Value {
        let pairs = self.form.iter().filter_map(|(field, value)| {
            let key = field.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((key.to_owned(), Value::from(value.as_str())))
        });
        Value::Object(pairs.collect())
    }

    /// The fields as one text: the same key with another text is refused.
    fn fingerprint(&self) -> String {
        self.form.iter().fold(self.path.to_owned(), |text, (name, value)| format!("{text}&{name}={value}"))
    }
}

/// Answers a call from the shelf.
#[must_use]
pub fn answer(call: &Call<'_>, shelf: &Shelf) -> Turn {
    if call.idempotency_key.is_empty() {
        return answers::route(call, shelf);
    }
    let seen_id = format!("idem:{}", call.idempotency_key);
    match shelf.get(&seen_id) {
        None => return Turn::Need(vec![seen_id]),
        Some(Value::Null) => {}
        Some(seen) if seen["fingerprint"] == call.fingerprint() => {
            let status = seen["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
            return Turn::Done(Answer { status, body: seen["body"].clone(), writes: Vec::new() });
        }
        Some(_) => {
            return Turn::Done(refusal(400, "idempotency_error", "", "The key was used for another request"));
        }
    }
    match answers::route(call, shelf) {
        Turn::Done(mut answer) => {
            let seen = json!({ "fingerprint": call.fingerprint(), "status": answer.status, "body": answer.body });
            answer.writes.push((seen_id, seen));
            Turn::Done(answer)
        }
        need @ Turn::Need(_) => need,
    }
}

fn refusal(status: u16, kind: &str, code: &str, message: &str) -> Answer {
    let mut error = json!({ "type": kind, "message": message });
    if !code.is_empty() {
        error["code"] = code.into();
    }
    Answer { status, body: json!({ "error": error }), writes: Vec::new() }
}
