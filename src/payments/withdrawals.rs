//! Withdrawals: money goes from a wallet to a bank account, once, or stays.
//!
//! ```text
//! row (open) ─▶ debit ─▶ transfer ─▶ paid
//!                │ not there: refused    │ refused for sure: returning ─▶ credit ─▶ returned
//! ```
//!
//! Each step has the withdrawal's name, so each is made once however often it is tried; each may be where an isolate dies.
//! Whoever works on a withdrawal has its row for a while, so that no two of them send and give back. What is left half
//! done is taken up by the same request when it comes again, or by the hour's job: that one sends nothing for a withdrawal
//! whose debit was never made, because nobody was told that it would be.

use std::rc::Rc;

use durable_objects::wallet::protocol::{Balance, Command, RefusalCode, Reply, Wallet, name};
use guildhall_domain::money::MicroUsd;
use guildhall_domain::time::format_rfc3339;
use schemars::JsonSchema;
use serde::Serialize;

use super::stripe::{Stripe, StripeError};
use crate::app::App;
use crate::meter::money::notice_credit;
use crate::ports::{PortError, Ports, ask};
use crate::store::identity::claims::note_late_money;
use crate::store::market::withdrawals::{
    State, WithdrawalRow, begin_withdrawal, find_withdrawal, list_unfinished, move_withdrawal, take_withdrawal,
};
use crate::store::statement::Changed;

/// How long whoever works on a withdrawal has it to themselves.
const WORK_MS: i64 = 240_000;
/// A transfer is not begun later than this before that ends: two tries of 25 s and their pause.
const TRANSFER_MS: i64 = 60_000;
/// Money that leases hold is free again within moments; a withdrawal waits so often, so long.
const WAITS: u32 = 20;
const WAIT_MS: u32 = 250;
/// Withdrawals that one hour's job takes up.
const UNFINISHED_MAX: i64 = 100;

/// Money in a wallet that cannot be withdrawn yet.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnHold {
    /// How much, in cents.
    amount_cents: i64,
    /// From when on it can be.
    pub withdrawable_at: String,
}

/// What of a wallet can be withdrawn now, in whole cents rounded down, and what later: paid by card, and not yet spent.
#[must_use]
pub fn read_withdrawable(there: &Balance) -> (i64, Vec<OnHold>) {
    let mut sum = there.withdrawable();
    let now_cents = sum.to_cents_floor();
    let on_hold = there.immature.iter().map(|part| {
        let before_cents = sum.to_cents_floor();
        sum = MicroUsd(sum.0.saturating_add(part.amount.0)).min(there.available);
        let amount_cents = sum.to_cents_floor() - before_cents;
        OnHold { amount_cents, withdrawable_at: format_rfc3339(part.at_ms) }
    });
    (now_cents, on_hold.collect())
}

/// What became of a withdrawal.
#[derive(Debug)]
pub enum Outcome {
    /// It is paid.
    Paid {
        /// Stripe's name for it.
        transfer_id: String,
        /// Settled money that is left.
        balance: MicroUsd,
    },
    /// The wallet does not have so much; nothing was taken.
    Insufficient,
    /// Stripe refused it; the money is back.
    Returned,
    /// Not known yet. It is taken up again.
    Unknown(String),
}

/// A withdrawal that is asked for.
pub struct NewWithdrawal<'a> {
    /// Its name: the same when it is asked for again.
    pub id: &'a str,
    /// Whose wallet.
    pub account_id: &'a str,
    /// How much; whole cents.
    pub amount: MicroUsd,
    /// Where to.
    pub stripe_account_id: &'a str,
}

/// What [`begin`] found.
pub enum Begun {
    /// It is ours to make.
    Ours(Work),
    /// It has come to its end before.
    Ended(WithdrawalRow),
    /// Somebody else is making it.
    Busy,
    /// Its name was used for another amount.
    Mismatch,
}

/// A withdrawal that is ours for a while.
pub struct Work {
    app: Rc<App>,
    ports: Rc<Ports>,
    row: WithdrawalRow,
    /// Until when; also what says that it still is.
    held_until_ms: i64,
}

