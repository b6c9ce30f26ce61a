//! The client of Stripe's API. `calls.rs` has the calls; this file sends them.
//!
//! Every call that changes something carries a name of ours (`Idempotency-Key`), derived from the row that it is made
//! for: sent again after a lost answer it gets the first answer, and nothing happens twice. Stripe keeps these names for
//! at least 24 hours. In the sandbox, without a secret key, Stripe in miniature answers (`guildhall_domain::billing::sandbox`).
//!
//! ```ignore
//! let stripe = Stripe::of(&cx)?;
//! let account = stripe.create_connect_account(&format!("connect:{agent_id}"), email, &[("agent_id", agent_id)]).await?;
//! let link = stripe.create_account_link(&account.id, &refresh_url, &return_url).await?;
//! let transfer = stripe.transfer(&format!("withdrawal:{id}"), &account.id, amount, &[("withdrawal_id", id)]).await?;
//! ```

mod calls;
pub mod local;

use std::rc::Rc;

use guildhall_domain::billing::form::Form;
use guildhall_domain::billing::objects::{Decline, Intent};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::{App, Cx};
use crate::config::{Mode, StripeSettings};
use crate::error::{ApiError, Kind};
use crate::ports::{FetchError, InboundBody, Outbound, PortError, Ports, ReadMode};

pub use calls::{NewCharge, NewCheckout};

/// The version of the API whose objects we read.
const API_VERSION: &str = "2024-06-20";
/// How long Stripe may take. Its own clients wait 80 s; a person waits less, and a lost answer is found again.
const WAIT_MS: u32 = 25_000;
/// The pause before a call that is known to be safe is sent again.
const PAUSE_MS: u32 = 500;
/// Tries in all.
const TRIES: u32 = 2;
/// The largest answer: a hundred events.
const ANSWER_MAX_BYTES: u32 = 4 << 20;

/// Why a call gave nothing.
#[derive(Debug)]
pub enum StripeError {
    /// The card was refused: for sure, nothing was paid.
    Card {
        /// `card_declined`, `expired_card`, `authentication_required` …
        code: String,
        /// For the customer.
        message: String,
        /// The payment that failed.
        intent: Option<Box<Intent>>,
    },
    /// There is no such object.
    Missing,
    /// Stripe refuses what the request asks for: for sure, nothing happened.
    Refused {
        /// Stripe's code; may be empty.
        code: String,
        /// For the log.
        message: String,
    },
    /// Too many calls: for sure, nothing happened.
    Busy,
    /// No answer that says what happened. The same call under the same name finds out.
    Unknown(String),
    /// This deployment has no key for Stripe.
    NotConfigured,
}

impl std::fmt::Display for StripeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Card { code, .. } => write!(f, "card: {code}"),
            Self::Missing => f.write_str("no such object"),
            Self::Refused { code, message } => write!(f, "refused ({code}): {message}"),
            Self::Busy => f.write_str("too many calls"),
            Self::Unknown(cause) => write!(f, "no answer: {cause}"),
            Self::NotConfigured => f.write_str("not configured"),
        }
    }
}

impl From<StripeError> for ApiError {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::Card { code, message, .. } => {
                Self::new(Kind::PaymentFailed, message).with("decline_code", code)
            }
            StripeError::NotConfigured => Self::new(Kind::Unavailable, "Provider Stripe not configured"),
            StripeError::Busy | StripeError::Unknown(_) => Self::new(
                Kind::Unavailable,
                "The payment provider does not answer; nothing is charged twice, try again",
            )
            .caused_by(format_args!("stripe: {error}"))
            .retry_after_s(5),
            StripeError::Missing | StripeError::Refused { .. } => Self::internal(format_args!("stripe: {error}")),
        }
    }
}

/// The client.
#[derive(Clone)]
pub struct Stripe {
    app: Rc<App>,
    ports: Rc<Ports>,
    origin: Rc<str>,
}

impl Stripe {
    /// The client of a request.
    ///
    /// # Errors
    /// [`StripeError::NotConfigured`]: 503.
    pub fn of(cx: &Cx) -> Result<Self, StripeError> {
        Self::new(&cx.app, &cx.ports, &cx.origin)
    }

    /// A client. The origin is where the sandbox's pages are; work without a request has none.
    ///
    /// # Errors
    /// [`StripeError::NotConfigured`].
    pub fn new(app: &Rc<App>, ports: &Rc<Ports>, origin: &str) -> Result<Self, StripeError> {
        if app.config.stripe.is_none() && app.config.mode != Mode::Sandbox {
            return Err(StripeError::NotConfigured);
        }
        Ok(Self { app: Rc::clone(app), ports: Rc::clone(ports), origin: origin.into() })
    }

