//! The stored sums, held against the journal.

use guildhall_domain::money::MicroUsd;

use super::ledger::{Account, Sums, plus};
use super::protocol::Audit;
use crate::machine::{MachineError, Total};

impl Sums {
    /// Compares the sums with the journal's.
    pub fn audit(self, totals: &[Total], held: MicroUsd) -> Result<Audit, MachineError> {
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
