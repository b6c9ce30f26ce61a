//! Payments: what Stripe told of each, and what the wallet has got of it.

use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::{Changed, read_flag};

/// A payment.
#[derive(Debug, Clone, Deserialize)]
pub struct PaymentRow {
    /// Its id.
    pub id: String,
    /// Who paid.
    pub account_id: String,
    /// Whose wallet gets the money.
    pub wallet: String,
    /// `checkout`, `charge`, `auto`, `deposit` or `setup`.
    pub kind: String,
    /// The product it was made for.
    pub product: String,
    /// `pending`, `paid`, `failed` or `expired`.
    pub status: String,
    /// What the wallet gets.
    pub amount_micros: i64,
    /// What the customer pays.
    pub total_micros: i64,
    /// Stripe's customer.
    pub customer_id: Option<String>,
    /// The card that is charged.
    pub payment_method_id: Option<String>,
    /// Stripe's checkout.
    pub session_id: Option<String>,
    /// Stripe's payment.
    pub intent_id: Option<String>,
    /// Stripe's receipt.
    pub receipt_url: Option<String>,
    /// Why it failed; empty unless it did.
    pub failure: String,
    /// What refunds gave back.
    pub refunded_micros: i64,
    /// What disputes hold, and what lost ones took.
    pub disputed_micros: i64,
    /// Whether a bank has still to decide on one; told only where the owner reads.
    #[serde(default, deserialize_with = "read_flag")]
    pub is_disputed: bool,
    /// Whether its card is still to be saved.
    #[serde(deserialize_with = "read_flag")]
    pub saves_card: bool,
    /// Whether the wallet has it.
    #[serde(deserialize_with = "read_flag")]
    pub credited: bool,
    /// What the wallet gave back.
    pub reversed_micros: i64,
    /// The number of the last step.
    pub step: i64,
    /// What it takes from the wallet, or gives when negative; 0 once it is taken.
    pub step_micros: i64,
    /// Whether there is something left to do.
    #[serde(deserialize_with = "read_flag")]
    pub is_open: bool,
    /// Rises with every fact.
    pub version: i64,
    /// Until when somebody is charging the card.
    pub leased_until_ms: i64,
    /// When it was begun.
    pub created_at_ms: i64,
}

/// An event of Stripe's.
#[derive(Debug, Deserialize)]
pub struct EventId {
    /// `evt_…`.
    pub id: String,
}

/// How far Stripe's events were read.
#[derive(Debug, Clone, Deserialize)]
pub struct Reading {
    /// Those created from then on; seconds since 1970.
    pub since_s: i64,
    /// And before then.
    pub until_s: i64,
    /// The last one that was read, from the newest on; `None` before the first.
    pub after_id: Option<String>,
}

