//! What callers bring along, keys of providers and endpoints of their own, as an isolate knows it.
//!
//! Only a key whose account has any leads here (`KeyCaller::has_upstreams`, read with the credential). An account's table is
//! read in one round trip and kept as a credential is: up to [`FRESH_MS`] it is used as it is, up to [`STALE_MS`] while it is
//! read again in the background. No table is ever used for another account's call.

pub mod check;
pub mod notes;
mod offers;
pub mod secret;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use guildhall_domain::ids::ProviderId;
use guildhall_domain::media::ModelKind;
use guildhall_domain::outbound::check_url;
use guildhall_domain::own::{KeyProvider, Origin};
use serde::{Deserialize, Serialize};

use super::provider::{Endpoint, ProviderKind};
use super::table::Provider;
use crate::app::{App, Cx};
use crate::auth::Caller;
use crate::error::{ApiError, Kind};
use crate::ports::{PortError, Ports};
use crate::store::identity::workspaces::{WorkspaceRow, find_workspace};
use crate::store::models::local_endpoints::{LocalEndpointRow, list_local_endpoints};
use crate::store::models::provider_keys::{ProviderKeyRow, list_provider_keys};
use crate::store::money::usage::Source;
use crate::store::statement::run_all;
use secret::open_secret;

pub use offers::{OwnAsk, OwnName};

/// Keys of providers that an account may have.
pub const KEYS_MAX: i64 = 50;
/// Endpoints that an account may have.
pub const ENDPOINTS_MAX: i64 = 20;
/// Models of an endpoint that are kept; those beyond are not offered.
pub const MODELS_KEPT: usize = 100;

const FRESH_MS: i64 = 1_000;
const STALE_MS: i64 = 2_000;
/// A table that nobody has used for so long is dropped with the next reading, and the keys that it holds open with it.
const KEPT_MS: i64 = 60_000;
/// Above it the cache starts anew.
const TABLES_MAX: usize = 1_000;

/// What stands for an upstream's name wherever it is recorded or counted: the names that callers give say nothing to others.
#[must_use]
pub const fn name_origin(origin: Origin) -> Source {
    match origin {
        Origin::Endpoint => Source::Local,
        Origin::Key => Source::Byok,
        Origin::Platform => Source::Managed,
    }
}

/// A model of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnModel {
    /// What the endpoint calls it.
    pub id: String,
    /// What it most likely does.
    pub kind: ModelKind,
}

/// Whose an upstream is, and how it is doing.
pub struct Own {
    /// Of which kind.
    pub origin: Origin,
    /// Whose.
    pub account_id: String,
    /// Its id, of a key or an endpoint.
    pub id: String,
    /// Until when it is left alone.
    rests_until_ms: Cell<i64>,
    /// The last success that is written down; 0 where a failure came after it.
    noted_ms: Cell<i64>,
}

/// An account's own upstreams.
pub struct OwnTable {
    account_id: String,
    endpoints: Vec<OwnEndpoint>,
    keys: Vec<OwnKey>,
}

struct OwnEndpoint {
    workspace_id: Option<String>,
    priority: u8,
    models: Vec<OwnModel>,
    model_map: BTreeMap<String, String>,
    is_healthy: bool,
    checked_ms: Cell<i64>,
    provider: Rc<Provider>,
}

struct OwnKey {
    of: KeyProvider,
    workspace_id: Option<String>,
    provider: Rc<Provider>,
}

struct Kept {
    table: Rc<OwnTable>,
    read_ms: i64,
    is_refreshing: bool,
}

/// The tables of an isolate, by account.
#[derive(Default)]
pub struct OwnTables {
    kept: RefCell<HashMap<String, Kept>>,
    /// Raised by every change here: what was read before it is not kept after it.
    changes: Cell<u64>,
}

impl OwnTables {
    /// Forgets an account's, after one of its upstreams changed.
    pub fn forget(&self, account_id: &str) {
        self.changes.set(self.changes.get() + 1);
        self.kept.borrow_mut().remove(account_id);
    }

