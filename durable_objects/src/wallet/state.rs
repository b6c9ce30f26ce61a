//! The machine of the wallet: what each command does.

use std::collections::{BTreeMap, BTreeSet};

use guildhall_domain::money::MicroUsd;

use super::audit::{AUDITED_KEY, Audited};
use super::draft::Draft;
use super::fold::{FOLDED_KEY, Folded, PART};
use super::heir::{HEARD_PREFIX, HEIR_KEY, Heir};
use super::holds::{Hold, Holds, Key};
use super::ledger::{self, Movement, SUMS_KEY, Sums, less, plus};
use super::maturity::Immature;
use super::movement::{Asked, received_id, record_id};
use super::protocol::{
    AMOUNT_MAX, BATCH_MAX, Balance, BudgetLine, Capture, Command, PAGE_MAX, QueuedRecord, RefusalCode, Reply, Wallet,
};
use super::refusal::{
    Stop, check_amount, check_batch, check_budgets, check_capture, check_id, check_line, refuse, refuse_budget,
    refuse_immature, refuse_insufficient,
};
use crate::machine::{
    EXTRA_PREFIX, Enlisted, Facts, ITEMS_MAX_BYTES, Machine, MachineError, Needs, Newest, Outcome, Page, Row, Step,
    Write,
};

/// One owner's money.
///
/// At all times: the stored sums are what the journal adds up to, none is negative, no more is held than the balance,
/// and a budget has not spent and held more than its limit when its last hold grew.
#[derive(Debug, PartialEq, Eq)]
pub struct WalletMachine {
    pub(super) name: String,
    pub(super) sums: Sums,
    pub(super) holds: Holds,
    pub(super) immature: Immature,
    /// The wallet that this one was merged into.
    pub(super) heir: Option<Heir>,
    /// The last message of each wallet that was merged into this one.
    pub(super) heard: BTreeMap<String, u64>,
    pub(super) audited: Audited,
    pub(super) folded: Folded,
}

impl Machine for WalletMachine {
    type Protocol = Wallet;
    const HAS_LEDGER: bool = true;
    /// A busy wallet gets a batch of records every 40 ms; a message for each would cost more than what it says.
    const GATHER_MS: u64 = 400;

    fn load(name: &str, rows: Vec<Row>) -> Result<Self, MachineError> {
        let mut wallet = Self {
            name: name.to_owned(),
            sums: Sums::default(),
            holds: Holds::default(),
            immature: Immature::default(),
            heir: None,
            heard: BTreeMap::new(),
            audited: Audited::default(),
            folded: Folded::default(),
        };
        for row in rows {
            let unreadable = |error: serde_json::Error| MachineError::unreadable(&row.key, &error);
            if row.key == SUMS_KEY {
                wallet.sums = serde_json::from_str(&row.value).map_err(unreadable)?;
            } else if row.key == AUDITED_KEY {
                wallet.audited = serde_json::from_str(&row.value).map_err(unreadable)?;
            } else if row.key == FOLDED_KEY {
                wallet.folded = serde_json::from_str(&row.value).map_err(unreadable)?;
            } else if row.key == HEIR_KEY {
                wallet.heir = serde_json::from_str(&row.value).map_err(unreadable)?;
            } else if let Some(from) = row.key.strip_prefix(HEARD_PREFIX) {
                wallet.heard.insert(from.to_owned(), serde_json::from_str(&row.value).map_err(unreadable)?);
            } else if !wallet.holds.load(&row)? && !wallet.immature.load(&row)? && !row.key.starts_with(EXTRA_PREFIX) {
                return Err(MachineError::unreadable(&row.key, &"no such kind of row"));
            }
        }
        Ok(wallet)
    }

