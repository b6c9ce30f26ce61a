//! Credential → caller.

pub mod admin_session;
pub mod admin_token;
pub mod cache;
pub mod claim;
pub mod claim_link;
pub mod issue;
pub mod keys;
pub mod person;
pub mod rights;
pub mod scope;
pub mod sign_in;

use std::rc::Rc;

use guildhall_domain::cache::CacheSettings;
use guildhall_domain::credential::{self, KeyPrefix};

use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::meter::address::check_address;
use crate::meter::limit::Limits;
use crate::meter::payer::{BudgetOf, Payer};
use crate::ports::Ports;
use person::find_session;
use scope::{Scope, Scopes};

/// Who calls.
#[derive(Clone)]
pub enum Caller {
    /// Nobody known.
    Nobody,
    /// The holder of an API key.
    Key(Rc<KeyCaller>),
    /// A person who has signed in.
    Session(Rc<SessionCaller>),
    /// The holder of the admin token.
    Admin,
}

/// The holder of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCaller {
    /// The key.
    pub key_id: String,
    /// Its owner, whose wallet pays.
    pub account_id: String,
    /// The product that issued it.
    pub product: String,
    /// The workspace that it is bound to.
    pub workspace_id: Option<String>,
    /// The agent whose key it is.
    pub agent_id: Option<String>,
    /// HMAC of the token of the account's claim link, while nobody has claimed it.
    pub claim_hash: Option<String>,
    /// Whether the account has keys for providers or endpoints of its own, which its calls go to first.
    pub has_upstreams: bool,
    /// What it may do.
    pub scopes: Scopes,
    /// How much of it.
    pub limits: Limits,
    /// Who pays for its calls, and within which budgets.
    pub payer: Rc<Payer>,
    /// What its account wants of the response cache.
    pub cache: CacheTerms,
    /// When it expires; milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// When its secret was made, of which one may have taken an older one's place.
    pub secret_at_ms: i64,
    /// When it ends by itself: it expires, or its rotation is due.
    pub usable_until_ms: i64,
}

/// What an account wants of the response cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheTerms {
    /// Its settings.
    pub settings: CacheSettings,
    /// How often it has forgotten what was cached.
    pub generation: i64,
}

/// A person who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCaller {
    /// The session.
    pub session_id: String,
    /// The person.
    pub person_id: String,
    /// Their address.
    pub email: String,
    /// The account that the session looks after.
    pub account_id: String,
    /// Whether that one went up in another.
    pub is_merged: bool,
}

impl KeyCaller {
    /// Whether it may look after the account: keys, billing, settings; after a part of it, where it is a part's.
    #[must_use]
    pub fn may_manage(&self) -> bool {
        match self.scopes {
            Scopes::All => self.product == "toolrouter",
            Scopes::Only(_) | Scopes::Nothing => self.scopes.allow(Scope::Manage),
        }
    }

    /// Whether it has a budget or credits of its own.
    #[must_use]
    pub fn is_spending_limited(&self) -> bool {
        let is_own = |of| matches!(of, BudgetOf::Key | BudgetOf::KeyCredits);
        self.payer.budgets().iter().any(|budget| is_own(budget.tally.of))
    }

    /// Whether it is made for a part of the account: a workspace, a budget, credits.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.workspace_id.is_some() || self.is_spending_limited()
    }

    /// What of the account it sees.
    #[must_use]
    pub fn sight(&self) -> Sight<'_> {
        match &self.workspace_id {
            _ if !self.may_manage() || self.is_spending_limited() => Sight::Own,
            Some(workspace_id) => Sight::Workspace(workspace_id),
            None => Sight::All,
        }
    }
}

/// What of an account a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight<'a> {
    /// All of it.
    All,
    /// What belongs to a workspace.
    Workspace(&'a str),
    /// Its own doings.
    Own,
}

impl Caller {
    /// The key's holder.
    ///
    /// # Errors
    /// 401 when the caller has no key; routes with `Access::Key` never see it.
    pub fn key(&self) -> Result<&Rc<KeyCaller>, ApiError> {
        match self {
            Self::Key(caller) => Ok(caller),
            _ => Err(ApiError::new(Kind::MissingCredential, "An API key is required")),
        }
    }

    /// The person.
    ///
    /// # Errors
    /// 403 when the caller has no session; routes with `Access::Session` never see it.
    pub fn session(&self) -> Result<&Rc<SessionCaller>, ApiError> {
        match self {
            Self::Session(caller) => Ok(caller),
            _ => Err(session_required()),
        }
    }

    /// The account that the caller acts for.
    ///
    /// # Errors
    /// 401 when there is none; routes with `Access::Key`, `Session`, `Account` or `Owner` never see it.
    pub fn account_id(&self) -> Result<&str, ApiError> {
        match self {
            Self::Key(caller) => Ok(&caller.account_id),
            Self::Session(caller) => Ok(&caller.account_id),
            Self::Nobody | Self::Admin => Err(ApiError::new(Kind::MissingCredential, "An API key is required")),
        }
    }

    /// Under which name its requests are known again: with one `Idempotency-Key`, callers of one name send the same request.
    #[must_use]
    pub fn guard_name(&self) -> String {
        match self {
            // What a handler would not give to this key, a replay does not either.
            Self::Key(key) if key.is_partial() || key.scopes != Scopes::All => {
                format!("{}:{}", key.account_id, key.key_id)
            }
            Self::Key(key) => key.account_id.clone(),
            // Apart from the account's keys: an answer may hold what only the owner may see.
            Self::Session(session) => format!("{}:{}", session.person_id, session.account_id),
            Self::Admin => "admin".to_owned(),
            // The pipeline lets nobody come to the guard without a caller.
            Self::Nobody => "nobody".to_owned(),
        }
    }
}

/// The refusal of a key on a route for people.
#[must_use]
pub fn session_required() -> ApiError {
    ApiError::new(Kind::Forbidden, "Session authentication required")
}

/// Finds out who holds a credential; an empty one is nobody's.
///
/// # Errors
/// 401 for a credential that is unknown or revoked, 429 when the address has tried too many, 500 when the database fails.
pub async fn resolve_caller(app: &Rc<App>, ports: &Rc<Ports>, token: &str, address: &str) -> Result<Caller, ApiError> {
    if token.is_empty() {
        return Ok(Caller::Nobody);
    }
    // An admin token may look like anything; a text that looks like a key is not compared with it.
    let is_key = credential::is_key_shaped(token);
    if credential::is_session_shaped(token) {
        check_address(app, address, ports.clock.now_ms())?;
        return find_session(app, ports, token).await?.map(Caller::Session).ok_or_else(bad_credential);
    }
    if !is_key {
        check_address(app, address, ports.clock.now_ms())?;
        if admin_token::is_admin(app, ports, token).await? {
            return Ok(Caller::Admin);
        }
    }
    if !is_key && !KeyPrefix::ALL.iter().any(|prefix| token.starts_with(prefix.as_str())) {
        return Err(ApiError::new(Kind::MalformedCredential, "Invalid or expired credential"));
    }
    if !is_key {
        return Err(bad_credential());
    }
    if let Some(caller) = cache::recall_key(app, ports, token) {
        return Ok(Caller::Key(caller));
    }
    // An address that has guessed too often does not get to ask the database.
    check_address(app, address, ports.clock.now_ms())?;
    cache::find_key(app, ports, token).await?.map(Caller::Key).ok_or_else(bad_credential)
}

fn bad_credential() -> ApiError {
    ApiError::new(Kind::BadCredential, "Invalid or expired credential")
}
