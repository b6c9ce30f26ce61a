//! Money: reserve, then settle, from a lease of the owner's wallet.
//!
//! The isolate holds a part of the wallet for a moment and books calls against it without a hop each. A call first
//! reserves its maximum; when it ends, its exact cost is written to a batch of records that goes to the wallet with the
//! next renewal, and the rest is free again. The wallet captures a batch in one transaction with the records
//! themselves, so that usage and ledger cannot differ.

use std::rc::Rc;

use durable_objects::wallet::protocol::{self as wallet, Command, Leased, Reply, Wallet};
use guildhall_domain::money::MicroUsd;

pub use super::purse::Need;
use super::purse::{Purse, Step, Wish};
use crate::app::App;
use crate::ports::{PortError, Ports, ask};
use crate::store::money::usage::UsageRow;

/// Why nothing could be reserved.
#[derive(Debug)]
pub enum Refusal {
    /// The balance does not cover the need.
    Insufficient {
        /// Settled money.
        balance: MicroUsd,
        /// The least that was needed.
        required: MicroUsd,
    },
    /// The wallet did not answer.
    Failed(PortError),
}

/// Money set aside for one call. It must be settled; dropped without, it is free again and nothing is recorded.
pub struct Reservation {
    /// How much may be spent.
    pub amount: MicroUsd,
    owner: String,
    app: Rc<App>,
    ports: Rc<Ports>,
    is_settled: bool,
}

/// How long records may wait for each other before they go to the wallet.
const FLUSH_MS: u32 = 40;
/// How long a call waits for money that other calls hold while none of them ends.
const WAIT_MAX_MS: i64 = 30_000;
/// How long it waits in all.
const WAIT_TOTAL_MAX_MS: i64 = 120_000;
/// A background task that has not been heard of for so long is gone: the platform ends it 30 s after its response.
const HEARTBEAT_MS: i64 = 1_000;

/// Sets money aside for a call, waiting for what other calls hold when that is all that is missing.
///
/// # Errors
/// When the owner's money does not cover it, or the wallet does not answer.
pub async fn reserve(app: &Rc<App>, ports: &Rc<Ports>, owner: &str, need: Need) -> Result<Reservation, Refusal> {
    let started_ms = ports.clock.now_ms();
    let mut pause_ms = 1;
    loop {
        let now_ms = ports.clock.now_ms();
        match with_purse(app, owner, |purse| purse.step(need, now_ms)) {
            Step::Taken(amount) => {
                keep_up(app, ports, owner, now_ms);
                let (app, ports) = (Rc::clone(app), Rc::clone(ports));
                return Ok(Reservation { amount, owner: owner.to_owned(), app, ports, is_settled: false });
            }
            Step::Call(wish) => call(app, ports, owner, wish).await.map_err(Refusal::Failed)?,
            Step::Wait if is_worth_waiting(app, owner, started_ms, now_ms) => {
                pause_ms = (pause_ms * 2).min(join_queue(app, owner, need));
                ports.clock.sleep_ms(pause_ms).await;
                leave_queue(app, owner, need);
            }
            Step::Wait | Step::Refuse => {
                let balance = with_purse(app, owner, |purse| purse.balance());
                return Err(Refusal::Insufficient { balance, required: need.least });
            }
        }
    }
}

/// Counts one more who waits; gives the longest pause before looking again. A queue moves only when a call ends, and each
/// look costs: with more in the queue each looks more rarely.
fn join_queue(app: &App, owner: &str, need: Need) -> u32 {
    with_purse(app, owner, |purse| {
        purse.waiting.0 = purse.waiting.0.saturating_add(need.most.0);
        purse.waiters += 1;
        (purse.waiters / 4).clamp(25, 500)
    })
}

fn leave_queue(app: &App, owner: &str, need: Need) {
    with_purse(app, owner, |purse| {
        purse.waiting.0 = purse.waiting.0.saturating_sub(need.most.0);
        purse.waiters = purse.waiters.saturating_sub(1);
    });
}

fn is_worth_waiting(app: &App, owner: &str, started_ms: i64, now_ms: i64) -> bool {
    let ended_ms = with_purse(app, owner, |purse| purse.ended_ms);
    now_ms - started_ms.max(ended_ms) < WAIT_MAX_MS && now_ms - started_ms < WAIT_TOTAL_MAX_MS
}

fn with_purse<T>(app: &App, owner: &str, act: impl FnOnce(&mut Purse) -> T) -> T {
    let mut purses = app.meter.purses.borrow_mut();
    if let Some(purse) = purses.get_mut(owner) {
        return act(purse);
    }
    act(purses.entry(owner.to_owned()).or_default())
}

