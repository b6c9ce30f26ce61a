//! How the providers are doing: what this isolate saw, and what all have seen.
//!
//! A call looks only at the isolate's own book. While there are calls, the book is brought to the `ProviderHealth` object
//! every [`SHARE_MS`] in the background, and what all isolates have seen comes back with the answer: so a provider that
//! went down is known within two seconds wherever there are calls, and no call waits for that.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use durable_objects::provider_health::protocol::{
    Command, NAME, PROVIDERS_MAX, ProviderHealth as Shared, RUNS_MAX, Reply, Run, apply_runs,
};
use guildhall_domain::ids::ProviderId;
use guildhall_domain::routing::ProviderHealth;

use super::dispatch::Failure;
use super::own;
use super::table::Provider;
use crate::app::{App, Cx};
use crate::observe::events::{Event, publish};
use crate::ports::{PortError, Ports, ask};

/// How often an isolate that is called shares its book, in milliseconds.
const SHARE_MS: i64 = 1_000;
/// After so long another report may start beside one that never ended.
const STUCK_MS: i64 = 10_000;

/// The book of an isolate.
#[derive(Default)]
pub struct HealthBook {
    records: RefCell<HashMap<ProviderId, ProviderHealth>>,
    /// What has not been shared yet.
    fresh: RefCell<BTreeMap<String, Vec<Run>>>,
    shared_ms: Cell<i64>,
    is_sharing: Cell<bool>,
}

impl HealthBook {
    /// A provider's record.
    #[must_use]
    pub fn record_of(&self, provider: &ProviderId) -> ProviderHealth {
        self.records.borrow().get(provider).copied().unwrap_or_default()
    }

    fn change(&self, provider: &ProviderId, change: impl FnOnce(&mut ProviderHealth)) {
        let mut records = self.records.borrow_mut();
        match records.get_mut(provider) {
            Some(record) => change(record),
            None => change(records.entry(provider.clone()).or_default()),
        }
    }

    fn see(&self, provider: &ProviderId, run: Run) {
        let mut fresh = self.fresh.borrow_mut();
        match fresh.get_mut(provider.as_str()) {
            Some(runs) => add_run(runs, run),
            None => _ = fresh.insert(provider.to_string(), vec![run]),
        }
    }

    /// Takes what all have seen, and adds again what was seen here since.
    fn adopt(&self, providers: BTreeMap<String, ProviderHealth>, now_ms: u64) {
        let fresh = self.fresh.borrow();
        let mut records = self.records.borrow_mut();
        // What nobody has seen any more is forgotten, unless all that are known are not told.
        if providers.len() < PROVIDERS_MAX {
            records.retain(|id, _| providers.contains_key(id.as_str()) || fresh.contains_key(id.as_str()));
        }
        for (id, mut record) in providers {
            let Ok(provider) = id.parse::<ProviderId>() else { continue };
            let own = records.get(&provider);
            if let Some(runs) = fresh.get(&id) {
                apply_runs(&mut record, runs, now_ms);
            }
            if let Some(own) = own {
                record.keep_probe(own);
            }
            records.insert(provider, record);
        }
    }

    fn forget(&self, provider: &str) {
        self.records.borrow_mut().retain(|id, _| id.as_str() != provider);
        self.fresh.borrow_mut().remove(provider);
    }

    /// A report did not arrive: it is told again with the next.
    fn put_back(&self, seen: BTreeMap<String, Vec<Run>>) {
        let mut fresh = self.fresh.borrow_mut();
        for (provider, mut runs) in seen {
            for run in fresh.remove(&provider).unwrap_or_default() {
                add_run(&mut runs, run);
            }
            fresh.insert(provider, runs);
        }
    }
}

/// Calls that were served one after the other are one run; of too many runs the oldest is forgotten.
fn add_run(runs: &mut Vec<Run>, run: Run) {
    if let (
        Some(Run::Served { count, latency_ms, at_ms }),
        Run::Served { count: more, latency_ms: other, at_ms: later_ms },
    ) = (runs.last_mut(), run)
    {
        let total = u64::from(*count) + u64::from(more);
        let sum = latency_ms.saturating_mul(u64::from(*count)).saturating_add(other.saturating_mul(u64::from(more)));
        *latency_ms = sum.checked_div(total).unwrap_or(0);
        *count = count.saturating_add(more);
        *at_ms = later_ms;
        return;
    }
    if runs.len() >= RUNS_MAX {
        runs.remove(0);
    }
    runs.push(run);
}

/// A provider is asked: if it is tried again after a cooldown, by this call alone.
pub fn note_begin(cx: &Cx, provider: &Provider) {
    if provider.own.is_some() {
        return;
    }
    let now_ms = now_ms(&cx.ports);
    cx.app.gateway.health.change(&provider.id, |record| record.begin(now_ms));
    share_soon(&cx.app, &cx.ports);
}

