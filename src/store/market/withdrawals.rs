//! Withdrawals: how far each has come.

use serde::Deserialize;

use crate::queries;
use crate::store::statement::Changed;

/// A withdrawal.
#[derive(Debug, Clone, Deserialize)]
pub struct WithdrawalRow {
    /// Its id: also the name of its debit and of its transfer.
    pub id: String,
    /// Whose wallet it leaves.
    pub account_id: String,
    /// How much, in micro-dollars; whole cents.
    pub amount_micros: i64,
    /// Where it goes.
    pub stripe_account_id: String,
    /// How far it has come.
    pub state: State,
    /// The transfer, once it is paid.
    pub transfer_id: Option<String>,
    /// Why it was refused.
    pub failure: Option<String>,
}

/// How far a withdrawal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; perhaps debited, perhaps sent.
    Open,
    /// Stripe has refused it: the money is to go back.
    Returning,
    /// The money is on its way to the bank.
    Paid,
    /// The money is back in the wallet.
    Returned,
    /// The wallet did not have it.
    Refused,
}

queries! {
    /// Begins a withdrawal, unless it is there; whoever begins it works on it first.
    tenant("account_id") fn begin_withdrawal(account_id: &str, id: &str, amount_micros: i64, stripe_account_id: &str, busy_until_ms: i64,
        now_ms: i64) -> Changed =
        "INSERT INTO withdrawals (account_id, id, amount_micros, stripe_account_id, state, busy_until_ms, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?6, ?6) ON CONFLICT (id) DO NOTHING";
    /// Finds a withdrawal.
    tenant("account_id") fn find_withdrawal(account_id: &str, id: &str) -> Option<WithdrawalRow> =
        "SELECT id, account_id, amount_micros, stripe_account_id, state, transfer_id, failure
         FROM withdrawals WHERE account_id = ?1 AND id = ?2";
    /// A withdrawal of an account's that has not come to its end.
    tenant("account_id") fn find_unfinished(account_id: &str) -> Option<WithdrawalRow> =
        "SELECT id, account_id, amount_micros, stripe_account_id, state, transfer_id, failure
         FROM withdrawals WHERE account_id = ?1 AND state IN ('open', 'returning') LIMIT 1";
    /// Takes up an unfinished withdrawal that nobody works on.
    tenant("account_id") fn take_withdrawal(account_id: &str, id: &str, busy_until_ms: i64, now_ms: i64) -> Changed =
        "UPDATE withdrawals SET busy_until_ms = ?3 WHERE account_id = ?1 AND id = ?2 AND state IN ('open', 'returning') AND busy_until_ms <= ?4";
    /// Says how far it has come, and from when on somebody else may work on it; only for whoever has it still.
    tenant("account_id") fn move_withdrawal(account_id: &str, id: &str, state: &str, transfer_id: Option<&str>, failure: Option<&str>,
        busy_until_ms: i64, now_ms: i64, held_until_ms: i64) -> Changed =
        "UPDATE withdrawals SET state = ?3, transfer_id = COALESCE(?4, transfer_id), failure = COALESCE(?5, failure), busy_until_ms = ?6,
           updated_at_ms = ?7
         WHERE account_id = ?1 AND id = ?2 AND state IN ('open', 'returning') AND busy_until_ms = ?8";
    /// Unfinished withdrawals that nobody works on, the longest left alone first.
    global("the hour's job looks after the withdrawals of everybody") fn list_unfinished(now_ms: i64, limit: i64) -> Vec<WithdrawalRow> =
        "SELECT id, account_id, amount_micros, stripe_account_id, state, transfer_id, failure
         FROM withdrawals WHERE state IN ('open', 'returning') AND busy_until_ms <= ?1 ORDER BY busy_until_ms LIMIT ?2";
}