    fn put(&self, account_id: &str, table: &Rc<OwnTable>, now_ms: i64) {
        let mut kept = self.kept.borrow_mut();
        if let Some(known) = kept.get(account_id) {
            table.take_rests(&known.table);
        }
        kept.retain(|_, one| now_ms - one.read_ms < KEPT_MS);
        if kept.len() >= TABLES_MAX {
            kept.clear();
        }
        kept.insert(account_id.to_owned(), Kept { table: Rc::clone(table), read_ms: now_ms, is_refreshing: false });
    }
}

impl OwnTable {
    /// Endpoints that asked to be left alone for a while still are: that is written down nowhere.
    fn take_rests(&self, known: &Self) {
        for (endpoint, before) in self.endpoints.iter().flat_map(|one| known.endpoints.iter().map(move |k| (one, k))) {
            if let (Some(own), Some(known)) = (&endpoint.provider.own, &before.provider.own)
                && own.id == known.id
                && own.rests_until_ms.get() == 0
                && known.rests_until_ms.get() < i64::MAX
            {
                own.rests_until_ms.set(known.rests_until_ms.get());
            }
        }
    }
}

/// Has this isolate read anew what an account has.
pub fn forget_own(cx: &Cx, account_id: &str) {
    cx.app.credentials.forget_account(account_id);
    cx.app.gateway.own.forget(account_id);
}

/// Checks that a workspace that something is to be bound to is the account's.
///
/// # Errors
/// 404 when it is not, 409 when it is archived.
pub async fn require_workspace(cx: &Cx, account_id: &str, workspace_id: Option<&str>) -> Result<(), ApiError> {
    let Some(workspace_id) = workspace_id else { return Ok(()) };
    let found = find_workspace(account_id, workspace_id).run(&*cx.ports.db).await?;
    require_open(&found.ok_or_else(|| ApiError::not_found("Workspace"))?)
}

/// Checks that something may be bound to a workspace.
///
/// # Errors
/// 409 when it is archived.
pub fn require_open(workspace: &WorkspaceRow) -> Result<(), ApiError> {
    let is_open = workspace.status == "active";
    if is_open { Ok(()) } else { Err(ApiError::new(Kind::Conflict, "The workspace is archived")) }
}

/// The caller's own upstreams, if there are any. Where they cannot be read, the call goes to the platform's.
pub async fn find_own(cx: &Cx) -> Option<Rc<OwnTable>> {
    let Caller::Key(key) = &cx.caller else { return None };
    if !key.has_upstreams {
        return None;
    }
    match recall(cx, &key.account_id).await {
        Ok(table) => {
            check::recheck_unreachable(cx, &table);
            Some(table)
        }
        Err(error) => {
            cx.ports.background.log(&format!("{}: own upstreams: {error}", cx.request_id));
            None
        }
    }
}

async fn recall(cx: &Cx, account_id: &str) -> Result<Rc<OwnTable>, PortError> {
    let now_ms = cx.ports.clock.now_ms();
    let mut refresh = false;
    let known = cx.app.gateway.own.kept.borrow_mut().get_mut(account_id).and_then(|kept| {
        let age_ms = now_ms - kept.read_ms;
        if age_ms > STALE_MS {
            return None;
        }
        refresh = age_ms > FRESH_MS && !kept.is_refreshing;
        kept.is_refreshing |= refresh;
        Some(Rc::clone(&kept.table))
    });
    let Some(table) = known else { return read_table(&cx.app, &cx.ports, account_id).await };
    if refresh {
        let (app, ports, account_id) = (Rc::clone(&cx.app), Rc::clone(&cx.ports), account_id.to_owned());
        cx.ports.background.spawn(Box::pin(async move {
            if let Err(error) = read_table(&app, &ports, &account_id).await {
                ports.background.log(&format!("own upstreams: {error}"));
            }
        }));
    }
    Ok(table)
}

/// An upstream of an account's by its id, as it is now, whatever call it is for; `None` once it is gone.
///
/// # Errors
/// When the database fails.
pub async fn find_upstream(
    app: &App,
    ports: &Ports,
    account_id: &str,
    id: &str,
) -> Result<Option<Rc<Provider>>, PortError> {
    let table = read_table(app, ports, account_id).await?;
    let of_endpoints = table.endpoints.iter().map(|endpoint| &endpoint.provider);
    let mut upstreams = of_endpoints.chain(table.keys.iter().map(|key| &key.provider));
    let found = upstreams.find(|provider| provider.own.as_ref().is_some_and(|own| own.id == id));
    Ok(found.map(Rc::clone))
}