/// Writes a withdrawal down before any money moves, or takes it up again.
///
/// # Errors
/// When the database fails; nothing was taken then.
pub async fn begin(app: &Rc<App>, ports: &Rc<Ports>, new: &NewWithdrawal<'_>) -> Result<Begun, PortError> {
    let (db, now_ms) = (&*ports.db, ports.clock.now_ms());
    let held_until_ms = now_ms + WORK_MS;
    let NewWithdrawal { id, account_id, amount, stripe_account_id } = *new;
    let begun = begin_withdrawal(account_id, id, amount.0, stripe_account_id, held_until_ms, now_ms).run(db).await?;
    let is_ours = begun.0 == 1 || take_withdrawal(account_id, id, held_until_ms, now_ms).run(db).await?.0 == 1;
    let found = find_withdrawal(account_id, id).run(db).await?;
    let row = found.ok_or_else(|| PortError(format!("withdrawal {id} is not there")))?;
    Ok(match row.state {
        _ if row.amount_micros != amount.0 => Begun::Mismatch,
        State::Open | State::Returning if is_ours => {
            Begun::Ours(Work { app: Rc::clone(app), ports: Rc::clone(ports), row, held_until_ms })
        }
        State::Open | State::Returning => Begun::Busy,
        State::Paid | State::Returned | State::Refused => Begun::Ended(row),
    })
}

impl Work {
    /// Goes on with it, as far as it can be known to go.
    ///
    /// # Errors
    /// When the wallet or the database fails: it stays as it is, and is taken up again.
    pub async fn make(&self, stripe: &Stripe) -> Result<Outcome, PortError> {
        if self.row.state == State::Returning {
            return self.give_back().await;
        }
        let Some(balance) = self.debit().await? else {
            self.end("refused", None, Some("insufficient balance")).await?;
            return Ok(Outcome::Insufficient);
        };
        match self.transfer(stripe).await {
            Ok(transfer_id) => {
                if let Err(error) = self.end("paid", Some(&transfer_id), None).await {
                    // The money has gone: that is the answer. The hour's job finds the transfer, and marks it.
                    self.log(&format!("paid and not marked: {error}"));
                }
                Ok(Outcome::Paid { transfer_id, balance })
            }
            Err(error @ (StripeError::Refused { .. } | StripeError::Missing | StripeError::Card { .. })) => {
                self.log(&error.to_string());
                self.move_to("returning", None, Some(&error.to_string()), self.held_until_ms).await?;
                self.give_back().await
            }
            Err(error) => {
                self.end("open", None, None).await?;
                Ok(Outcome::Unknown(error.to_string()))
            }
        }
    }

    /// Takes the money out of the wallet; gives what is left, or `None` when it is not there.
    async fn debit(&self) -> Result<Option<MicroUsd>, PortError> {
        let (row, ports) = (&self.row, &self.ports);
        let (wallet, amount) = (name(&row.account_id), MicroUsd(row.amount_micros));
        for _ in 0..WAITS {
            let command = Command::Withdraw { id: row.id.clone(), amount, reason: "Withdrawal".to_owned() };
            match ask::<Wallet>(&*ports.objects, &wallet, &command).await? {
                Reply::Moved { balance, .. } => return Ok(Some(balance)),
                Reply::Refused { code: RefusalCode::Immature, .. } => return Ok(None),
                Reply::Refused { code: RefusalCode::Insufficient, .. } => {}
                other => return Err(PortError(format!("debit of {}: {other:?}", row.id))),
            }
            match ask::<Wallet>(&*ports.objects, &wallet, &Command::Balance).await? {
                // Only leases stand in the way: isolates let go of them when their calls have ended.
                Reply::Balance(Balance { available, held_leases, .. })
                    if available >= amount && held_leases > MicroUsd::ZERO => {}
                Reply::Balance(_) => return Ok(None),
                other => return Err(PortError(format!("balance of {}: {other:?}", row.account_id))),
            }
            ports.clock.sleep_ms(WAIT_MS).await;
        }
        Ok(None)
    }

