//! Budgets: how much of the balance may be spent for one purpose. They are limits on holds, so nothing that was never
//! held can overstep them.
//!
//! `spent` is what was captured since the period, or the last reset within it, began. Holds that are open at that moment
//! count on, and so do their captures: of any two ways to count, this one never lets more through. Lines are counted
//! before anything limits them, so that a budget that is set in the middle of a month finds what the month has spent.

use std::collections::BTreeMap;

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::ledger::{is_nothing, less, plus};
use super::protocol::RefusalCode;
use super::refusal::{Stop, refuse};
use crate::machine::{MachineError, Row};

/// Lines that a wallet keeps; the ones of past periods, and those that have ended, make way for new ones.
const LINES_MAX: usize = 10_000;
/// Of them, lines up to which one is begun that nothing limits yet.
const COUNTED_MAX: usize = LINES_MAX / 2;
/// For so long a line that has ended is kept: its last calls may run that long, and must find what it has spent.
const ENDED_MS: i64 = 24 * 60 * 60 * 1_000;
const ROW_PREFIX: &str = "budget:";

/// A budget that a hold counts against. All but the id may differ from one command to the next; what the latest says
/// holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// Names the line within the wallet, such as `key:ID` or `workspace:ID`.
    pub id: String,
    /// What is counted together: a UTC month such as `2026-11`; empty for all time. A period before the newest that the
    /// wallet has heard of counts as the newest: the clocks of isolates differ a little.
    pub period: String,
    /// The most that may be spent and held together.
    pub limit: MicroUsd,
    /// The last reset; milliseconds since 1970, 0 when there was none. A later one than the wallet has heard of sets
    /// `spent` to nothing.
    #[serde(default)]
    pub since_ms: i64,
}

/// Part of a charge that counts for a line which limits nothing now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// As [`BudgetLine::id`].
    pub id: String,
    /// As [`BudgetLine::period`].
    pub period: String,
    /// As [`BudgetLine::since_ms`].
    #[serde(default)]
    pub since_ms: i64,
    /// How much of the charge; what was not covered does not count. Of a merged wallet's line also less than nothing.
    pub amount: MicroUsd,
}

/// How a budget stands: of several, the one that leaves the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLeft {
    /// Its place among the lines of the command, from 0.
    pub line: usize,
    /// What was captured in the period, or since the reset.
    pub spent: MicroUsd,
    /// The limit less `spent` and less holds of calls; nothing when they are above it.
    pub available: MicroUsd,
    /// What other leases hold of it.
    pub others_held: MicroUsd,
}

impl BudgetLeft {
    /// What is left when the other leases keep what they hold.
    #[must_use]
    pub const fn without_others(&self) -> i64 {
        self.available.0.saturating_sub(self.others_held.0)
    }
}

/// All lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    lines: BTreeMap<String, Line>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    spending: Spending,
    leases: MicroUsd,
    calls: MicroUsd,
}

/// What is stored of a line.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Spending {
    period: String,
    since_ms: i64,
    spent: MicroUsd,
    /// What of it, and of what is held, the wallet that this one was merged into counts.
    #[serde(default, skip_serializing_if = "is_nothing")]
    told: MicroUsd,
    /// When it was said that nothing more is spent; milliseconds since 1970, 0 while something may be.
    #[serde(default, skip_serializing_if = "is_open")]
    ended_at_ms: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so; where words are small the lint is silent")]
const fn is_open(ended_at_ms: &i64) -> bool {
    *ended_at_ms == 0
}

impl Spending {
    fn ends_before(&self, period: &str, since_ms: i64) -> bool {
        self.period.as_str() < period || self.since_ms < since_ms
    }
}

impl Budgets {
    /// Takes a stored row in. Answers whether it was a line.
    pub fn load(&mut self, row: &Row) -> Result<bool, MachineError> {
        let Some(id) = row.key.strip_prefix(ROW_PREFIX) else {
            return Ok(false);
        };
        let spending = serde_json::from_str(&row.value).map_err(|error| MachineError::unreadable(&row.key, &error))?;
        self.lines.entry(id.to_owned()).or_default().spending = spending;
        Ok(true)
    }

    /// Makes the lines known, and begins what is new for them: a period, or counting after a reset.
    pub fn open(&mut self, lines: &[BudgetLine], draft: &mut Draft) -> Result<(), Stop> {
        if self.open_known(lines, draft)?.len() < lines.len() {
            return Err(refuse(RefusalCode::TooManyHolds, "too many budgets are in use"));
        }
        Ok(())
    }

