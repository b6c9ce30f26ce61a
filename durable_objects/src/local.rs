//! All objects in one process, for native tests of whole applications: the real machines and the real host, over
//! storage in memory, with failures on demand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::events::protocol::Events;
use crate::events::state::EventsMachine;
use crate::host::{Host, HostError, Job, Turn, messages_of};
use crate::idempotency::protocol::Idempotency;
use crate::idempotency::state::IdempotencyMachine;
use crate::job::protocol::Job as JobProtocol;
use crate::job::state::JobMachine;
use crate::machine::Machine;
use crate::memory::MemoryStore;
use crate::protocol::Protocol;
use crate::provider_health::protocol::ProviderHealth;
use crate::provider_health::state::ProviderHealthMachine;
use crate::rate_limiter::protocol::RateLimiter;
use crate::rate_limiter::state::RateLimiterMachine;
use crate::vault::protocol::Vault;
use crate::vault::state::VaultMachine;
use crate::vector_index::protocol::VectorIndex;
use crate::vector_index::state::VectorIndexMachine;
use crate::wallet::protocol::Wallet;
use crate::wallet::state::WalletMachine;

/// Alarms in one [`LocalObjects::run_due_alarms`]; more means that an object sets its alarm to the past for ever.
const ALARM_TURNS_MAX: u32 = 100_000;

/// Where to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultPoint {
    /// In the next turn of any such object nothing is written, and its caller gets an error.
    BeforePersist,
    /// In the next turn everything is written, then the object dies: no reply, no effect.
    AfterPersist,
    /// The next effect of any such object fails: a message that the queue refuses, an object that cannot be reached.
    Effect,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// No object has this binding.
    UnknownBinding(String),
    /// The object answered with an error.
    Host(HostError),
    /// It was made to fail here.
    Fault(FaultPoint),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownBinding(binding) => write!(f, "no object has the binding {binding:?}"),
            Self::Host(error) => error.fmt(f),
            Self::Fault(point) => write!(f, "made to fail at {point:?}"),
        }
    }
}

impl std::error::Error for LocalError {}

/// A namespace of objects per binding, their alarms, and what they sent to the queue.
#[derive(Default)]
pub struct LocalObjects {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Address, Object>,
    queue: Vec<String>,
    /// Where to fail, after how many opportunities that are spared.
    faults: BTreeMap<(String, FaultPoint), u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    binding: String,
    name: String,
}

struct Object {
    host: Box<dyn AnyHost>,
    /// As the platform keeps it: it survives a restart.
    alarm_at_ms: Option<i64>,
    /// A timer in the object's memory.
    save_at_ms: Option<i64>,
}

impl Object {
    /// Loses its memory.
    fn forget(&mut self) {
        self.host.forget();
        self.save_at_ms = None;
    }

    /// When [`Event::Alarm`] is due.
    fn due_ms(&self) -> Option<i64> {
        self.alarm_at_ms.into_iter().chain(self.save_at_ms).min()
    }
}

/// What may happen to an object.
#[derive(Clone, Copy)]
enum Event<'a> {
    Call(&'a [u8]),
    Alarm,
    Delivered { id: &'a str, answer: &'a [u8] },
}

/// A host whose machine is not named, so that hosts of all kinds stand in one map.
trait AnyHost {
    fn run(&mut self, event: Event<'_>, now_ms: i64) -> Result<Turn, HostError>;
    fn forget(&mut self);
    fn store(&self) -> &MemoryStore;
}

impl<M: Machine> AnyHost for Host<M, MemoryStore> {
    fn run(&mut self, event: Event<'_>, now_ms: i64) -> Result<Turn, HostError> {
        match event {
            Event::Call(body) => self.call(body, now_ms),
            Event::Alarm => self.alarm(now_ms),
            Event::Delivered { id, answer } => self.delivered(id, answer, now_ms),
        }
    }

    fn forget(&mut self) {
        Host::forget(self);
    }

