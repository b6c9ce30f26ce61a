//! Callers' secrets at rest: sealed under a key of their account's own, which is derived from `SEAL_KEY`, and bound to the
//! row that they stand in.
//!
//! Not in the vault: it holds the platform's few secrets and locks when nobody is there; a lock must not send callers'
//! traffic to dearer routes.

use guildhall_domain::seal::{self, NONCE_BYTES, SealError};
use guildhall_domain::secret::{SecretText, Seed};
use zeroize::Zeroizing;

use crate::app::{App, Cx};
use crate::error::ApiError;

/// Longest secret, in bytes.
pub const SECRET_MAX_BYTES: usize = 4_096;

/// Checks a secret that goes into a header.
///
/// # Errors
/// 400 that names the field, and nothing of the secret.
pub fn check_secret(field: &'static str, secret: &str) -> Result<(), ApiError> {
    if secret.is_empty() {
        return Err(ApiError::invalid(field, format!("{field} must not be empty")));
    }
    if secret.len() > SECRET_MAX_BYTES || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("{field} must be printable ASCII without spaces, at most {SECRET_MAX_BYTES} bytes");
        return Err(ApiError::invalid(field, text));
    }
    Ok(())
}

/// Seals the secret of a row of an account's.
///
/// # Errors
/// 500 when it is longer than [`SECRET_MAX_BYTES`] allows many times over.
pub fn seal_secret(cx: &Cx, account_id: &str, id: &str, secret: &str) -> Result<String, ApiError> {
    let nonce: [u8; NONCE_BYTES] = cx.draw();
    let key = account_key(&cx.app, account_id);
    seal::seal(&key, nonce, &context(account_id, id), secret.as_bytes()).map_err(ApiError::internal)
}

/// Opens it.
///
/// # Errors
/// When it was sealed for another row, or under another `SEAL_KEY`.
pub fn open_secret(app: &App, account_id: &str, id: &str, sealed: &str) -> Result<SecretText, SealError> {
    seal::open_text(&account_key(app, account_id), &context(account_id, id), sealed)
}

fn account_key(app: &App, account_id: &str) -> Zeroizing<[u8; 32]> {
    Seed::new(Zeroizing::new(app.config.seal_key)).draw(&format!("account:{account_id}"))
}

fn context(account_id: &str, id: &str) -> String {
    format!("{account_id}:{id}")
}
