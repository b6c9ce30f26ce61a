//! Payments: Stripe, and what its answers and events do to wallets.
//!
//! The row of a payment holds the facts that Stripe told, in whatever order they came (`store/money/payments.rs`). What
//! the wallet is to have follows from them, and [`settle`] brings it there step by step; each step has a name, so that it
//! is taken once, however often somebody settles: the answer to a charge, an event, the hour's job.
//!
//! | file | what it does |
//! |---|---|
//! | `stripe/` | the client of Stripe's API, and the sandbox's own Stripe |
//! | `checkout.rs` | opens pages where customers pay or save a card |
//! | `by_hand.rs` | money that is put in by hand |
//! | `forfeit.rs` | what is left when an account is closed |
//! | `pages.rs` | pages that wait for their customers |
//! | `charge.rs` | charges a saved card, one charge at a time |
//! | `auto_pay.rs` | does so when money runs out |
//! | `events.rs` | what Stripe tells |
//! | `settle.rs` | what the wallet gets of it |
//! | `reconcile.rs` | what nobody told: the hour's job |
//! | `sandbox.rs` | what the sandbox's pages do, through the same functions |
//! | `activation.rs` | what a first key needs |
//! | `withdrawals.rs` | money that goes out to agents' bank accounts |

pub mod activation;
pub mod auto_pay;
pub mod by_hand;
pub mod charge;
pub mod checkout;
pub mod events;
pub mod forfeit;
pub mod pages;
pub mod reconcile;
pub mod sandbox;
pub mod settle;
pub mod stripe;
pub mod withdrawals;

use std::rc::Rc;

use guildhall_domain::billing::auto_pay::AMOUNT_DEFAULT;
use guildhall_domain::billing::ledger::Facts;
use guildhall_domain::billing::objects::PaymentMethod;
use guildhall_domain::money::MicroUsd;

use crate::app::{App, Cx};
use crate::config::Mode;
use crate::error::ApiError;
use crate::ports::{Db, PortError, Ports};
use crate::store::money::billing::{
    BillingRow, find_billing, forget_card, note_customer, open_billing, replace_customer, save_card,
};
use crate::store::money::payments::PaymentRow;
use stripe::{Stripe, StripeError};

/// What payments are made with: an isolate, its ports, and where its pages are.
#[derive(Clone)]
pub struct Desk {
    /// The isolate.
    pub app: Rc<App>,
    /// The outside.
    pub ports: Rc<Ports>,
    /// The origin of the request; empty for work without one.
    pub origin: Rc<str>,
}

impl Desk {
    /// A request's.
    #[must_use]
    pub fn of(cx: &Cx) -> Self {
        Self { app: Rc::clone(&cx.app), ports: Rc::clone(&cx.ports), origin: Rc::clone(&cx.origin) }
    }

    /// For work without a request.
    #[must_use]
    pub fn new(app: &Rc<App>, ports: &Rc<Ports>) -> Self {
        Self { app: Rc::clone(app), ports: Rc::clone(ports), origin: "".into() }
    }

    /// The client of Stripe.
    ///
    /// # Errors
    /// [`StripeError::NotConfigured`].
    pub fn stripe(&self) -> Result<Stripe, StripeError> {
        Stripe::new(&self.app, &self.ports, &self.origin)
    }

    /// Whether payments are the sandbox's own: never in live mode.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        self.app.config.mode == Mode::Sandbox && self.app.config.stripe.is_none()
    }

    fn db(&self) -> &dyn Db {
        &*self.ports.db
    }

    fn now_ms(&self) -> i64 {
        self.ports.clock.now_ms()
    }

    fn draw<const N: usize>(&self) -> [u8; N] {
        let mut random = [0; N];
        self.ports.random.fill(&mut random);
        random
    }

    fn log(&self, line: impl std::fmt::Display) {
        self.ports.background.log(&line.to_string());
    }
}