/// A provider answered, and its answer made sense.
pub fn note_success(cx: &Cx, provider: &Provider, latency_ms: i64) {
    let provider = match &provider.own {
        Some(own) => return own::notes::note_success(cx, own),
        None => &provider.id,
    };
    let (latency_ms, now_ms) = (u64::try_from(latency_ms).unwrap_or(0), now_ms(&cx.ports));
    let book = &cx.app.gateway.health;
    tell_change(cx, provider, now_ms, |record| record.record_success(latency_ms, now_ms));
    book.see(provider, Run::Served { count: 1, latency_ms, at_ms: now_ms });
}

/// A provider failed. A client's mistake and a client that left say nothing about it, and do not come here.
pub fn note_failure(cx: &Cx, provider: &Provider, failure: &Failure) {
    let provider = match &provider.own {
        Some(own) => return own::notes::note_failure(cx, own, failure),
        None => &provider.id,
    };
    let now_ms = now_ms(&cx.ports);
    let (class, retry_after_ms) = (failure.class, failure.set_aside_ms());
    let book = &cx.app.gateway.health;
    tell_change(cx, provider, now_ms, |record| record.record_error(class, retry_after_ms, now_ms));
    book.see(provider, Run::Failed { class, retry_after_ms, at_ms: now_ms });
}

/// Changes a record; the feed is told when that changes the provider's state.
fn tell_change(cx: &Cx, provider: &ProviderId, now_ms: u64, change: impl FnOnce(&mut ProviderHealth)) {
    let mut states = None;
    cx.app.gateway.health.change(provider, |record| {
        let before = record.health(now_ms);
        change(record);
        states = Some((before, record.health(now_ms)));
    });
    let Some((before, after)) = states.filter(|(before, after)| before != after) else { return };
    let event = Event::of_health(provider.as_str(), before.name(), after.name(), cx.ports.clock.now_ms());
    let ports = Rc::clone(&cx.ports);
    cx.ports.background.spawn(Box::pin(async move { publish(&ports, vec![event]).await }));
}

/// An attempt ended without telling anything about its provider.
pub fn note_nothing(cx: &Cx, provider: &Provider) {
    if provider.own.is_none() {
        cx.app.gateway.health.change(&provider.id, ProviderHealth::forget_probe);
    }
}

/// A provider is gone, or another one has its name: what was seen of it says nothing any more.
pub async fn forget_provider(app: &App, ports: &Ports, provider: &str) {
    app.gateway.health.forget(provider);
    let command = Command::Forget { provider: provider.to_owned() };
    if let Err(error) = ask::<Shared>(&*ports.objects, NAME, &command).await {
        ports.background.log(&format!("provider health: {error}"));
    }
}

/// Whether a provider is neither down nor set aside. A caller's own upstream that failed is not asked twice: the platform's
/// are there for that.
#[must_use]
pub fn is_routable(cx: &Cx, provider: &Provider) -> bool {
    let is_well = || cx.app.gateway.health.record_of(&provider.id).health(now_ms(&cx.ports)).is_routable();
    provider.own.is_none() && is_well()
}

fn share_soon(app: &Rc<App>, ports: &Rc<Ports>) {
    let book = &app.gateway.health;
    let age_ms = ports.clock.now_ms() - book.shared_ms.get();
    if book.is_sharing.get() && age_ms < STUCK_MS {
        return;
    }
    book.is_sharing.set(true);
    let pause_ms = u32::try_from((SHARE_MS - age_ms).max(0)).unwrap_or(0);
    let (app, ports_then) = (Rc::clone(app), Rc::clone(ports));
    ports.background.spawn(Box::pin(async move {
        if pause_ms > 0 {
            ports_then.clock.sleep_ms(pause_ms).await;
        }
        let book = &app.gateway.health;
        book.shared_ms.set(ports_then.clock.now_ms());
        if let Err(error) = share(&app, &ports_then).await {
            ports_then.background.log(&format!("provider health: {error}"));
        }
        book.is_sharing.set(false);
    }));
}

/// Tells what this isolate saw, and takes what all have seen.
///
/// # Errors
/// When the object does not answer.
pub async fn share(app: &App, ports: &Ports) -> Result<(), PortError> {
    let book = &app.gateway.health;
    let seen = book.fresh.take();
    let told = ask::<Shared>(&*ports.objects, NAME, &Command::Report { seen: seen.clone() }).await;
    match told {
        Ok(Reply::Known { providers }) => {
            book.adopt(providers, now_ms(ports));
            Ok(())
        }
        Ok(Reply::Refused { message }) => Err(PortError(message)),
        Err(error) => {
            book.put_back(seen);
            Err(error)
        }
    }
}

fn now_ms(ports: &Ports) -> u64 {
    u64::try_from(ports.clock.now_ms()).unwrap_or(0)
}
