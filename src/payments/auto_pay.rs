//! Auto pay: charges the saved card when money runs out.
//!
//! It looks when a call finds too little, and when a call has left less than the threshold. An account without it costs
//! nothing: the threshold is read with the key (`Payer::reloads_below`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};
use guildhall_domain::billing::auto_pay::{AMOUNT_DEFAULT, AutoPay, DAY_MAX, Readiness};
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;

use super::charge::{Begun, Wanted, begin, look_up, make, settle_paid, take_over};
use super::{Desk, read_billing};
use crate::app::App;
use crate::error::ApiError;
use crate::meter::money::{flush, known_balance};
use crate::meter::payer::Payer;
use crate::ports::{Ports, ask};
use crate::store::money::billing::{BillingRow, forget_declines};
use crate::store::money::payments::{PaymentRow, count_auto_charges, drop_payment, find_payment};

/// How long a call waits for a charge that somebody else makes.
const WAIT_MS: i64 = 20_000;
const LOOK_MS: u32 = 250;
/// How often an isolate looks after one account's threshold.
const LOOK_AGAIN_MS: i64 = 5_000;
const DAY_MS: i64 = 86_400_000;
/// Accounts remembered at most.
const ACCOUNTS_MAX: usize = 4_096;
/// By then the wallet knows what the isolate's last calls cost.
const SETTLED_MS: u32 = 60;

/// When an isolate last looked after accounts.
#[derive(Default)]
pub struct Watch {
    looked_ms: RefCell<HashMap<String, i64>>,
}

impl Watch {
    fn begin(&self, account_id: &str, now_ms: i64) -> bool {
        let mut looked = self.looked_ms.borrow_mut();
        if looked.get(account_id).is_some_and(|at_ms| now_ms - at_ms < LOOK_AGAIN_MS) {
            return false;
        }
        if looked.len() >= ACCOUNTS_MAX {
            looked.clear();
        }
        looked.insert(account_id.to_owned(), now_ms);
        true
    }
}

/// How the account's auto pay stands.
#[must_use]
pub fn auto_pay_of(row: &BillingRow) -> AutoPay {
    AutoPay {
        is_enabled: row.auto_enabled == Some(1),
        has_card: row.payment_method_id.is_some(),
        declines: row.auto_declines,
        rests_until_ms: row.auto_rests_until_ms,
    }
}

/// What it charges.
#[must_use]
pub fn amount_of(row: &BillingRow) -> MicroUsd {
    row.auto_amount_micros.map_or(AMOUNT_DEFAULT, MicroUsd)
}

/// A call has ended: looks after the balance in the background, where the account has auto pay.
pub fn note_spending(app: &Rc<App>, ports: &Rc<Ports>, payer: &Rc<Payer>) {
    let Some(below) = payer.reloads_below() else { return };
    let now_ms = ports.clock.now_ms();
    if known_balance(app, payer) >= below || !app.auto_pay.begin(payer.owner(), now_ms) {
        return;
    }
    let (app, ports_then, payer) = (Rc::clone(app), Rc::clone(ports), Rc::clone(payer));
    ports.background.spawn(Box::pin(async move {
        ports_then.clock.sleep_ms(SETTLED_MS).await;
        reload(&app, &ports_then, payer.owner(), Need::Threshold(below)).await;
    }));
}

/// What is to be paid.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// A call that wants so much available. What does not make it possible is not charged for it.
    Call(MicroUsd),
    /// A balance that is to be no lower.
    Threshold(MicroUsd),
}

impl Need {
    fn is_met(self, available: MicroUsd) -> bool {
        let (Self::Call(wanted) | Self::Threshold(wanted)) = self;
        available >= wanted
    }

    /// Whether it wants this amount charged.
    fn wants(self, available: MicroUsd, amount: MicroUsd) -> bool {
        let is_of_use = match self {
            Self::Call(_) => available.checked_add(amount).is_some_and(|then| self.is_met(then)),
            Self::Threshold(_) => true,
        };
        is_of_use && !self.is_met(available)
    }
}

