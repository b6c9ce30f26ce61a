//! The settings of a deployment, read once per isolate.

use durable_objects::wallet::protocol::AMOUNT_MAX;
use guildhall_domain::money::MicroUsd;
use guildhall_domain::outbound::OutboundPolicy;

use crate::bindings;

/// Where this deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On a developer's machine: brings a sandbox model, may call loopback.
    Sandbox,
    /// On Cloudflare, with real money.
    Live,
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
    /// Longest wait for an upstream's first byte when streaming; eight times as long for a whole answer.
    pub first_byte_ms: u32,
    /// Longest silence within an upstream's stream.
    pub stall_ms: u32,
    /// The admin token.
    pub admin_token: String,
    /// The pepper of stored key hashes.
    pub key_pepper: Vec<u8>,
    /// Seals provider keys at rest.
    pub seal_key: [u8; 32],
}

impl Config {
    /// Reads the settings; `get` gives a variable or a secret by name.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed. Nothing is guessed: a deployment without its secrets does not serve.
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
        Ok(Self {
            mode,
            outbound: OutboundPolicy { allow_loopback },
            free_balance: dollars(bindings::FREE_BALANCE_USD, "0")?,
            house_credit: dollars(bindings::HOUSE_CREDIT_USD, "1000000")?,
            provisions_per_hour: number(bindings::PROVISIONS_PER_HOUR, 20)?,
            first_byte_ms: number(bindings::FIRST_BYTE_MS, 30_000)?,
            stall_ms: number(bindings::STALL_MS, 60_000)?,
            admin_token: read_secret(&get, bindings::ADMIN_TOKEN)?,
            key_pepper: read_secret(&get, bindings::KEY_PEPPER)?.into_bytes(),
            seal_key: read_hex_key(&read_secret(&get, bindings::SEAL_KEY)?)
                .ok_or_else(|| format!("{} must be 64 hex digits", bindings::SEAL_KEY))?,
        })
    }
}

fn read_secret(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<String, String> {
    get(name)
        .filter(|value| value.len() >= 16)
        .ok_or_else(|| format!("the secret {name} is missing or shorter than 16"))
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
    fn a_missing_or_malformed_setting_is_named() {
        for (name, value) in [
            ("MODE", "prod"),
            ("ADMIN_TOKEN", ""),
            ("KEY_PEPPER", "short"),
            ("SEAL_KEY", "zz"),
            ("STALL_MS", "soon"),
            ("FREE_BALANCE_USD", "1.1234567"),
            ("HOUSE_CREDIT_USD", "-1"),
            ("HOUSE_CREDIT_USD", "1e12"),
        ] {
            let error = Config::read(setting(&[(name, value)])).err().unwrap();
            assert!(error.contains(name), "{error}");
        }
    }
}
