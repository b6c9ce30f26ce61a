//! The statement of a wallet in cents.
//!
//! Inside, money is micro-dollars; an agent's API knows cents. Every balance is rounded down, and an amount is the
//! difference of the two balances around it: so the amounts always add up to the balance, deposits and withdrawals (whole
//! cents) are exact, and the fractions of many small charges show as a cent each time they have come to one.

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hex;
use crate::money::MicroUsd;

const DAY_MS: i64 = 86_400_000;
/// Bytes of a transaction's id that are random to anybody who does not know the journal.
const ID_BYTES: usize = 16;

/// What a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Money came in from outside, or came back.
    Deposit,
    /// Money went out.
    Withdrawal,
    /// Another agent or a person paid for a job.
    JobEarning,
    /// Work was paid for: a job, or calls of models and tools.
    JobPayment,
}

/// A movement of money in a wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Its id in the statement.
    pub id: String,
    /// When; milliseconds since 1970.
    pub at_ms: i64,
    /// What it was.
    pub kind: Kind,
    /// Whether it paid for calls, of which those of a day stand together.
    pub is_of_calls: bool,
    /// How much; negative when it left the wallet.
    pub amount: MicroUsd,
    /// For people.
    pub description: String,
}

/// A line of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The movement. Of calls that stand together, the amount is the sum, the time the last one's, the id the first one's.
    pub movement: Movement,
    /// How much in cents; see the module.
    pub amount_cents: i64,
    /// The balance after it, in whole cents.
    pub balance_after_cents: i64,
}

/// The id of a movement in statements: tells nothing of the journal's own names, which are those of other parts.
#[must_use]
pub fn transaction_id(wallet: &str, entry_id: &str) -> String {
    let digest = Sha256::digest(format!("{}:{wallet}:{entry_id}", wallet.len()));
    let mut id = String::from("tx_");
    hex::push_hex(digest.get(..ID_BYTES).unwrap_or_default(), &mut id);
    id
}

/// How many lines a statement of these movements has; the last one may go on with older ones.
#[must_use]
pub fn count_lines(newest_first: &[Movement]) -> usize {
    newest_first.chunk_by(stand_together).count()
}

/// Writes the last lines of a statement, newest first, from the newest movements and the balance after them. Calls of one
/// UTC day with nothing between them are one line: they are many, and each is a record of its own elsewhere.
#[must_use]
pub fn write_statement(balance: MicroUsd, newest_first: Vec<Movement>, lines_max: usize) -> Vec<Transaction> {
    let mut lines: Vec<Movement> = Vec::new();
    for movement in newest_first {
        let is_full = lines.len() >= lines_max;
        match lines.last_mut() {
            Some(line) if stand_together(line, &movement) => {
                line.amount = MicroUsd(line.amount.0.saturating_add(movement.amount.0));
                line.id = movement.id;
            }
            _ if is_full => break,
            _ => lines.push(movement),
        }
    }
    let mut after = balance;
    let transaction = |movement: Movement| {
        let before = MicroUsd(after.0.saturating_sub(movement.amount.0));
        let balance_after_cents = after.to_cents_floor();
        after = before;
        Transaction { movement, amount_cents: balance_after_cents - before.to_cents_floor(), balance_after_cents }
    };
    lines.into_iter().map(transaction).collect()
}

fn stand_together(line: &Movement, older: &Movement) -> bool {
    let day = |movement: &Movement| movement.at_ms.div_euclid(DAY_MS);
    line.is_of_calls && older.is_of_calls && day(line) == day(older)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn movement(id: &str, at_ms: i64, kind: Kind, micros: i64) -> Movement {
        let amount = MicroUsd(micros);
        Movement { id: id.into(), at_ms, kind, is_of_calls: false, amount, description: String::new() }
    }

    fn calls(id: &str, at_ms: i64, micros: i64) -> Movement {
        Movement { is_of_calls: true, ..movement(id, at_ms, Kind::JobPayment, micros) }
    }

    fn cents(lines: &[Transaction]) -> Vec<(&str, i64, i64)> {
        lines.iter().map(|line| (line.movement.id.as_str(), line.amount_cents, line.balance_after_cents)).collect()
    }

    #[test]
    fn amounts_are_the_differences_of_balances_rounded_down() {
        let newest_first = vec![
            movement("withdrawal", 50, Kind::Withdrawal, -1_000_000),
            calls("later", 40, -9_000),
            movement("deposit", 30, Kind::Deposit, 2_000_000),
            calls("calls", 20, -3_000),
            movement("first", 10, Kind::Deposit, 1_000_000),
        ];
        let lines = write_statement(MicroUsd(1_988_000), newest_first, 20);
        let expected = [
            ("withdrawal", -100, 198),
            ("later", -1, 298),
            ("deposit", 200, 299),
            ("calls", -1, 99),
            ("first", 100, 100),
        ];
        assert_eq!(cents(&lines), expected);
    }

    #[test]
    fn a_cent_shows_as_soon_as_it_is_begun() {
        let days = |count: i64| (0..count).rev().map(|day| calls("u", day * DAY_MS, -4_000)).collect();
        let lines = write_statement(MicroUsd(1_000_000 - 5 * 4_000), days(5), 20);
        let amounts: Vec<i64> = lines.iter().map(|line| line.amount_cents).collect();
        assert_eq!(amounts, [0, 0, -1, 0, -1], "newest first: two cents for 20,000 micro-dollars");
    }

    #[test]
    fn calls_of_a_day_are_one_line() {
        let newest_first = vec![
            calls("d", DAY_MS + 1, -10_000),
            calls("c", DAY_MS - 1, -20_000),
            calls("b", 5, -30_000),
            movement("between", 4, Kind::Deposit, 100_000),
            calls("a", 3, -40_000),
        ];
        let lines = write_statement(MicroUsd(0), newest_first.clone(), 20);
        assert_eq!(cents(&lines), [("d", -1, 0), ("b", -5, 1), ("between", 10, 6), ("a", -4, -4)]);
        assert_eq!(lines[1].movement.at_ms, DAY_MS - 1, "the time of the last call");
        assert_eq!(count_lines(&newest_first), 4);
    }

    #[test]
    fn a_statement_has_so_many_lines_and_the_last_one_is_whole() {
        let calls = [7, 6].map(|at_ms| calls("u", at_ms, -10_000));
        let deposits = [5, 4].map(|at_ms| movement("d", at_ms, Kind::Deposit, 10_000));
        let newest_first: Vec<_> = calls.into_iter().chain(deposits).collect();
        let lines = write_statement(MicroUsd(0), newest_first.clone(), 1);
        assert_eq!(cents(&lines), [("u", -2, 0)]);
        assert_eq!(write_statement(MicroUsd(0), newest_first, 2).len(), 2);
        assert!(write_statement(MicroUsd(0), vec![], 2).is_empty());
    }

    /// Clients keep them.
    #[test]
    fn ids_are_unchanged() {
        assert_eq!(transaction_id("agt_1", "credit:dep_1").len(), 35);
        assert_ne!(transaction_id("agt_1", "credit:x"), transaction_id("agt_2", "credit:x"));
        assert_eq!(transaction_id("agt_1", "credit:x"), "tx_082f088481c953b6993fdc51f77b65bb");
    }
}
