//! What a wallet refuses, before it changes anything.

use guildhall_domain::money::MicroUsd;

use super::protocol::{AMOUNT_MAX, BATCH_MAX, Capture, Lease, RECORD_MAX_BYTES, RefusalCode, Reply, TEXT_MAX_BYTES};
use crate::machine::MachineError;

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
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Self {
        Self::Fault(error)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, free } = refusal;
        Self::Refused { code, message, free }
    }
}

/// A refusal with its reason.
pub fn refuse(code: RefusalCode, message: impl Into<String>) -> Stop {
    Stop::Refused(Refusal { code, message: message.into(), free: None })
}

/// There is only so much.
pub fn refuse_insufficient(wanted: MicroUsd, free: MicroUsd) -> Stop {
    let message = format!("{wanted} is wanted and {free} is free");
    Stop::Refused(Refusal { code: RefusalCode::Insufficient, message, free: Some(free) })
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
    lease.captures.iter().try_for_each(check_capture)
}
