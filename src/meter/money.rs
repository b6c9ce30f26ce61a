//! Money: reserve, then settle, from a lease of the owner's wallet.
//!
//! The isolate holds a part of the wallet for a moment and books calls against it without a hop each. A call first
//! reserves its maximum; when it ends, its exact cost is written to a batch of records that goes to the wallet with the
//! next renewal, and the rest is free again. The wallet captures a batch in one transaction with the records
//! themselves, so that usage and ledger cannot differ.

use std::rc::Rc;

use durable_objects::wallet::protocol::{self as wallet, Command, Leased, Reply, Wallet};
use guildhall_domain::money::MicroUsd;

use super::OnDrop;
use super::payer::{BudgetOf, Payer, Tally};
pub use super::purse::Need;
use super::purse::{KEEP_MS, Purse, Step, Wish};
use super::shift::{Care, Shift};
use crate::app::{App, Cx};
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
    /// A budget does not leave the need.
    Budget {
        /// Whose.
        of: BudgetOf,
        /// Its limit.
        budget: MicroUsd,
        /// What was spent of it.
        spent: MicroUsd,
    },
    /// The wallet did not answer.
    Failed(PortError),
    /// The client left while the call waited.
    ClientGone,
    /// Other calls held the money for longer than the call had time ([`Need::until_ms`]).
    Late,
}

/// Money set aside for one call. It must be settled; dropped without, it is free again and nothing is recorded.
pub struct Reservation {
    /// How much may be spent.
    pub amount: MicroUsd,
    /// As [`Need::is_guess`].
    is_guess: bool,
    payer: Rc<Payer>,
    app: Rc<App>,
    ports: Rc<Ports>,
    is_settled: bool,
}

/// An isolate's lease of one wallet, for calls of one kind.
pub struct Slot {
    /// Whose wallet, and which budgets, as the newest call knows them.
    payer: Rc<Payer>,
    purse: Purse,
}

/// How long records may wait for each other before they go to the wallet.
const FLUSH_MS: u32 = 40;
/// How long a call waits for money that other calls hold while none of them ends.
const WAIT_MAX_MS: i64 = 30_000;
/// How long it waits in all.
const WAIT_TOTAL_MAX_MS: i64 = 120_000;

/// Sets money aside for a call, waiting for what other calls hold when that is all that is missing. While it waits, what
/// the call holds already is kept up, for as long as its client is there: soon after that the platform would let it
/// neither go on nor give anything back.
///
/// # Errors
/// When the owner's money or a budget does not cover it, the wallet does not answer, the client leaves, or the call's time
/// is over.
pub async fn reserve(cx: &Cx, payer: &Rc<Payer>, need: Need) -> Result<Reservation, Refusal> {
    let (app, ports) = (&cx.app, &cx.ports);
    let started_ms = ports.clock.now_ms();
    let mut pause_ms = 1;
    if !payer.budgets().is_empty() {
        notice_terms(app, payer);
    }
    loop {
        let now_ms = ports.clock.now_ms();
        match with_purse(app, payer, |purse| purse.step(need, now_ms)) {
            Step::Taken(amount) => {
                keep_up(app, ports, payer, now_ms);
                let (app, ports) = (Rc::clone(app), Rc::clone(ports));
                let (payer, is_guess) = (Rc::clone(payer), need.is_guess);
                return Ok(Reservation { amount, is_guess, payer, app, ports, is_settled: false });
            }
            Step::Call(wish) => call(app, ports, payer, wish).await.map_err(Refusal::Failed)?,
            Step::Wait if !need.has_time(now_ms) => {
                forget_empty(app, payer, now_ms);
                return Err(Refusal::Late);
            }
            Step::Wait if is_worth_waiting(app, payer, started_ms, now_ms) => {
                let (queued, longest_ms) = join_queue(app, payer, need);
                pause_ms = (pause_ms * 2).min(longest_ms);
                ports.clock.sleep_ms(pause_ms).await;
                drop(queued);
                if ports.fetch.is_client_gone() {
                    return Err(Refusal::ClientGone);
                }
                cx.keep_up();
            }
            Step::Wait | Step::Refuse => {
                let refusal = with_purse(app, payer, |purse| refuse(purse, payer, need));
                // No task looks after what nothing was taken of.
                forget_empty(app, payer, now_ms);
                return Err(refusal);
            }
        }
    }
}