async fn call(app: &App, ports: &Ports, owner: &str, wish: Wish) -> Result<(), PortError> {
    let now_ms = ports.clock.now_ms();
    let (call, lease) = with_purse(app, owner, |purse| purse.begin_call(wish, &app.meter.holder, now_ms));
    let sent = lease.captures.len();
    let answer = send(ports, owner, Command::Lease(lease)).await;
    let now_ms = ports.clock.now_ms();
    with_purse(app, owner, |purse| purse.end_call(call, sent, answer.as_ref().ok().copied(), now_ms));
    answer.map(drop)
}

async fn send(ports: &Ports, owner: &str, command: Command) -> Result<Leased, PortError> {
    match ask::<Wallet>(&*ports.objects, &wallet::name(owner), &command).await? {
        Reply::Leased(leased) => Ok(leased),
        other => Err(PortError(format!("wallet: {other:?}"))),
    }
}

/// Sees to it that a background task renews the lease and brings the records to the wallet.
pub fn keep_up(app: &Rc<App>, ports: &Rc<Ports>, owner: &str, now_ms: i64) {
    let is_needed = with_purse(app, owner, |purse| {
        let is_needed = now_ms > purse.maintained_until_ms && !purse.is_idle();
        if is_needed {
            purse.maintained_until_ms = now_ms + HEARTBEAT_MS;
        }
        is_needed
    });
    if is_needed {
        let (app, ports_then, owner) = (Rc::clone(app), Rc::clone(ports), owner.to_owned());
        ports.background.spawn(Box::pin(async move { maintain(&app, &ports_then, &owner).await }));
    }
}

async fn maintain(app: &App, ports: &Ports, owner: &str) {
    loop {
        ports.clock.sleep_ms(FLUSH_MS).await;
        let now_ms = ports.clock.now_ms();
        let is_calling = with_purse(app, owner, |purse| {
            purse.maintained_until_ms = now_ms + HEARTBEAT_MS;
            purse.is_calling(now_ms)
        });
        if is_calling {
            continue;
        }
        if let Some(wish) = with_purse(app, owner, |purse| purse.plan(now_ms))
            && let Err(error) = call(app, ports, owner, wish).await
        {
            ports.background.log(&format!("wallet lease: {error}"));
        }
        let mut purses = app.meter.purses.borrow_mut();
        let Some(purse) = purses.get_mut(owner) else { return };
        if purse.is_idle() && purse.is_empty() {
            purses.remove(owner);
            return;
        }
    }
}

/// Tells this isolate that an owner's wallet was credited; others hear of it within a moment.
pub fn notice_credit(app: &App, owner: &str) {
    if let Some(purse) = app.meter.purses.borrow_mut().get_mut(owner) {
        purse.notice_credit();
    }
}

/// Brings every record of this isolate to the owner's wallet: what is read from the wallet afterwards is complete.
///
/// # Errors
/// When the wallet does not answer.
pub async fn flush(app: &App, ports: &Ports, owner: &str) -> Result<(), PortError> {
    for _ in 0..1_000 {
        let now_ms = ports.clock.now_ms();
        let (is_calling, plan) = match app.meter.purses.borrow().get(owner) {
            None => return Ok(()),
            Some(purse) => (purse.is_calling(now_ms), purse.plan_flush()),
        };
        match plan {
            _ if is_calling => ports.clock.sleep_ms(2).await,
            None => return Ok(()),
            Some(wish) => call(app, ports, owner, wish).await?,
        }
    }
    Err(PortError("the wallet's lease is busy".into()))
}

impl Reservation {
    /// Ends the call: charges `cost`, as far as the reservation and the rest of the lease cover it, fills the record's
    /// charge and files it. Gives what was charged.
    pub fn settle(mut self, cost: MicroUsd, mut record: UsageRow) -> MicroUsd {
        self.is_settled = true;
        let meter = &self.app.meter;
        let now_ms = self.ports.clock.now_ms();
        meter.note_settled(&self.owner, now_ms);
        let charged = with_purse(&self.app, &self.owner, |purse| {
            purse.ended_ms = now_ms;
            let charged = purse.spend(self.amount, cost);
            record.charged_micros = charged.0;
            match serde_json::to_string(&record) {
                Ok(record) => purse.file(charged, &record, || meter.next_batch_id()),
                Err(error) => self.ports.background.log(&format!("usage record: {error}")),
            }
            charged
        });
        keep_up(&self.app, &self.ports, &self.owner, now_ms);
        charged
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_settled {
            with_purse(&self.app, &self.owner, |purse| purse.release(self.amount));
        }
    }
}
