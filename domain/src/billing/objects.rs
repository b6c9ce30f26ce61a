//! What the house reads of Stripe's objects. Amounts are cents; unknown fields are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Text pairs that we gave and get back.
pub type Metadata = BTreeMap<String, String>;

/// A field that is an id, or the object itself where it was asked for (`expand`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ref<T> {
    /// The id.
    Id(String),
    /// The object.
    Object(Box<T>),
}

/// An object that has an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasId {
    /// The id.
    pub id: String,
}

impl Ref<HasId> {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Object(object) => &object.id,
        }
    }
}

/// A page where the customer pays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckoutSession {
    /// `cs_…`.
    pub id: String,
    /// Where the customer goes; `None` once it is over.
    #[serde(default)]
    pub url: Option<String>,
    /// `payment` or `setup`.
    #[serde(default)]
    pub mode: String,
    /// `open`, `complete` or `expired`.
    #[serde(default)]
    pub status: Option<String>,
    /// `paid`, `unpaid` or `no_payment_required`.
    #[serde(default)]
    pub payment_status: String,
    /// The payment behind it.
    #[serde(default)]
    pub payment_intent: Option<Ref<HasId>>,
    /// The saving of a card behind it.
    #[serde(default)]
    pub setup_intent: Option<Ref<HasId>>,
    /// What is paid in all.
    #[serde(default)]
    pub amount_total: Option<i64>,
    /// `usd`.
    #[serde(default)]
    pub currency: Option<String>,
    /// Ours.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A payment, or the saving of a card (which has no amounts).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Intent {
    /// `pi_…` or `seti_…`.
    pub id: String,
    /// `succeeded`, `processing`, `requires_action`, `requires_payment_method`, `canceled` …
    pub status: String,
    /// What is to be paid.
    #[serde(default)]
    pub amount: i64,
    /// What was paid.
    #[serde(default)]
    pub amount_received: i64,
    /// `usd`.
    #[serde(default)]
    pub currency: Option<String>,
    /// The card.
    #[serde(default)]
    pub payment_method: Option<Ref<PaymentMethod>>,
    /// The charge that the last attempt made.
    #[serde(default)]
    pub latest_charge: Option<Ref<Charge>>,
    /// Why the last attempt failed.
    #[serde(default)]
    pub last_payment_error: Option<Decline>,
    /// Ours.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Why a card was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Decline {
    /// `card_declined`, `expired_card`, `authentication_required` …
    #[serde(default)]
    pub code: Option<String>,
    /// For the customer.
    #[serde(default)]
    pub message: Option<String>,
}

/// A saved card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentMethod {
    /// `pm_…`.
    pub id: String,
    /// Whose.
    #[serde(default)]
    pub customer: Option<Ref<HasId>>,
    /// What may be shown of it.
    #[serde(default)]
    pub card: Option<Card>,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created: i64,
}

/// What may be shown of a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `visa` …
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// 1 to 12.
    pub exp_month: i64,
    /// Four digits.
    pub exp_year: i64,
}

/// Money that was taken from a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// `ch_…`.
    pub id: String,
    /// How much.
    #[serde(default)]
    pub amount: i64,
    /// How much of it went back, in all.
    #[serde(default)]
    pub amount_refunded: i64,
    /// Whether the money was taken.
    #[serde(default)]
    pub paid: bool,
    /// `usd`.
    #[serde(default)]
    pub currency: Option<String>,
    /// The payment.
    #[serde(default)]
    pub payment_intent: Option<Ref<HasId>>,
    /// Stripe's receipt.
    #[serde(default)]
    pub receipt_url: Option<String>,
    /// The payment's, as it was when the money was taken.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A page that belongs to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// Where it is.
    pub url: String,
}

/// The account of somebody whom we pay (Connect Express).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectAccount {
    /// `acct_…`.
    pub id: String,
    /// Whether all questions are answered.
    #[serde(default)]
    pub details_submitted: bool,
    /// Whether money can be taken for them.
    #[serde(default)]
    pub charges_enabled: bool,
    /// Whether money can be paid to them: what a withdrawal needs.
    #[serde(default)]
    pub payouts_enabled: bool,
    /// Ours.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Money that we paid to a [`ConnectAccount`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Transfer {
    /// `tr_…`.
    pub id: String,
    /// How much.
    pub amount: i64,
    /// Whether all of it came back.
    #[serde(default)]
    pub reversed: bool,
    /// Ours.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct List<T> {
    /// The objects, newest first.
    pub data: Vec<T>,
    /// Whether there are more after them.
    #[serde(default)]
    pub has_more: bool,
}

impl Intent {
    /// The card, where it was asked for.
    #[must_use]
    pub fn card(&self) -> Option<&PaymentMethod> {
        match &self.payment_method {
            Some(Ref::Object(method)) => Some(method),
            Some(Ref::Id(_)) | None => None,
        }
    }

    /// The charge, where it was asked for.
    #[must_use]
    pub fn charge(&self) -> Option<&Charge> {
        match &self.latest_charge {
            Some(Ref::Object(charge)) => Some(charge),
            Some(Ref::Id(_)) | None => None,
        }
    }
}