/// How an account pays; opened if it was not.
///
/// # Errors
/// When the database fails.
pub async fn read_billing(desk: &Desk, account_id: &str) -> Result<BillingRow, PortError> {
    if let Some(row) = find_billing(account_id).run(desk.db()).await? {
        return Ok(row);
    }
    open_billing(account_id, desk.now_ms()).run(desk.db()).await?;
    Ok(find_billing(account_id).run(desk.db()).await?.unwrap_or_default())
}

/// Removes the saved card, here and at Stripe; tells whether there was one.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn remove_card(desk: &Desk, account_id: &str) -> Result<bool, ApiError> {
    let Some(method) = read_billing(desk, account_id).await?.payment_method_id else { return Ok(false) };
    // Stripe first: a card that is forgotten here and kept there could not be removed again.
    desk.stripe()?.detach_payment_method(&method).await?;
    forget_card(account_id, &method).run(desk.db()).await?;
    Ok(true)
}

/// Stripe's name for the account; made a customer if it was none. Twice at once gives one customer.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn ensure_customer(desk: &Desk, account_id: &str) -> Result<String, ApiError> {
    if let Some(id) = read_billing(desk, account_id).await?.customer_id {
        return Ok(id);
    }
    // Nothing of the person is in it: the call is the same one, whoever of the account makes it.
    let id =
        desk.stripe()?.create_customer(&format!("customer:{account_id}"), None, &[("account_id", account_id)]).await?;
    note_customer(account_id, &id).run(desk.db()).await?;
    Ok(read_billing(desk, account_id).await?.customer_id.unwrap_or(id))
}

/// Makes the account a customer again whom Stripe does not know any more, because somebody deleted it there; its card is
/// gone with it.
///
/// # Errors
/// When Stripe or the database fails.
pub async fn renew_customer(desk: &Desk, account_id: &str, gone: &str) -> Result<String, ApiError> {
    let (name, metadata) = (format!("customer:{account_id}:after:{gone}"), [("account_id", account_id)]);
    let id = desk.stripe()?.create_customer(&name, None, &metadata).await?;
    replace_customer(account_id, gone, &id).run(desk.db()).await?;
    desk.app.credentials.forget_account(account_id);
    desk.log(format_args!("account {account_id}: customer {gone} is gone, {id} takes its place"));
    Ok(read_billing(desk, account_id).await?.customer_id.unwrap_or(id))
}

/// Saves a card that an account's customer left at Stripe, in place of the one before; one that is not kept there, or no
/// card, is passed over.
///
/// # Errors
/// When Stripe or the database fails.
async fn keep_card(desk: &Desk, account_id: &str, method: &PaymentMethod) -> Result<(), ApiError> {
    let Some(card) = method.card.as_ref().filter(|_| method.customer.is_some()) else { return Ok(()) };
    let known = read_billing(desk, account_id).await?.payment_method_id.filter(|known| *known != method.id);
    if let Some(known) = known {
        let stripe = desk.stripe()?;
        let is_newer = match stripe.read_payment_method(&known).await {
            Err(StripeError::Missing) => false,
            known => known?.created > method.created,
        };
        // First: a card that no row names any more could not be removed at Stripe.
        stripe.detach_payment_method(if is_newer { &method.id } else { &known }).await?;
        if is_newer {
            return Ok(());
        }
    }
    let save =
        save_card(account_id, &method.id, &card.brand, &card.last4, card.exp_month, card.exp_year, AMOUNT_DEFAULT.0);
    save.run(desk.db()).await?;
    desk.app.credentials.forget_account(account_id);
    Ok(())
}

/// The facts of a payment's row.
#[must_use]
pub fn facts_of(row: &PaymentRow) -> Facts {
    Facts {
        credit: MicroUsd(row.amount_micros),
        total: MicroUsd(row.total_micros),
        is_paid: row.status == "paid",
        refunded: MicroUsd(row.refunded_micros),
        disputed: MicroUsd(row.disputed_micros),
    }
}
