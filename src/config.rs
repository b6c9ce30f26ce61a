//! The settings of a deployment, read once per isolate.

use durable_objects::vault::protocol::{PASSWORD_MAX_BYTES, PASSWORD_MIN_BYTES};
use durable_objects::wallet::protocol::AMOUNT_MAX;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::outbound::{OutboundPolicy, check_url};
use guildhall_domain::password::KdfCost;
use guildhall_domain::secret::SecretText;

use crate::bindings;

mod stripe;

pub use stripe::StripeSettings;
use stripe::{is_long, read_stripe, read_webhook_secrets};

/// Where this deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On a developer's machine: brings a sandbox model, may call loopback.
    Sandbox,
    /// On Cloudflare, with real money.
    Live,
}

/// Where vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorStore {
    /// In Durable Objects.
    Embedded,
    /// In Vectorize.
    Vectorize,
}

/// The settings.
#[derive(Clone)]
pub struct Config {
    /// `MODE`.
    pub mode: Mode,
    /// What addresses given by users may point at.
    pub outbound: OutboundPolicy,
    /// What a provisioned account starts with.
    pub free_balance: MicroUsd,
    /// What the deployment's own account starts with: it pays for the keys that the administrator issues.
    pub house_credit: MicroUsd,
    /// Keys one address may provision per hour.
    pub provisions_per_hour: u32,
    /// Sign-in links that may be mailed to one address of mail per hour.
    pub sign_ins_per_hour: u32,
    /// Where mail goes; `None` where nobody has said.
    pub mail: Option<MailApi>,
    /// Longest wait for an upstream's first byte when streaming; eight times as long for a whole answer.
    pub first_byte_ms: u32,
    /// Longest silence within an upstream's stream.
    pub stall_ms: u32,
    /// After how long without an answer the next model is asked beside the first; 0 for never.
    pub hedge_after_ms: u32,
    /// Models that one call asks at one time, at most.
    pub hedged_providers_max: u32,
    /// Where vectors are kept.
    pub vector_store: VectorStore,
    /// The deployment's admin token; one that was set by API stands in its place (`auth/admin_token.rs`).
    pub admin_token: String,
    /// What readers of `/metrics` must show; `None` where everybody may read.
    pub metrics_token: Option<SecretText>,
    /// The pepper of stored key hashes.
    pub key_pepper: Vec<u8>,
    /// Seals callers' own secrets and answers that are kept, and makes claim links; opens the provider keys that were stored
    /// before there was a vault.
    pub seal_key: [u8; 32],
    /// Stands in for the providers of callers' keys, each at a path of its name; the sandbox's alone.
    pub byok_base_url: Option<String>,
    /// Opens the vault without a person.
    pub vault_password: Option<SecretText>,
    /// What deriving a key from the vault's next password costs.
    pub vault_kdf: KdfCost,
    /// How Stripe is asked; `None` where the sandbox pays by itself, or live mode takes no payments.
    pub stripe: Option<StripeSettings>,
    /// `STRIPE_WEBHOOK_SECRETS`: any of them signs Stripe's events.
    pub stripe_webhook_secrets: Vec<SecretText>,
    /// For how many days money that was paid by card cannot be withdrawn: whoever paid it may take it back meanwhile.
    pub withdrawal_hold_days: u32,
    /// How many calls' usage rows and receipts are kept; their days' sums are kept in any case.
    pub calls_kept: u32,
    /// What is wrong with the settings of optional parts (mail, live payments, the vault's password), which are off for it.
    pub faults: Vec<String>,
}

/// An HTTP API that sends mail.
#[derive(Clone)]
pub struct MailApi {
    /// Where a mail is posted to; past the guard of outbound addresses.
    pub url: String,
    /// Its key.
    pub key: SecretText,
    /// Whom mail is from.
    pub from: String,
}