    /// As [`Self::open`], of those for which there is a place; gives them.
    pub fn open_known(&mut self, lines: &[BudgetLine], draft: &mut Draft) -> Result<Vec<BudgetLine>, MachineError> {
        let mut known = Vec::with_capacity(lines.len());
        for line in lines {
            if self.has_place(&line.id, LINES_MAX, &line.period, draft) {
                self.begin(&line.id, &line.period, line.since_ms, draft)?;
                known.push(line.clone());
            }
        }
        Ok(known)
    }

    /// The newest period, of all lines and this one.
    fn newest<'p>(&'p self, period: &'p str) -> &'p str {
        self.lines.values().map(|line| line.spending.period.as_str()).fold(period, std::cmp::max)
    }

    /// Says that nothing more is spent under these lines.
    pub fn end(&mut self, ids: &[String], draft: &mut Draft) -> Result<(), MachineError> {
        for id in ids {
            if let Some(line) = self.lines.get_mut(id).filter(|line| line.spending.ended_at_ms == 0) {
                line.spending.ended_at_ms = draft.now_ms;
                draft.put(row_key(id), &line.spending)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: &str, period: &str, since_ms: i64, draft: &mut Draft) -> Result<(), MachineError> {
        if self.lines.get(id).is_some_and(|known| !known.spending.ends_before(period, since_ms)) {
            return Ok(());
        }
        // A line that made way must not begin again in a period that is over.
        let is_new = !period.is_empty() && !self.lines.contains_key(id);
        let period = if is_new { self.newest(period).to_owned() } else { period.to_owned() };
        let spending = &mut self.lines.entry(id.to_owned()).or_default().spending;
        spending.period = period.max(std::mem::take(&mut spending.period));
        spending.since_ms = spending.since_ms.max(since_ms);
        (spending.spent, spending.told) = (MicroUsd::ZERO, MicroUsd::ZERO);
        draft.put(row_key(id), spending)
    }

    /// Whether a line is known or may be begun; lines of past periods, and those that have ended, are forgotten when there is
    /// no place for one more.
    fn has_place(&mut self, id: &str, most: usize, period: &str, draft: &mut Draft) -> bool {
        if self.lines.contains_key(id) || self.lines.len() < most {
            return true;
        }
        let newest = self.newest(period).to_owned();
        self.lines.retain(|id, known| {
            let Spending { period, ended_at_ms, .. } = &known.spending;
            let has_ended = *ended_at_ms > 0 && ended_at_ms.saturating_add(ENDED_MS) <= draft.now_ms;
            let is_past = has_ended || (!period.is_empty() && *period < newest);
            let is_idle = known.leases == MicroUsd::ZERO && known.calls == MicroUsd::ZERO;
            if is_past && is_idle {
                draft.delete(row_key(id));
            }
            !(is_past && is_idle)
        });
        self.lines.len() < most
    }

    /// What may be held more under all of these lines; `None` when there are none.
    pub fn room(&self, lines: &[BudgetLine]) -> Option<MicroUsd> {
        lines
            .iter()
            .map(|line| {
                let (spent, leases, calls) = self.sums(line);
                let used = spent.0.saturating_add(leases.0).saturating_add(calls.0);
                MicroUsd(line.limit.0.saturating_sub(used).max(0))
            })
            .min()
    }

    /// How the line with the least left stands, seen by a lease that holds `own`.
    pub fn left(&self, lines: &[BudgetLine], own: MicroUsd) -> Option<BudgetLeft> {
        let all = (0..).zip(lines).map(|(at, line)| self.left_of(at, line, own));
        all.min_by_key(|left| (left.without_others(), left.available))
    }

    /// How each of the lines stands, seen by somebody who holds nothing.
    pub fn read(&self, lines: &[BudgetLine]) -> Vec<BudgetLeft> {
        (0..).zip(lines).map(|(at, line)| self.left_of(at, line, MicroUsd::ZERO)).collect()
    }

    fn left_of(&self, at: usize, line: &BudgetLine, own: MicroUsd) -> BudgetLeft {
        let (spent, leases, calls) = self.sums(line);
        let available = MicroUsd(line.limit.0.saturating_sub(spent.0.saturating_add(calls.0)).max(0));
        let others_held = MicroUsd(leases.0.saturating_sub(own.0).max(0));
        BudgetLeft { line: at, spent, available, others_held }
    }

    /// Spent, held by leases, held by calls; as the line would have it, opened or not.
    fn sums(&self, line: &BudgetLine) -> (MicroUsd, MicroUsd, MicroUsd) {
        let Some(known) = self.lines.get(&line.id) else {
            return (MicroUsd::ZERO, MicroUsd::ZERO, MicroUsd::ZERO);
        };
        let spent =
            if known.spending.ends_before(&line.period, line.since_ms) { MicroUsd::ZERO } else { known.spending.spent };
        (spent, known.leases, known.calls)
    }

    /// Counts a capture for the budgets that it was held under.
    pub fn spend(&mut self, lines: &[BudgetLine], amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        lines.iter().try_for_each(|line| self.add_spent(&line.id, amount, draft))
    }

    /// Counts a capture for the other lines that it names. One for which there is no place is not counted: nothing limits
    /// it yet, and no capture may fail.
    pub fn count(
        &mut self,
        counts: Vec<Count>,
        held_under: &[BudgetLine],
        charged: MicroUsd,
        draft: &mut Draft,
    ) -> Result<(), MachineError> {
        for Count { id, period, since_ms, amount } in counts {
            let amount = amount.min(charged);
            let is_held_under = held_under.iter().any(|line| line.id == id);
            if is_held_under || amount == MicroUsd::ZERO || !self.has_place(&id, COUNTED_MAX, &period, draft) {
                continue;
            }
            self.begin(&id, &period, since_ms, draft)?;
            self.add_spent(&id, amount, draft)?;
        }
        Ok(())
    }

    /// What of each line is spent or held beyond what was told, or less than it; told from then on.
    pub fn changes(&mut self, most: usize, draft: &mut Draft) -> Result<Vec<Count>, MachineError> {
        let mut changes = Vec::new();
        for (id, Line { spending, leases, calls }) in &mut self.lines {
            let used = plus(spending.spent, plus(*leases, *calls)?)?;
            let amount = MicroUsd(used.0.saturating_sub(spending.told.0));
            if amount == MicroUsd::ZERO {
                continue;
            }
            if changes.len() == most {
                break;
            }
            spending.told = used;
            draft.put(row_key(id), spending)?;
            changes.push(Count {
                id: id.clone(),
                period: spending.period.clone(),
                since_ms: spending.since_ms,
                amount,
            });
        }
        Ok(changes)
    }

    /// Counts what a merged wallet tells. What is of a period or of a time before a reset that this one is beyond counts for
    /// nothing.
    pub fn inherit(&mut self, counts: &[Count], draft: &mut Draft) -> Result<(), MachineError> {
        for Count { id, period, since_ms, amount } in counts {
            if !self.has_place(id, LINES_MAX, period, draft) {
                continue;
            }
            self.begin(id, period, *since_ms, draft)?;
            let spending = &mut self.lines.entry(id.clone()).or_default().spending;
            if spending.period == *period && spending.since_ms == *since_ms {
                spending.spent = MicroUsd(spending.spent.0.saturating_add(amount.0).max(0));
                draft.put(row_key(id), spending)?;
            }
        }
        Ok(())
    }

    fn add_spent(&mut self, id: &str, amount: MicroUsd, draft: &mut Draft) -> Result<(), MachineError> {
        if amount == MicroUsd::ZERO {
            return Ok(());
        }
        let spending = &mut self.lines.entry(id.to_owned()).or_default().spending;
        spending.spent = plus(spending.spent, amount)?;
        draft.put(row_key(id), spending)
    }

    /// Counts a hold that was opened.
    pub fn add_held(&mut self, lines: &[BudgetLine], of_lease: bool, amount: MicroUsd) -> Result<(), MachineError> {
        for line in lines {
            let held = self.held_mut(&line.id, of_lease);
            *held = plus(*held, amount)?;
        }
        Ok(())
    }

    /// Counts a hold that was closed.
    pub fn drop_held(&mut self, lines: &[BudgetLine], of_lease: bool, amount: MicroUsd) -> Result<(), MachineError> {
        for line in lines {
            let held = self.held_mut(&line.id, of_lease);
            *held = less(*held, amount)?;
        }
        Ok(())
    }

    fn held_mut(&mut self, id: &str, of_lease: bool) -> &mut MicroUsd {
        let line = self.lines.entry(id.to_owned()).or_default();
        if of_lease { &mut line.leases } else { &mut line.calls }
    }
}

fn row_key(id: &str) -> String {
    format!("{ROW_PREFIX}{id}")
}

/// Whether both name the same lines, in the same order.
pub fn are_same(some: &[BudgetLine], others: &[BudgetLine]) -> bool {
    some.iter().map(|line| &line.id).eq(others.iter().map(|line| &line.id))
}
