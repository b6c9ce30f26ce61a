//! What Stripe needs: all of it, or no payments.

use guildhall_domain::outbound::{OutboundPolicy, check_url};
use guildhall_domain::secret::SecretText;

use super::{Mode, read_secret};
use crate::bindings;

/// Where Stripe is, unless a setting says otherwise.
pub(super) const STRIPE_API: &str = "https://api.stripe.com";

/// How Stripe is asked.
#[derive(Clone)]
pub struct StripeSettings {
    /// `STRIPE_SECRET_KEY`.
    pub secret_key: SecretText,
    /// `STRIPE_API_URL`, without a slash at its end.
    pub api_url: String,
}

/// The secrets that sign events.
pub(super) fn read_webhook_secrets(get: &impl Fn(&str) -> Option<String>) -> Vec<SecretText> {
    let text = get(bindings::STRIPE_WEBHOOK_SECRETS).unwrap_or_default();
    text.split(',').map(str::trim).filter(|secret| !secret.is_empty()).map(SecretText::from).collect()
}

/// Whether it is a secret that nobody guesses.
pub(super) fn is_long(secret: &SecretText) -> bool {
    secret.expose().len() >= 16
}

/// Without its events a deployment would learn too late of what was paid, and never of disputes: it takes no payments.
pub(super) fn read_stripe(
    get: &impl Fn(&str) -> Option<String>,
    mode: Mode,
    policy: OutboundPolicy,
) -> Result<Option<StripeSettings>, String> {
    let key = bindings::STRIPE_SECRET_KEY;
    if get(key).is_none_or(|key| key.is_empty()) {
        return Ok(None);
    }
    let secret_key: SecretText = read_secret(get, key)?.into();
    if mode == Mode::Live && secret_key.expose().contains("_test_") {
        return Err(format!("{key} is a key of Stripe's test mode; live mode wants a live one"));
    }
    let webhook_secrets = read_webhook_secrets(get);
    if webhook_secrets.is_empty() || !webhook_secrets.iter().all(is_long) {
        let name = bindings::STRIPE_WEBHOOK_SECRETS;
        return Err(format!("{name} is missing, or one of them is shorter than 16: {key} needs it"));
    }
    let name = bindings::STRIPE_API_URL;
    let api_url = get(name).filter(|url| !url.is_empty()).unwrap_or_else(|| STRIPE_API.to_owned());
    check_url(&api_url, policy).map_err(|error| format!("{name} {error}"))?;
    if mode == Mode::Live && !api_url.starts_with("https://") {
        return Err(format!("{name} must be https in live mode"));
    }
    Ok(Some(StripeSettings { secret_key, api_url: api_url.trim_end_matches('/').to_owned() }))
}