impl Config {
    /// Reads the settings; `get` gives a variable or a secret by name.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed. Nothing is guessed: a deployment without its secrets does not serve. An
    /// optional part whose settings are not whole is off ([`Config::faults`]): secrets are set one by one, and each deploys.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mode = match get(bindings::MODE).as_deref() {
            Some("sandbox") => Mode::Sandbox,
            Some("live") => Mode::Live,
            other => {
                return Err(format!("{} must be sandbox or live, not {other:?}", bindings::MODE));
            }
        };
        let number = |name: &str, default: u32| match get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name} must be a whole number, not {text:?}")),
        };
        let allow_loopback = mode == Mode::Sandbox && get(bindings::ALLOW_LOOPBACK).as_deref() == Some("true");
        let dollars = |name: &str, default: &str| {
            let text = get(name).unwrap_or_else(|| default.to_owned());
            let amount = MicroUsd::from_usd_str(&text).map_err(|e| format!("{name}: {e}"))?;
            let is_valid = !amount.is_negative() && amount <= AMOUNT_MAX;
            if is_valid { Ok(amount) } else { Err(format!("{name} must be between 0 and {AMOUNT_MAX}, not {text}")) }
        };
        let outbound = OutboundPolicy { allow_loopback };
        let mut faults = Vec::new();
        let mail = or_off(read_mail_api(&get, outbound), &mut faults);
        let vault_password = or_off(read_vault_password(&get), &mut faults);
        let stripe = read_stripe(&get, mode, outbound);
        // The sandbox would pay by itself, for customers whom Stripe knows: there it is whole or not at all.
        let stripe = if mode == Mode::Live { or_off(stripe, &mut faults) } else { stripe? };
        Ok(Self {
            mode,
            outbound,
            free_balance: dollars(bindings::FREE_BALANCE_USD, "0")?,
            house_credit: dollars(bindings::HOUSE_CREDIT_USD, if mode == Mode::Live { "0" } else { "1000000" })?,
            provisions_per_hour: number(bindings::PROVISIONS_PER_HOUR, 20)?,
            sign_ins_per_hour: number(bindings::SIGN_INS_PER_HOUR, 5)?,
            mail,
            first_byte_ms: number(bindings::FIRST_BYTE_MS, 30_000)?,
            stall_ms: number(bindings::STALL_MS, 60_000)?,
            hedge_after_ms: number(bindings::HEDGE_AFTER_MS, 0)?,
            hedged_providers_max: number(bindings::MAX_HEDGED_PROVIDERS, 3)?,
            vector_store: match get(bindings::VECTORS).as_deref() {
                None | Some("embedded") => VectorStore::Embedded,
                Some("vectorize") => VectorStore::Vectorize,
                Some(other) => {
                    return Err(format!("{} must be embedded or vectorize, not {other:?}", bindings::VECTORS));
                }
            },
            admin_token: read_secret(&get, bindings::ADMIN_TOKEN)?,
            metrics_token: match get(bindings::METRICS_TOKEN).filter(|token| !token.is_empty()) {
                Some(_) => Some(read_secret(&get, bindings::METRICS_TOKEN)?.into()),
                None => None,
            },
            key_pepper: read_secret(&get, bindings::KEY_PEPPER)?.into_bytes(),
            seal_key: read_hex_key(&read_secret(&get, bindings::SEAL_KEY)?)
                .ok_or_else(|| format!("{} must be 64 hex digits", bindings::SEAL_KEY))?,
            byok_base_url: read_stand_in(&get, mode),
            vault_password,
            vault_kdf: read_vault_kdf(&get, mode)?,
            stripe,
            stripe_webhook_secrets: read_webhook_secrets(&get).into_iter().filter(is_long).collect(),
            withdrawal_hold_days: number(bindings::WITHDRAWAL_HOLD_DAYS, if mode == Mode::Live { 7 } else { 0 })?,
            calls_kept: number(bindings::CALLS_KEPT, 6_000_000)?,
            faults,
        })
    }

    /// [`Self::withdrawal_hold_days`] in milliseconds.
    #[must_use]
    pub fn withdrawal_hold_ms(&self) -> i64 {
        i64::from(self.withdrawal_hold_days) * 86_400_000
    }
}

fn or_off<T>(part: Result<Option<T>, String>, faults: &mut Vec<String>) -> Option<T> {
    part.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    })
}

