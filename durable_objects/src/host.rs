//! What stands between a machine and its storage: load once, obey, make durable, then answer.
//!
//! Everything here is synchronous, so no other event of the object can come in between; the shell around it does what
//! has to wait. It is the same code on Workers and in native tests.

use std::fmt;

use crate::machine::{Effect, Enlisted, Facts, Machine, MachineError, Outcome, Step, Write};
use crate::protocol::Protocol;
use crate::store::{Attempt, Due, Store, StoreError};

/// Effects tried in one alarm; the rest follows at once in another.
const DUE_MAX: u32 = 100;
/// The longest delay between two attempts, in milliseconds.
const RETRY_MAX_MS: i64 = 60 * 60 * 1_000;
/// The largest message to the queue, in bytes; the platform's bound is 128 kB.
const MESSAGE_MAX_BYTES: usize = 96 * 1_024;

/// One object: a machine, when it is awake, and its storage.
#[derive(Debug)]
pub struct Host<M, S> {
    name: String,
    store: S,
    awake: Option<Awake<M>>,
}

/// What is in memory only, and can be loaded again.
#[derive(Debug)]
struct Awake<M> {
    machine: M,
    /// No effect is due before; it may be earlier than the first one, which costs an alarm for nothing.
    due_ms: Option<i64>,
}

/// What is left to do once a step is durable.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// The reply as JSON; empty for an alarm or an acknowledgement.
    pub reply: Vec<u8>,
    /// To be performed now, in any order. Losing them is harmless: the outbox has them.
    pub jobs: Vec<Job>,
    /// When to call [`Host::alarm`]; milliseconds since 1970.
    pub alarm_at_ms: Option<i64>,
    /// When to call it too if the object is still in memory, without setting an alarm.
    pub save_at_ms: Option<i64>,
    /// Nothing is left: wipe the storage and the alarm.
    pub vacant: bool,
}

/// Something to do outside the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Send these items to the queue, as [`messages_of`] packs them.
    Send {
        /// JSON texts.
        items: Vec<String>,
    },
    /// Send a command to another object; if it answers with a reply, call [`Host::delivered`].
    Deliver {
        /// Of the outbox.
        id: String,
        /// The other object's namespace.
        binding: String,
        /// The other object.
        name: String,
        /// The command as JSON text.
        command: String,
    },
}