fn refuse(purse: &Purse, payer: &Payer, need: Need) -> Refusal {
    match purse.tight_budget().and_then(|left| Some((left, payer.budgets().get(left.line)?))) {
        Some((left, budget)) => Refusal::Budget { of: budget.tally.of, budget: budget.limit, spent: left.spent },
        None => Refusal::Insufficient { balance: purse.balance(), required: need.least },
    }
}

/// Takes over what a call knows of its budgets: they may have changed since the last one.
fn notice_terms(app: &App, payer: &Rc<Payer>) {
    if let Some(slot) = app.meter.purses.borrow_mut().get_mut(payer.purse())
        && slot.payer.budgets() != payer.budgets()
    {
        slot.payer = Rc::clone(payer);
        slot.purse.notice_change();
    }
}

/// Counts one more who waits, as long as what it gives is kept; gives the longest pause before looking again, too. A queue
/// moves only when a call ends, and each look costs: with more in the queue each looks more rarely.
fn join_queue(app: &App, payer: &Rc<Payer>, need: Need) -> (OnDrop<impl FnMut()>, u32) {
    let longest_ms = with_purse(app, payer, |purse| {
        purse.waiting.0 = purse.waiting.0.saturating_add(need.most.0);
        purse.waiters += 1;
        (purse.waiters / 4).clamp(25, 500)
    });
    let leave = move || {
        with_purse(app, payer, |purse| {
            purse.waiting.0 = purse.waiting.0.saturating_sub(need.most.0);
            purse.waiters = purse.waiters.saturating_sub(1);
        });
    };
    (OnDrop(leave), longest_ms)
}

fn is_worth_waiting(app: &App, payer: &Rc<Payer>, started_ms: i64, now_ms: i64) -> bool {
    let ended_ms = with_purse(app, payer, |purse| purse.ended_ms);
    now_ms - started_ms.max(ended_ms) < WAIT_MAX_MS && now_ms - started_ms < WAIT_TOTAL_MAX_MS
}

fn with_purse<T>(app: &App, payer: &Rc<Payer>, act: impl FnOnce(&mut Purse) -> T) -> T {
    with_slot(app, payer, |slot| act(&mut slot.purse))
}

fn with_slot<T>(app: &App, payer: &Rc<Payer>, act: impl FnOnce(&mut Slot) -> T) -> T {
    let mut purses = app.meter.purses.borrow_mut();
    if let Some(slot) = purses.get_mut(payer.purse()) {
        return act(slot);
    }
    let slot = Slot { payer: Rc::clone(payer), purse: Purse::default() };
    act(purses.entry(payer.purse().to_owned()).or_insert(slot))
}

async fn call(app: &App, ports: &Ports, payer: &Rc<Payer>, wish: Wish) -> Result<(), PortError> {
    let now_ms = ports.clock.now_ms();
    let (call, lease) = with_slot(app, payer, |slot| {
        // Whoever asks, the budgets are the newest call's.
        let (holder, lines) = (slot.payer.holder(&app.meter.holder), slot.payer.lines(now_ms));
        slot.purse.begin_call(wish, holder, lines, now_ms)
    });
    let sent = lease.captures.len();
    let answer = send(ports, payer.owner(), Command::Lease(lease)).await;
    let now_ms = ports.clock.now_ms();
    with_purse(app, payer, |purse| purse.end_call(call, sent, answer.as_ref().ok().copied(), now_ms));
    answer.map(drop)
}

