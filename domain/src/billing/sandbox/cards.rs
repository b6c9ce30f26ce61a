//! The sandbox's cards, and what the page of a checkout does with them.

use serde_json::{Value, json};

use super::Shelf;

/// A card to try things with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestCard {
    /// Pays, now and later.
    Pays,
    /// Is declined.
    Declined,
    /// Pays while its holder is there; alone it is refused because the bank wants to ask them.
    AsksHolder,
    /// Can be saved, and is declined whenever it is charged later.
    FailsLater,
}

/// How a charge without the holder ends.
pub(super) enum Outcome {
    Paid,
    Refused(&'static str, &'static str),
}

impl TestCard {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pays, Self::Declined, Self::AsksHolder, Self::FailsLater];

    /// Its number, which is one of Stripe's own test numbers.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::Pays => "4242424242424242",
            Self::Declined => "4000000000000002",
            Self::AsksHolder => "4000002760003184",
            Self::FailsLater => "4000000000000341",
        }
    }

    /// What the page says of it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pays => "pays",
            Self::Declined => "is declined",
            Self::AsksHolder => "pays here; later charges need its holder",
            Self::FailsLater => "pays here; later charges are declined",
        }
    }

    /// The card of this number.
    #[must_use]
    pub fn of_number(number: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|card| card.number() == number)
    }

    pub(super) fn of_method(method: &Value) -> Self {
        method["number"].as_str().and_then(Self::of_number).unwrap_or(Self::Declined)
    }

    pub(super) const fn pays_alone(self) -> Outcome {
        match self {
            Self::Pays => Outcome::Paid,
            Self::Declined | Self::FailsLater => Outcome::Refused("card_declined", "Your card was declined."),
            Self::AsksHolder => Outcome::Refused(
                "authentication_required",
                "Your card was declined. This transaction requires authentication.",
            ),
        }
    }
}

/// Where the ids of the events that happened stand, newest first.
pub const EVENTS: &str = "events";
/// So many of them.
const EVENTS_MAX: usize = 500;

/// An event happened: objects to keep, by id. The shelf has what stands under [`EVENTS`].
#[must_use]
pub fn keep_event(shelf: &Shelf, event: &Value) -> [(String, Value); 2] {
    let mut ids = vec![event["id"].clone()];
    ids.extend(shelf.get(EVENTS).and_then(Value::as_array).into_iter().flatten().take(EVENTS_MAX - 1).cloned());
    let id = event["id"].as_str().unwrap_or_default().to_owned();
    [(EVENTS.to_owned(), Value::Array(ids)), (id, event.clone())]
}

/// Takes the money of an intent: gives the charge.
pub(super) fn charge_of(intent: &mut Value) -> Value {
    let id = intent["id"].as_str().unwrap_or_default().replacen("pi_", "ch_", 1);
    intent["status"] = "succeeded".into();
    intent["amount_received"] = intent["amount"].clone();
    intent["latest_charge"] = id.as_str().into();
    json!({
        "id": id, "object": "charge", "amount": intent["amount"], "amount_refunded": 0, "paid": true, "currency": "usd",
        "payment_intent": intent["id"], "metadata": intent["metadata"], "receipt_url": null,
    })
}

/// What a form that was sent to the page of a checkout comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum PaidBy {
    /// The card was refused; the page is shown again.
    Refused(&'static str),
    /// The session is over already, or was never there.
    Over,
    /// It is paid: objects to keep by id, and the event that Stripe would send.
    Paid {
        /// Objects to keep, by id.
        writes: Vec<(String, Value)>,
        /// The body of the webhook's call.
        event: Box<Value>,
    },
}

/// Pays an open session of the shelf with a card. `save` is the box that the customer ticks.
#[must_use]
pub fn pay_checkout(shelf: &Shelf, session_id: &str, card: TestCard, save: bool, fresh: &str, now_s: i64) -> PaidBy {
    let Some(mut session) = shelf.get(session_id).filter(|session| session["status"] == "open").cloned() else {
        return PaidBy::Over;
    };
    if card == TestCard::Declined {
        return PaidBy::Refused("Your card was declined.");
    }
    let is_setup = session["mode"] == "setup";
    let method_id = format!("pm_{fresh}");
    let saves = is_setup || (save && session["saves_card"] == true);
    let customer = if saves { session["customer"].clone() } else { Value::Null };
    let last4 = &card.number()[12..];
    let method = json!({
        "id": method_id, "object": "payment_method", "customer": customer, "number": card.number(),
        "card": { "brand": "visa", "last4": last4, "exp_month": 12, "exp_year": 2034 },
    });
    let mut intent = json!({
        "id": if is_setup { format!("seti_{fresh}") } else { format!("pi_{fresh}") },
        "object": if is_setup { "setup_intent" } else { "payment_intent" },
        "amount": session["amount_total"], "amount_received": 0, "currency": "usd", "customer": session["customer"],
        "payment_method": method_id, "metadata": session["metadata"], "status": "succeeded", "latest_charge": null,
    });
    let mut writes = vec![(method_id, method)];
    if !is_setup {
        let charge = charge_of(&mut intent);
        writes.push((charge["id"].as_str().unwrap_or_default().to_owned(), charge));
    }
    session["status"] = "complete".into();
    session["payment_status"] = if is_setup { "no_payment_required" } else { "paid" }.into();
    session[if is_setup { "setup_intent" } else { "payment_intent" }] = intent["id"].clone();
    session["url"] = Value::Null;
    let event = json!({
        "id": format!("evt_{fresh}"), "object": "event", "type": "checkout.session.completed", "created": now_s,
        "data": { "object": session },
    });
    writes.push((intent["id"].as_str().unwrap_or_default().to_owned(), intent));
    writes.push((session_id.to_owned(), session));
    writes.extend(keep_event(shelf, &event));
    PaidBy::Paid { writes, event: Box::new(event) }
}