    fn needs(&self, command: &Command) -> Needs {
        match command {
            Command::Credit { id, .. } | Command::Deposit { id, .. } => ids([Movement::Credit.entry_id(id)]),
            Command::Debit { id, .. } | Command::Withdraw { id, .. } => ids([Movement::Debit.entry_id(id)]),
            Command::Reclaim { id, .. } => ids([Movement::Owe.entry_id(id)]),
            Command::Transfer { id, .. } => ids([Movement::Send.entry_id(id)]),
            Command::Receive { id, from, .. } => ids([Movement::Receive.entry_id(&received_id(from, id))]),
            Command::Capture { capture, .. } => {
                let mut needs = traces_of([capture]);
                needs.ids.push(Movement::WriteOff.entry_id(&capture.id));
                Needs { page: self.folded.page_beside(), ..needs }
            }
            Command::Lease(lease) => {
                Needs { page: self.folded.page_beside(), ..traces_of(lease.captures.iter().take(BATCH_MAX)) }
            }
            Command::Fold { .. } => Needs { page: Some(self.folded.page(PART)), ..Needs::default() },
            Command::Journal { after, limit } => {
                Needs { page: Some(Page { after: *after, limit: (*limit).min(PAGE_MAX) }), ..Needs::default() }
            }
            Command::Find { entry_id } => ids([entry_id.clone()]),
            Command::Recent { limit, before } => {
                let newest = Newest { before: *before, limit: (*limit).min(PAGE_MAX) };
                Needs { newest_entries: Some(newest), ..Needs::default() }
            }
            Command::PendingRecords { limit } => {
                Needs { newest_items: Some((*limit).min(PAGE_MAX)), ..Needs::default() }
            }
            Command::Audit => Needs { totals_after: Some(self.audited.last_seq()), ..Needs::default() },
            Command::Hold { .. }
            | Command::Release { .. }
            | Command::Merge { .. }
            | Command::Inherit { .. }
            | Command::Balance
            | Command::Budgets { .. }
            | Command::EndBudgets { .. }
            | Command::AckRecords { .. } => Needs::default(),
        }
    }

    fn apply(&mut self, command: Command, facts: Facts, now_ms: i64) -> Step<Reply> {
        // An audit compares with the journal as it was read, before this step.
        let is_audit = matches!(command, Command::Audit);
        self.step(now_ms, is_audit, |wallet, draft| match wallet.obey(command, facts, draft) {
            Ok(reply) => Ok(reply),
            Err(Stop::Refused(refusal)) => Ok(refusal.into()),
            Err(Stop::Fault(error)) => Err(error),
        })
    }

    fn alarm(&mut self, now_ms: i64) -> Step<()> {
        self.step(now_ms, false, |_, _| Ok(()))
    }

    fn delivered(&mut self, delivery: &Enlisted, answer: &[u8], now_ms: i64) -> Step<()> {
        self.step(now_ms, false, |wallet, draft| wallet.settle_delivery(delivery, answer, draft))
    }

    fn next_alarm_ms(&self) -> Option<i64> {
        self.holds.next_expiry_ms()
    }
}

fn ids(ids: impl IntoIterator<Item = String>) -> Needs {
    Needs { ids: ids.into_iter().collect(), ..Needs::default() }
}

/// What captures left if they were made before: an entry, or of nothing perhaps only a record that is on its way.
fn traces_of<'c>(captures: impl IntoIterator<Item = &'c Capture>) -> Needs {
    let mut needs = Needs::default();
    for capture in captures {
        needs.ids.push(Movement::Capture.entry_id(&capture.id));
        if capture.amount == MicroUsd::ZERO {
            needs.enlisted.push(record_id(&capture.id));
        }
    }
    needs
}

impl WalletMachine {
    /// What every step begins and ends with: what has lapsed is free, and what is free pays debts.
    fn step<R>(
        &mut self,
        now_ms: i64,
        is_audit: bool,
        act: impl FnOnce(&mut Self, &mut Draft) -> Result<R, MachineError>,
    ) -> Step<R> {
        let mut draft = Draft::new(now_ms);
        self.holds.expire(&mut draft)?;
        self.immature.expire(&mut draft)?;
        if !is_audit {
            self.repay(&mut draft)?;
        }
        let reply = act(self, &mut draft)?;
        self.repay(&mut draft)?;
        Ok(Outcome { reply, writes: draft.into_writes() })
    }

    /// Money that nothing holds.
    pub(super) fn free(&self) -> Result<MicroUsd, MachineError> {
        less(self.sums.balance, self.held()?)
    }

    /// Money that nothing holds and that all of these budgets leave.
    pub(super) fn free_within(&self, budgets: &[BudgetLine]) -> Result<MicroUsd, MachineError> {
        let free = self.free()?;
        Ok(self.room(budgets).map_or(free, |room| room.min(free)))
    }

    pub(super) fn held(&self) -> Result<MicroUsd, MachineError> {
        plus(self.holds.leases_total(), self.holds.calls_total())
    }

    /// What a user sees.
    pub(super) fn available(&self) -> Result<MicroUsd, MachineError> {
        less(self.sums.balance, self.holds.calls_total())
    }

