//! Stripe's events, as far as the house acts on them.

use serde::Deserialize;
use serde_json::Value;

use super::objects::{Charge, CheckoutSession, HasId, Intent, Metadata, PaymentMethod, Ref};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `evt_…`.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// When it happened, in seconds.
    pub created_s: i64,
    /// Whether it is of Stripe's test mode, where cards are play money.
    pub is_test: bool,
    /// What it says.
    pub news: News,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A checkout is complete, paid or not yet, or its delayed payment came.
    Checkout(Box<CheckoutSession>),
    /// A checkout's delayed payment did not come.
    CheckoutFailed(Box<CheckoutSession>),
    /// Nobody paid in time.
    CheckoutExpired(Box<CheckoutSession>),
    /// A payment came.
    Paid(Box<Intent>),
    /// A payment did not come.
    PaymentFailed(Box<Intent>),
    /// Money went back to a card.
    Refunded(Box<Charge>),
    /// A refund did not reach its card: the money is ours again.
    RefundFailed(Box<Refund>),
    /// A customer disputes a charge, or the bank has decided.
    Disputed(Box<Dispute>),
    /// A card is no longer its customer's.
    CardDetached(Box<PaymentMethod>),
    /// The bank has replaced a card, or its holder has changed it.
    CardUpdated(Box<PaymentMethod>),
    /// Of no interest here.
    Other,
}

/// Money that goes back, or may: what refunds and disputes have in common.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reversal {
    /// `re_…` of a refund, `du_…` or `dp_…` of a dispute.
    pub id: String,
    /// How much, in cents.
    #[serde(default)]
    pub amount: i64,
    /// The charge.
    #[serde(default)]
    pub charge: Option<Ref<HasId>>,
    /// The payment.
    #[serde(default)]
    pub payment_intent: Option<Ref<HasId>>,
}

/// A refund.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refund {
    /// What goes back.
    #[serde(flatten)]
    pub reversal: Reversal,
    /// `succeeded`, `pending`, `failed`, `canceled` …
    #[serde(default)]
    pub status: Option<String>,
    /// The refund's own.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dispute {
    /// What may go back.
    #[serde(flatten)]
    pub reversal: Reversal,
    /// `needs_response`, `under_review`, `won`, `lost`, `warning_…`, `prevented`.
    #[serde(default)]
    pub status: String,
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisputeState {
    /// The bank has the money until it decides.
    Open,
    /// The money stays with the customer.
    Lost,
    /// The money is ours again, or was never taken.
    Over,
}

impl DisputeState {
    /// As rows say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Lost => "lost",
            Self::Over => "over",
        }
    }
}

impl Dispute {
    /// How it stands. A mere inquiry (`warning_…`) takes no money.
    #[must_use]
    pub fn state(&self) -> DisputeState {
        match self.status.as_str() {
            "lost" => DisputeState::Lost,
            "won" | "prevented" => DisputeState::Over,
            status if status.starts_with("warning_") => DisputeState::Over,
            _ => DisputeState::Open,
        }
    }

    /// Whether the bank has decided: what comes later says nothing else.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        matches!(self.status.as_str(), "won" | "lost" | "prevented" | "warning_closed")
    }
}

/// The types that are more than [`News::Other`].
pub const KINDS: [&str; 19] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "refund.failed",
    "refund.updated",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "payment_method.detached",
    "payment_method.updated",
    "payment_method.automatically_updated",
];

/// Reads an event. One of a type that the house knows but with an object that it cannot read is an error: Stripe sends it
/// again, and a person sees it fail.
///
/// # Errors
/// What is wrong with it.
pub fn read_event(body: &[u8]) -> Result<Event, String> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        r#type: String,
        #[serde(default)]
        created: i64,
        livemode: Option<bool>,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        object: Value,
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let object = envelope.data.object;
    let news = match envelope.r#type.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => News::Checkout(read(object)?),
        "checkout.session.async_payment_failed" => News::CheckoutFailed(read(object)?),
        "checkout.session.expired" => News::CheckoutExpired(read(object)?),
        "payment_intent.succeeded" => News::Paid(read(object)?),
        "payment_intent.payment_failed" | "payment_intent.canceled" => News::PaymentFailed(read(object)?),
        "charge.refunded" => News::Refunded(read(object)?),
        "refund.failed" | "refund.updated" | "charge.refund.updated" => {
            let refund: Box<Refund> = read(object)?;
            let has_failed = matches!(refund.status.as_deref(), Some("failed" | "canceled"));
            if has_failed { News::RefundFailed(refund) } else { News::Other }
        }
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => News::Disputed(read(object)?),
        "payment_method.detached" => News::CardDetached(read(object)?),
        "payment_method.updated" | "payment_method.automatically_updated" => News::CardUpdated(read(object)?),
        _ => News::Other,
    };
    let is_test = envelope.livemode == Some(false);
    Ok(Event { id: envelope.id, kind: envelope.r#type, created_s: envelope.created, is_test, news })
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> Result<Box<T>, String> {
    serde_json::from_value(object).map(Box::new).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, object: Value) -> Result<Event, String> {
        let event =
            json!({ "id": "evt_1", "type": kind, "created": 7, "data": { "object": object }, "livemode": true });
        read_event(event.to_string().as_bytes())
    }

    #[test]
    fn what_is_known_is_read_and_the_rest_is_of_no_interest() {
        let session = json!({ "id": "cs_1", "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 500,
            "metadata": { "payment_id": "pay_1" }, "customer_details": { "email": "a@b.c" } });
        let Event { news: News::Checkout(session), id, created_s, .. } =
            event("checkout.session.completed", session).unwrap()
        else {
            panic!()
        };
        assert_eq!((session.metadata["payment_id"].as_str(), id.as_str(), created_s), ("pay_1", "evt_1", 7));
        assert_eq!(event("invoice.paid", json!({})).unwrap().news, News::Other);
        assert!(event("charge.refunded", json!({ "no": "id" })).is_err());
        assert!(read_event(b"{}").is_err() && read_event(b"nonsense").is_err());
    }

    #[test]
    fn every_kind_that_is_asked_for_is_read() {
        for kind in KINDS {
            let object = json!({ "no": "id" });
            assert!(event(kind, object).is_err(), "{kind} is of no interest");
        }
    }

    #[test]
    fn only_a_refund_that_failed_is_news() {
        let refund = |status: &str| {
            event("refund.updated", json!({ "id": "re_1", "amount": 5, "status": status })).unwrap().news
        };
        assert_eq!(refund("succeeded"), News::Other);
        assert!(matches!(refund("failed"), News::RefundFailed(_)));
    }

    #[test]
    fn a_dispute_takes_money_until_it_is_won() {
        for (status, state, is_decided) in [
            ("needs_response", DisputeState::Open, false),
            ("under_review", DisputeState::Open, false),
            ("lost", DisputeState::Lost, true),
            ("won", DisputeState::Over, true),
            ("warning_needs_response", DisputeState::Over, false),
            ("warning_closed", DisputeState::Over, true),
        ] {
            let News::Disputed(dispute) =
                event("charge.dispute.created", json!({ "id": "du_1", "amount": 5, "status": status })).unwrap().news
            else {
                panic!()
            };
            assert_eq!((dispute.state(), dispute.is_decided()), (state, is_decided), "{status}");
        }
    }
}
