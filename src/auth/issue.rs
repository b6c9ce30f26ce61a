//! Issues keys: the one place where a key is drawn, hashed and written.

use guildhall_domain::credential::{KeyPrefix, issue, mask};
use guildhall_domain::ids::KeyId;
use guildhall_domain::money::MicroUsd;

use crate::app::Cx;
use crate::store::identity::keys::insert_key;
use crate::store::sql::Statement;

/// A key to issue.
pub struct NewKey<'a> {
    /// Whose wallet pays for it.
    pub account_id: &'a str,
    /// What it begins with, and so which product issues it.
    pub prefix: KeyPrefix,
    /// Its name.
    pub name: &'a str,
    /// What it may do, as a JSON array; empty for everything.
    pub scopes: &'a str,
    /// The workspace that it is bound to.
    pub workspace_id: Option<&'a str>,
    /// The agent whose key it is.
    pub agent_id: Option<&'a str>,
    /// The owner's own, as a JSON object.
    pub metadata: &'a str,
    /// What it may spend in all.
    pub credits: Option<MicroUsd>,
}

impl<'a> NewKey<'a> {
    /// A key for everything, without limits of its own.
    #[must_use]
    pub const fn new(account_id: &'a str, prefix: KeyPrefix, name: &'a str) -> Self {
        Self {
            account_id,
            prefix,
            name,
            scopes: "[]",
            workspace_id: None,
            agent_id: None,
            metadata: "{}",
            credits: None,
        }
    }
}

/// A key that exists as soon as `write` has run.
pub struct IssuedKey {
    /// Its id.
    pub id: String,
    /// The key itself, which is stored nowhere.
    pub key: String,
    /// What is shown of it.
    pub masked: String,
    /// Stores it: part of the caller's transaction.
    pub write: Statement,
}

/// Draws a key.
#[must_use]
pub fn issue_key(cx: &Cx, new: &NewKey<'_>) -> IssuedKey {
    let id = KeyId::from_random(cx.draw()).as_str().to_owned();
    let (key, masked) = draw_key(cx, new.prefix);
    let write = insert_key(
        new.account_id,
        &id,
        &cx.app.hasher.hash(&key),
        new.prefix.product(),
        &masked,
        new.name,
        cx.started_ms,
        new.scopes,
        new.workspace_id,
        new.agent_id,
        new.metadata,
        new.credits.map(|credits| credits.0),
    );
    IssuedKey { id, key, masked, write: write.statement }
}

/// A new secret, and what is shown of it later.
#[must_use]
pub fn draw_key(cx: &Cx, prefix: KeyPrefix) -> (String, String) {
    let key = issue(prefix, cx.draw());
    // TokenHub's clients know a key by how it begins, all others by both ends.
    let masked = if prefix == KeyPrefix::TokenHub { key.chars().take(PREFIX_CHARS).collect() } else { mask(&key) };
    (key, masked)
}

/// What is shown of `TokenHub`'s keys: `tokenhub_` and eight digits.
const PREFIX_CHARS: usize = 17;
