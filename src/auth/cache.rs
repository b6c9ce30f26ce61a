//! Keys seen lately, per isolate, by tag.
//!
//! A revoked key is refused at once by its `RateLimiter` object, which every key passes; so an entry may be a
//! little old. Up to [`FRESH_MS`] it is used as it is, up to [`STALE_MS`] it is used while it is read again in the
//! background: a busy key never waits for the database. Whether a key has expired is asked of the clock each time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use guildhall_domain::money::MicroUsd;

use super::{CacheTerms, KeyCaller, Scopes};
use crate::app::App;
use crate::meter::limit::Limits;
use crate::meter::payer::{Payer, Tally};
use crate::ports::{PortError, Ports};
use crate::store::identity::keys::{KeyRow, find_key_by_hash, note_use};
use crate::store::models::cache::read_settings;

const FRESH_MS: i64 = 1_000;
const STALE_MS: i64 = 2_000;
/// Above it the cache starts anew: an entry is about 600 bytes.
const MAX_ENTRIES: usize = 10_000;
/// A key's last use is written down this often.
const NOTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// The tag of a key under the pepper.
type Tag = u128;

struct Entry {
    caller: Rc<KeyCaller>,
    read_ms: i64,
    refreshing: bool,
    /// The last use that is written down.
    noted_ms: i64,
}

/// The cache.
#[derive(Default)]
pub struct CredentialCache {
    entries: RefCell<HashMap<Tag, Entry>>,
    /// Goes up whenever keys are forgotten: what was read before is then not kept.
    changes: Cell<u64>,
}

impl CredentialCache {
    /// Forgets the keys of an account, after its limits or its keys changed.
    pub fn forget_account(&self, account_id: &str) {
        self.changes.set(self.changes.get() + 1);
        self.entries.borrow_mut().retain(|_, entry| entry.caller.account_id != account_id);
    }

    fn put(&self, tag: Tag, caller: Rc<KeyCaller>, noted_ms: i64, now_ms: i64) {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        let noted_ms = entries.get(&tag).map_or(noted_ms, |known| known.noted_ms.max(noted_ms));
        entries.insert(tag, Entry { caller, read_ms: now_ms, refreshing: false, noted_ms });
    }
}

/// A usable key that was seen lately.
pub fn recall_key(app: &Rc<App>, ports: &Rc<Ports>, key: &str) -> Option<Rc<KeyCaller>> {
    let now_ms = ports.clock.now_ms();
    let tag = app.hasher.tag(key);
    let (mut refresh, mut note) = (false, false);
    let known = app.credentials.entries.borrow_mut().get_mut(&tag).and_then(|entry| {
        let age_ms = now_ms - entry.read_ms;
        if age_ms > STALE_MS || now_ms >= entry.caller.usable_until_ms {
            return None;
        }
        refresh = age_ms > FRESH_MS && !entry.refreshing;
        entry.refreshing |= refresh;
        note = now_ms - entry.noted_ms >= NOTE_MS;
        if note {
            entry.noted_ms = now_ms;
        }
        Some(Rc::clone(&entry.caller))
    });
    if refresh {
        let (app, ports_then, stored) = (Rc::clone(app), Rc::clone(ports), app.hasher.hash(key));
        ports.background.spawn(Box::pin(async move {
            if let Err(error) = read_key(&app, &ports_then, tag, &stored).await {
                ports_then.background.log(&format!("credential refresh: {error}"));
            }
        }));
    }
    if note && let Some(caller) = &known {
        write_use(ports, Rc::clone(caller), now_ms);
    }
    known
}

/// Writes a use down, in the background: a column of its own, so that no other change of the key is undone.
fn write_use(ports: &Rc<Ports>, caller: Rc<KeyCaller>, now_ms: i64) {
    let ports_then = Rc::clone(ports);
    ports.background.spawn(Box::pin(async move {
        let note = note_use(&caller.account_id, &caller.key_id, now_ms, now_ms - NOTE_MS);
        if let Err(error) = note.run(&*ports_then.db).await {
            ports_then.background.log(&format!("last use of {}: {error}", caller.key_id));
        }
    }));
}

/// A usable key, from the database.
///
/// # Errors
/// When the database fails.
pub async fn find_key(app: &Rc<App>, ports: &Rc<Ports>, key: &str) -> Result<Option<Rc<KeyCaller>>, PortError> {
    let read = read_key(app, ports, app.hasher.tag(key), &app.hasher.hash(key)).await?;
    // Recalling it notes the use.
    Ok(read.map(|caller| recall_key(app, ports, key).unwrap_or(caller)))
}

