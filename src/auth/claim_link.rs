//! The link by which a provisioned account is claimed.
//!
//! Its token follows from the account and `SEAL_KEY`, so that it can be told again, with a refusal for want of money, and is
//! stored nowhere. It is good as long as the account has its hash: until somebody has claimed it.

use guildhall_domain::credential::issue_token;
use guildhall_domain::secret::Seed;
use zeroize::Zeroizing;

use super::KeyCaller;
use crate::app::App;

/// The token of an account's link.
#[must_use]
pub fn claim_token(app: &App, account_id: &str) -> String {
    issue_token(*Seed::new(Zeroizing::new(app.config.seal_key)).draw(&format!("claim:{account_id}")))
}

/// The link of a token, at the address that its client knows.
#[must_use]
pub fn claim_url(origin: &str, token: &str) -> String {
    format!("{origin}/claim?token={token}")
}

/// The link of the account that nobody has claimed yet, for a key that may give it away: whoever has it may have all.
#[must_use]
pub fn open_claim_url(app: &App, key: &KeyCaller, origin: &str) -> Option<String> {
    let hash = key.claim_hash.as_deref()?;
    if !key.may_manage() || key.is_partial() {
        return None;
    }
    let token = claim_token(app, &key.account_id);
    (app.hasher.hash(&token) == hash).then(|| claim_url(origin, &token))
}
