//! The stored sums, held against the journal.

use guildhall_domain::money::MicroUsd;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::ledger::{Account, Sums, plus};
use super::protocol::{Audit, Reply};
use super::refusal::Stop;
use super::state::WalletMachine;
use crate::machine::{MachineError, Total};

/// The row of what audits have added up; see [`crate::machine::EXTRA_PREFIX`].
pub const AUDITED_KEY: &str = "x:audited";
/// So many entries are read again by each audit, before what they add up to is kept.
const READ_AGAIN_MAX: i64 = 1_000;

/// What audits have added up. What was found right is read no more, for its sums never change: an audit costs what has
/// happened since the last one, not what has ever happened.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    totals: Vec<Total>,
}

impl Audited {
    /// The number of the last entry in it.
    pub fn last_seq(&self) -> i64 {
        self.totals.iter().map(|total| total.last_seq).max().unwrap_or_default()
    }

    fn with(&self, new: &[Total]) -> Result<Self, MachineError> {
        let mut totals = self.totals.clone();
        for total in new {
            let is_same = |known: &&mut Total| known.debit == total.debit && known.credit == total.credit;
            let Some(known) = totals.iter_mut().find(is_same) else {
                totals.push(total.clone());
                continue;
            };
            known.entries = known.entries.saturating_add(total.entries);
            known.amount_usd_micros = plus(MicroUsd(known.amount_usd_micros), MicroUsd(total.amount_usd_micros))?.0;
            known.last_seq = total.last_seq;
        }
        Ok(Self { totals })
    }
}

impl WalletMachine {
    /// Compares the sums with the journal's: with what was added up before, and `new`, which has come since.
    pub(super) fn audit(&mut self, new: &[Total], draft: &mut Draft) -> Result<Reply, Stop> {
        let audited = self.audited.with(new)?;
        let audit = self.sums.audit(&audited.totals, self.held()?)?;
        if audit.consistent && new.iter().map(|total| total.entries).sum::<i64>() >= READ_AGAIN_MAX {
            draft.put(AUDITED_KEY.to_owned(), &audited)?;
            self.audited = audited;
        }
        Ok(Reply::Audit(audit))
    }
}

impl Sums {
    /// Compares the sums with the journal's.
    fn audit(self, totals: &[Total], held: MicroUsd) -> Result<Audit, MachineError> {
        let net = |account: Account| net_of(account, totals);
        let negated =
            |amount: MicroUsd| amount.checked_neg().ok_or_else(|| MachineError(format!("{amount} has no opposite")));
        let (journal_balance, journal_in_flight) = (net(Account::Balance)?, net(Account::InFlight)?);
        let journal_owed = negated(net(Account::Debt)?)?;
        let is_sound = !self.balance.is_negative() && !self.in_flight.is_negative() && held <= self.balance;
        Ok(Audit {
            consistent: is_sound
                && journal_balance == self.balance
                && journal_in_flight == self.in_flight
                && journal_owed == self.owed,
            entries: totals.iter().map(|total| u64::try_from(total.entries).unwrap_or_default()).sum(),
            balance: self.balance,
            journal_balance,
            in_flight: self.in_flight,
            journal_in_flight,
            held,
            deposited_net: negated(net(Account::External)?)?,
            charged: net(Account::Revenue)?,
            written_off: negated(net(Account::WriteOff)?)?,
            transferred_net: negated(net(Account::Wallets)?)?,
            owed: self.owed,
        })
    }
}

/// What an account took less what it gave.
fn net_of(account: Account, totals: &[Total]) -> Result<MicroUsd, MachineError> {
    totals.iter().try_fold(MicroUsd::ZERO, |net, total| {
        let taken = if total.credit == account.name() { total.amount_usd_micros } else { 0 };
        let given = if total.debit == account.name() { total.amount_usd_micros } else { 0 };
        plus(net, MicroUsd(taken.saturating_sub(given)))
    })
}
