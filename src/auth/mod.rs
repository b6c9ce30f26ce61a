//! Credential → caller.

pub mod cache;
pub mod scope;
pub mod session;

use std::rc::Rc;

use guildhall_domain::credential::{self, KeyPrefix};

use crate::app::App;
use crate::http::error::{ApiError, Kind};
use crate::meter::address::check_address;
use crate::meter::limit::Limits;
use crate::meter::payer::Payer;
use crate::ports::Ports;
use scope::Scopes;

/// Who calls.
#[derive(Clone)]
pub enum Caller {
    /// Nobody known.
    Nobody,
    /// The holder of an API key.
    Key(Rc<KeyCaller>),
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
    /// What it may do.
    pub scopes: Scopes,
    /// How much of it.
    pub limits: Limits,
    /// Who pays for its calls, and within which budgets.
    pub payer: Rc<Payer>,
    /// When it ends by itself; milliseconds since 1970.
    pub usable_until_ms: i64,
}

impl Caller {
    /// The key's holder.
    ///
    /// # Errors
    /// 401 when the caller has no key; routes with `Access::Key` never see it.
    pub fn key(&self) -> Result<&Rc<KeyCaller>, ApiError> {
        match self {
            Self::Key(caller) => Ok(caller),
            Self::Nobody | Self::Admin => Err(ApiError::new(Kind::MissingCredential, "An API key is required")),
        }
    }
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
    if !is_key && app.hasher.are_equal(token, &app.config.admin_token) {
        return Ok(Caller::Admin);
    }
    let unknown = || ApiError::new(Kind::BadCredential, "Invalid or expired credential");
    if !is_key && !KeyPrefix::ALL.iter().any(|prefix| token.starts_with(prefix.as_str())) {
        return Err(ApiError::new(Kind::MalformedCredential, "Invalid or expired credential"));
    }
    if !is_key {
        return Err(unknown());
    }
    if let Some(caller) = cache::recall_key(app, ports, token) {
        return Ok(Caller::Key(caller));
    }
    // An address that has guessed too often does not get to ask the database.
    check_address(app, address, ports.clock.now_ms())?;
    cache::find_key(app, ports, token).await?.map(Caller::Key).ok_or_else(unknown)
}