    fn store(&self) -> &MemoryStore {
        Host::store(self)
    }
}

impl LocalObjects {
    /// No object yet: each comes to be when it is first called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a command, as JSON, and returns the reply, as JSON. What the objects have to do for each other because of
    /// it is done before it returns.
    ///
    /// # Errors
    /// [`LocalError`]; after a [`FaultPoint::AfterPersist`] the command has taken effect all the same.
    pub fn call(&self, binding: &str, name: &str, body: &[u8], now_ms: i64) -> Result<Vec<u8>, LocalError> {
        let address = Address { binding: binding.to_owned(), name: name.to_owned() };
        let turn = self.inner.borrow_mut().run(&address, Event::Call(body), now_ms)?;
        self.perform(&address, turn.jobs, now_ms);
        Ok(turn.reply)
    }

    /// As [`LocalObjects::call`], with types. A reply that is not one of the protocol is [`HostError::Undecodable`].
    ///
    /// # Errors
    /// As [`LocalObjects::call`].
    pub fn ask<P: Protocol>(&self, name: &str, command: &P::Command, now_ms: i64) -> Result<P::Reply, LocalError> {
        let undecodable = |error: serde_json::Error| LocalError::Host(HostError::Undecodable(error.to_string()));
        let body = serde_json::to_vec(command).map_err(undecodable)?;
        let reply = self.call(P::BINDING, name, &body, now_ms)?;
        serde_json::from_slice(&reply).map_err(undecodable)
    }

    /// When the first alarm of any object is due; milliseconds since 1970.
    #[must_use]
    pub fn next_alarm_ms(&self) -> Option<i64> {
        self.inner.borrow().objects.values().filter_map(|object| object.alarm_at_ms).min()
    }

    /// Runs all alarms and timers due by `now_ms`, those set while running included. One that fails is tried again, as the
    /// platform does.
    pub fn run_due_alarms(&self, now_ms: i64) {
        for _ in 0..ALARM_TURNS_MAX {
            let Some(address) = self.inner.borrow().first_due(now_ms) else {
                return;
            };
            let turn = self.inner.borrow_mut().run(&address, Event::Alarm, now_ms);
            if let Ok(turn) = turn {
                self.perform(&address, turn.jobs, now_ms);
            }
        }
    }

    /// Takes what was sent to the queue since the last time, oldest first.
    pub fn drain_queue(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.borrow_mut().queue)
    }

    /// Has all objects lose their memory, as the platform does with those that it evicts; storage and alarms stay.
    pub fn restart(&self) {
        self.inner.borrow_mut().objects.values_mut().for_each(Object::forget);
    }

    /// Makes an object of this binding fail once, at the next opportunity.
    pub fn fail_next(&self, binding: &str, point: FaultPoint) {
        self.fail_after(binding, point, 0);
    }

    /// Makes an object of this binding fail once, after so many opportunities that are spared: a transfer, say, takes a
    /// turn of the sender, one of the receiver and another of the sender.
    pub fn fail_after(&self, binding: &str, point: FaultPoint, spared: u32) {
        self.inner.borrow_mut().faults.insert((binding.to_owned(), point), spared);
    }

    /// Whether this object keeps nothing: it never wrote, or what it kept has expired.
    #[must_use]
    pub fn is_vacant(&self, binding: &str, name: &str) -> bool {
        let address = Address { binding: binding.to_owned(), name: name.to_owned() };
        self.inner.borrow().objects.get(&address).is_none_or(|object| object.host.store().is_empty())
    }

    /// Everything that any object stores, for "nowhere in clear".
    #[must_use]
    pub fn dump(&self) -> String {
        let inner = self.inner.borrow();
        inner.objects.values().map(|object| format!("{:?}\n", object.host.store())).collect()
    }

    /// Performs jobs, and those that come of them. What fails stays in the outbox of its object.
    fn perform(&self, address: &Address, jobs: Vec<Job>, now_ms: i64) {
        let mut todo: VecDeque<(Address, Job)> = jobs.into_iter().map(|job| (address.clone(), job)).collect();
        while let Some((from, job)) = todo.pop_front() {
            let mut inner = self.inner.borrow_mut();
            if inner.take_fault(&from.binding, FaultPoint::Effect) {
                continue;
            }
            match job {
                Job::Send { items } => inner.queue.extend(messages_of(items)),
                Job::Deliver { id, binding, name, command } => {
                    let to = Address { binding, name };
                    let Ok(there) = inner.run(&to, Event::Call(command.as_bytes()), now_ms) else {
                        continue;
                    };
                    todo.extend(there.jobs.into_iter().map(|job| (to.clone(), job)));
                    let event = Event::Delivered { id: &id, answer: &there.reply };
                    let Ok(here) = inner.run(&from, event, now_ms) else {
                        continue;
                    };
                    todo.extend(here.jobs.into_iter().map(|job| (from.clone(), job)));
                }
            }
        }
    }
}