async fn send(ports: &Ports, owner: &str, command: Command) -> Result<Leased, PortError> {
    match ask::<Wallet>(&*ports.objects, &wallet::name(owner), &command).await? {
        Reply::Leased(leased) => Ok(leased),
        other => Err(PortError(format!("wallet: {other:?}"))),
    }
}

/// Sees to it that a background task renews the lease and brings the records to the wallet.
pub fn keep_up(app: &Rc<App>, ports: &Rc<Ports>, payer: &Rc<Payer>, now_ms: i64) {
    let begun = with_purse(app, payer, |purse| if purse.is_idle() { None } else { purse.care.begin(FLUSH_MS, now_ms) });
    if let Some(shift) = begun {
        let (app, ports_then, payer) = (Rc::clone(app), Rc::clone(ports), Rc::clone(payer));
        ports.background.spawn(Box::pin(async move { maintain(&app, &ports_then, &payer, shift).await }));
    }
}

async fn maintain(app: &App, ports: &Ports, payer: &Rc<Payer>, shift: Shift) {
    let mut pause_ms = shift.pause_ms;
    loop {
        ports.clock.sleep_ms(pause_ms).await;
        pause_ms = FLUSH_MS;
        let now_ms = ports.clock.now_ms();
        let Some(is_calling) = look_after(app, payer, shift, now_ms) else { return };
        if is_calling {
            continue;
        }
        if let Some(wish) = with_purse(app, payer, |purse| purse.plan(now_ms))
            && let Err(error) = call(app, ports, payer, wish).await
        {
            ports.background.log(&format!("wallet lease: {error}"));
        }
        forget_empty(app, payer, ports.clock.now_ms());
        match begin_rest(app, payer) {
            None => return,
            Some(true) => return rest(app, ports, payer).await,
            Some(false) => {}
        }
    }
}

/// Whether a call to the wallet is under way; `None` when the lease is no longer this task's. As long as the wallet is to
/// be told of something, no task gives up by itself.
fn look_after(app: &App, payer: &Rc<Payer>, shift: Shift, now_ms: i64) -> Option<bool> {
    let mut purses = app.meter.purses.borrow_mut();
    let purse = &mut purses.get_mut(payer.purse())?.purse;
    let is_on = purse.care.go_on(shift, FLUSH_MS, now_ms) && (!shift.is_over(now_ms) || purse.plan_flush().is_some());
    is_on.then(|| purse.is_calling(now_ms))
}

/// Forgets a lease of which nothing is left, and for which no answer is under way.
fn forget_empty(app: &App, payer: &Rc<Payer>, now_ms: i64) {
    let mut purses = app.meter.purses.borrow_mut();
    let is_over = |purse: &Purse| purse.is_idle() && purse.is_empty() && !purse.is_calling(now_ms);
    if purses.get(payer.purse()).is_some_and(|slot| is_over(&slot.purse)) {
        purses.remove(payer.purse());
    }
}

/// Whether a lease is at rest; `None` when there is none any more.
fn begin_rest(app: &App, payer: &Rc<Payer>) -> Option<bool> {
    let mut purses = app.meter.purses.borrow_mut();
    let purse = &mut purses.get_mut(payer.purse())?.purse;
    let is_at_rest = purse.is_at_rest();
    if is_at_rest {
        // The next call has it looked after again.
        purse.care = Care::default();
    }
    Some(is_at_rest)
}

/// Gives a lease back, unless somebody calls meanwhile: that call's own task does it then.
async fn rest(app: &App, ports: &Ports, payer: &Rc<Payer>) {
    ports.clock.sleep_ms(KEEP_MS).await;
    let now_ms = ports.clock.now_ms();
    let plan = match app.meter.purses.borrow_mut().get_mut(payer.purse()) {
        Some(slot) if !slot.purse.is_calling(now_ms) => slot.purse.plan_end(now_ms),
        _ => None,
    };
    let Some(wish) = plan else { return };
    if let Err(error) = call(app, ports, payer, wish).await {
        ports.background.log(&format!("wallet lease: {error}"));
    }
    forget_empty(app, payer, ports.clock.now_ms());
}

