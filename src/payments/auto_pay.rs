//! Auto pay: charges the saved card when money runs out.
//!
//! It looks when a call finds too little, and when a call has left less than the threshold. An account without it costs
//! nothing: the threshold is read with the key (`Payer::reloads_below`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use durable_objects::wallet::protocol::{Command, Reply, Wallet, name};
use guildhall_domain::billing::auto_pay::{AMOUNT_DEFAULT, AutoPay, Readiness, rest_ms};
use guildhall_domain::ids::PaymentId;
use guildhall_domain::money::MicroUsd;

use super::charge::{Begun, Wanted, begin, make, take_over};
use super::{Desk, read_billing};
use crate::app::App;
use crate::http::error::ApiError;
use crate::meter::money::{flush, known_balance};
use crate::meter::payer::Payer;
use crate::ports::{Ports, ask};
use crate::store::money::billing::{BillingRow, forget_declines, note_decline};
use crate::store::money::payments::{PaymentRow, drop_payment, find_payment};

/// How long a call waits for a charge that somebody else makes.
const WAIT_MS: i64 = 20_000;
const LOOK_MS: u32 = 250;
/// How often an isolate looks after one account's threshold.
const LOOK_AGAIN_MS: i64 = 5_000;
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
        reload(&app, &ports_then, payer.owner(), below).await;
    }));
}

/// A call finds too little money: whether there is enough now. Never fails: what goes wrong is logged.
pub async fn reload(app: &Rc<App>, ports: &Rc<Ports>, account_id: &str, wanted: MicroUsd) -> bool {
    let desk = Desk::new(app, ports);
    match try_reload(&desk, account_id, wanted).await {
        Ok(is_enough) => is_enough,
        Err(error) => {
            let cause = error.cause.as_deref().unwrap_or(&error.message);
            desk.log(format_args!("auto pay of {account_id}: {cause}"));
            false
        }
    }
}

async fn try_reload(desk: &Desk, account_id: &str, wanted: MicroUsd) -> Result<bool, ApiError> {
    let billing = read_billing(desk, account_id).await?;
    if auto_pay_of(&billing).readiness(desk.now_ms()) != Readiness::Ready {
        return Ok(false);
    }
    let id = PaymentId::from_random(desk.draw());
    let product = if account_id.starts_with("prov_") { "toolrouter" } else { "tokaroo" };
    let charge = Wanted { account_id, kind: "auto", product, amount: amount_of(&billing), id };
    let row = match begin(desk, &charge).await? {
        Begun::Ours(row) => {
            // Now nobody else charges: whether it is needed can be asked.
            if has_enough(desk, account_id, wanted).await? {
                drop_payment(account_id, &row.id).run(desk.db()).await?;
                return Ok(true);
            }
            make(desk, &row).await?
        }
        Begun::Known(row) | Begun::Other(row) => match take_over(desk, &row).await? {
            Some(row) => make(desk, &row).await?,
            None => return wait_for(desk, &row, wanted).await,
        },
        Begun::OverLimit => {
            desk.log(format_args!("auto pay of {account_id}: the month's limit is reached"));
            return Ok(false);
        }
    };
    note_answer(desk, &row, billing.auto_declines).await?;
    Ok(row.status == "paid")
}

/// A decline makes it rest; a payment makes the declines forgotten.
async fn note_answer(desk: &Desk, row: &PaymentRow, declines: i64) -> Result<(), ApiError> {
    match row.status.as_str() {
        "paid" => forget_declines(&row.account_id).run(desk.db()).await?,
        "failed" if row.kind == "auto" => {
            let until_ms = desk.now_ms() + rest_ms(declines + 1);
            desk.app.credentials.forget_account(&row.account_id);
            note_decline(&row.account_id, until_ms).run(desk.db()).await?
        }
        _ => return Ok(()),
    };
    Ok(())
}

async fn has_enough(desk: &Desk, account_id: &str, wanted: MicroUsd) -> Result<bool, ApiError> {
    flush(&desk.app, &desk.ports, account_id).await?;
    match ask::<Wallet>(&*desk.ports.objects, &name(account_id), &Command::Balance).await? {
        Reply::Balance(balance) => Ok(balance.available >= wanted),
        other => Err(ApiError::internal(format!("balance: {other:?}"))),
    }
}

/// Somebody else charges: their outcome is ours.
async fn wait_for(desk: &Desk, row: &PaymentRow, wanted: MicroUsd) -> Result<bool, ApiError> {
    let until_ms = desk.now_ms() + WAIT_MS;
    while desk.now_ms() < until_ms {
        desk.ports.clock.sleep_ms(LOOK_MS).await;
        match find_payment(&row.account_id, &row.id).run(desk.db()).await? {
            Some(row) if row.status == "pending" || (row.status == "paid" && !row.credited) => {}
            Some(row) if row.status != "paid" => return Ok(false),
            _ => return has_enough(desk, &row.account_id, wanted).await,
        }
    }
    Ok(false)
}