async fn read_key(app: &App, ports: &Ports, tag: Tag, stored: &str) -> Result<Option<Rc<KeyCaller>>, PortError> {
    let changes = app.credentials.changes.get();
    let row = find_key_by_hash(stored).run(&*ports.db).await?;
    let now_ms = ports.clock.now_ms();
    let is_active = |row: &KeyRow| {
        let workspace_is_open = row.workspace_status.as_deref().is_none_or(|status| status == "active");
        row.status == "active" && row.account_status == "active" && workspace_is_open
    };
    let noted_ms = row.as_ref().and_then(|row| row.last_used_at_ms).unwrap_or(0);
    let caller = row.filter(is_active).map(to_caller).filter(|caller| now_ms < caller.usable_until_ms);
    let Some(caller) = caller.map(Rc::new) else {
        app.credentials.entries.borrow_mut().remove(&tag);
        return Ok(None);
    };
    if app.credentials.changes.get() == changes {
        app.credentials.put(tag, Rc::clone(&caller), noted_ms, now_ms);
    }
    Ok(Some(caller))
}

fn to_caller(row: KeyRow) -> KeyCaller {
    let limits = to_limits(&row);
    let usable_until_ms = usable_until_ms(&row);
    KeyCaller {
        payer: Rc::new(to_payer(&row).reloading_below(row.auto_pay_below_micros.map(MicroUsd))),
        cache: CacheTerms { settings: read_settings(&row.cache_settings), generation: row.cache_generation },
        key_id: row.id,
        account_id: row.account_id,
        product: row.product,
        workspace_id: row.workspace_id,
        agent_id: row.agent_id,
        claim_hash: row.claim_hash,
        has_upstreams: row.has_upstreams,
        scopes: Scopes::read(&row.scopes),
        limits,
        expires_at_ms: row.expires_at_ms,
        secret_at_ms: row.rotated_at_ms,
        usable_until_ms,
    }
}

/// What the key's calls count for, and whatever limits its spending: all of it holds.
fn to_payer(row: &KeyRow) -> Payer {
    let of_key = Tally::of_key(&row.id, row.budget_reset_at_ms.unwrap_or(0));
    let mut tallies = vec![(of_key, row.monthly_budget_micros)];
    if row.credits_micros.is_some() {
        tallies.push((Tally::of_key_credits(&row.id), row.credits_micros));
    }
    if let Some(workspace_id) = &row.workspace_id {
        tallies.push((Tally::of_workspace(workspace_id), row.workspace_budget_micros));
    }
    tallies.push((Tally::of_account(), row.account_budget_micros));
    let in_usd = |(tally, micros): (Tally, Option<i64>)| (tally, micros.map(MicroUsd));
    Payer::new(&row.account_id, tallies.into_iter().map(in_usd).collect())
}

/// The key's own limits come first, then its rate a second stands for the account's, then the account's.
fn to_limits(row: &KeyRow) -> Limits {
    let standard = Limits::STANDARD;
    let base = match row.rate_limit_rps {
        0 => Limits {
            per_minute: row.requests_per_minute.unwrap_or(standard.per_minute),
            per_hour: row.requests_per_hour.unwrap_or(standard.per_hour),
            concurrent: row.concurrent.unwrap_or(standard.concurrent),
            per_second: 0,
        },
        rate if rate < 0 => Limits::UNLIMITED,
        rate => Limits::a_second(u32::try_from(rate).unwrap_or(u32::MAX)),
    };
    Limits {
        per_minute: row.key_requests_per_minute.unwrap_or(base.per_minute),
        per_hour: row.key_requests_per_hour.unwrap_or(base.per_hour),
        concurrent: row.key_concurrent.unwrap_or(base.concurrent),
        ..base
    }
}

/// When a key ends by itself: it expires, or its rotation is overdue.
fn usable_until_ms(row: &KeyRow) -> i64 {
    let rotation_ms = row.rotated_at_ms.saturating_add(row.rotation_days.saturating_mul(DAY_MS));
    let rotation_ms = if row.rotation_days > 0 { rotation_ms } else { i64::MAX };
    row.expires_at_ms.unwrap_or(i64::MAX).min(rotation_ms)
}