/// The settled money of the payer's owner, as the wallet last told this isolate.
pub fn known_balance(app: &App, payer: &Rc<Payer>) -> MicroUsd {
    with_purse(app, payer, |purse| purse.balance())
}

/// Tells this isolate that an owner's wallet was credited; others hear of it within a moment.
pub fn notice_credit(app: &App, owner: &str) {
    for slot in app.meter.purses.borrow_mut().values_mut().filter(|slot| slot.payer.owner() == owner) {
        slot.purse.notice_change();
    }
}

/// Brings every record of this isolate to the owner's wallet: what is read from the wallet afterwards is complete.
///
/// # Errors
/// When the wallet does not answer.
pub async fn flush(app: &App, ports: &Ports, owner: &str) -> Result<(), PortError> {
    let of_owner = |slot: &&Slot| slot.payer.owner() == owner;
    let payers: Vec<_> =
        app.meter.purses.borrow().values().filter(of_owner).map(|slot| Rc::clone(&slot.payer)).collect();
    for payer in payers {
        flush_purse(app, ports, &payer).await?;
    }
    Ok(())
}

async fn flush_purse(app: &App, ports: &Ports, payer: &Rc<Payer>) -> Result<(), PortError> {
    for _ in 0..1_000 {
        let now_ms = ports.clock.now_ms();
        let (is_calling, plan) = match app.meter.purses.borrow().get(payer.purse()) {
            None => return Ok(()),
            Some(slot) => (slot.purse.is_calling(now_ms), slot.purse.plan_flush()),
        };
        match plan {
            _ if is_calling => ports.clock.sleep_ms(2).await,
            None => return Ok(()),
            Some(wish) => call(app, ports, payer, wish).await?,
        }
    }
    Err(PortError("the wallet's lease is busy".into()))
}

/// What was spent, in the order of the tallies: by the wallet's books, with all that this isolate knows of.
///
/// # Errors
/// When the wallet does not answer.
pub async fn read_spent(app: &App, ports: &Ports, owner: &str, tallies: &[Tally]) -> Result<Vec<MicroUsd>, PortError> {
    let now_ms = ports.clock.now_ms();
    let mut spent = Vec::with_capacity(tallies.len());
    if !tallies.is_empty() {
        flush(app, ports, owner).await?;
    }
    for some in tallies.chunks(wallet::BATCH_MAX) {
        let lines = some.iter().map(|tally| tally.line(MicroUsd::ZERO, now_ms)).collect();
        match ask::<Wallet>(&*ports.objects, &wallet::name(owner), &Command::Budgets { lines }).await? {
            Reply::Budgets { lines } if lines.len() == some.len() => spent.extend(lines.iter().map(|line| line.spent)),
            other => return Err(PortError(format!("budgets: {other:?}"))),
        }
    }
    Ok(spent)
}

impl Reservation {
    /// Ends the call: charges `cost`, as far as [`Purse::spend`] does, fills the record's charge and files it. Gives what was
    /// charged.
    pub fn settle(mut self, cost: MicroUsd, mut record: UsageRow) -> MicroUsd {
        self.is_settled = true;
        let meter = &self.app.meter;
        let now_ms = self.ports.clock.now_ms();
        meter.note_settled(self.payer.owner(), now_ms);
        let charged = with_purse(&self.app, &self.payer, |purse| {
            purse.ended_ms = now_ms;
            let charged = purse.spend(self.amount, cost, self.is_guess);
            record.charged_micros = charged.0;
            match serde_json::to_string(&record) {
                Ok(record) => purse.file(&self.payer, charged, &record, || meter.next_batch_id()),
                Err(error) => self.ports.background.log(&format!("usage record: {error}")),
            }
            charged
        });
        keep_up(&self.app, &self.ports, &self.payer, now_ms);
        charged
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_settled {
            with_purse(&self.app, &self.payer, |purse| purse.release(self.amount));
        }
    }
}
