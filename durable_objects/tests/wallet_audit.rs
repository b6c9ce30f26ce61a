//! Audits of a wallet with a long journal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::machine::{Entry, Machine as _, Write};
use durable_objects::sql::SqlStore;
use durable_objects::store::Store as _;
use durable_objects::wallet::protocol::{Audit, Capture, Command, Lease, Reply};
use durable_objects::wallet::state::WalletMachine;
use support::{Bench, SqliteConnection, usd};

type Wallet = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn open() -> Wallet {
    let mut wallet = Bench::new("ann", SqlStore::new(SqliteConnection::open(), true));
    wallet.ask(Command::Credit { id: "start".to_owned(), amount: usd(1_000_000), reason: String::new() }, 0);
    wallet
}

/// Makes so many charges of a micro-dollar.
fn charge(wallet: &mut Wallet, name: &str, count: usize) {
    let charges: Vec<usize> = (0..count).collect();
    for part in charges.chunks(200) {
        let capture = |n: &usize| Capture {
            id: format!("{name}-{n}"),
            amount: usd(1),
            record: None,
            counts: Vec::new(),
            sealed_at_ms: 0,
        };
        let captures = part.iter().map(capture).collect();
        let (id, want, least) = ("lease".to_owned(), usd(0), usd(0));
        wallet.ask(Command::Lease(Lease { id, captures, want, least, expires_at_ms: 9, budgets: Vec::new() }), 0);
    }
}

fn audit(wallet: &mut Wallet) -> Audit {
    let Reply::Audit(audit) = wallet.ask(Command::Audit, 0) else { panic!("no audit") };
    audit
}

/// After which entry the next audit begins to read.
fn begins_after(wallet: &Wallet) -> i64 {
    wallet.machine.needs(&Command::Audit).totals_after.unwrap()
}

#[test]
fn what_an_audit_found_right_is_not_read_again_and_counts() {
    let mut wallet = open();
    charge(&mut wallet, "few", 900);
    assert_eq!((audit(&mut wallet).charged, begins_after(&wallet)), (usd(900), 0), "few are read again");
    charge(&mut wallet, "many", 300);
    assert_eq!((audit(&mut wallet).charged, begins_after(&wallet)), (usd(1_200), 1_201));
    charge(&mut wallet, "few-more", 10);
    wallet.ask(Command::Debit { id: "out".to_owned(), amount: usd(5), reason: String::new() }, 0);
    let found = audit(&mut wallet);
    assert_eq!((found.consistent, found.entries, begins_after(&wallet)), (true, 1_212, 1_201));
    assert_eq!((found.charged, found.deposited_net, found.balance), (usd(1_210), usd(999_995), usd(998_785)));
    charge(&mut wallet, "many-more", 1_000);
    assert_eq!((audit(&mut wallet).charged, begins_after(&wallet)), (usd(2_210), 2_212));
}

#[test]
fn what_is_kept_of_an_audit_keeps_its_format() {
    let mut wallet = open();
    charge(&mut wallet, "many", 1_000);
    audit(&mut wallet);
    let rows = wallet.store.load().unwrap();
    let kept = rows.iter().find(|row| row.key == "x:audited").map(|row| row.value.as_str());
    let of = |debit: &str, credit: &str, entries: i64, amount: i64, last: i64| {
        format!(
            r#"{{"debit":"{debit}","credit":"{credit}","entries":{entries},"amount_usd_micros":{amount},"last_seq":{last}}}"#
        )
    };
    let (charges, deposit) =
        (of("balance", "revenue", 1_000, 1_000, 1_001), of("external", "balance", 1, 1_000_000, 1));
    assert_eq!(kept, Some(format!(r#"{{"totals":[{charges},{deposit}]}}"#).as_str()));
}

#[test]
fn a_journal_that_does_not_add_up_is_read_again_each_time() {
    let mut wallet = open();
    charge(&mut wallet, "many", 1_100);
    let stray = Entry {
        id: "stray".to_owned(),
        at_ms: 0,
        debit: "balance".to_owned(),
        credit: "revenue".to_owned(),
        amount_usd_micros: 7,
        note: "{}".to_owned(),
    };
    wallet.store.commit(&[Write::Append(stray)], 0).unwrap();
    for _ in 0..2 {
        let found = audit(&mut wallet);
        assert_eq!((found.consistent, found.charged, begins_after(&wallet)), (false, usd(1_107), 0));
    }
}