/// Why a step was not made. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The body is not a command of this object.
    Undecodable(String),
    /// The machine is at fault, or what is stored cannot be read.
    Machine(MachineError),
    /// Storage failed.
    Store(StoreError),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(cause) => write!(f, "not a command: {cause}"),
            Self::Machine(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HostError {}

impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<MachineError> for HostError {
    fn from(error: MachineError) -> Self {
        Self::Machine(error)
    }
}

impl<M: Machine, S: Store> Host<M, S> {
    /// An object that sleeps until it is first called.
    pub const fn new(name: String, store: S) -> Self {
        Self { name, store, awake: None }
    }

    /// The storage.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Drops what is in memory; the next step loads it again.
    pub fn forget(&mut self) {
        self.awake = None;
    }

    /// Obeys the command that `body` holds as JSON.
    ///
    /// # Errors
    /// [`HostError`]; nothing has changed and the call may be repeated.
    pub fn call(&mut self, body: &[u8], now_ms: i64) -> Result<Turn, HostError> {
        let command: <M::Protocol as Protocol>::Command =
            serde_json::from_slice(body).map_err(|error| HostError::Undecodable(error.to_string()))?;
        let needs = self.wake()?.machine.needs(&command);
        let facts = if needs.is_empty() { Facts::default() } else { self.store.read(&needs)? };
        let step = self.wake()?.machine.apply(command, facts, now_ms);
        let step = step.and_then(|outcome| outcome.try_map(|reply| Ok(serde_json::to_vec(&reply)?)));
        self.settle(step, now_ms)
    }

    /// Does what is due by now, the effects of the outbox included.
    ///
    /// # Errors
    /// As [`Host::call`]; the alarm must be repeated.
    pub fn alarm(&mut self, now_ms: i64) -> Result<Turn, HostError> {
        let step = self.wake()?.machine.alarm(now_ms);
        let mut turn = self.settle(wordless(step), now_ms)?;
        if M::HAS_LEDGER {
            turn.jobs.extend(self.retry(now_ms)?);
            turn.alarm_at_ms = self.next_alarm_ms();
        }
        Ok(turn)
    }

    /// Takes the reply of another object to [`Job::Deliver`]. Without effect when it came before.
    ///
    /// # Errors
    /// As [`Host::call`]; the outbox will deliver it again.
    pub fn delivered(&mut self, id: &str, answer: &[u8], now_ms: i64) -> Result<Turn, HostError> {
        self.wake()?;
        let delivery = self.store.enlisted(id)?;
        let machine = &mut self.wake()?.machine;
        let step = delivery.map_or(Ok(Outcome::of(())), |delivery| machine.delivered(&delivery, answer, now_ms));
        self.settle(wordless(step), now_ms)
    }

    /// The machine, loaded if it sleeps.
    fn wake(&mut self) -> Result<&mut Awake<M>, HostError> {
        let awake = match self.awake.take() {
            Some(awake) => awake,
            None => Awake {
                machine: M::load(&self.name, self.store.load()?)?,
                due_ms: if M::HAS_LEDGER { self.store.next_due_ms()? } else { None },
            },
        };
        Ok(self.awake.insert(awake))
    }

    /// Makes a step durable. When that fails the machine is ahead of the disk, so it is dropped.
    fn settle(&mut self, step: Step<Vec<u8>>, now_ms: i64) -> Result<Turn, HostError> {
        let durable = step.map_err(HostError::from).and_then(|outcome| {
            if !outcome.writes.is_empty() {
                self.store.commit(&outcome.writes, now_ms)?;
            }
            Ok(outcome)
        });
        let Outcome { reply, writes } = durable.inspect_err(|_| self.awake = None)?;
        let vacant = !writes.is_empty() && self.awake.as_ref().is_some_and(|awake| awake.machine.is_vacant());
        let enlisted = enlisted_in(writes);
        if let Some(awake) = &mut self.awake {
            let due_ms = enlisted.iter().map(|one| now_ms.saturating_add(one.retry_after_ms)).min();
            awake.due_ms = earlier(awake.due_ms, due_ms);
        }
        let save_at_ms = self.awake.as_ref().and_then(|awake| awake.machine.next_save_ms());
        Ok(Turn { reply, jobs: jobs_of(enlisted), alarm_at_ms: self.next_alarm_ms(), save_at_ms, vacant })
    }

    /// Postpones the effects that are due, then returns them to be tried: were it the other way round, a crash in the
    /// attempt would have them tried at once for ever.
    fn retry(&mut self, now_ms: i64) -> Result<Vec<Job>, HostError> {
        let due = self.store.due(now_ms, DUE_MAX)?;
        if !due.is_empty() {
            let attempts: Vec<Attempt> = due.iter().map(|one| next_attempt(one, now_ms)).collect();
            self.store.postpone(&attempts)?;
        }
        let due_ms = self.store.next_due_ms()?;
        self.wake()?.due_ms = due_ms;
        Ok(jobs_of(due.into_iter().map(|one| one.enlisted).collect()))
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        let awake = self.awake.as_ref()?;
        earlier(awake.machine.next_alarm_ms(), awake.due_ms)
    }
}

/// A step that nobody waits for.
fn wordless(step: Step<()>) -> Step<Vec<u8>> {
    step?.try_map(|()| Ok(Vec::new()))
}

/// The earlier of two times that there may be.
fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// When to try an effect again, and again after that: the delay doubles up to [`RETRY_MAX_MS`].
fn next_attempt(due: &Due, now_ms: i64) -> Attempt {
    let factor = 1_i64 << due.attempts.min(32);
    let delay_ms = due.enlisted.retry_after_ms.saturating_mul(factor).min(RETRY_MAX_MS);
    let attempts = due.attempts.saturating_add(1);
    Attempt { id: due.enlisted.id.clone(), attempts, due_ms: now_ms.saturating_add(delay_ms) }
}

fn enlisted_in(writes: Vec<Write>) -> Vec<Enlisted> {
    let keep = |write| match write {
        Write::Enlist(enlisted) => Some(enlisted),
        _ => None,
    };
    writes.into_iter().filter_map(keep).collect()
}

/// Effects as jobs; what goes to the queue is one job, the last.
fn jobs_of(enlisted: Vec<Enlisted>) -> Vec<Job> {
    let (mut jobs, mut items) = (Vec::new(), Vec::new());
    for Enlisted { id, effect, .. } in enlisted {
        match effect {
            Effect::Deliver { binding, name, command } => jobs.push(Job::Deliver { id, binding, name, command }),
            Effect::Enqueue { item } => items.push(item),
        }
    }
    if !items.is_empty() {
        jobs.push(Job::Send { items });
    }
    jobs
}

/// Items of the queue as messages: JSON arrays, as few as fit.
#[must_use]
pub fn messages_of(items: Vec<String>) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for item in items {
        match messages.last_mut().filter(|message| message.len() + item.len() <= MESSAGE_MAX_BYTES) {
            Some(message) => message.push(','),
            None => messages.push("[".to_owned()),
        }
        if let Some(message) = messages.last_mut() {
            message.push_str(&item);
        }
    }
    for message in &mut messages {
        message.push(']');
    }
    messages
}
