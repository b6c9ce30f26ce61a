//! How an account pays: its card, its auto pay, the terms it accepted, its first key.

use guildhall_domain::billing::auto_pay::THRESHOLD_DEFAULT;
use serde::Deserialize;

use crate::queries;
use crate::store::Total;
use crate::store::statement::{Changed, Query};

/// How an account pays.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct BillingRow {
    /// Stripe's name for the account.
    pub customer_id: Option<String>,
    /// The saved card.
    pub payment_method_id: Option<String>,
    /// What may be shown of it.
    pub card_brand: Option<String>,
    /// What may be shown of it.
    pub card_last4: Option<String>,
    /// What may be shown of it.
    pub card_exp_month: Option<i64>,
    /// What may be shown of it.
    pub card_exp_year: Option<i64>,
    /// 1, 0, or nothing while nobody has said.
    pub auto_enabled: Option<i64>,
    /// What it charges; nothing while nobody has said.
    pub auto_amount_micros: Option<i64>,
    /// The balance below which it charges.
    pub auto_threshold_micros: i64,
    /// Declines in a row.
    pub auto_declines: i64,
    /// Until when it rests.
    pub auto_rests_until_ms: i64,
    /// The terms that were accepted.
    pub terms_version: Option<String>,
    /// When.
    pub terms_accepted_at_ms: Option<i64>,
    /// What the account may spend in a month.
    pub monthly_budget_micros: Option<i64>,
}

/// Opens an account's billing unless it is open.
#[must_use]
pub fn open_billing(account_id: &str, now_ms: i64) -> Query<Changed> {
    insert_billing(account_id, THRESHOLD_DEFAULT.0, now_ms)
}

