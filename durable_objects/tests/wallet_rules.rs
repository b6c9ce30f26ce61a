//! The wallet, command by command, over SQLite. After each one what is stored must be all that the wallet knows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::sql::SqlStore;
use durable_objects::wallet::protocol::{
    AMOUNT_MAX, Balance, Capture, Command, LEASE_MAX_MS, Lease, Leased, RECORD_MAX_BYTES, RefusalCode, Reply,
};
use durable_objects::wallet::state::WalletMachine;
use support::{Bench, SqliteConnection, usd};

type Wallet = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn open(balance: i64) -> Wallet {
    let mut wallet = Bench::new("ann", SqlStore::new(SqliteConnection::open(), true));
    if balance > 0 {
        wallet.ask(credit("start", balance), 0);
    }
    wallet
}

fn credit(id: &str, amount: i64) -> Command {
    Command::Credit { id: id.to_owned(), amount: usd(amount), reason: String::new() }
}

fn debit(id: &str, amount: i64) -> Command {
    Command::Debit { id: id.to_owned(), amount: usd(amount), reason: String::new() }
}

fn charge(id: &str, amount: i64) -> Capture {
    Capture {
        id: id.to_owned(),
        amount: usd(amount),
        record: Some(format!(r#"{{"call":"{id}"}}"#)),
        counts: vec![],
        sealed_at_ms: 0,
    }
}

fn hold(id: &str, amount: i64, expires_at_ms: i64) -> Command {
    Command::Hold { id: id.to_owned(), amount: usd(amount), expires_at_ms, budgets: vec![] }
}

fn capture(hold_id: &str, id: &str, amount: i64, close: bool) -> Command {
    Command::Capture { hold_id: hold_id.to_owned(), capture: charge(id, amount), close, budgets: vec![] }
}

/// A lease until 2,000.
fn lease(wallet: &mut Wallet, id: &str, captures: Vec<Capture>, want: i64, least: i64, now_ms: i64) -> Leased {
    let (id, expires_at_ms) = (id.to_owned(), 2_000);
    let lease = Lease { id, captures, want: usd(want), least: usd(least), expires_at_ms, budgets: vec![] };
    match wallet.ask(Command::Lease(lease), now_ms) {
        Reply::Leased(leased) => leased,
        other => panic!("{other:?}"),
    }
}

fn balance(wallet: &mut Wallet, now_ms: i64) -> Balance {
    let Reply::Audit(audit) = wallet.ask(Command::Audit, now_ms) else { panic!("no audit") };
    assert!(audit.consistent, "{audit:?}");
    match wallet.ask(Command::Balance, now_ms) {
        Reply::Balance(balance) => balance,
        other => panic!("{other:?}"),
    }
}

fn refusal(reply: Reply) -> RefusalCode {
    match reply {
        Reply::Refused { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

fn moved(duplicate: bool, balance: i64) -> Reply {
    Reply::Moved { duplicate, balance: usd(balance), available: usd(balance) }
}

#[test]
fn a_deposit_and_a_withdrawal_take_effect_once() {
    let mut wallet = open(0);
    assert_eq!(wallet.ask(credit("1", 100), 0), moved(false, 100));
    assert_eq!(wallet.ask(credit("1", 100), 0), moved(true, 100));
    assert_eq!(refusal(wallet.ask(credit("1", 101), 0)), RefusalCode::IdReused);
    assert_eq!(wallet.ask(debit("1", 30), 0), moved(false, 70), "ids of other commands do not clash");
    assert_eq!(wallet.ask(debit("1", 30), 0), moved(true, 70));
    let reply = wallet.ask(debit("2", 71), 0);
    assert!(matches!(reply, Reply::Refused { free: Some(free), .. } if free == usd(70)), "{reply:?}");
    assert_eq!(refusal(reply), RefusalCode::Insufficient);
}

#[test]
fn amounts_and_texts_are_bounded() {
    let mut wallet = open(0);
    assert_eq!(refusal(wallet.ask(credit("1", -1), 0)), RefusalCode::AmountInvalid);
    assert_eq!(refusal(wallet.ask(credit("1", i64::MAX), 0)), RefusalCode::AmountInvalid);
    assert_eq!(refusal(wallet.ask(credit("", 1), 0)), RefusalCode::Invalid);
    assert_eq!(wallet.ask(credit("1", AMOUNT_MAX.0), 0), moved(false, AMOUNT_MAX.0));
    assert_eq!(refusal(wallet.ask(credit("2", 1), 0)), RefusalCode::AmountInvalid);
    let record = Some("x".repeat(RECORD_MAX_BYTES + 1));
    let long = Capture { record, ..charge("c", 1) };
    let reply =
        wallet.ask(Command::Capture { hold_id: "h".to_owned(), capture: long, close: true, budgets: vec![] }, 0);
    assert_eq!(refusal(reply), RefusalCode::Invalid);
    assert_eq!(refusal(wallet.ask(hold("h", 1, 10), 10)), RefusalCode::Invalid, "expires at once");
}

#[test]
fn a_lease_follows_what_is_wanted() {
    let mut wallet = open(100);
    assert_eq!(lease(&mut wallet, "a", vec![], 40, 1, 0).held, usd(40));
    assert_eq!(lease(&mut wallet, "a", vec![], 60, 1, 0).held, usd(60));
    assert_eq!(lease(&mut wallet, "a", vec![], 10, 1, 0).held, usd(10));
    let after = lease(&mut wallet, "b", vec![], 500, 50, 0);
    assert_eq!((after.held, after.others_held, after.available), (usd(90), usd(10), usd(100)));
    assert_eq!(lease(&mut wallet, "a", vec![], 0, 0, 0).held, usd(0));
    let seen = Balance {
        balance: usd(100),
        available: usd(100),
        held_calls: usd(0),
        held_leases: usd(90),
        owed: usd(0),
        immature: vec![],
    };
    assert_eq!(balance(&mut wallet, 0), seen);
}

#[test]
fn a_lease_that_cannot_have_the_least_is_left_as_it_was() {
    let mut wallet = open(100);
    lease(&mut wallet, "a", vec![], 95, 1, 0);
    let refused = lease(&mut wallet, "b", vec![], 50, 20, 0);
    assert_eq!((refused.held, refused.others_held), (usd(0), usd(95)), "worth waiting");
    lease(&mut wallet, "a", vec![], 0, 0, 0);
    let refused = lease(&mut wallet, "b", vec![], 500, 101, 0);
    assert_eq!((refused.held, refused.others_held), (usd(0), usd(0)), "not worth waiting");
    lease(&mut wallet, "b", vec![], 7, 7, 0);
    lease(&mut wallet, "a", vec![], 93, 1, 0);
    assert_eq!(lease(&mut wallet, "b", vec![], 50, 20, 1_999).held, usd(7));
    assert_eq!(balance(&mut wallet, 2_000).held_leases, usd(0), "its expiry was left too");
}

#[test]
fn money_of_calls_is_not_worth_waiting_for() {
    let mut wallet = open(100);
    wallet.ask(hold("call", 100, 10_000), 0);
    let refused = lease(&mut wallet, "a", vec![], 5, 5, 0);
    assert_eq!((refused.held, refused.others_held, refused.available), (usd(0), usd(0), usd(0)));
}

#[test]
fn a_capture_takes_the_hold_then_what_is_free_then_writes_off() {
    let mut wallet = open(100);
    lease(&mut wallet, "a", vec![], 30, 1, 0);
    lease(&mut wallet, "b", vec![], 50, 1, 0);
    let after = lease(&mut wallet, "a", vec![charge("1", 45)], 0, 0, 0);
    assert_eq!((after.balance, after.written_off), (usd(55), usd(0)), "30 held and 15 free");
    let after = lease(&mut wallet, "a", vec![charge("2", 12)], 0, 0, 0);
    assert_eq!((after.balance, after.written_off), (usd(50), usd(7)), "what b holds is not touched");
    assert_eq!(after.others_held, usd(50));
    let Reply::Audit(audit) = wallet.ask(Command::Audit, 0) else { panic!("no audit") };
    assert_eq!((audit.charged, audit.written_off, audit.consistent), (usd(57), usd(7), true));
}

#[test]
fn a_capture_takes_effect_once() {
    let mut wallet = open(100);
    let twice = vec![charge("1", 10), charge("1", 10)];
    assert_eq!(lease(&mut wallet, "a", twice, 0, 0, 0).balance, usd(90));
    assert_eq!(lease(&mut wallet, "b", vec![charge("1", 10)], 0, 0, 0).balance, usd(90));
    let Reply::Captured { charged, balance, .. } = wallet.ask(capture("h", "1", 10, true), 0) else { panic!() };
    assert_eq!((charged, balance), (usd(10), usd(90)));
    assert_eq!(refusal(wallet.ask(capture("h", "1", 11, true), 0)), RefusalCode::IdReused);
}

#[test]
fn a_wallet_without_money_keeps_records_of_failed_requests() {
    let mut wallet = open(0);
    let after = lease(&mut wallet, "a", vec![charge("failed", 0)], 0, 0, 0);
    assert_eq!((after.held, after.written_off), (usd(0), usd(0)));
    let Reply::Records { records, .. } = wallet.ask(Command::PendingRecords { limit: 10 }, 0) else { panic!() };
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].wallet.as_str(), records[0].record.as_str()), ("ann", r#"{"call":"failed"}"#));
    wallet.ask(Command::AckRecords { ids: ["failed", "failed", "unknown"].map(String::from).into() }, 0);
    let reply = wallet.ask(Command::PendingRecords { limit: 10 }, 0);
    assert_eq!(reply, Reply::Records { records: vec![], more: false });
}

#[test]
fn a_call_holds_all_or_nothing_and_captures_in_parts() {
    let mut wallet = open(100);
    assert_eq!(refusal(wallet.ask(hold("h", 101, 1_000), 0)), RefusalCode::Insufficient);
    let held = Reply::Held { held: usd(80), balance: usd(100), available: usd(20) };
    assert_eq!(wallet.ask(hold("h", 80, 1_000), 0), held);
    assert_eq!(wallet.ask(hold("h", 80, 1_000), 0), held, "again");
    assert_eq!(refusal(wallet.ask(debit("d", 21), 0)), RefusalCode::Insufficient);
    let (written_off, charged) = (usd(0), usd(30));
    let part = Reply::Captured { charged, written_off, held: usd(50), balance: usd(70), available: usd(20) };
    assert_eq!(wallet.ask(capture("h", "1", 30, false), 0), part);
    let (held, balance, available, charged) = (usd(0), usd(60), usd(60), usd(10));
    let last = Reply::Captured { charged, written_off, held, balance, available };
    assert_eq!(wallet.ask(capture("h", "2", 10, true), 0), last);
    let none = Reply::Held { held, balance, available };
    assert_eq!(wallet.ask(Command::Release { hold_id: "h".to_owned() }, 0), none);
}

#[test]
fn holds_lapse_by_alarm_or_without() {
    for alarm_runs in [true, false] {
        let mut wallet = open(100);
        wallet.ask(hold("h", 60, 3_000), 0);
        lease(&mut wallet, "a", vec![], 40, 1, 0);
        if alarm_runs {
            wallet.alarm(2_000);
        }
        let seen = Balance {
            balance: usd(100),
            available: usd(40),
            held_calls: usd(60),
            held_leases: usd(0),
            owed: usd(0),
            immature: vec![],
        };
        assert_eq!(balance(&mut wallet, 2_000), seen);
        assert_eq!(balance(&mut wallet, 3_000).available, usd(100));
        let late = lease(&mut wallet, "a", vec![charge("late", 5)], 0, 0, 3_000);
        assert_eq!((late.balance, late.written_off), (usd(95), usd(0)), "taken from what is free");
    }
}

#[test]
fn a_lease_cannot_hold_money_for_long() {
    let mut wallet = open(100);
    let (id, captures, expires_at_ms) = ("a".to_owned(), vec![], i64::MAX);
    let lease = Lease { id, captures, want: usd(50), least: usd(1), expires_at_ms, budgets: vec![] };
    wallet.ask(Command::Lease(lease), 0);
    assert_eq!(balance(&mut wallet, LEASE_MAX_MS - 1).held_leases, usd(50));
    assert_eq!(balance(&mut wallet, LEASE_MAX_MS).held_leases, usd(0));
}

#[test]
fn a_lease_that_has_expired_on_arrival_still_charges() {
    let mut wallet = open(100);
    let (id, captures, expires_at_ms) = ("a".to_owned(), vec![], 1_500);
    wallet.ask(Command::Lease(Lease { id, captures, want: usd(50), least: usd(1), expires_at_ms, budgets: vec![] }), 0);
    let late = lease(&mut wallet, "a", vec![charge("1", 5)], 40, 1, 2_000);
    assert_eq!((late.held, late.balance), (usd(0), usd(95)));
}

#[test]
fn a_statement_that_was_overtaken_charges_and_leaves_the_hold() {
    let mut wallet = open(100);
    let mut state = |captures, want, expires_at_ms| {
        let lease =
            Lease { id: "a".to_owned(), captures, want: usd(want), least: usd(0), expires_at_ms, budgets: vec![] };
        match wallet.ask(Command::Lease(lease), 0) {
            Reply::Leased(leased) => leased,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(state(vec![], 60, 9_000).held, usd(60));
    let late = state(vec![charge("1", 5)], 10, 8_000);
    assert_eq!((late.held, late.balance), (usd(55), usd(95)), "the charge came out of the hold");
    assert_eq!(state(vec![], 10, 9_001).held, usd(10));
}

#[test]
fn the_journal_is_read_in_pages() {
    let mut wallet = open(0);
    (1..=5).for_each(|number| drop(wallet.ask(credit(&number.to_string(), number), number)));
    let mut page = |after| match wallet.ask(Command::Journal { after, limit: 2 }, 9) {
        Reply::Journal { entries, next_after } => (entries, next_after),
        other => panic!("{other:?}"),
    };
    let (first, next) = page(0);
    assert_eq!((first[0].id.as_str(), first[1].amount, next), ("credit:1", usd(2), Some(2)));
    assert_eq!((first[0].debit.as_str(), first[0].credit.as_str()), ("external", "balance"));
    assert_eq!(page(2).1, Some(4));
    let (last, next) = page(4);
    assert_eq!((last.len(), next), (1, None));
}

#[test]
fn the_newest_entries_come_with_the_balance_after_them() {
    let mut wallet = open(0);
    (1..=5).for_each(|number| drop(wallet.ask(credit(&number.to_string(), number), number)));
    let hold = Command::Hold { id: "h".to_owned(), amount: usd(4), expires_at_ms: 90, budgets: vec![] };
    wallet.ask(hold, 6);
    let mut recent = |limit| match wallet.ask(Command::Recent { limit, before: None }, 9) {
        Reply::Recent { entries, balance } => {
            let ids: Vec<String> = entries.into_iter().map(|line| line.id).collect();
            (ids.join(" "), balance.balance, balance.available)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(recent(2), ("credit:5 credit:4".to_owned(), usd(15), usd(11)));
    assert_eq!(recent(0), (String::new(), usd(15), usd(11)));
    assert_eq!(recent(u32::MAX).0, "credit:5 credit:4 credit:3 credit:2 credit:1");
    let before = Command::Recent { limit: 2, before: Some(3) };
    assert!(
        matches!(wallet.ask(before, 9), Reply::Recent { entries, .. } if entries[0].seq == 2 && entries.len() == 2)
    );
}

#[test]
fn a_movement_is_found_by_its_name() {
    let mut wallet = open(0);
    wallet.ask(credit("1", 7), 1);
    let mut find = |entry_id: &str| match wallet.ask(Command::Find { entry_id: entry_id.to_owned() }, 9) {
        Reply::Found { amount, at_ms } => amount.zip(at_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!((find("credit:1"), find("debit:1"), find("1")), (Some((usd(7), 1)), None, None));
}

#[test]
fn a_transfer_refuses_itself_and_what_is_not_there() {
    let mut wallet = open(10);
    let mut transfer = |to: &str, amount| {
        let (id, to, reason) = ("t".to_owned(), to.to_owned(), String::new());
        wallet.ask(Command::Transfer { id, to, amount: usd(amount), reason }, 0)
    };
    assert_eq!(refusal(transfer("ann", 1)), RefusalCode::OwnWallet);
    assert_eq!(refusal(transfer("bob", 11)), RefusalCode::Insufficient);
    assert_eq!(transfer("bob", 4), moved(false, 6));
    assert_eq!(transfer("bob", 4), moved(true, 6));
    assert_eq!(refusal(transfer("eve", 4)), RefusalCode::IdReused);
}

/// Entries of the journal, and records that are on their way.
fn traces(wallet: &mut Wallet) -> (Vec<String>, usize) {
    let Reply::Journal { entries, .. } = wallet.ask(Command::Journal { after: 0, limit: 9 }, 0) else { panic!() };
    let Reply::Records { records, .. } = wallet.ask(Command::PendingRecords { limit: 9 }, 0) else { panic!() };
    (entries.into_iter().map(|entry| entry.id).collect(), records.len())
}

#[test]
fn a_batch_that_charges_nothing_leaves_no_entry() {
    let mut wallet = open(10);
    let batch = || vec![charge("free", 0), charge("paid", 3)];
    let entries = vec!["credit:start".to_owned(), "capture:paid".to_owned()];
    for _ in 0..2 {
        lease(&mut wallet, "a", batch(), 5, 0, 0);
        assert_eq!(traces(&mut wallet), (entries.clone(), 2));
    }
    wallet.ask(Command::AckRecords { ids: vec!["free".to_owned(), "paid".to_owned()] }, 0);
    lease(&mut wallet, "a", batch(), 5, 0, 0);
    assert_eq!(traces(&mut wallet), (entries, 1), "at most the record comes again");
    assert_eq!(balance(&mut wallet, 0).balance, usd(7));
}

#[test]
fn what_could_not_be_charged_and_what_a_call_charged_is_remembered_though_it_is_nothing() {
    let mut wallet = open(0);
    assert_eq!(lease(&mut wallet, "a", vec![charge("unpaid", 5)], 0, 0, 0).written_off, usd(5));
    wallet.ask(capture("h", "called", 0, true), 0);
    wallet.ask(Command::AckRecords { ids: vec!["unpaid".to_owned(), "called".to_owned()] }, 0);
    let before = traces(&mut wallet);
    wallet.ask(credit("late", 9), 0);
    let again = lease(&mut wallet, "a", vec![charge("unpaid", 5), charge("called", 0)], 0, 0, 0);
    assert_eq!((again.written_off, again.balance), (usd(0), usd(9)));
    assert_eq!(refusal(wallet.ask(capture("h", "called", 1, true), 0)), RefusalCode::IdReused);
    assert_eq!(before.0, ["capture:unpaid", "write_off:unpaid", "capture:called"]);
    assert_eq!((traces(&mut wallet).0.len(), traces(&mut wallet).1), (4, 0));
}

#[test]
fn pending_records_come_in_parts_that_an_isolate_can_hold() {
    let mut wallet = open(1_000);
    let large = "x".repeat(60_000);
    for at in 0..100 {
        let record = Some(format!("\"{large}\""));
        let batch = vec![Capture { record, ..charge(&format!("r{at}"), 1) }];
        lease(&mut wallet, "a", batch, 0, 0, 0);
    }
    let mut seen = Vec::new();
    loop {
        let Reply::Records { records, more } = wallet.ask(Command::PendingRecords { limit: 1_000 }, 0) else {
            panic!()
        };
        assert!(records.iter().map(|record| record.record.len()).sum::<usize>() < 5 << 20);
        let ids: Vec<_> = records.into_iter().map(|record| record.id).collect();
        wallet.ask(Command::AckRecords { ids: ids.clone() }, 0);
        seen.extend(ids);
        if !more {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    let Reply::Records { more, .. } = wallet.ask(Command::PendingRecords { limit: 1_000 }, 0) else { panic!() };
    assert!(!more);
}
