//! An isolate's lease of one wallet, as pure state: what may be spent, what was spent, what to ask for next.

use std::rc::Rc;

use durable_objects::wallet::protocol::{self as wallet, BudgetLeft, BudgetLine, Lease, Leased};
use guildhall_domain::money::MicroUsd;

use super::batch::Batch;
use super::payer::Payer;
use super::shift::Care;

/// What a call wants to reserve.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// Its maximum.
    pub most: MicroUsd,
    /// The least with which it makes sense: the last call on a balance may run on all that is left.
    pub least: MicroUsd,
    /// Whether the maximum is a guess: what is used beyond it is charged all the same.
    pub is_guess: bool,
    /// Until when it waits for what other calls hold, if not for as long as makes sense.
    pub until_ms: Option<i64>,
    /// Whether a card may be charged for what is missing: that takes its time.
    pub may_reload: bool,
}

impl Need {
    /// Whether it may still wait.
    pub fn has_time(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// What a call that needs money does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It has this much.
    Taken(MicroUsd),
    /// The wallet is to be asked.
    Call(Wish),
    /// Other calls hold what is missing.
    Wait,
    /// There is not enough.
    Refuse,
}

/// What to ask the wallet for; the words are those of its lease protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// What to hold.
    pub want: MicroUsd,
    /// The least that is of use.
    pub least: MicroUsd,
}

/// The lease.
#[derive(Default)]
pub struct Purse {
    /// Granted by the wallet and not yet captured there.
    held: MicroUsd,
    /// Set aside for calls that run.
    reserved: MicroUsd,
    /// Spent by calls that ended, not yet captured.
    unreported: MicroUsd,
    /// Records on their way, oldest first; the last batch is still filling.
    batches: Vec<Batch>,
    /// Reserved in the current period of the background task.
    demand: MicroUsd,
    /// What a period takes, fading by half with every quieter one.
    pace: MicroUsd,
    /// What everybody who waits would reserve.
    pub waiting: MicroUsd,
    /// How many wait.
    pub waiters: u32,
    /// The wallet's last answer in terms of what limits this lease, and when it came.
    answer: Option<(Leased, i64)>,
    expires_at_ms: i64,
    /// The call to the wallet that is under way, and when it began.
    calling: Option<(u64, i64)>,
    calls: u64,
    /// When a call last ended: whoever waits for money waits on while others come to their ends.
    pub ended_ms: i64,
    /// Which background task looks after this lease.
    pub care: Care,
}

/// How long a lease lives without renewal: what a dead isolate held is free again after it. A call that outlives it is
/// still captured, from what is free then.
const LEASE_MS: i64 = 15_000;
const RENEW_BEFORE_MS: i64 = 8_000;
/// A call that has not answered for so long is taken for lost; it is repeated, and the wallet knows what it has seen.
const CALL_LOST_MS: i64 = 5_000;
/// A lease is small when it is at most one in so many of what its wallet, or its tightest budget, has.
const SMALL_PART: i64 = 16;
/// How long a small lease is kept when no call is left.
pub const KEEP_MS: u32 = 2_000;
/// A refusal is believed for so long without asking the wallet again.
const BELIEVED_MS: i64 = 20;
const ZERO: MicroUsd = MicroUsd::ZERO;

fn plus(a: MicroUsd, b: MicroUsd) -> MicroUsd {
    MicroUsd(a.0.saturating_add(b.0))
}

fn minus(a: MicroUsd, b: MicroUsd) -> MicroUsd {
    MicroUsd(a.0.saturating_sub(b.0))
}

/// An answer in terms of what limits the lease most: where that is a budget, what it leaves takes the place of what the
/// wallet has; else there is no budget to speak of.
fn bind(leased: Leased) -> Leased {
    let of_wallet = (minus(leased.available, leased.others_held).0, leased.available);
    match leased.budget.filter(|budget| (budget.without_others(), budget.available) < of_wallet) {
        Some(budget) => Leased { available: budget.available, others_held: budget.others_held, ..leased },
        None => Leased { budget: None, ..leased },
    }
}