    /// Obeys a command. A handler checks everything before it changes anything, so a refusal leaves no trace.
    fn obey(&mut self, command: Command, facts: Facts, draft: &mut Draft) -> Result<Reply, Stop> {
        match command {
            Command::Credit { id, amount, reason } => {
                self.take_in(Asked::of(Movement::Credit, &id, amount, &reason), None, &facts, draft)
            }
            Command::Deposit { id, amount, reason, matures_at_ms } => {
                self.take_in(Asked::of(Movement::Credit, &id, amount, &reason), Some(matures_at_ms), &facts, draft)
            }
            Command::Debit { id, amount, reason } => {
                self.debit(Asked::of(Movement::Debit, &id, amount, &reason), false, &facts, draft)
            }
            Command::Withdraw { id, amount, reason } => {
                self.debit(Asked::of(Movement::Debit, &id, amount, &reason), true, &facts, draft)
            }
            Command::Reclaim { id, amount, reason, of } => {
                self.reclaim(Asked::of(Movement::Owe, &id, amount, &reason), of.as_deref(), &facts, draft)
            }
            Command::Lease(lease) => {
                let reply = self.lease(lease, &facts, draft)?;
                self.fold_beside(&facts.page, draft)?;
                Ok(reply)
            }
            Command::Hold { id, amount, expires_at_ms, budgets } => {
                self.hold(&Key::Call(id), Hold { amount, expires_at_ms, budgets }, draft)
            }
            Command::Capture { hold_id, capture, close, budgets } => {
                check_id("a hold's id", &hold_id)?;
                check_capture(&capture)?;
                check_budgets(&budgets)?;
                let reply = self.capture(&Key::Call(hold_id), capture, close, budgets, &facts, draft)?;
                self.fold_beside(&facts.page, draft)?;
                Ok(reply)
            }
            Command::Release { hold_id } => {
                self.holds.close(&Key::Call(hold_id), draft)?;
                self.held_reply(MicroUsd::ZERO)
            }
            Command::Transfer { id, to, amount, reason } => {
                let asked = Asked::of(Movement::Send, &id, amount, &reason);
                self.transfer(Asked { wallet: Some(&to), ..asked }, &facts, draft)
            }
            Command::Receive { id, from, amount, reason } => {
                let asked = Asked::of(Movement::Receive, &id, amount, &reason);
                self.take_in(Asked { wallet: Some(&from), ..asked }, None, &facts, draft)
            }
            Command::Merge { into } => self.merge(into, draft),
            Command::Inherit { from, number, counts } => self.inherit(from, number, &counts, draft),
            Command::Balance => Ok(Reply::Balance(self.balance()?)),
            Command::Budgets { lines } => {
                check_batch(lines.len())?;
                lines.iter().try_for_each(check_line)?;
                Ok(Reply::Budgets { lines: self.holds.budgets.read(&lines) })
            }
            Command::EndBudgets { ids } => {
                check_batch(ids.len())?;
                self.holds.budgets.end(&ids, draft)?;
                Ok(Reply::Acknowledged)
            }
            Command::Fold { before_ms } => self.fold_until(before_ms, &facts.page, draft),
            Command::Audit => self.audit(&facts.totals, draft),
            Command::AckRecords { ids } => {
                check_batch(ids.len())?;
                for id in BTreeSet::from_iter(ids) {
                    draft.push(Write::Strike { id: record_id(&id) });
                }
                Ok(Reply::Acknowledged)
            }
            Command::PendingRecords { limit } => {
                let bytes: usize = facts.newest_items.iter().map(String::len).sum();
                let more = bytes >= ITEMS_MAX_BYTES || facts.newest_items.len() >= limit.min(PAGE_MAX) as usize;
                Ok(Reply::Records { records: records_of(&facts.newest_items)?, more })
            }
            Command::Journal { limit, .. } => journal_reply(facts, limit.min(PAGE_MAX)),
            Command::Find { entry_id } => {
                let entry = facts.known.get(&entry_id);
                let amount = entry.map(|entry| MicroUsd(entry.amount_usd_micros));
                Ok(Reply::Found { amount, at_ms: entry.map(|entry| entry.at_ms) })
            }
            Command::Recent { .. } => {
                let entries = facts.newest_entries.into_iter().map(ledger::line_of).collect::<Result<_, _>>()?;
                Ok(Reply::Recent { entries, balance: self.balance()? })
            }
        }
    }