fn read_secret(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<String, String> {
    get(name)
        .filter(|value| value.len() >= 16)
        .ok_or_else(|| format!("the secret {name} is missing or shorter than 16"))
}

/// Live calls go to the real providers, whatever is set.
fn read_stand_in(get: &impl Fn(&str) -> Option<String>, mode: Mode) -> Option<String> {
    let url = get(bindings::BYOK_BASE_URL).filter(|url| mode == Mode::Sandbox && !url.is_empty())?;
    Some(url.trim_end_matches('/').to_owned())
}

/// All of its settings, or none.
fn read_mail_api(get: &impl Fn(&str) -> Option<String>, outbound: OutboundPolicy) -> Result<Option<MailApi>, String> {
    let read = |name: &str| get(name).filter(|value| !value.is_empty());
    let names = [bindings::MAIL_API_URL, bindings::MAIL_FROM, bindings::MAIL_API_KEY];
    let [Some(url), Some(from), Some(key)] = names.map(read) else {
        let missing = names.into_iter().find(|name| read(name).is_none()).unwrap_or_default();
        let is_begun = names.into_iter().any(|name| read(name).is_some());
        return if is_begun { Err(format!("{missing} is missing: mail needs {}", names.join(", "))) } else { Ok(None) };
    };
    check_url(&url, outbound).map_err(|refusal| format!("{} {refusal}", bindings::MAIL_API_URL))?;
    if from.chars().any(char::is_control) {
        return Err(format!("{} must be one line", bindings::MAIL_FROM));
    }
    Ok(Some(MailApi { url, key: key.into(), from }))
}

fn read_vault_password(get: &impl Fn(&str) -> Option<String>) -> Result<Option<SecretText>, String> {
    let Some(password) = get(bindings::VAULT_PASSWORD).filter(|password| !password.is_empty()) else {
        return Ok(None);
    };
    if (PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&password.len()) {
        return Ok(Some(password.into()));
    }
    Err(format!("{} must have {PASSWORD_MIN_BYTES} to {PASSWORD_MAX_BYTES} bytes", bindings::VAULT_PASSWORD))
}

/// Cheap guesses are for tests: live mode takes no less than the standard.
fn read_vault_kdf(get: &impl Fn(&str) -> Option<String>, mode: Mode) -> Result<KdfCost, String> {
    let Some(text) = get(bindings::VAULT_KDF) else {
        return Ok(KdfCost::STANDARD);
    };
    let cost: KdfCost = text.parse().map_err(|error| format!("{}: {error}", bindings::VAULT_KDF))?;
    if mode == Mode::Live && !cost.is_enough() {
        return Err(format!("{} must be at least {} in live mode", bindings::VAULT_KDF, KdfCost::STANDARD));
    }
    Ok(cost)
}

fn read_hex_key(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::stripe::STRIPE_API;
    use super::*;

    fn setting<'a>(changed: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        let seal = "ab".repeat(32);
        move |name| match changed.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => Some((*value).to_owned()).filter(|v| !v.is_empty()),
            None => match name {
                "MODE" => Some("sandbox".into()),
                "ALLOW_LOOPBACK" => Some("true".into()),
                "SEAL_KEY" => Some(seal.clone()),
                "ADMIN_TOKEN" | "KEY_PEPPER" => Some("0123456789abcdef".into()),
                _ => None,
            },
        }
    }

    #[test]
    fn loopback_is_for_the_sandbox_only() {
        assert!(Config::read(setting(&[])).unwrap().outbound.allow_loopback);
        assert!(!Config::read(setting(&[("MODE", "live")])).unwrap().outbound.allow_loopback);
    }

    #[test]
    fn nothing_stands_in_for_a_provider_in_live_mode() {
        let stand_in = ("BYOK_BASE_URL", "http://127.0.0.1:9/");
        let sandbox = Config::read(setting(&[stand_in])).unwrap();
        assert_eq!(sandbox.byok_base_url.as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(Config::read(setting(&[("MODE", "live"), stand_in])).unwrap().byok_base_url, None);
        assert_eq!(Config::read(setting(&[])).unwrap().byok_base_url, None);
    }

    #[test]
    fn the_vault_may_be_cheap_in_the_sandbox_only() {
        let quick = ("VAULT_KDF", "m=8,t=1,p=1");
        assert_eq!(Config::read(setting(&[quick])).unwrap().vault_kdf.to_string(), quick.1);
        assert!(Config::read(setting(&[("MODE", "live"), quick])).err().unwrap().contains("VAULT_KDF"));
        let live = Config::read(setting(&[("MODE", "live"), ("VAULT_KDF", "m=32768,t=3,p=1")])).unwrap();
        assert_eq!(live.vault_kdf.to_string(), "m=32768,t=3,p=1");
        let default = Config::read(setting(&[("MODE", "live")])).unwrap();
        assert_eq!((default.vault_kdf, default.vault_password), (KdfCost::STANDARD, None));
    }

    #[test]
    fn a_password_that_the_vault_would_not_take_opens_nothing() {
        let config = Config::read(setting(&[("VAULT_PASSWORD", "seven b")])).unwrap();
        assert_eq!(config.vault_password, None);
        assert!(matches!(&*config.faults, [fault] if fault.contains("VAULT_PASSWORD")));
    }

    #[test]
    fn stripe_comes_whole_or_not_at_all() {
        let key = ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef");
        let secrets = ("STRIPE_WEBHOOK_SECRETS", "whsec_0123456789abcdef, whsec_fedcba9876543210");
        let config = Config::read(setting(&[key, secrets])).unwrap();
        assert_eq!((config.stripe.unwrap().api_url.as_str(), config.stripe_webhook_secrets.len()), (STRIPE_API, 2));
        assert!(Config::read(setting(&[])).unwrap().stripe.is_none());
        let is_off = |changed: &[(&str, &str)], name: &str| {
            assert!(Config::read(setting(changed)).err().unwrap().contains(name), "a sandbox does not serve");
            let live: Vec<_> = changed.iter().copied().chain([("MODE", "live")]).collect();
            let config = Config::read(setting(&live)).unwrap();
            assert!(config.stripe.is_none());
            assert!(matches!(&*config.faults, [fault] if fault.contains(name)), "{:?}", config.faults);
            config
        };
        is_off(&[key], "STRIPE_WEBHOOK_SECRETS");
        let guessed =
            is_off(&[key, ("STRIPE_WEBHOOK_SECRETS", "short,whsec_0123456789abcdef")], "STRIPE_WEBHOOK_SECRETS");
        assert_eq!(guessed.stripe_webhook_secrets.len(), 1, "the short one signs nothing");
        is_off(&[("STRIPE_SECRET_KEY", "short"), secrets], "STRIPE_SECRET_KEY");
        is_off(&[key, secrets, ("STRIPE_API_URL", "nowhere")], "STRIPE_API_URL");
        let test_mode = ("STRIPE_SECRET_KEY", "rk_test_0123456789abcdef");
        assert!(Config::read(setting(&[test_mode, secrets])).unwrap().stripe.is_some(), "a sandbox takes play money");
        assert!(Config::read(setting(&[test_mode, secrets, ("MODE", "live")])).unwrap().stripe.is_none());
        let in_clear = [key, secrets, ("MODE", "live"), ("STRIPE_API_URL", "http://api.stripe.com")];
        assert!(Config::read(setting(&in_clear)).unwrap().stripe.is_none());
    }

    #[test]
    fn card_money_is_kept_back_for_a_week_in_live_mode() {
        let days = |changed: &[(&str, &str)]| Config::read(setting(changed)).unwrap().withdrawal_hold_days;
        assert_eq!((days(&[]), days(&[("MODE", "live")])), (0, 7));
        assert_eq!(days(&[("WITHDRAWAL_HOLD_DAYS", "3")]), 3);
        assert_eq!(days(&[("MODE", "live"), ("WITHDRAWAL_HOLD_DAYS", "0")]), 0);
    }

    #[test]
    fn mail_has_all_of_its_settings_or_none() {
        assert!(Config::read(setting(&[])).unwrap().mail.is_none());
        let all = [
            ("MAIL_API_URL", "https://mail.example/emails"),
            ("MAIL_FROM", "Guildhall <hello@example.com>"),
            ("MAIL_API_KEY", "re_1"),
        ];
        let mail = Config::read(setting(&all)).unwrap().mail.unwrap();
        assert_eq!((mail.url.as_str(), mail.key.expose()), ("https://mail.example/emails", "re_1"));
        let is_off = |changed: &[(&str, &str)], name: &str| {
            let config = Config::read(setting(changed)).unwrap();
            assert!(config.mail.is_none());
            assert!(matches!(&*config.faults, [fault] if fault.starts_with(name)), "{:?}", config.faults);
        };
        for (at, (name, _)) in all.into_iter().enumerate() {
            let mut some = all.to_vec();
            some.remove(at);
            is_off(&some, name);
        }
        for (name, value) in [("MAIL_API_URL", "http://10.0.0.1/"), ("MAIL_FROM", "a\nbcc: b@example.com")] {
            let changed = all.map(|(known, old)| (known, if known == name { value } else { old }));
            is_off(&changed, name);
        }
    }

    #[test]
    fn a_missing_or_malformed_setting_is_named() {
        for (name, value) in [
            ("MODE", "prod"),
            ("ADMIN_TOKEN", ""),
            ("KEY_PEPPER", "short"),
            ("METRICS_TOKEN", "short"),
            ("SEAL_KEY", "zz"),
            ("STALL_MS", "soon"),
            ("HEDGE_AFTER_MS", "-1"),
            ("MAX_HEDGED_PROVIDERS", "all"),
            ("VECTORS", "nowhere"),
            ("FREE_BALANCE_USD", "1.1234567"),
            ("VAULT_KDF", "m=1,t=1,p=1"),
            ("HOUSE_CREDIT_USD", "-1"),
            ("HOUSE_CREDIT_USD", "1e12"),
        ] {
            let error = Config::read(setting(&[(name, value)])).err().unwrap();
            assert!(error.contains(name), "{error}");
        }
    }
}