async fn read_table(app: &App, ports: &Ports, account_id: &str) -> Result<Rc<OwnTable>, PortError> {
    let tables = &app.gateway.own;
    let changes = tables.changes.get();
    let reads = (list_local_endpoints(account_id, None, ENDPOINTS_MAX), list_provider_keys(account_id, None, KEYS_MAX));
    let (endpoints, keys) = run_all(&*ports.db, reads).await?;
    let log = |id: &str, why: &dyn std::fmt::Display| ports.background.log(&format!("{id}: {why}"));
    let endpoints = endpoints.into_iter().filter(|row| row.enabled).filter_map(|row| {
        let id = row.id.clone();
        open_endpoint(app, row).map_err(|why| log(&id, &why)).ok()
    });
    let endpoints = endpoints.collect();
    let keys = keys.into_iter().filter_map(|row| {
        let id = row.id.clone();
        open_key(app, account_id, &row).map_err(|why| log(&id, &why)).ok()
    });
    let table = Rc::new(OwnTable { account_id: account_id.to_owned(), endpoints, keys: keys.collect() });
    if tables.changes.get() == changes {
        tables.put(account_id, &table, ports.clock.now_ms());
    }
    Ok(table)
}

fn open_endpoint(app: &App, row: LocalEndpointRow) -> Result<OwnEndpoint, String> {
    check_url(&row.base_url, app.config.outbound).map_err(|error| error.to_string())?;
    let open = |sealed: &String| open_secret(app, &row.account_id, &row.id, sealed).map_err(|error| error.to_string());
    let key = row.sealed_key.as_ref().map(open).transpose()?;
    let is_healthy = row.is_healthy();
    let own = Own {
        origin: Origin::Endpoint,
        account_id: row.account_id,
        id: row.id,
        rests_until_ms: Cell::new(if is_healthy { 0 } else { i64::MAX }),
        noted_ms: Cell::new(0),
    };
    let kind = ProviderKind::Vllm;
    Ok(OwnEndpoint {
        provider: to_provider(kind, Endpoint::new(kind, &row.base_url, key.as_ref()), own)?,
        workspace_id: row.workspace_id,
        priority: u8::try_from(row.priority).unwrap_or(0),
        models: serde_json::from_str(&row.models).map_err(|error| error.to_string())?,
        model_map: serde_json::from_str(&row.model_map).map_err(|error| error.to_string())?,
        is_healthy,
        checked_ms: Cell::new(row.last_checked_at_ms),
    })
}

fn open_key(app: &App, account_id: &str, row: &ProviderKeyRow) -> Result<OwnKey, String> {
    let key = open_secret(app, account_id, &row.id, &row.sealed_secret).map_err(|error| error.to_string())?;
    let noted_ms = row.last_success_at_ms.filter(|success_ms| Some(*success_ms) > row.last_failure_at_ms);
    let own = Own {
        origin: Origin::Key,
        account_id: account_id.to_owned(),
        id: row.id.clone(),
        rests_until_ms: Cell::new(row.rests_until_ms),
        noted_ms: Cell::new(noted_ms.unwrap_or(0)),
    };
    let kind = match row.provider {
        KeyProvider::Anthropic => ProviderKind::Anthropic,
        KeyProvider::OpenAi | KeyProvider::Google | KeyProvider::Groq => ProviderKind::OpenAi,
    };
    let base_url = match &app.config.byok_base_url {
        Some(stand_in) => format!("{stand_in}/{}", row.provider.name()),
        None => row.provider.base_url().to_owned(),
    };
    let endpoint = Endpoint::new(kind, &base_url, Some(&key));
    let endpoint = if row.provider.has_v1() { endpoint } else { endpoint.without_v1() };
    Ok(OwnKey { of: row.provider, workspace_id: row.workspace_id.clone(), provider: to_provider(kind, endpoint, own)? })
}

fn to_provider(kind: ProviderKind, endpoint: Endpoint, own: Own) -> Result<Rc<Provider>, String> {
    let id: ProviderId = name_origin(own.origin).name().parse().map_err(|_| "its origin is not a name".to_owned())?;
    Ok(Rc::new(Provider { id, kind, endpoint, enabled: true, has_key: true, own: Some(own) }))
}