queries! {
    /// Begins a payment; changes nothing when its id is known, when another charge is in flight, or beyond the month's limit.
    tenant("account_id") fn insert_payment(account_id: &str, id: &str, wallet: &str, kind: &str, product: &str, amount_micros: i64,
        total_micros: i64, month: &str, customer_id: Option<&str>, payment_method_id: Option<&str>, saves_card: bool,
        leased_until_ms: i64, created_at_ms: i64) -> Changed =
        "INSERT INTO payments (account_id, id, wallet, kind, product, amount_micros, total_micros, month, customer_id, payment_method_id,
           saves_card, leased_until_ms, created_at_ms, looked_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13) ON CONFLICT DO NOTHING";
    /// Finds one of an account's payments.
    tenant("account_id") fn find_payment(account_id: &str, id: &str) -> Option<PaymentRow> =
        "SELECT *, EXISTS (SELECT 1 FROM payment_disputes d WHERE d.payment_id = payments.id AND d.state = 'open') AS is_disputed
         FROM payments WHERE account_id = ?1 AND id = ?2";
    /// Finds a payment for an event.
    global("Stripe's events name the payment and not its tenant") fn find_payment_by_id(id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE id = ?1";
    /// Finds a payment by its checkout.
    global("Stripe's events name the payment and not its tenant") fn find_payment_by_session(session_id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE session_id = ?1";
    /// Finds a payment by what Stripe calls it.
    global("Stripe's events name the payment and not its tenant") fn find_payment_by_intent(intent_id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE intent_id = ?1";
    /// The charge that is in flight.
    tenant("account_id") fn find_in_flight(account_id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE account_id = ?1 AND kind IN ('charge', 'auto') AND status = 'pending'";
    /// Takes a charge over that nobody is making; the lease as it was found proves it.
    tenant("account_id") fn lease_payment(account_id: &str, id: &str, found_ms: i64, until_ms: i64) -> Changed =
        "UPDATE payments SET leased_until_ms = ?4 WHERE account_id = ?1 AND id = ?2 AND leased_until_ms = ?3 AND status = 'pending'";
    /// How often auto pay has charged since, or is charging.
    tenant("account_id") fn count_auto_charges(account_id: &str, since_ms: i64) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM payments WHERE account_id = ?1 AND created_at_ms > ?2 AND kind = 'auto' AND status IN ('pending', 'paid')";
    /// A charge that is paid and that the wallet has not got.
    tenant("account_id") fn find_uncredited(account_id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE account_id = ?1 AND kind IN ('charge', 'auto') AND status = 'paid' AND credited = 0 LIMIT 1";
    /// Drops a charge that was never sent; the lease as it was given proves that nobody else has sent it.
    tenant("account_id") fn drop_payment(account_id: &str, id: &str, leased_until_ms: i64) -> Changed =
        "DELETE FROM payments WHERE account_id = ?1 AND id = ?2 AND leased_until_ms = ?3 AND status = 'pending' AND intent_id IS NULL";
    /// Notes the checkout of a payment.
    tenant("account_id") fn note_session(account_id: &str, id: &str, session_id: &str) -> Changed =
        "UPDATE payments SET session_id = COALESCE(session_id, ?3) WHERE account_id = ?1 AND id = ?2";
    /// The money came. Whatever was said before, this is true.
    tenant("account_id") fn mark_paid(account_id: &str, id: &str, intent_id: Option<&str>, receipt_url: Option<&str>) -> Changed =
        "UPDATE payments SET status = 'paid', failure = '', intent_id = COALESCE(intent_id, ?3), receipt_url = COALESCE(?4, receipt_url),
           is_open = 1, version = version + 1 WHERE account_id = ?1 AND id = ?2";
    /// The money did not come; without effect once it has.
    tenant("account_id") fn mark_unpaid(account_id: &str, id: &str, status: &str, failure: &str, intent_id: Option<&str>) -> Changed =
        "UPDATE payments SET status = ?3, failure = ?4, intent_id = COALESCE(intent_id, ?5), is_open = 0, version = version + 1
         WHERE account_id = ?1 AND id = ?2 AND status = 'pending'";
    /// What refunds gave back, unless something newer is known.
    tenant("account_id") fn set_refunded(account_id: &str, id: &str, refunded_micros: i64, told_at_s: i64) -> Changed =
        "UPDATE payments SET refunded_micros = ?3, refunded_at_s = ?4, is_open = 1, version = version + 1
         WHERE account_id = ?1 AND id = ?2 AND (refunded_at_s < ?4 OR (refunded_at_s = ?4 AND refunded_micros < ?3))";
    /// The wallet has it.
    tenant("account_id") fn mark_credited(account_id: &str, id: &str) -> Changed =
        "UPDATE payments SET credited = 1 WHERE account_id = ?1 AND id = ?2";
    /// Decides on the next step of the wallet, from the facts of one version.
    tenant("account_id") fn plan_step(account_id: &str, id: &str, version: i64, step_micros: i64) -> Changed =
        "UPDATE payments SET step = step + 1, step_micros = ?4 WHERE account_id = ?1 AND id = ?2 AND version = ?3 AND step_micros = 0
           AND credited = 1";
    /// The wallet has taken a step.
    tenant("account_id") fn finish_step(account_id: &str, id: &str, step: i64) -> Changed =
        "UPDATE payments SET reversed_micros = reversed_micros + step_micros, step_micros = 0
         WHERE account_id = ?1 AND id = ?2 AND step = ?3 AND step_micros <> 0";
    /// Its card is saved, or cannot be.
    tenant("account_id") fn mark_card_saved(account_id: &str, id: &str) -> Changed =
        "UPDATE payments SET saves_card = 0 WHERE account_id = ?1 AND id = ?2";
    /// Nothing is left to do, if nothing has happened since.
    tenant("account_id") fn close_payment(account_id: &str, id: &str, version: i64) -> Changed =
        "UPDATE payments SET is_open = 0 WHERE account_id = ?1 AND id = ?2 AND version = ?3 AND step_micros = 0";
    /// An account's payments, newest first, those of one moment by their ids: before a time, and of that time after an id.
    tenant("account_id") fn list_payments(account_id: &str, before_ms: i64, after_id: &str, limit: i64) -> Vec<PaymentRow> =
        "SELECT *, EXISTS (SELECT 1 FROM payment_disputes d WHERE d.payment_id = payments.id AND d.state = 'open') AS is_disputed
         FROM payments WHERE account_id = ?1 AND created_at_ms <= ?2 AND (created_at_ms < ?2 OR id > ?3) AND kind <> 'setup'
         ORDER BY created_at_ms DESC, id LIMIT ?4";
    /// A payment that came too late was given back: the wallet gets nothing of it, and no card is saved.
    tenant("account_id") fn mark_returned(account_id: &str, id: &str, now_s: i64) -> Changed =
        "UPDATE payments SET credited = 1, saves_card = 0, reversed_micros = amount_micros, refunded_micros = total_micros,
           refunded_at_s = ?3, version = version + 1 WHERE account_id = ?1 AND id = ?2 AND credited = 0";
    /// A payment that came and that did not go back.
    tenant("account_id") fn find_funding(account_id: &str) -> Option<PaymentRow> =
        "SELECT * FROM payments WHERE account_id = ?1 AND status = 'paid' AND amount_micros > reversed_micros ORDER BY created_at_ms DESC LIMIT 1";
    /// Charges and reversals with something left to do, those that waited longest first.
    global("the hour's job looks after the payments of everybody") fn list_open(looked_before_ms: i64, limit: i64) -> Vec<PaymentRow> =
        "SELECT * FROM payments WHERE is_open = 1 AND (status <> 'pending' OR kind IN ('charge', 'auto')) AND looked_at_ms < ?1
         ORDER BY looked_at_ms LIMIT ?2";
    /// Pages that nobody has paid, those that waited longest first.
    global("the hour's job looks after the payments of everybody") fn list_pages(looked_before_ms: i64, limit: i64) -> Vec<PaymentRow> =
        "SELECT * FROM payments WHERE status = 'pending' AND kind NOT IN ('charge', 'auto') AND looked_at_ms < ?1
         ORDER BY looked_at_ms LIMIT ?2";
    /// An account's pages that nobody has paid, beyond the newest.
    tenant("account_id") fn list_old_pages(account_id: &str, newest: i64) -> Vec<PaymentRow> =
        "SELECT * FROM payments WHERE account_id = ?1 AND status = 'pending' AND kind NOT IN ('charge', 'auto')
         ORDER BY created_at_ms DESC LIMIT 3 OFFSET ?2";
    /// Notes that a payment was looked after.
    tenant("account_id") fn note_look(account_id: &str, id: &str, looked_at_ms: i64) -> Changed =
        "UPDATE payments SET looked_at_ms = ?3 WHERE account_id = ?1 AND id = ?2";
    /// What is known of a dispute, unless the bank has decided or something newer is known.
    global("a dispute belongs to a payment, whose tenant it does not name") fn put_dispute(id: &str, payment_id: &str, amount_micros: i64,
        state: &str, is_decided: bool, told_at_s: i64) -> Changed =
        "INSERT INTO payment_disputes (id, payment_id, amount_micros, state, is_decided, told_at_s) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET amount_micros = excluded.amount_micros, state = excluded.state, is_decided = excluded.is_decided,
           told_at_s = excluded.told_at_s
         WHERE excluded.is_decided > is_decided OR (excluded.is_decided = is_decided AND excluded.told_at_s >= told_at_s)";
    /// An event was applied; once.
    global("Stripe's events name the payment and not its tenant") fn insert_event(id: &str, kind: &str, payment_id: Option<&str>, received_at_ms: i64) -> Changed =
        "INSERT INTO stripe_events (id, kind, payment_id, received_at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING";
    /// Which of these events were applied.
    global("Stripe's events name the payment and not its tenant") fn list_known_events(ids: &str) -> Vec<EventId> =
        "SELECT e.id FROM json_each(?1) AS asked JOIN stripe_events e ON e.id = asked.value";
    /// How far Stripe's events were read.
    global("the hour's job looks after the events of everybody") fn find_reading() -> Option<Reading> =
        "SELECT since_s, until_s, after_id FROM stripe_reading WHERE id = 1";
    /// Notes how far Stripe's events were read.
    global("the hour's job looks after the events of everybody") fn put_reading(since_s: i64, until_s: i64, after_id: Option<&str>) -> Changed =
        "INSERT INTO stripe_reading (id, since_s, until_s, after_id) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET since_s = excluded.since_s, until_s = excluded.until_s, after_id = excluded.after_id";
    /// Forgets events that Stripe will not send again.
    global("the hour's job looks after the events of everybody") fn prune_events(received_before_ms: i64) -> Changed =
        "DELETE FROM stripe_events WHERE received_at_ms < ?1";
}
