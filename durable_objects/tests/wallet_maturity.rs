//! Card money: spent at once, withdrawn when it has matured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::sql::SqlStore;
use durable_objects::wallet::protocol::{Balance, Capture, Command, Maturity, RefusalCode, Reply};
use durable_objects::wallet::state::WalletMachine;
use proptest::prelude::*;
use support::{Bench, SqliteConnection, usd};

type Wallet = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn open() -> Wallet {
    Bench::new("ann", SqlStore::new(SqliteConnection::open(), true))
}

fn earn(id: &str, amount: i64) -> Command {
    Command::Receive { id: id.into(), from: "bob".into(), amount: usd(amount), reason: String::new() }
}

fn deposit(id: &str, amount: i64, matures_at_ms: i64) -> Command {
    Command::Deposit { id: id.into(), amount: usd(amount), reason: String::new(), matures_at_ms }
}

fn withdraw(id: &str, amount: i64) -> Command {
    Command::Withdraw { id: id.into(), amount: usd(amount), reason: String::new() }
}

fn spend(id: &str, amount: i64) -> Command {
    let capture = Capture { id: id.into(), amount: usd(amount), record: None, counts: vec![], sealed_at_ms: 0 };
    Command::Capture { hold_id: "h".into(), capture, close: true, budgets: vec![] }
}

fn reclaim(id: &str, amount: i64, of: Option<&str>) -> Command {
    Command::Reclaim { id: id.into(), amount: usd(amount), reason: String::new(), of: of.map(str::to_owned) }
}

fn balance(wallet: &mut Wallet, now_ms: i64) -> Balance {
    match wallet.ask(Command::Balance, now_ms) {
        Reply::Balance(balance) => balance,
        other => panic!("{other:?}"),
    }
}

/// The balance, and what of it may be withdrawn.
fn stand(wallet: &mut Wallet, now_ms: i64) -> (i64, i64) {
    let there = balance(wallet, now_ms);
    (there.balance.0, there.withdrawable().0)
}

