//! Provider keys as an isolate holds them: for a minute at most, and no longer than until it hears of a lock.
//!
//! They are read with the routing table and confirmed where the table is, in the background of a busy isolate.

use std::cell::Cell;
use std::collections::BTreeMap;

use durable_objects::vault::protocol::{Command, Reply, SECRETS_MAX};
use guildhall_domain::seal;
use guildhall_domain::secret::SecretText;

use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::ports::Ports;
use crate::store::models::providers::ProviderRow;
use crate::vault::{ask_vault, name_provider_key};

/// How old keys may grow before the vault is asked whether they still hold.
const CONFIRM_MS: i64 = 30_000;
/// How soon a vault is asked again that was locked, or did not answer.
const RETRY_MS: i64 = 2_000;
/// How old keys may grow while the vault does not answer: a table that was found current is used for ten seconds more,
/// so that no key is used that was read a minute ago.
const UNCONFIRMED_MAX_MS: i64 = 50_000;

/// The keys of one reading of the routing table.
pub struct ProviderKeys {
    /// Whose keys were wanted.
    names: Vec<String>,
    found: Found,
    /// When the vault was last asked and answered so.
    asked_ms: Cell<i64>,
}

#[derive(PartialEq)]
enum Found {
    Keys(BTreeMap<String, SecretText>),
    Locked,
    Unanswered,
}

impl ProviderKeys {
    /// Reads the keys of these providers. Never fails: what cannot be read is missing, and says why.
    pub async fn read(app: &App, ports: &Ports, provider_ids: impl Iterator<Item = &str>) -> Self {
        let names: Vec<_> = provider_ids.map(name_provider_key).take(SECRETS_MAX).collect();
        let asked_ms = Cell::new(ports.clock.now_ms());
        let found = find_keys(app, ports, &names).await;
        Self { names, found, asked_ms }
    }

    /// The key of a provider, if it needs one. One from before the vault stands in the row.
    ///
    /// # Errors
    /// Why it cannot be had, for the log.
    pub fn open(&self, app: &App, row: &ProviderRow) -> Result<Option<SecretText>, String> {
        match &row.sealed_key {
            Some(sealed) => seal::open_text(&app.config.seal_key, &name_provider_key(&row.id), sealed)
                .map(Some)
                .map_err(|error| error.to_string()),
            None if row.is_in_vault() => self.get(&row.id).cloned().map(Some).map_err(str::to_owned),
            None => Ok(None),
        }
    }

    fn get(&self, provider_id: &str) -> Result<&SecretText, &'static str> {
        match &self.found {
            Found::Keys(keys) => keys.get(&name_provider_key(provider_id)).ok_or("its key is not in the vault"),
            Found::Locked => Err("its key is in the vault, which is locked"),
            Found::Unanswered => Err("its key is in the vault, which does not answer"),
        }
    }

    /// Whether these are still the keys that the vault gives; asks it when they have grown old.
    pub async fn are_current(&self, app: &App, ports: &Ports) -> bool {
        let now_ms = ports.clock.now_ms();
        let age_ms = now_ms - self.asked_ms.get();
        let holds_keys = matches!(self.found, Found::Keys(_));
        let confirm_ms = if holds_keys { CONFIRM_MS } else { RETRY_MS };
        if self.names.is_empty() || (0..confirm_ms).contains(&age_ms) {
            return true;
        }
        let found = find_keys(app, ports, &self.names).await;
        if found == Found::Unanswered && holds_keys {
            return (0..UNCONFIRMED_MAX_MS).contains(&age_ms);
        }
        if found == self.found {
            self.asked_ms.set(now_ms);
        }
        found == self.found
    }
}

/// The key of one provider, if it needs one.
///
/// # Errors
/// 503 when it is in a vault that is locked or does not answer.
pub async fn find_provider_key(app: &App, ports: &Ports, row: &ProviderRow) -> Result<Option<SecretText>, ApiError> {
    let wanted = Some(row.id.as_str()).filter(|_| row.is_in_vault());
    let keys = ProviderKeys::read(app, ports, wanted.into_iter()).await;
    keys.open(app, row).map_err(|why| ApiError::new(Kind::Unavailable, "vault is locked").caused_by(why))
}

async fn find_keys(app: &App, ports: &Ports, names: &[String]) -> Found {
    if names.is_empty() {
        return Found::Keys(BTreeMap::new());
    }
    match ask_vault(app, ports, &Command::Get { names: names.to_vec() }).await {
        Ok(Reply::Values { values, broken }) => {
            for name in broken {
                ports.background.log(&format!("vault: {name} does not open"));
            }
            Found::Keys(values)
        }
        Ok(Reply::Locked(_)) => Found::Locked,
        Ok(other) => {
            ports.background.log(&format!("vault: {other:?}"));
            Found::Unanswered
        }
        Err(error) => {
            ports.background.log(&format!("vault: {error}"));
            Found::Unanswered
        }
    }
}