/// Charges for what is needed, where that is of use: whether there is enough now. Never fails: what goes wrong is logged.
pub async fn reload(app: &Rc<App>, ports: &Rc<Ports>, account_id: &str, need: Need) -> bool {
    let desk = Desk::new(app, ports);
    match try_reload(&desk, account_id, need).await {
        Ok(is_enough) => is_enough,
        Err(error) => {
            let cause = error.cause.as_deref().unwrap_or(&error.message);
            desk.log(format_args!("auto pay of {account_id}: {cause}"));
            false
        }
    }
}

async fn try_reload(desk: &Desk, account_id: &str, need: Need) -> Result<bool, ApiError> {
    let billing = read_billing(desk, account_id).await?;
    let amount = amount_of(&billing);
    if auto_pay_of(&billing).readiness(desk.now_ms()) != Readiness::Ready {
        return Ok(false);
    }
    let available = read_available(desk, account_id).await?;
    if !need.wants(available, amount) {
        return Ok(need.is_met(available));
    }
    let product = if account_id.starts_with("prov_") { "toolrouter" } else { "tokaroo" };
    for attempt in 0..2 {
        let id = PaymentId::from_random(desk.draw());
        let charge = Wanted { account_id, kind: "auto", product, amount, id };
        let row = match begin(desk, &charge).await? {
            // Nobody else charges meanwhile: whether it is needed can be asked.
            Begun::Ours(row) => {
                let available = read_available(desk, account_id).await;
                let is_wanted = available.as_ref().is_ok_and(|&available| need.wants(available, amount));
                if !is_wanted || is_over_day(desk, account_id).await? {
                    drop_payment(account_id, &row.id, row.leased_until_ms).run(desk.db()).await?;
                    return available.map(|available| need.is_met(available));
                }
                make(desk, &row).await?
            }
            Begun::Known(row) | Begun::Other(row) => match take_over(desk, &row).await? {
                None => return wait_for(desk, &row, need).await,
                Some(taken) => {
                    let available = read_available(desk, account_id).await?;
                    if charge.is(&taken.row) && need.wants(available, amount) {
                        make(desk, &taken.row).await?
                    } else if look_up(desk, &taken).await?.status == "pending" {
                        return Ok(need.is_met(available));
                    } else {
                        // It is out of the way.
                        continue;
                    }
                }
            },
            Begun::Refused => {
                // A charge that ended just now may have brought what is needed.
                if need.is_met(read_available(desk, account_id).await?) {
                    return Ok(true);
                }
                if attempt == 0 {
                    continue;
                }
                desk.log(format_args!("auto pay of {account_id}: the month's limit is reached"));
                return Ok(false);
            }
        };
        if row.status == "paid" {
            forget_declines(account_id).run(desk.db()).await?;
        }
        return Ok(row.status == "paid");
    }
    read_available(desk, account_id).await.map(|available| need.is_met(available))
}

/// Whether the day has had its charges: the one that is begun counts.
async fn is_over_day(desk: &Desk, account_id: &str) -> Result<bool, ApiError> {
    let counted = count_auto_charges(account_id, desk.now_ms() - DAY_MS).run(desk.db()).await?;
    let is_over = counted.is_some_and(|counted| counted.total > DAY_MAX);
    if is_over {
        desk.log(format_args!("auto pay of {account_id}: it has charged {DAY_MAX} times within a day"));
    }
    Ok(is_over)
}

/// What there is to spend, with what the card has paid: its wallet may not have got it yet.
async fn read_available(desk: &Desk, account_id: &str) -> Result<MicroUsd, ApiError> {
    settle_paid(desk, account_id).await?;
    flush(&desk.app, &desk.ports, account_id).await?;
    match ask::<Wallet>(&*desk.ports.objects, &name(account_id), &Command::Balance).await? {
        Reply::Balance(balance) => Ok(balance.available),
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}

/// Somebody else charges: their outcome is ours.
async fn wait_for(desk: &Desk, row: &PaymentRow, need: Need) -> Result<bool, ApiError> {
    let until_ms = desk.now_ms() + WAIT_MS;
    while desk.now_ms() < until_ms {
        desk.ports.clock.sleep_ms(LOOK_MS).await;
        match find_payment(&row.account_id, &row.id).run(desk.db()).await? {
            Some(row) if row.status == "pending" => {}
            Some(row) if row.status != "paid" => return Ok(false),
            _ => return read_available(desk, &row.account_id).await.map(|available| need.is_met(available)),
        }
    }
    Ok(false)
}
