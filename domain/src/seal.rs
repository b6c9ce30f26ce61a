//! Secrets at rest, sealed with AES-256-GCM.
//!
//! Stored text: `v1.` and the URL-safe base64 (no padding) of nonce (12 bytes), ciphertext and tag
//! (16 bytes). The context is authenticated and not stored: a sealed text moved to another row does
//! not open.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use zeroize::Zeroizing;

use crate::secret::SecretText;

const VERSION: &str = "v1.";
/// Random bytes that each sealing needs, never used twice under a key.
pub const NONCE_BYTES: usize = 12;
/// Longest secret that is sealed; also keeps the cipher far from its limit.
const MAX_PLAINTEXT_BYTES: usize = 64 * 1024;

/// Why a secret was not sealed or opened. Tells nothing about the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Over 64 KiB.
    TooLong,
    /// Not a text that [`seal`] writes, or of a version that is not known here.
    Malformed,
    /// Wrong key, wrong context, or altered text.
    Refused,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the secret is too long to seal",
            Self::Malformed => "the sealed text is malformed",
            Self::Refused => "the sealed text does not open with this key and context",
        })
    }
}

impl std::error::Error for SealError {}

/// Seals bytes of any length: nonce, ciphertext and tag. Otherwise as [`seal`].
///
/// # Errors
/// [`SealError::TooLong`] beyond what the cipher takes.
pub fn seal_bytes(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    context: &str,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let payload = Payload { msg: plaintext, aad: context.as_bytes() };
    let ciphertext = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key))
        .encrypt(Nonce::from_slice(&nonce), payload)
        .map_err(|_| SealError::TooLong)?;
    Ok([&nonce, ciphertext.as_slice()].concat())
}

/// Opens sealed bytes.
///
/// # Errors
/// As [`open`].
pub fn open_bytes(key: &[u8; 32], context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealError::Malformed)?;
    Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(key))
        .decrypt(Nonce::from_slice(nonce), Payload { msg: ciphertext, aad: context.as_bytes() })
        .map(Zeroizing::new)
        .map_err(|_| SealError::Refused)
}

/// Seals a secret. `context` says what it belongs to (`provider:openai`) and is needed to open it.
///
/// The nonce must be fresh random bytes for every call: one used twice under a key gives both
/// secrets away.
///
/// # Errors
/// [`SealError::TooLong`].
pub fn seal(key: &[u8; 32], nonce: [u8; NONCE_BYTES], context: &str, plaintext: &[u8]) -> Result<String, SealError> {
    if plaintext.len() > MAX_PLAINTEXT_BYTES {
        return Err(SealError::TooLong);
    }
    let bytes = seal_bytes(key, nonce, context, plaintext)?;
    let mut sealed = String::from(VERSION);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut sealed);
    Ok(sealed)
}

/// Opens a sealed secret. What it gives is wiped when it is dropped.
///
/// # Errors
/// [`SealError::Malformed`] or [`SealError::Refused`].
pub fn open(key: &[u8; 32], context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let text = sealed.strip_prefix(VERSION).ok_or(SealError::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Malformed)?;
    open_bytes(key, context, &bytes)
}

/// Opens a sealed text.
///
/// # Errors
/// As [`open`]; also [`SealError::Malformed`] when it is no text.
pub fn open_text(key: &[u8; 32], context: &str, sealed: &str) -> Result<SecretText, SealError> {
    let plaintext = open(key, context, sealed)?;
    std::str::from_utf8(&plaintext).map(SecretText::from).map_err(|_| SealError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const CONTEXT: &str = "provider:openai";
    /// What `seal` wrote for `sk-secret` on the day version 1 was made.
    const STORED: &str = "v1.CQkJCQkJCQkJCQkJVO6p59uTswTU0IqQaNtY6Xo3ZcaSr85Vrw";

    /// Sealed keys stand in D1: every version ever written must open.
    #[test]
    fn stored_format_is_unchanged() {
        assert_eq!(seal(&KEY, [9; 12], CONTEXT, b"sk-secret").as_deref(), Ok(STORED));
        assert_eq!(open_text(&KEY, CONTEXT, STORED), Ok("sk-secret".into()));
    }

    #[test]
    fn opens_what_was_sealed() {
        for secret in ["", "x", "ключ", &"k".repeat(MAX_PLAINTEXT_BYTES)] {
            let sealed = seal(&KEY, [1; 12], CONTEXT, secret.as_bytes()).unwrap();
            assert_eq!(open_text(&KEY, CONTEXT, &sealed), Ok(secret.into()));
        }
        let too_long = "k".repeat(MAX_PLAINTEXT_BYTES + 1);
        assert_eq!(seal(&KEY, [1; 12], CONTEXT, too_long.as_bytes()), Err(SealError::TooLong));
    }

    #[test]
    fn bytes_of_any_length_open_with_their_key_and_context_alone() {
        let body = vec![7; 2 * MAX_PLAINTEXT_BYTES];
        let sealed = seal_bytes(&KEY, [9; 12], CONTEXT, &body).unwrap();
        assert_eq!(open_bytes(&KEY, CONTEXT, &sealed).unwrap().as_slice(), body);
        assert_eq!(open_bytes(&KEY, "other", &sealed), Err(SealError::Refused));
        assert_eq!(open_bytes(&KEY, CONTEXT, &sealed[..11]), Err(SealError::Malformed));
    }

    #[test]
    fn bytes_that_are_no_text_open_as_bytes_only() {
        let sealed = seal(&KEY, [1; 12], CONTEXT, b"\xff\x00").unwrap();
        assert_eq!(open(&KEY, CONTEXT, &sealed).unwrap().as_slice(), b"\xff\x00");
        assert_eq!(open_text(&KEY, CONTEXT, &sealed), Err(SealError::Malformed));
    }

    #[test]
    fn refuses_another_key_context_or_text() {
        assert_eq!(open(&[8; 32], CONTEXT, STORED), Err(SealError::Refused));
        assert_eq!(open(&KEY, "provider:other", STORED), Err(SealError::Refused));
        for at in VERSION.len()..STORED.len() {
            let mut altered = STORED.as_bytes().to_vec();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(open(&KEY, CONTEXT, &altered).is_err(), "{altered}");
        }
        for malformed in ["", "v1.", "v1.AAAA", "v2.AAAA", "v1.!!", &STORED[1..]] {
            assert_eq!(open(&KEY, CONTEXT, malformed), Err(SealError::Malformed), "{malformed}");
        }
    }
}
