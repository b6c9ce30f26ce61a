//! What the outside takes back of a deposit: at once as far as it is free, the rest of what comes next.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::sql::SqlStore;
use durable_objects::wallet::protocol::{Audit, Command, RefusalCode, Reply};
use durable_objects::wallet::state::WalletMachine;
use support::{Bench, SqliteConnection, usd};

type Wallet = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn open(balance: i64) -> Wallet {
    let mut wallet = Bench::new("ann", SqlStore::new(SqliteConnection::open(), true));
    assert_eq!(put(&mut wallet, "start", balance), (false, balance));
    wallet
}

fn moved(reply: Reply) -> (bool, i64) {
    match reply {
        Reply::Moved { duplicate, balance, .. } => (duplicate, balance.0),
        other => panic!("{other:?}"),
    }
}

fn put(wallet: &mut Wallet, id: &str, amount: i64) -> (bool, i64) {
    moved(wallet.ask(Command::Credit { id: id.into(), amount: usd(amount), reason: String::new() }, 0))
}

fn reclaim(id: &str, amount: i64) -> Command {
    Command::Reclaim { id: id.into(), amount: usd(amount), reason: String::new(), of: None }
}

fn hold(id: &str, amount: i64, expires_at_ms: i64) -> Command {
    Command::Hold { id: id.into(), amount: usd(amount), expires_at_ms, budgets: vec![] }
}

fn audit(wallet: &mut Wallet, now_ms: i64) -> Audit {
    match wallet.ask(Command::Audit, now_ms) {
        Reply::Audit(audit) if audit.consistent => audit,
        other => panic!("{other:?}"),
    }
}

fn refused(reply: Reply) -> RefusalCode {
    match reply {
        Reply::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_free_goes_at_once_and_once() {
    let mut wallet = open(100);
    assert_eq!(moved(wallet.ask(reclaim("r", 30), 0)), (false, 70));
    assert_eq!(moved(wallet.ask(reclaim("r", 30), 0)), (true, 70));
    assert_eq!(refused(wallet.ask(reclaim("r", 31), 0)), RefusalCode::IdReused);
    let audit = audit(&mut wallet, 0);
    assert_eq!((audit.owed, audit.deposited_net), (usd(0), usd(70)));
}

#[test]
fn what_is_spent_is_owed_and_the_next_deposit_pays_it_first() {
    let mut wallet = open(100);
    assert_eq!(
        moved(wallet.ask(Command::Debit { id: "d".into(), amount: usd(80), reason: String::new() }, 0)),
        (false, 20)
    );
    assert_eq!(moved(wallet.ask(reclaim("r", 100), 0)), (false, 0), "never below zero");
    assert_eq!(audit(&mut wallet, 0).owed, usd(80));
    assert_eq!(put(&mut wallet, "small", 50), (false, 0));
    assert_eq!(put(&mut wallet, "large", 50), (false, 20));
    let audit = audit(&mut wallet, 0);
    assert_eq!((audit.owed, audit.balance, audit.deposited_net), (usd(0), usd(20), usd(20)));
}

#[test]
fn what_calls_hold_pays_when_it_is_free_again_and_nothing_new_is_held() {
    let mut wallet = open(100);
    wallet.ask(hold("call", 60, 1_000), 0);
    assert_eq!(moved(wallet.ask(reclaim("r", 100), 0)), (false, 60));
    assert_eq!(refused(wallet.ask(hold("other", 1, 1_000), 0)), RefusalCode::Insufficient);
    wallet.ask(Command::Release { hold_id: "call".into() }, 1);
    let audit_then = audit(&mut wallet, 1);
    assert_eq!((audit_then.owed, audit_then.balance), (usd(0), usd(0)));

    // One that lapses by itself does too.
    let mut wallet = open(100);
    wallet.ask(hold("call", 60, 1_000), 0);
    wallet.ask(reclaim("r", 100), 0);
    let debit = Command::Debit { id: "d".into(), amount: usd(1), reason: String::new() };
    assert_eq!(refused(wallet.ask(debit, 2_000)), RefusalCode::Insufficient, "what lapsed is not free");
    let audit_then = audit(&mut wallet, 2_000);
    assert_eq!((audit_then.owed, audit_then.balance), (usd(0), usd(0)));
}

#[test]
fn a_transfer_that_arrives_pays_too() {
    let mut wallet = open(0);
    assert_eq!(moved(wallet.ask(reclaim("r", 30), 0)), (false, 0));
    let arrives = Command::Receive { id: "t".into(), from: "bob".into(), amount: usd(50), reason: String::new() };
    assert_eq!(moved(wallet.ask(arrives, 0)), (false, 20));
    assert_eq!(audit(&mut wallet, 0).owed, usd(0));
}

/// Stored: these texts never change.
#[test]
fn the_journal_of_a_debt_is_unchanged() {
    let mut wallet = open(10);
    wallet.ask(reclaim("r", 30), 0);
    let Reply::Journal { entries, .. } = wallet.ask(Command::Journal { after: 1, limit: 10 }, 0) else { panic!() };
    let lines: Vec<_> = entries.iter().map(|e| format!("{} {} {} {}", e.id, e.debit, e.credit, e.amount.0)).collect();
    assert_eq!(lines, ["owe:r debt external 30", "repay:1 balance debt 10"]);
    let command = r#"{"command":"reclaim","id":"r","amount":30,"reason":""}"#;
    assert_eq!(serde_json::to_string(&reclaim("r", 30)).unwrap(), command);
}
