//! What lives as long as an isolate ([`App`]) and what lives as long as a request ([`Cx`]).

use std::cell::Cell;
use std::rc::Rc;

use durable_objects::idempotency::protocol::STORED_MS;
use guildhall_domain::anthropic::ClientHeaders;
use guildhall_domain::cache::CacheControl;
use guildhall_domain::credential::KeyHasher;
use guildhall_domain::ids::RequestId;

use crate::auth::Caller;
use crate::auth::cache::CredentialCache;
use crate::config::Config;
use crate::error::ApiError;
use crate::gateway::table::GatewayTable;
use crate::http::room::Room;
use crate::http::route::Route;
use crate::http::table::RouteTable;
use crate::meter::limit::Admission;
use crate::meter::{Meter, money};
use crate::observe::audit::Trail;
use crate::observe::counters::Counters;
use crate::payments::auto_pay::Watch;
use crate::ports::{Ports, TICK_MS};
use crate::vault::Door;

/// One isolate: settings, the route table, and caches. No handle of the platform is kept here.
pub struct App {
    /// The settings.
    pub config: Config,
    /// Hashes credentials under the pepper.
    pub hasher: KeyHasher,
    /// The route table.
    pub routes: RouteTable,
    /// Room for large bodies.
    pub room: Rc<Room>,
    /// Keys seen lately.
    pub credentials: CredentialCache,
    /// Providers, models and their health.
    pub gateway: GatewayTable,
    /// Leases of limits and money.
    pub meter: Meter,
    /// What it knows of the vault.
    pub vault: Door,
    /// When it last looked after balances that are reloaded.
    pub auto_pay: Watch,
    /// Counts of what leaves no record.
    pub counters: Counters,
    /// Unlike that of any other isolate; the first half of request ids.
    seed: u64,
    requests: Cell<u64>,
}

impl App {
    /// A new isolate that serves these routes.
    ///
    /// # Errors
    /// When two routes claim one path.
    pub fn new(config: Config, routes: &[&'static [Route]], seed: u64) -> Result<Self, String> {
        Ok(Self {
            hasher: KeyHasher::new(&config.key_pepper),
            config,
            routes: RouteTable::build(routes)?,
            room: Rc::default(),
            credentials: CredentialCache::default(),
            gateway: GatewayTable::default(),
            meter: Meter::new(seed),
            vault: Door::default(),
            auto_pay: Watch::default(),
            counters: Counters::default(),
            seed,
            requests: Cell::new(0),
        })
    }

    /// A request id: unique, not secret.
    #[must_use]
    pub fn next_request_id(&self) -> String {
        let count = self.requests.get().wrapping_add(1);
        self.requests.set(count);
        let number = u128::from(self.seed) << 64 | u128::from(count);
        RequestId::from_random(number.to_be_bytes()).as_str().to_owned()
    }
}

/// All that a handler sees.
#[derive(Clone)]
pub struct Cx {
    /// The isolate.
    pub app: Rc<App>,
    /// The outside.
    pub ports: Rc<Ports>,
    /// Who calls.
    pub caller: Caller,
    /// The place in the rate limit; given back when the last clone of this context is dropped.
    pub admission: Option<Rc<Admission>>,
    /// The request's id.
    pub request_id: Rc<str>,
    /// What the caller calls this request, so that it is the same one when it is sent again.
    pub idempotency_key: Option<Rc<str>>,
    /// What the caller says of the response cache.
    pub cache_control: CacheControl,
    /// What a client of Anthropic's asks of the API beside its request.
    pub anthropic: Option<Rc<ClientHeaders>>,
    /// When the request came in.
    pub started_ms: i64,
    /// The address it was sent to, such as `https://api.example.com`; empty when unknown.
    pub origin: Rc<str>,
    /// The caller's address.
    pub address: Rc<str>,
    /// What the audit log will say of this request; `None` on routes that are not audited.
    pub trail: Option<Rc<Trail>>,
}

impl Cx {
    /// Random bytes: `Id::from_random(cx.draw())`.
    #[must_use]
    pub fn draw<const N: usize>(&self) -> [u8; N] {
        let mut random = [0; N];
        self.ports.random.fill(&mut random);
        random
    }

    /// Whether what has this request's [name](Cx::name_once) and happened then may be its own doing: a request can come again
    /// for as long as the guard remembers it, and what it made happen may be known for longer.
    #[must_use]
    pub const fn may_have_made(&self, at_ms: i64) -> bool {
        self.started_ms - at_ms < STORED_MS
    }

    /// A name for what this request makes happen once: the same name when the caller sends it again under its
    /// `Idempotency-Key`, because the first answer may have been lost. What the guard takes for another request has another.
    #[must_use]
    pub fn name_once(&self, prefix: &str) -> String {
        let Some(key) = &self.idempotency_key else { return format!("{prefix}_{}", self.request_id) };
        let called = match &self.caller {
            Caller::Nobody | Caller::Admin => key.to_string(),
            caller => format!("{}:{key}", caller.guard_name()),
        };
        format!("{prefix}_{}", self.app.hasher.hash(&called))
    }

    /// Says what an audited change is about, where the path does not: before the change is written.
    pub fn audit_resource(&self, id: &str) {
        if let Some(trail) = &self.trail {
            trail.set_resource(id);
        }
    }

    /// Says more of an audited change; never a secret.
    pub fn audit_detail(&self, detail: impl std::fmt::Display) {
        if let Some(trail) = &self.trail {
            trail.set_detail(&detail.to_string());
        }
    }

    /// Sees to it that the place in the limits is still there if the body was long in coming.
    ///
    /// # Errors
    /// As [`Admission::confirm`].
    pub async fn confirm_place(&self) -> Result<(), ApiError> {
        match &self.admission {
            Some(admission) if self.ports.clock.now_ms() - self.started_ms >= i64::from(TICK_MS) => {
                admission.confirm().await
            }
            _ => Ok(()),
        }
    }

    /// Keeps up what a long call holds: its place in the limits and its owner's money.
    pub fn keep_up(&self) {
        if let (Caller::Key(key), Some(admission)) = (&self.caller, &self.admission) {
            money::keep_up(&self.app, &self.ports, &key.payer, self.ports.clock.now_ms());
            admission.keep_up();
        }
    }
}