queries! {
    /// Opens an account's billing unless it is open; see [`open_billing`].
    tenant("account_id") fn insert_billing(account_id: &str, threshold_micros: i64, created_at_ms: i64) -> Changed =
        "INSERT INTO billing (account_id, auto_threshold_micros, created_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (account_id) DO NOTHING";
    /// Finds how an account pays.
    tenant("b.account_id") fn find_billing(account_id: &str) -> Option<BillingRow> =
        "SELECT b.customer_id, b.payment_method_id, b.card_brand, b.card_last4, b.card_exp_month, b.card_exp_year, b.auto_enabled,
           b.auto_amount_micros, b.auto_threshold_micros, b.auto_declines, b.auto_rests_until_ms, b.terms_version, b.terms_accepted_at_ms,
           a.monthly_budget_micros
         FROM billing b JOIN accounts a ON a.id = b.account_id WHERE b.account_id = ?1";
    /// Notes Stripe's name for the account, unless it has one.
    tenant("account_id") fn note_customer(account_id: &str, customer_id: &str) -> Changed =
        "UPDATE billing SET customer_id = COALESCE(customer_id, ?2) WHERE account_id = ?1";
    /// Puts a customer in the place of one that is gone, and its card with it.
    tenant("account_id") fn replace_customer(account_id: &str, gone: &str, customer_id: &str) -> Changed =
        "UPDATE billing SET customer_id = ?3, payment_method_id = NULL, card_brand = NULL, card_last4 = NULL, card_exp_month = NULL,
           card_exp_year = NULL WHERE account_id = ?1 AND customer_id = ?2";
    /// Saves a card. With the activation terms accepted it turns auto pay on, unless the owner has said otherwise; declines of
    /// another card count no more.
    tenant("account_id") fn save_card(account_id: &str, payment_method_id: &str, brand: &str, last4: &str, exp_month: i64, exp_year: i64,
        auto_amount_micros: i64) -> Changed =
        "UPDATE billing SET payment_method_id = ?2, card_brand = ?3, card_last4 = ?4, card_exp_month = ?5, card_exp_year = ?6,
           auto_declines = 0, auto_rests_until_ms = 0,
           auto_amount_micros = CASE WHEN terms_accepted_at_ms IS NULL THEN auto_amount_micros ELSE COALESCE(auto_amount_micros, ?7) END,
           auto_enabled = CASE WHEN terms_accepted_at_ms IS NULL THEN auto_enabled ELSE COALESCE(auto_enabled, 1) END
         WHERE account_id = ?1";
    /// Forgets a card, if it is still the one.
    tenant("account_id") fn forget_card(account_id: &str, payment_method_id: &str) -> Changed =
        "UPDATE billing SET payment_method_id = NULL, card_brand = NULL, card_last4 = NULL, card_exp_month = NULL, card_exp_year = NULL
         WHERE account_id = ?1 AND payment_method_id = ?2";
    /// Forgets a card that Stripe says is nobody's any more.
    global("Stripe's events name the card and not its tenant") fn forget_card_everywhere(payment_method_id: &str) -> Changed =
        "UPDATE billing SET payment_method_id = NULL, card_brand = NULL, card_last4 = NULL, card_exp_month = NULL, card_exp_year = NULL
         WHERE payment_method_id = ?1";
    /// Shows a card as it is now.
    global("Stripe's events name the card and not its tenant") fn refresh_card(payment_method_id: &str, customer_id: &str, brand: &str,
        last4: &str, exp_month: i64, exp_year: i64) -> Changed =
        "UPDATE billing SET card_brand = ?3, card_last4 = ?4, card_exp_month = ?5, card_exp_year = ?6
         WHERE customer_id = ?2 AND payment_method_id = ?1";
    /// Sets auto pay; NULL leaves a column as it is. The owner has acted: it may charge again.
    tenant("account_id") fn set_auto_pay(account_id: &str, enabled: Option<i64>, amount_micros: Option<i64>, threshold_micros: Option<i64>) -> Changed =
        "UPDATE billing SET auto_enabled = COALESCE(?2, auto_enabled), auto_amount_micros = COALESCE(?3, auto_amount_micros),
           auto_threshold_micros = COALESCE(?4, auto_threshold_micros), auto_declines = 0, auto_rests_until_ms = 0 WHERE account_id = ?1";
    /// Has auto pay rest.
    tenant("account_id") fn rest_auto_pay(account_id: &str, rests_until_ms: i64) -> Changed =
        "UPDATE billing SET auto_rests_until_ms = ?2 WHERE account_id = ?1";
    /// Counts a decline, and has auto pay rest.
    tenant("account_id") fn count_decline(account_id: &str, rests_until_ms: i64) -> Changed =
        "UPDATE billing SET auto_declines = auto_declines + 1, auto_rests_until_ms = ?2 WHERE account_id = ?1";
    /// The card paid.
    tenant("account_id") fn forget_declines(account_id: &str) -> Changed =
        "UPDATE billing SET auto_declines = 0, auto_rests_until_ms = 0 WHERE account_id = ?1 AND auto_declines > 0";
    /// Accepts the activation terms; the first time of a version counts. A card that is saved already turns auto pay on.
    tenant("account_id") fn accept_terms(account_id: &str, version: &str, accepted_at_ms: i64, auto_amount_micros: i64) -> Changed =
        "UPDATE billing SET terms_accepted_at_ms = CASE WHEN terms_version = ?2 THEN terms_accepted_at_ms ELSE ?3 END, terms_version = ?2,
           auto_amount_micros = CASE WHEN payment_method_id IS NULL THEN auto_amount_micros ELSE COALESCE(auto_amount_micros, ?4) END,
           auto_enabled = CASE WHEN payment_method_id IS NULL THEN auto_enabled ELSE COALESCE(auto_enabled, 1) END
         WHERE account_id = ?1";
    /// How many keys of Tokaroo's the account has.
    tenant("account_id") fn count_tokaroo_keys(account_id: &str) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM api_keys WHERE account_id = ?1 AND product = 'tokaroo' AND status <> 'revoked'";
    /// Claims the account's first key: fails when it is claimed, and with it the transaction that would write the key.
    tenant("account_id") fn claim_first_key(account_id: &str, key_id: &str) -> Changed =
        "INSERT INTO first_keys (account_id, key_id) VALUES (?1, ?2)";
    /// Notes the first key of an account, unless one is noted.
    tenant("account_id") fn note_first_key(account_id: &str, key_id: &str) -> Changed =
        "INSERT INTO first_keys (account_id, key_id) VALUES (?1, ?2) ON CONFLICT (account_id) DO NOTHING";
    /// Whether the first key was claimed.
    tenant("account_id") fn count_first_keys(account_id: &str) -> Option<Total> =
        "SELECT COUNT(*) AS total FROM first_keys WHERE account_id = ?1";
}
