//! What of an account's keys a caller may look after: a person all of them, a key none that may more than itself.

use std::rc::Rc;

use guildhall_domain::credential::KeyPrefix;

use super::scope::Scopes;
use super::{Caller, KeyCaller, Sight};
use crate::error::{ApiError, Kind};

/// What the caller may give.
pub struct Rights {
    /// `None` for a person.
    key: Option<Rc<KeyCaller>>,
}

/// What a key is given, or has.
#[derive(Clone)]
pub struct Grant {
    /// What it may do.
    pub scopes: Scopes,
    /// The workspace that it is bound to.
    pub workspace_id: Option<String>,
    /// When it expires; milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}

impl Rights {
    /// The caller's.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Key(key) => Self { key: Some(Rc::clone(key)) },
            Caller::Session(_) | Caller::Admin | Caller::Nobody => Self { key: None },
        }
    }

    /// What a new key has when nobody says.
    #[must_use]
    pub fn standard(&self) -> Grant {
        match &self.key {
            None => Grant { scopes: Scopes::All, workspace_id: None, expires_at_ms: None },
            Some(key) => Grant {
                scopes: key.scopes.clone(),
                workspace_id: key.workspace_id.clone(),
                expires_at_ms: key.expires_at_ms,
            },
        }
    }

    /// What new keys begin with: those that people create are Tokaroo's, those that a key creates are of its kind.
    #[must_use]
    pub fn prefix(&self) -> KeyPrefix {
        let product = self.key.as_ref().map_or("", |key| key.product.as_str());
        let like = [KeyPrefix::ToolRouter, KeyPrefix::TokenHub].into_iter().find(|prefix| prefix.product() == product);
        like.unwrap_or(KeyPrefix::Tokaroo)
    }

    /// The only workspace whose keys the caller sees; `None` when it sees them all.
    #[must_use]
    pub fn workspace_id(&self) -> Option<&str> {
        self.key.as_ref().and_then(|key| key.workspace_id.as_deref())
    }

    /// The only key that the caller sees, when it sees no other.
    #[must_use]
    pub fn only_key_id(&self) -> Option<&str> {
        self.key.as_ref().filter(|key| key.sight() == Sight::Own).map(|key| key.key_id.as_str())
    }

    /// Whether this is the key that calls.
    #[must_use]
    pub fn is_own_key(&self, key_id: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.key_id == key_id)
    }

    /// Whether the caller may have a key with these rights in hand, and so create, change, rotate or revoke one.
    ///
    /// # Errors
    /// 403 that names what is more than the caller has.
    pub fn check(&self, grant: &Grant) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let refuse = |text: &str| Err(ApiError::new(Kind::Forbidden, text));
        if key.is_spending_limited() {
            return refuse("A key with a budget or credits of its own can't create, change, rotate or revoke keys");
        }
        if !key.scopes.include(&grant.scopes) {
            return refuse("scopes: a key can't look after one that may more than itself");
        }
        if key.workspace_id.is_some() && key.workspace_id != grant.workspace_id {
            return refuse("workspace_id: a key of a workspace looks after the keys of that workspace only");
        }
        match (key.expires_at_ms, grant.expires_at_ms) {
            (Some(own_ms), Some(given_ms)) if given_ms <= own_ms => Ok(()),
            (Some(_), _) => refuse("expires_at: a key can't look after one that outlives it"),
            (None, _) => Ok(()),
        }
    }
}
