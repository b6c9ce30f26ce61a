//! What a wallet refuses, before it changes anything.

use std::collections::BTreeSet;

use guildhall_domain::money::MicroUsd;

use super::protocol::{
    AMOUNT_MAX, BATCH_MAX, BUDGETS_MAX, BudgetLeft, BudgetLine, COUNTS_MAX, Capture, Count, Lease, RECORD_MAX_BYTES,
    RefusalCode, Reply, TEXT_MAX_BYTES,
};
use crate::machine::MachineError;

const PERIOD_MAX_BYTES: usize = 16;

/// Why a command goes no further.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The caller is told.
    Refused(Refusal),
    /// The wallet is at fault.
    Fault(MachineError),
}

/// A refusal; see [`Reply::Refused`].
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    code: RefusalCode,
    message: String,
    free: Option<MicroUsd>,
    budget: Option<BudgetLeft>,
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Self {
        Self::Fault(error)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, free, budget } = refusal;
        Self::Refused { code, message, free, budget }
    }
}

/// A refusal with its reason.
pub fn refuse(code: RefusalCode, message: impl Into<String>) -> Stop {
    Stop::Refused(Refusal { code, message: message.into(), free: None, budget: None })
}

/// There is only so much.
pub fn refuse_insufficient(wanted: MicroUsd, free: MicroUsd) -> Stop {
    let message = format!("{wanted} is wanted and {free} is free");
    Stop::Refused(Refusal { code: RefusalCode::Insufficient, message, free: Some(free), budget: None })
}

/// Only so much may be withdrawn yet.
pub fn refuse_immature(wanted: MicroUsd, mature: MicroUsd) -> Stop {
    let message = format!("{wanted} is wanted and {mature} may be withdrawn yet");
    Stop::Refused(Refusal { code: RefusalCode::Immature, message, free: Some(mature), budget: None })
}

/// A budget leaves only so much.
pub fn refuse_budget(wanted: MicroUsd, room: MicroUsd, budget: Option<BudgetLeft>) -> Stop {
    let message = format!("{wanted} is wanted and a budget leaves {room}");
    Stop::Refused(Refusal { code: RefusalCode::BudgetExceeded, message, free: None, budget })
}

/// An id or a name.
pub fn check_id(what: &str, text: &str) -> Result<(), Stop> {
    if text.is_empty() || text.len() > TEXT_MAX_BYTES {
        return Err(refuse(RefusalCode::Invalid, format!("{what} has 1 to {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}

/// A reason, which may be empty.
pub fn check_reason(text: &str) -> Result<(), Stop> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(refuse(RefusalCode::Invalid, format!("a reason has at most {TEXT_MAX_BYTES} bytes")));
    }
    Ok(())
}

pub fn check_amount(amount: MicroUsd) -> Result<(), Stop> {
    if amount.is_negative() || amount > AMOUNT_MAX {
        return Err(refuse(RefusalCode::AmountInvalid, format!("an amount is between 0 and {AMOUNT_MAX}")));
    }
    Ok(())
}

pub fn check_batch(length: usize) -> Result<(), Stop> {
    if length > BATCH_MAX {
        return Err(refuse(RefusalCode::Invalid, format!("a batch has at most {BATCH_MAX} parts")));
    }
    Ok(())
}

pub fn check_capture(capture: &Capture) -> Result<(), Stop> {
    check_id("a capture's id", &capture.id)?;
    check_amount(capture.amount)?;
    if capture.record.as_ref().is_some_and(|record| record.len() > RECORD_MAX_BYTES) {
        return Err(refuse(RefusalCode::Invalid, format!("a record has at most {RECORD_MAX_BYTES} bytes")));
    }
    if capture.counts.len() > COUNTS_MAX {
        return Err(refuse(RefusalCode::Invalid, format!("a capture counts for at most {COUNTS_MAX} lines")));
    }
    capture.counts.iter().try_for_each(|count| check_terms(&count.id, &count.period, count.amount))
}

/// The budgets of a hold.
pub fn check_budgets(lines: &[BudgetLine]) -> Result<(), Stop> {
    if lines.is_empty() {
        return Ok(());
    }
    if lines.len() > BUDGETS_MAX {
        return Err(refuse(RefusalCode::Invalid, format!("a hold has at most {BUDGETS_MAX} budgets")));
    }
    if lines.iter().map(|line| &line.id).collect::<BTreeSet<_>>().len() < lines.len() {
        return Err(refuse(RefusalCode::Invalid, "a hold names each budget once"));
    }
    lines.iter().try_for_each(check_line)
}

/// One budget.
pub fn check_line(line: &BudgetLine) -> Result<(), Stop> {
    check_terms(&line.id, &line.period, line.limit)
}

/// Part of what a merged wallet tells: an amount more or less.
pub fn check_count(count: &Count) -> Result<(), Stop> {
    check_terms(&count.id, &count.period, MicroUsd(count.amount.0.saturating_abs()))
}

fn check_terms(id: &str, period: &str, amount: MicroUsd) -> Result<(), Stop> {
    check_id("a budget's id", id)?;
    check_amount(amount)?;
    if period.len() > PERIOD_MAX_BYTES {
        return Err(refuse(RefusalCode::Invalid, format!("a period has at most {PERIOD_MAX_BYTES} bytes")));
    }
    Ok(())
}

pub fn check_lease(lease: &Lease) -> Result<(), Stop> {
    check_id("a lease's id", &lease.id)?;
    check_amount(lease.want)?;
    check_amount(lease.least)?;
    if lease.least > lease.want {
        return Err(refuse(RefusalCode::Invalid, "the least is at most what is wanted"));
    }
    check_batch(lease.captures.len())?;
    check_budgets(&lease.budgets)?;
    lease.captures.iter().try_for_each(check_capture)
}