    /// Sends what changes something, under a name.
    async fn post<T: DeserializeOwned>(&self, name: &str, path: &str, form: Form) -> Result<T, StripeError> {
        self.send("POST", path, form.finish(), name).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Form) -> Result<T, StripeError> {
        self.send("GET", path, query.finish(), "").await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        form: String,
        name: &str,
    ) -> Result<T, StripeError> {
        let mut tries = 1;
        loop {
            let answer = match &self.app.config.stripe {
                Some(settings) => self.send_out(settings, method, path, &form, name).await,
                None => local::answer(&self.ports, &self.origin, method, path, &form, name).await.map_err(lost),
            };
            match answer.and_then(|(status, body)| judge(status, &body)) {
                Err(StripeError::Unknown(_) | StripeError::Busy) if tries < TRIES => {
                    tries += 1;
                    self.ports.clock.sleep_ms(PAUSE_MS).await;
                }
                judged => return judged,
            }
        }
    }

    async fn send_out(
        &self,
        settings: &StripeSettings,
        method: &'static str,
        path: &str,
        form: &str,
        name: &str,
    ) -> Result<(u16, Vec<u8>), StripeError> {
        let mut headers = vec![
            ("authorization", format!("Bearer {}", settings.secret_key.expose())),
            ("stripe-version", API_VERSION.to_owned()),
        ];
        let mut url = format!("{}{path}", settings.api_url);
        let is_read = method == "GET";
        if is_read && !form.is_empty() {
            url = format!("{url}?{form}");
        }
        if !is_read {
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
            headers.push(("idempotency-key", name.to_owned()));
        }
        let request = Outbound {
            method,
            url,
            headers,
            body: (!is_read).then(|| form.as_bytes().to_vec()),
            read: ReadMode::Whole { max_bytes: ANSWER_MAX_BYTES },
            first_byte_ms: WAIT_MS,
            may_be_given_up: false,
            outlives_client: false,
        };
        match self.ports.fetch.send(request, Rc::new(|| {})).await {
            Ok(inbound) => match inbound.body {
                InboundBody::Whole(body) => Ok((inbound.status, body)),
                InboundBody::Stream { first, .. } => Ok((inbound.status, first)),
            },
            Err(FetchError::TimedOut) => Err(StripeError::Unknown("timed out".into())),
            Err(FetchError::TooLarge) => Err(StripeError::Unknown("the answer is too large".into())),
            Err(FetchError::ClientGone { .. }) => Err(StripeError::Unknown("our client left".into())),
            Err(FetchError::Broken(cause)) => Err(StripeError::Unknown(cause)),
        }
    }
}

fn lost(error: PortError) -> StripeError {
    StripeError::Unknown(error.to_string())
}

/// Reads an answer. Whatever does not say for sure that nothing happened is [`StripeError::Unknown`].
fn judge<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, StripeError> {
    if (200..300).contains(&status) {
        return serde_json::from_slice(body)
            .map_err(|error| StripeError::Unknown(format!("unreadable answer: {error}")));
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Envelope {
        error: Told,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Told {
        r#type: String,
        code: Option<String>,
        message: Option<String>,
        payment_intent: Option<Box<Intent>>,
    }
    let told = serde_json::from_slice::<Envelope>(body).unwrap_or_default().error;
    let (code, message) = (told.code.unwrap_or_default(), told.message.unwrap_or_default());
    let message_in_full = format!("status {status} {code} {message}");
    Err(match (status, told.r#type.as_str()) {
        (_, "card_error") => StripeError::Card { code, message, intent: told.payment_intent },
        (429, _) => StripeError::Busy,
        // These say nothing of what was asked for: our key was rolled or restricted, the same call is under way elsewhere, its
        // name was used for another one, or it is not Stripe that speaks.
        (..=399 | 401 | 403 | 408 | 409 | 500.., _) => StripeError::Unknown(message_in_full),
        (_, "invalid_request_error") if status == 404 || code == "resource_missing" => StripeError::Missing,
        (_, "invalid_request_error") => StripeError::Refused { code, message: message_in_full },
        _ => StripeError::Unknown(message_in_full),
    })
}

/// Why the last attempt of a payment failed, for its owner.
#[must_use]
pub fn explain_decline(decline: Option<&Decline>) -> String {
    let message = decline.and_then(|decline| decline.message.clone());
    message.unwrap_or_else(|| "The card was declined.".to_owned())
}