impl Inner {
    /// One turn of an object, with the failures that it was asked for.
    fn run(&mut self, address: &Address, event: Event<'_>, now_ms: i64) -> Result<Turn, LocalError> {
        let fails_before = self.take_fault(&address.binding, FaultPoint::BeforePersist);
        let fails_after = !fails_before && self.take_fault(&address.binding, FaultPoint::AfterPersist);
        let object = self.object(address)?;
        object.host.store().set_failing(fails_before);
        if matches!(event, Event::Alarm) {
            object.save_at_ms = None;
        }
        let turn = object.host.run(event, now_ms);
        // Still set when the turn wrote nothing; it is to fail all the same.
        object.host.store().set_failing(false);
        if fails_before {
            object.forget();
            return Err(LocalError::Fault(FaultPoint::BeforePersist));
        }
        let turn = turn.map_err(LocalError::Host)?;
        object.alarm_at_ms = turn.alarm_at_ms;
        object.save_at_ms = turn.save_at_ms;
        if turn.vacant {
            object.host.store().wipe();
            object.alarm_at_ms = None;
            object.forget();
        }
        if fails_after {
            object.forget();
            return Err(LocalError::Fault(FaultPoint::AfterPersist));
        }
        Ok(turn)
    }

    fn object(&mut self, address: &Address) -> Result<&mut Object, LocalError> {
        if !self.objects.contains_key(address) {
            let object = Object { host: open(address)?, alarm_at_ms: None, save_at_ms: None };
            self.objects.insert(address.clone(), object);
        }
        self.objects.get_mut(address).ok_or_else(|| LocalError::UnknownBinding(address.binding.clone()))
    }

    fn first_due(&self, now_ms: i64) -> Option<Address> {
        let due = |(address, object): (&Address, &Object)| Some((object.due_ms()?, address.clone()));
        let first = self.objects.iter().filter_map(due).min()?;
        (first.0 <= now_ms).then_some(first.1)
    }

    fn take_fault(&mut self, binding: &str, point: FaultPoint) -> bool {
        if self.faults.is_empty() {
            return false;
        }
        let fault = (binding.to_owned(), point);
        match self.faults.get_mut(&fault) {
            Some(0) => self.faults.remove(&fault).is_some(),
            Some(spared) => {
                *spared -= 1;
                false
            }
            None => false,
        }
    }
}

/// A new host of the kind that the binding stands for: the list of all objects, natively.
fn open(address: &Address) -> Result<Box<dyn AnyHost>, LocalError> {
    let Address { binding, name } = address;
    let (name, store) = (name.clone(), MemoryStore::default());
    match binding.as_str() {
        ProviderHealth::BINDING => Ok(Box::new(Host::<ProviderHealthMachine, _>::new(name, store))),
        RateLimiter::BINDING => Ok(Box::new(Host::<RateLimiterMachine, _>::new(name, store))),
        Wallet::BINDING => Ok(Box::new(Host::<WalletMachine, _>::new(name, store))),
        Events::BINDING => Ok(Box::new(Host::<EventsMachine, _>::new(name, store))),
        Idempotency::BINDING => Ok(Box::new(Host::<IdempotencyMachine, _>::new(name, store))),
        VectorIndex::BINDING => Ok(Box::new(Host::<VectorIndexMachine, _>::new(name, store))),
        Vault::BINDING => Ok(Box::new(Host::<VaultMachine, _>::new(name, store))),
        JobProtocol::BINDING => Ok(Box::new(Host::<JobMachine, _>::new(name, store))),
        _ => Err(LocalError::UnknownBinding(binding.clone())),
    }
}
