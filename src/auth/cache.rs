//! Keys seen lately, per isolate, by hash.
//!
//! A revoked key is refused at once by its `RateLimiter` object, which every key passes; so an entry may be a
//! little old. Up to [`FRESH_MS`] it is used as it is, up to [`STALE_MS`] it is used while it is read again in the
//! background: a busy key never waits for the database.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{KeyCaller, Scopes};
use crate::app::App;
use crate::meter::limit::Limits;
use crate::ports::{PortError, Ports};
use crate::store::identity::keys::{KeyRow, find_key_by_hash};

const FRESH_MS: i64 = 1_000;
const STALE_MS: i64 = 2_000;
/// Above it the cache starts anew: an entry is about 300 bytes.
const MAX_ENTRIES: usize = 10_000;

/// The hash of a key under the pepper.
type Digest = [u8; 32];

struct Entry {
    caller: Rc<KeyCaller>,
    read_ms: i64,
    refreshing: bool,
}

/// The cache.
#[derive(Default)]
pub struct CredentialCache {
    entries: RefCell<HashMap<Digest, Entry>>,
}

impl CredentialCache {
    /// Forgets the keys of an account, after its limits or its keys changed.
    pub fn forget_account(&self, account_id: &str) {
        self.entries.borrow_mut().retain(|_, entry| entry.caller.account_id != account_id);
    }

    fn put(&self, hash: Digest, caller: Rc<KeyCaller>, now_ms: i64) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(hash, Entry { caller, read_ms: now_ms, refreshing: false });
    }
}

/// A usable key that was seen lately.
pub fn recall_key(app: &Rc<App>, ports: &Rc<Ports>, key: &str) -> Option<Rc<KeyCaller>> {
    let now_ms = ports.clock.now_ms();
    let hash = app.hasher.digest(key);
    let mut refresh = false;
    let known = app.credentials.entries.borrow_mut().get_mut(&hash).and_then(|entry| {
        let age_ms = now_ms - entry.read_ms;
        if age_ms > STALE_MS {
            return None;
        }
        refresh = age_ms > FRESH_MS && !entry.refreshing;
        entry.refreshing |= refresh;
        Some(Rc::clone(&entry.caller))
    });
    if refresh {
        let (app, ports_then, stored) = (Rc::clone(app), Rc::clone(ports), app.hasher.hash(key));
        ports.background.spawn(Box::pin(async move {
            if let Err(error) = read_key(&app, &ports_then, hash, &stored).await {
                ports_then.background.log(&format!("credential refresh: {error}"));
            }
        }));
    }
    known
}

/// A usable key, from the database.
///
/// # Errors
/// When the database fails.
pub async fn find_key(app: &App, ports: &Ports, key: &str) -> Result<Option<Rc<KeyCaller>>, PortError> {
    read_key(app, ports, app.hasher.digest(key), &app.hasher.hash(key)).await
}

async fn read_key(app: &App, ports: &Ports, hash: Digest, stored: &str) -> Result<Option<Rc<KeyCaller>>, PortError> {
    let row = find_key_by_hash(stored).run(&*ports.db).await?;
    let Some(caller) = row.filter(|row| row.status == "active" && row.account_status == "active").map(to_caller) else {
        app.credentials.entries.borrow_mut().remove(&hash);
        return Ok(None);
    };
    let caller = Rc::new(caller);
    app.credentials.put(hash, Rc::clone(&caller), ports.clock.now_ms());
    Ok(Some(caller))
}

fn to_caller(row: KeyRow) -> KeyCaller {
    let standard = Limits::STANDARD;
    KeyCaller {
        key_id: row.id,
        account_id: row.account_id,
        product: row.product,
        scopes: Scopes::read(&row.scopes),
        limits: Limits {
            per_minute: row.requests_per_minute.unwrap_or(standard.per_minute),
            per_hour: row.requests_per_hour.unwrap_or(standard.per_hour),
            concurrent: row.concurrent.unwrap_or(standard.concurrent),
        },
    }
}