    pub(super) fn balance(&self) -> Result<Balance, MachineError> {
        Ok(Balance {
            balance: self.sums.balance,
            available: self.available()?,
            held_calls: self.holds.calls_total(),
            held_leases: self.holds.leases_total(),
            owed: self.sums.owed,
            immature: self.immature.parts(),
        })
    }

    /// Takes money in: a credit, a deposit, a transfer from another wallet.
    fn take_in(
        &mut self,
        asked: Asked<'_>,
        matures_at_ms: Option<i64>,
        facts: &Facts,
        draft: &mut Draft,
    ) -> Result<Reply, Stop> {
        if !asked.is_new(facts)? {
            return self.moved(true);
        }
        self.check_room_for(asked.amount)?;
        asked.post(&mut self.sums, draft)?;
        if let Some(at_ms) = matures_at_ms {
            self.immature.add(asked.id, at_ms, asked.amount, draft)?;
        }
        self.repay(draft)?;
        self.moved(false)
    }

    fn debit(&mut self, asked: Asked<'_>, only_mature: bool, facts: &Facts, draft: &mut Draft) -> Result<Reply, Stop> {
        if !asked.is_new(facts)? {
            return self.moved(true);
        }
        self.check_free(asked.amount)?;
        let mature = less(self.sums.balance, self.immature.total())?;
        if only_mature && asked.amount > mature {
            return Err(refuse_immature(asked.amount, mature));
        }
        asked.post(&mut self.sums, draft)?;
        self.immature.fit(self.sums.balance, draft)?;
        self.moved(false)
    }

    fn hold(&mut self, key: &Key, hold: Hold, draft: &mut Draft) -> Result<Reply, Stop> {
        check_id("a hold's id", key.id())?;
        check_amount(hold.amount)?;
        check_budgets(&hold.budgets)?;
        if hold.expires_at_ms <= draft.now_ms {
            return Err(refuse(RefusalCode::Invalid, "a hold expires in the future"));
        }
        if !self.holds.contains(key) {
            if !self.holds.has_room(key) {
                return Err(refuse(RefusalCode::TooManyHolds, "too many holds are open"));
            }
            self.check_budgets_leave(&hold)?;
            self.check_free(hold.amount)?;
            self.holds.budgets.open(&hold.budgets, draft)?;
            self.holds.set(key, hold, draft)?;
        }
        self.held_reply(self.holds.amount(key))
    }

    fn check_budgets_leave(&self, hold: &Hold) -> Result<(), Stop> {
        match self.room(&hold.budgets) {
            Some(room) if hold.amount > room => {
                Err(refuse_budget(hold.amount, room, self.budget_left(&hold.budgets, MicroUsd::ZERO)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_free(&self, amount: MicroUsd) -> Result<(), Stop> {
        let free = self.free()?;
        if amount > free { Err(refuse_insufficient(amount, free)) } else { Ok(()) }
    }

    /// Refuses what would lift the balance beyond what one command can move again.
    pub(super) fn check_room_for(&self, amount: MicroUsd) -> Result<(), Stop> {
        if plus(self.sums.balance, amount)? > AMOUNT_MAX {
            return Err(refuse(RefusalCode::AmountInvalid, format!("a balance is at most {AMOUNT_MAX}")));
        }
        Ok(())
    }

    pub(super) fn moved(&self, duplicate: bool) -> Result<Reply, Stop> {
        Ok(Reply::Moved { duplicate, balance: self.sums.balance, available: self.available()? })
    }

    fn held_reply(&self, held: MicroUsd) -> Result<Reply, Stop> {
        Ok(Reply::Held { held, balance: self.sums.balance, available: self.available()? })
    }
}

fn records_of(items: &[String]) -> Result<Vec<QueuedRecord>, MachineError> {
    let unreadable = |error: serde_json::Error| MachineError::unreadable("outbox", &error);
    items.iter().map(|item| serde_json::from_str(item).map_err(unreadable)).collect()
}

fn journal_reply(facts: Facts, limit: u32) -> Result<Reply, Stop> {
    let is_full = facts.page.len() >= limit as usize;
    let entries = facts.page.into_iter().map(ledger::line_of).collect::<Result<Vec<_>, _>>()?;
    let next_after = entries.last().filter(|_| is_full).map(|line| line.seq);
    Ok(Reply::Journal { entries, next_after })
}