impl Purse {
    /// What a call that needs money does next.
    pub fn step(&mut self, need: Need, now_ms: i64) -> Step {
        let is_valid = now_ms < self.expires_at_ms || need.most == ZERO;
        if is_valid && self.free() >= need.most {
            return Step::Taken(self.take(need.most));
        }
        if is_valid && self.holds_all() && self.free() >= need.least && self.free() > ZERO {
            return Step::Taken(self.take(self.free()));
        }
        if self.is_calling(now_ms) {
            return Step::Wait;
        }
        let least = plus(self.reserved, need.most);
        let slack = plus(plus(self.demand, self.pace), self.waiting);
        let enlarge = Step::Call(Wish { want: plus(least, slack), least });
        let believed = self.answer.filter(|(_, answered_ms)| now_ms - answered_ms < BELIEVED_MS);
        let Some((answer, _)) = believed else { return enlarge };
        let is_alone = self.reserved == ZERO && self.unreported == ZERO && answer.others_held == ZERO;
        if is_alone {
            return self.step_alone(need, &answer);
        }
        let rest = minus(minus(answer.available, answer.others_held), self.held);
        // Only calls that end, here or in another isolate, can help now.
        if self.unreported == ZERO || rest <= ZERO { Step::Wait } else { enlarge }
    }

    /// Whether no other call runs, here or elsewhere, and all of the money is in this lease: then the rest is known
    /// without asking.
    fn holds_all(&self) -> bool {
        let all_is_here = |(answer, _): &(Leased, i64)| answer.others_held == ZERO && answer.available <= answer.held;
        self.reserved == ZERO && self.answer.as_ref().is_some_and(all_is_here)
    }

    /// Nobody else holds anything: this call runs on all that is left, or is refused.
    fn step_alone(&mut self, need: Need, answer: &Leased) -> Step {
        if answer.available < need.least || answer.available == ZERO {
            return Step::Refuse;
        }
        if answer.available > self.held && self.held < need.most {
            // There is more than this lease holds; the wallet grants it, because nobody else asks for it.
            return Step::Call(Wish { want: need.most, least: need.least });
        }
        let free = self.free();
        if free < need.least || free == ZERO { Step::Refuse } else { Step::Taken(self.take(free)) }
    }

    fn free(&self) -> MicroUsd {
        minus(minus(self.held, self.reserved), self.unreported)
    }

    fn take(&mut self, amount: MicroUsd) -> MicroUsd {
        self.reserved = plus(self.reserved, amount);
        self.demand = plus(self.demand, amount);
        amount
    }

    /// Settled money, as the wallet last said.
    pub fn balance(&self) -> MicroUsd {
        self.answer.map_or(ZERO, |(answer, _)| answer.balance)
    }

    /// The budget that limits this lease, when it is not the balance.
    pub fn tight_budget(&self) -> Option<BudgetLeft> {
        self.answer.and_then(|(answer, _)| answer.budget)
    }

    /// Money came in or a budget changed: what the wallet last said is no longer believed.
    pub fn notice_change(&mut self) {
        self.answer = None;
    }

    /// Whether a call to the wallet is under way.
    pub fn is_calling(&self, now_ms: i64) -> bool {
        self.calling.is_some_and(|(_, since_ms)| now_ms - since_ms < CALL_LOST_MS)
    }

    /// Whether nothing is to be done for it.
    pub fn is_idle(&self) -> bool {
        self.batches.is_empty() && [self.reserved, self.demand, self.waiting, self.pace].iter().all(|sum| *sum == ZERO)
    }

    /// Whether nothing runs, waits or is to be told, and what it holds is too little to matter to others: the next call
    /// may have it without a hop.
    pub fn is_at_rest(&self) -> bool {
        let is_quiet = self.batches.is_empty() && self.reserved == ZERO && self.waiting == ZERO;
        is_quiet && !self.is_empty() && self.is_small()
    }

    fn is_small(&self) -> bool {
        self.answer.is_some_and(|(answer, _)| self.held.0 <= answer.available.0 / SMALL_PART)
    }

    /// What to tell the wallet when nobody has called for [`KEEP_MS`]; `None` when somebody has.
    pub fn plan_end(&mut self, now_ms: i64) -> Option<Wish> {
        let is_over = self.is_at_rest() && now_ms - self.ended_ms >= i64::from(KEEP_MS);
        is_over.then(|| {
            (self.demand, self.pace) = (ZERO, ZERO);
            Wish { want: ZERO, least: ZERO }
        })
    }