    /// Sends the money. What was tried before is looked for first: after a day its name alone would not keep a second
    /// transfer from going out.
    async fn transfer(&self, stripe: &Stripe) -> Result<String, StripeError> {
        let row = &self.row;
        if let Some(transfer) = stripe.find_transfer(&row.id).await? {
            return Ok(transfer.id);
        }
        if self.ports.clock.now_ms() > self.held_until_ms - TRANSFER_MS {
            return Err(StripeError::Unknown("it has taken too long to begin".into()));
        }
        let told = [("withdrawal_id", row.id.as_str())];
        let transfer = stripe.transfer(&row.id, &row.stripe_account_id, MicroUsd(row.amount_micros), &told).await?;
        Ok(transfer.id)
    }

    async fn give_back(&self) -> Result<Outcome, PortError> {
        let (row, amount) = (&self.row, MicroUsd(self.row.amount_micros));
        let command = Command::Credit { id: row.id.clone(), amount, reason: "Withdrawal returned".to_owned() };
        match ask::<Wallet>(&*self.ports.objects, &name(&row.account_id), &command).await? {
            Reply::Moved { .. } => {}
            other => return Err(PortError(format!("return of {}: {other:?}", row.id))),
        }
        notice_credit(&self.app, &row.account_id);
        note_late_money(&row.account_id, self.ports.clock.now_ms()).run(&*self.ports.db).await?;
        self.end("returned", None, None).await?;
        Ok(Outcome::Returned)
    }

    /// Says how far it has come, and lets go of it.
    async fn end(&self, state: &str, transfer_id: Option<&str>, failure: Option<&str>) -> Result<(), PortError> {
        self.move_to(state, transfer_id, failure, self.ports.clock.now_ms()).await
    }

    /// Fails when it is ours no more: then somebody else decides.
    async fn move_to(
        &self,
        state: &str,
        transfer_id: Option<&str>,
        failure: Option<&str>,
        until_ms: i64,
    ) -> Result<(), PortError> {
        let (row, now_ms) = (&self.row, self.ports.clock.now_ms());
        let (account, held_ms) = (&row.account_id, self.held_until_ms);
        let change = move_withdrawal(account, &row.id, state, transfer_id, failure, until_ms, now_ms, held_ms);
        match change.run(&*self.ports.db).await? {
            Changed(0) => Err(PortError(format!("withdrawal {} was taken up by somebody else", row.id))),
            Changed(_) => Ok(()),
        }
    }

    fn log(&self, line: &str) {
        self.ports.background.log(&format!("withdrawal {}: {line}", self.row.id));
    }
}

/// Brings withdrawals that were left half done to their ends, one after the other.
///
/// # Errors
/// When the database fails. What does not come to its end is tried again in an hour.
pub async fn finish_withdrawals(app: &Rc<App>, ports: &Rc<Ports>) -> Result<(), PortError> {
    let unfinished = list_unfinished(ports.clock.now_ms(), UNFINISHED_MAX).run(&*ports.db).await?;
    if unfinished.is_empty() {
        return Ok(());
    }
    let stripe = Stripe::new(app, ports, "").map_err(|error| PortError(error.to_string()))?;
    for row in unfinished {
        match finish(app, ports, &stripe, &row).await {
            Ok(outcome) => ports.background.log(&format!("withdrawal {} taken up: {outcome:?}", row.id)),
            Err(error) => ports.background.log(&format!("withdrawal {}: {error}", row.id)),
        }
    }
    Ok(())
}

async fn finish(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    stripe: &Stripe,
    row: &WithdrawalRow,
) -> Result<Option<Outcome>, PortError> {
    let new = NewWithdrawal {
        id: &row.id,
        account_id: &row.account_id,
        amount: MicroUsd(row.amount_micros),
        stripe_account_id: &row.stripe_account_id,
    };
    let Begun::Ours(work) = begin(app, ports, &new).await? else { return Ok(None) };
    let find = Command::Find { entry_id: format!("debit:{}", row.id) };
    match ask::<Wallet>(&*ports.objects, &name(&row.account_id), &find).await? {
        Reply::Found { amount: Some(_), .. } => work.make(stripe).await.map(Some),
        Reply::Found { amount: None, .. } => {
            work.end("refused", None, Some("given up before it was debited")).await?;
            Ok(Some(Outcome::Insufficient))
        }
        other => Err(PortError(format!("debit of {}: {other:?}", row.id))),
    }
}