fn moves(wallet: &mut Wallet, command: Command, now_ms: i64) -> Result<(), (RefusalCode, Option<i64>)> {
    match wallet.ask(command, now_ms) {
        Reply::Moved { .. } | Reply::Captured { .. } => Ok(()),
        Reply::Refused { code, free, .. } => Err((code, free.map(|free| free.0))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn card_money_is_withdrawn_when_its_time_has_come_and_earned_money_at_once() {
    let mut wallet = open();
    moves(&mut wallet, deposit("p", 100, 1_000), 0).unwrap();
    moves(&mut wallet, deposit("p", 100, 5_000), 9).unwrap();
    moves(&mut wallet, earn("e", 30), 10).unwrap();
    assert_eq!(balance(&mut wallet, 10).immature, [Maturity { at_ms: 1_000, amount: usd(100) }]);
    assert_eq!(moves(&mut wallet, withdraw("w", 31), 10), Err((RefusalCode::Immature, Some(30))));
    assert_eq!(moves(&mut wallet, withdraw("w", 131), 10), Err((RefusalCode::Insufficient, Some(130))));
    moves(&mut wallet, withdraw("w", 30), 10).unwrap();
    moves(&mut wallet, withdraw("w", 30), 10).unwrap();
    assert_eq!(moves(&mut wallet, withdraw("x", 1), 999), Err((RefusalCode::Immature, Some(0))));
    moves(&mut wallet, withdraw("x", 100), 1_000).unwrap();
    assert_eq!(stand(&mut wallet, 1_000), (0, 0));
}

#[test]
fn card_money_is_spent_first_and_the_oldest_of_it_before_the_rest() {
    let mut wallet = open();
    moves(&mut wallet, deposit("late", 50, 2_000), 0).unwrap();
    moves(&mut wallet, deposit("soon", 50, 1_000), 0).unwrap();
    moves(&mut wallet, earn("e", 100), 0).unwrap();
    moves(&mut wallet, spend("c", 70), 0).unwrap();
    assert_eq!(stand(&mut wallet, 0), (130, 100), "what was earned is left");
    assert_eq!(balance(&mut wallet, 0).immature, [Maturity { at_ms: 2_000, amount: usd(30) }]);
    moves(&mut wallet, spend("d", 70), 0).unwrap();
    assert_eq!(stand(&mut wallet, 0), (60, 60));
    // What is spent is gone: nothing is kept back of what is earned then.
    moves(&mut wallet, earn("f", 40), 0).unwrap();
    moves(&mut wallet, withdraw("w", 100), 0).unwrap();
}

#[test]
fn what_is_taken_back_is_of_its_own_deposit() {
    let mut wallet = open();
    moves(&mut wallet, deposit("old", 100, 10), 0).unwrap();
    moves(&mut wallet, deposit("young", 100, 1_000), 0).unwrap();
    moves(&mut wallet, reclaim("r", 100, Some("old")), 20).unwrap();
    assert_eq!(stand(&mut wallet, 20), (100, 0), "the other one is still young");
    moves(&mut wallet, earn("e", 50), 20).unwrap();
    moves(&mut wallet, reclaim("s", 60, Some("young")), 20).unwrap();
    assert_eq!(stand(&mut wallet, 20), (90, 50));
    // A debt without a deposit is paid from what is mature, then from the rest.
    moves(&mut wallet, reclaim("t", 70, None), 20).unwrap();
    assert_eq!(stand(&mut wallet, 20), (20, 0));
    assert_eq!(balance(&mut wallet, 20).immature, [Maturity { at_ms: 1_000, amount: usd(20) }]);
}

#[test]
fn a_debit_and_what_is_held_take_no_notice() {
    let mut wallet = open();
    moves(&mut wallet, deposit("p", 100, 1_000), 0).unwrap();
    moves(&mut wallet, earn("e", 50), 0).unwrap();
    wallet.ask(Command::Hold { id: "h".into(), amount: usd(120), expires_at_ms: 500, budgets: vec![] }, 0);
    assert_eq!(stand(&mut wallet, 0), (150, 30), "what a call holds waits");
    assert_eq!(moves(&mut wallet, withdraw("w", 31), 0), Err((RefusalCode::Insufficient, Some(30))));
    wallet.ask(Command::Release { hold_id: "h".into() }, 0);
    moves(&mut wallet, Command::Debit { id: "all".into(), amount: usd(150), reason: String::new() }, 0).unwrap();
    assert_eq!(balance(&mut wallet, 0).immature, []);
}

/// Stored and sent: these texts never change.
#[test]
fn formats_are_unchanged() {
    let mut wallet = open();
    wallet.ask(deposit("p", 100, 1_000), 0);
    let rows = durable_objects::store::Store::load(&wallet.store).unwrap();
    let row = rows.iter().find(|row| row.key == "immature:p").unwrap();
    assert_eq!(row.value, r#"{"at_ms":1000,"amount":100}"#);
    let command = r#"{"command":"deposit","id":"p","amount":100,"reason":"","matures_at_ms":1000}"#;
    assert_eq!(serde_json::to_string(&deposit("p", 100, 1_000)).unwrap(), command);
    let command = r#"{"command":"withdraw","id":"w","amount":1,"reason":""}"#;
    assert_eq!(serde_json::to_string(&withdraw("w", 1)).unwrap(), command);
}

fn any_command() -> impl Strategy<Value = (Command, i64)> {
    let amount = 1..60_i64;
    let command = prop_oneof![
        3 => ("[a-z]", amount.clone(), 0..4_000_i64).prop_map(|(id, amount, at_ms)| deposit(&format!("{id}{amount}"), amount, at_ms)),
        2 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| earn(&format!("{id}{amount}"), amount)),
        3 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| spend(&format!("{id}{amount}"), amount)),
        4 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| withdraw(&format!("{id}{amount}"), amount)),
        1 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| reclaim(&format!("{id}{amount}"), amount, None)),
        1 => ("[a-c]", amount, 0..4_000_i64).prop_map(|(id, amount, expires_at_ms)| {
            Command::Hold { id, amount: usd(amount), expires_at_ms, budgets: vec![] }
        }),
    ];
    (command, 0..400_i64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_more_is_withdrawn_than_was_earned_and_has_matured(commands in prop::collection::vec(any_command(), 1..60)) {
        let (mut wallet, mut now_ms) = (open(), 0);
        let (mut earned, mut withdrawn, mut deposits) = (0, 0, Vec::new());
        for (command, passes_ms) in commands {
            now_ms += passes_ms;
            let there = balance(&mut wallet, now_ms);
            let immature: i64 = there.immature.iter().map(|part| part.amount.0).sum();
            prop_assert!(immature <= there.balance.0);
            let is_new = match wallet.ask(command.clone(), now_ms) {
                Reply::Moved { duplicate, .. } => !duplicate,
                _ => false,
            };
            match command {
                Command::Receive { amount, .. } if is_new => earned += amount.0,
                Command::Deposit { amount, matures_at_ms, .. } if is_new => deposits.push((matures_at_ms, amount.0)),
                Command::Withdraw { amount, .. } if is_new => {
                    prop_assert!(amount <= there.withdrawable(), "{amount} of {there:?}");
                    withdrawn += amount.0;
                }
                Command::Withdraw { amount, id, .. } => {
                    // What is said to be withdrawable is.
                    let was_made = matches!(wallet.ask(Command::Find { entry_id: format!("debit:{id}") }, now_ms),
                        Reply::Found { amount: Some(_), .. });
                    prop_assert!(was_made || amount > there.withdrawable(), "{amount} of {there:?}");
                }
                _ => {}
            }
            let matured: i64 = deposits.iter().filter(|(at_ms, _)| *at_ms <= now_ms).map(|(_, amount)| amount).sum();
            prop_assert!(withdrawn <= earned + matured);
        }
    }
}