    /// Whether the wallet holds nothing for it.
    pub fn is_empty(&self) -> bool {
        self.held <= ZERO
    }

    /// What to tell the wallet at the end of a period; `None` when there is nothing to tell.
    pub fn plan(&mut self, now_ms: i64) -> Option<Wish> {
        self.pace = std::mem::take(&mut self.demand).max(MicroUsd(self.pace.0 / 2));
        let spare = plus(self.pace, self.pace);
        let is_due = self.expires_at_ms - now_ms < RENEW_BEFORE_MS && self.held > ZERO;
        let is_too_much = !self.is_small() && self.free() > plus(plus(spare, spare), plus(spare, spare));
        let wish = Wish { want: plus(self.reserved, spare), least: ZERO };
        (is_due || is_too_much || !self.batches.is_empty()).then_some(wish)
    }

    /// What to tell the wallet so that it knows all; `None` when it does.
    pub fn plan_flush(&self) -> Option<Wish> {
        (!self.batches.is_empty()).then_some(Wish { want: self.reserved, least: ZERO })
    }

    /// Begins a call. A lost answer needs no special case: the lease is a statement, the batches stay until an answer
    /// says that they arrived, and until then only what both the old and the new hold cover is spent from.
    pub fn begin_call(&mut self, wish: Wish, id: String, budgets: Vec<BudgetLine>, now_ms: i64) -> (u64, Lease) {
        self.calls += 1;
        self.calling = Some((self.calls, now_ms));
        let captures = self.batches.iter_mut().take(wallet::BATCH_MAX).map(|batch| batch.seal(now_ms)).collect();
        let Wish { want, least } = wish;
        let (want, least) = (want.min(wallet::AMOUNT_MAX), least.min(wallet::AMOUNT_MAX));
        self.held = self.held.min(plus(want, self.unreported));
        let expires_at_ms = now_ms + LEASE_MS;
        (self.calls, Lease { id, captures, want, least, expires_at_ms, budgets })
    }

    /// Takes the answer to a call; the answer to one that was given up is ignored.
    pub fn end_call(&mut self, call: u64, sent: usize, answer: Option<Leased>, now_ms: i64) {
        let Some((_, sent_ms)) = self.calling.filter(|(current, _)| *current == call) else { return };
        self.calling = None;
        let Some(leased) = answer else { return };
        for batch in self.batches.drain(..sent.min(self.batches.len())) {
            self.unreported = minus(self.unreported, batch.amount());
        }
        // The wallet holds it for as long as it was asked to, however long the answer took.
        self.expires_at_ms = sent_ms + LEASE_MS;
        self.held = if now_ms < self.expires_at_ms { leased.held } else { ZERO };
        self.answer = Some((bind(leased), now_ms));
    }

    /// Ends a running call's reservation; gives what of `cost` is charged: what the reservation and the rest cover, or all of
    /// it where the reservation was a guess. What this lease does not cover the wallet takes from what else is free.
    pub fn spend(&mut self, reserved: MicroUsd, cost: MicroUsd, is_guess: bool) -> MicroUsd {
        self.reserved = minus(self.reserved, reserved);
        let most = if is_guess { wallet::AMOUNT_MAX } else { reserved.max(self.free()) };
        let charged = cost.max(ZERO).min(most);
        self.unreported = plus(self.unreported, charged);
        charged
    }

    /// Gives a reservation back.
    pub fn release(&mut self, reserved: MicroUsd) {
        self.reserved = minus(self.reserved, reserved);
    }

    /// Files the record of what a payer was charged. `next_id` names a new batch.
    pub fn file(&mut self, payer: &Rc<Payer>, charged: MicroUsd, record: &str, next_id: impl FnOnce() -> String) {
        if !self.batches.last().is_some_and(|batch| batch.has_room_for(charged, record)) {
            self.batches.push(Batch::new(next_id()));
        }
        if let Some(batch) = self.batches.last_mut() {
            batch.add(payer, charged, record);
        }
    }
}

#[cfg(test)]
mod tests;
