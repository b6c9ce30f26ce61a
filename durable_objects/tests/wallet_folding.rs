//! Folding a wallet's journal: old charges make way, and nothing is charged twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::machine::{Entry, Machine as _, Write};
use durable_objects::memory::MemoryStore;
use durable_objects::sql::SqlStore;
use durable_objects::store::Store;
use durable_objects::wallet::protocol::{
    Audit, BATCH_MAX, Capture, Command, FOLD_AGE_MIN_MS, JournalLine, Lease, RefusalCode, Reply,
};
use durable_objects::wallet::state::WalletMachine;
use proptest::prelude::*;
use support::{Bench, SqliteConnection, usd};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

type Wallet = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn open(balance: i64) -> Wallet {
    let mut wallet = Bench::new("ann", SqlStore::new(SqliteConnection::open(), true));
    credit(&mut wallet, "start", balance, 0);
    wallet
}

fn credit<S: Store>(wallet: &mut Bench<WalletMachine, S>, id: &str, amount: i64, now_ms: i64) {
    wallet.ask(Command::Credit { id: id.to_owned(), amount: usd(amount), reason: String::new() }, now_ms);
}

fn charge(id: &str, amount: i64, sealed_at_ms: i64) -> Capture {
    let record = Some(format!(r#"{{"call":"{id}"}}"#));
    Capture { id: id.to_owned(), amount: usd(amount), record, counts: vec![], sealed_at_ms }
}

fn lease(captures: Vec<Capture>) -> Command {
    let (id, want, least) = ("lease".to_owned(), usd(0), usd(0));
    Command::Lease(Lease { id, captures, want, least, expires_at_ms: 9, budgets: vec![] })
}

/// So many charges of a micro-dollar, sealed when they are made.
fn charges(name: &str, count: usize, sealed_at_ms: i64) -> Vec<Capture> {
    let one = |number| Capture { record: None, ..charge(&format!("{name}-{number}"), 1, sealed_at_ms) };
    (0..count).map(one).collect()
}

fn make<S: Store>(wallet: &mut Bench<WalletMachine, S>, captures: &[Capture], now_ms: i64) {
    captures.chunks(BATCH_MAX).for_each(|part| drop(wallet.ask(lease(part.to_vec()), now_ms)));
}

fn audit<S: Store>(wallet: &mut Bench<WalletMachine, S>, now_ms: i64) -> Audit {
    let Reply::Audit(audit) = wallet.ask(Command::Audit, now_ms) else { panic!("no audit") };
    assert!(audit.consistent, "{audit:?}");
    audit
}

/// Folds a part; whether there is more.
fn fold<S: Store>(wallet: &mut Bench<WalletMachine, S>, before_ms: i64, now_ms: i64) -> bool {
    match wallet.ask(Command::Fold { before_ms }, now_ms) {
        Reply::Folded { more } => more,
        other => panic!("{other:?}"),
    }
}

fn journal<S: Store>(wallet: &mut Bench<WalletMachine, S>) -> Vec<JournalLine> {
    let (mut lines, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let command = Command::Journal { after, limit: 1_000 };
        let Reply::Journal { entries, next_after } = wallet.ask(command, 0) else { panic!("no journal") };
        lines.extend(entries);
        next = next_after;
    }
    lines
}

/// Number, id and amount of every line but those of `charges`.
fn told(wallet: &mut Wallet) -> Vec<(i64, String, i64)> {
    let lines = journal(wallet).into_iter().filter(|line| !line.id.contains("fill"));
    lines.map(|line| (line.seq, line.id, line.amount.0)).collect()
}

fn line(seq: i64, id: &str, amount: i64) -> (i64, String, i64) {
    (seq, id.to_owned(), amount)
}

/// Has an audit find right what there is: it takes a thousand entries, which here are young.
fn fill(wallet: &mut Wallet, now_ms: i64) {
    make(wallet, &charges(&format!("fill-{now_ms}"), 1_000, now_ms), now_ms);
    audit(wallet, now_ms);
}

#[test]
fn charges_of_a_day_with_nothing_between_them_become_one_line() {
    let mut wallet = open(1_000);
    make(&mut wallet, &[charge("a", 3, 1), charge("b", 4, HOUR)], HOUR);
    make(&mut wallet, &[charge("c", 2_000, HOUR)], 2 * HOUR);
    credit(&mut wallet, "more", 5_000, 3 * HOUR);
    make(&mut wallet, &[charge("d", 5, 4 * HOUR), charge("e", 6, 4 * HOUR)], 4 * HOUR);
    make(&mut wallet, &[charge("f", 7, 26 * HOUR)], 26 * HOUR);
    make(&mut wallet, &[charge("g", 8, 27 * HOUR)], 27 * HOUR);
    wallet.ask(Command::Debit { id: "out".to_owned(), amount: usd(9), reason: String::new() }, 28 * HOUR);
    make(&mut wallet, &[charge("h", 10, 29 * HOUR)], 29 * HOUR);
    fill(&mut wallet, 5 * DAY);
    let before = audit(&mut wallet, 5 * DAY);
    assert!(!fold(&mut wallet, 2 * DAY, 5 * DAY));
    let expected = [
        line(1, "credit:start", 1_000),
        line(4, "captures:a", 1_000),
        line(5, "write_off:c", 1_007),
        line(6, "credit:more", 5_000),
        line(8, "captures:d", 11),
        line(10, "captures:f", 15),
        line(11, "debit:out", 9),
        line(12, "capture:h", 10),
    ];
    assert_eq!(told(&mut wallet), expected);
    assert_eq!(audit(&mut wallet, 5 * DAY), before);
    let lines = journal(&mut wallet);
    assert_eq!((lines[1].at_ms, lines[4].at_ms, lines[5].at_ms), (2 * HOUR, 4 * HOUR, 27 * HOUR));
    assert_eq!((lines[1].debit.as_str(), lines[1].credit.as_str()), ("balance", "revenue"));
    assert_eq!((lines[1].first_id(), lines[0].first_id()), ("capture:a".into(), "credit:start".into()));
}

#[test]
fn a_line_has_the_name_and_the_time_of_what_moved_anything() {
    let mut wallet = open(5);
    for (number, (id, amount)) in (1..).zip([("a", 3), ("b", 2), ("unpaid", 4), ("unpaid-too", 5)]) {
        make(&mut wallet, &[charge(id, amount, HOUR)], number * HOUR);
    }
    credit(&mut wallet, "more", 2_000, 5 * HOUR);
    for (number, (id, amount)) in (6..).zip([("free", 0), ("c", 6), ("free-too", 0)]) {
        let (hold_id, capture) = ("h".to_owned(), charge(id, amount, 6 * HOUR));
        wallet.ask(Command::Capture { hold_id, capture, close: true, budgets: vec![] }, number * HOUR);
    }
    fill(&mut wallet, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    let lines = journal(&mut wallet).into_iter().take(5).map(|line| (line.id, line.at_ms / HOUR, line.amount.0));
    let line = |id: &str, hour, amount| (id.to_owned(), hour, amount);
    let expected = [
        line("credit:start", 0, 5),
        line("captures:a", 2, 5),
        line("write_offs:unpaid", 4, 9),
        line("credit:more", 5, 2_000),
        line("captures:c", 7, 6),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn only_what_would_be_known_without_its_entry_is_folded() {
    let mut wallet = open(1_000);
    let captures = [
        charge("old", 1, HOUR),
        charge("old-too", 1, HOUR),
        charge("unsealed", 1, 0),
        charge("unsealed-too", 1, 0),
        charge("clock-ahead", 1, 9 * DAY),
        charge("clock-ahead-too", 1, 9 * DAY),
    ];
    make(&mut wallet, &captures, 2 * HOUR);
    make(&mut wallet, &[charge("young", 1, DAY), charge("young-too", 1, DAY)], DAY);
    fill(&mut wallet, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    let ids: Vec<_> = told(&mut wallet).into_iter().map(|(_, id, _)| id).collect();
    let stay = ["capture:unsealed", "capture:unsealed-too", "capture:clock-ahead", "capture:clock-ahead-too"];
    assert_eq!(ids[..2], ["credit:start", "captures:old"]);
    assert_eq!(ids[2..6], stay);
    assert_eq!(ids[6..], ["capture:young", "capture:young-too"]);
}

#[test]
fn a_charge_that_is_repeated_counts_once_before_and_after_it_is_folded() {
    let mut wallet = open(100_000);
    let mut known = vec![charge("a", 3, HOUR), charge("b", 4, DAY), charge("zero", 0, HOUR)];
    known.push(charge("late", 5, DAY + 1));
    make(&mut wallet, &known, DAY - 1);
    fill(&mut wallet, 3 * DAY);
    let before = audit(&mut wallet, 3 * DAY);
    make(&mut wallet, &known, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    let lines = told(&mut wallet);
    assert_eq!(lines[1..], [line(3, "captures:a", 7), line(4, "capture:late", 5)]);
    for _ in 0..2 {
        make(&mut wallet, &known, 3 * DAY);
        for capture in &known {
            let (hold_id, capture) = ("h".to_owned(), capture.clone());
            let reply = wallet.ask(Command::Capture { hold_id, capture, close: true, budgets: vec![] }, 3 * DAY);
            assert!(matches!(reply, Reply::Captured { .. }), "{reply:?}");
        }
    }
    assert_eq!((told(&mut wallet), audit(&mut wallet, 3 * DAY)), (lines, before));
}

#[test]
fn what_was_away_for_longer_is_passed_over_and_its_hold_is_closed() {
    let mut wallet = open(100_007);
    make(&mut wallet, &[charge("a", 3, HOUR), charge("b", 4, HOUR)], HOUR);
    fill(&mut wallet, 3 * DAY);
    let before = audit(&mut wallet, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    let expires_at_ms = 9 * DAY;
    wallet.ask(Command::Hold { id: "h".to_owned(), amount: usd(50), expires_at_ms, budgets: vec![] }, 3 * DAY);
    let Reply::Leased(leased) = wallet.ask(lease(vec![charge("lost", 7, DAY)]), 3 * DAY) else { panic!() };
    assert_eq!((leased.balance, leased.written_off), (usd(99_000), usd(0)));
    let (hold_id, capture) = ("h".to_owned(), charge("lost-too", 7, 1));
    let reply = wallet.ask(Command::Capture { hold_id, capture, close: true, budgets: vec![] }, 3 * DAY);
    let (balance, none) = (usd(99_000), usd(0));
    assert_eq!(reply, Reply::Captured { charged: none, written_off: none, held: none, balance, available: balance });
    assert_eq!(audit(&mut wallet, 3 * DAY), before);
    let Reply::Records { records, .. } = wallet.ask(Command::PendingRecords { limit: 9 }, 3 * DAY) else { panic!() };
    let ids: Vec<_> = records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["b", "a"], "usage has what the ledger has");
    // One of a sender that says no time, and one that was sealed a moment later, are charged.
    make(&mut wallet, &[charge("unsealed", 7, 0), charge("sealed", 7, DAY + 1)], 3 * DAY);
    assert_eq!(audit(&mut wallet, 3 * DAY).balance, usd(98_986));
}

#[test]
fn a_wallet_with_nothing_to_fold_passes_nothing_over() {
    let mut wallet = open(100);
    assert!(!fold(&mut wallet, DAY, 3 * DAY));
    make(&mut wallet, &[charge("late", 7, HOUR)], 3 * DAY);
    assert_eq!(audit(&mut wallet, 3 * DAY).balance, usd(93));
    assert!(wallet.store.load().unwrap().iter().all(|row| row.key != "x:folded"), "and writes nothing");
}

#[test]
fn a_wallet_whose_old_entries_stay_passes_nothing_over_either() {
    let mut wallet = open(100_000);
    fill(&mut wallet, 3 * DAY);
    let before = audit(&mut wallet, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    make(&mut wallet, &[charge("late", 7, HOUR)], 3 * DAY);
    let after = audit(&mut wallet, 3 * DAY);
    assert_eq!(after.balance.0, before.balance.0 - 7, "of its old entries one is the deposit");
}

#[test]
fn a_journal_is_folded_in_parts_and_charges_go_on_with_it() {
    let mut wallet = open(100_000);
    make(&mut wallet, &charges("old", 5_000, HOUR), HOUR);
    fill(&mut wallet, 3 * DAY);
    assert!(fold(&mut wallet, DAY, 3 * DAY), "a command does a part");
    assert_eq!(journal(&mut wallet).len(), 1 + 1 + 3_001 + 1_000);
    assert!(fold(&mut wallet, DAY, 3 * DAY));
    let left = journal(&mut wallet).len();
    assert_eq!(left, 1 + 1 + 1_002 + 1_000);
    make(&mut wallet, &charges("new", 2, 3 * DAY), 3 * DAY);
    assert_eq!(journal(&mut wallet).len(), left + 2 - 49, "a charge does a small part");
    let capture =
        Command::Capture { hold_id: "h".to_owned(), capture: charge("call", 1, 3 * DAY), close: true, budgets: vec![] };
    wallet.ask(capture, 3 * DAY);
    assert_eq!(journal(&mut wallet).len(), left + 3 - 98, "in either way");
    for _ in 0..40 {
        wallet.ask(lease(vec![]), 3 * DAY);
    }
    assert_eq!(journal(&mut wallet).len(), 1 + 1 + 1_000 + 3, "until there is one line");
    assert!(wallet.machine.needs(&lease(vec![])).page.is_none(), "then nothing is read any more");
    assert_eq!(told(&mut wallet)[1], line(5_001, "captures:old-0", 5_000));
    assert_eq!(audit(&mut wallet, 3 * DAY).charged, usd(6_003));
}

#[test]
fn folding_again_changes_nothing_and_a_days_line_grows_with_the_day() {
    let mut wallet = open(100_000);
    make(&mut wallet, &[charge("a", 1, HOUR), charge("b", 2, HOUR)], HOUR);
    make(&mut wallet, &[charge("c", 4, 5 * HOUR), charge("d", 8, 5 * HOUR)], 5 * HOUR);
    fill(&mut wallet, 3 * DAY);
    for _ in 0..3 {
        fold(&mut wallet, 2 * HOUR, 3 * DAY);
        assert_eq!(
            told(&mut wallet)[1..],
            [line(3, "captures:a", 3), line(4, "capture:c", 4), line(5, "capture:d", 8)]
        );
    }
    for before_ms in [6 * HOUR, 6 * HOUR, HOUR] {
        fold(&mut wallet, before_ms, 3 * DAY);
        assert_eq!(told(&mut wallet)[1..], [line(5, "captures:a", 15)]);
    }
    make(&mut wallet, &[charge("late", 1, 6 * HOUR)], 3 * DAY);
    assert_eq!(told(&mut wallet).len(), 2, "a time before the last one takes nothing back");
}

#[test]
fn what_is_folded_is_a_day_old() {
    let mut wallet = open(100);
    let reply = wallet.ask(Command::Fold { before_ms: 2 * DAY + 1 }, 2 * DAY + FOLD_AGE_MIN_MS);
    assert!(matches!(reply, Reply::Refused { code: RefusalCode::Invalid, .. }), "{reply:?}");
    make(&mut wallet, &[charge("a", 7, 2 * DAY)], 3 * DAY);
    assert_eq!(audit(&mut wallet, 3 * DAY).balance, usd(93), "a refusal leaves no trace");
    assert!(!fold(&mut wallet, 2 * DAY, 2 * DAY + FOLD_AGE_MIN_MS));
}

#[test]
fn nothing_is_folded_that_no_audit_has_found_right() {
    let mut wallet = open(100_000);
    make(&mut wallet, &charges("old", 1_500, HOUR), HOUR);
    fold(&mut wallet, DAY, 3 * DAY);
    assert_eq!(journal(&mut wallet).len(), 1_501);
    let (debit, credit) = ("balance".to_owned(), "revenue".to_owned());
    let stray = Entry { id: "stray".to_owned(), at_ms: 0, debit, credit, amount_usd_micros: 7, note: "{}".to_owned() };
    wallet.store.commit(&[Write::Append(stray)], 0).unwrap();
    let Reply::Audit(found) = wallet.ask(Command::Audit, 3 * DAY) else { panic!("no audit") };
    fold(&mut wallet, DAY, 3 * DAY);
    assert_eq!((found.consistent, journal(&mut wallet).len()), (false, 1_502));
    let mut sound = open(100_000);
    make(&mut sound, &charges("old", 1_500, HOUR), HOUR);
    audit(&mut sound, HOUR);
    make(&mut sound, &charges("more", 20, HOUR), HOUR);
    fold(&mut sound, DAY, 3 * DAY);
    assert_eq!(journal(&mut sound).len(), 22, "those that came after the audit stay");
}

#[test]
fn very_large_charges_stay_alone() {
    let mut wallet = open(100_000_000_000_000);
    let large = 4_000_000_000_001;
    make(&mut wallet, &[charge("a", large, 1), charge("b", large, 1), charge("c", 1, 1), charge("d", 2, 1)], 1);
    fill(&mut wallet, 3 * DAY);
    fold(&mut wallet, DAY, 3 * DAY);
    let expected = [line(2, "capture:a", large), line(3, "capture:b", large), line(5, "captures:c", 3)];
    assert_eq!(told(&mut wallet)[1..], expected);
}

/// What happens to two wallets, of which one folds.
#[derive(Clone, Debug)]
enum Event {
    /// Many charges, each sealed so long before it comes; of every seventh nobody knows when.
    Charges {
        count: usize,
        amount: i64,
        away_ms: i64,
    },
    Credit(i64),
    Pass(i64),
    /// So many of the charges that were made are sent again, from there on.
    Repeat {
        from: prop::sample::Index,
        count: usize,
    },
    Audit,
    Fold {
        age_ms: i64,
        parts: usize,
    },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..700_usize, 0..4_i64, 0..HOUR).prop_map(|(count, amount, away_ms)| Event::Charges { count, amount, away_ms }),
        2 => (1..500_i64).prop_map(Event::Credit),
        3 => (0..2 * DAY).prop_map(Event::Pass),
        3 => (any::<prop::sample::Index>(), 1..400_usize).prop_map(|(from, count)| Event::Repeat { from, count }),
        2 => Just(Event::Audit),
        4 => (DAY..3 * DAY, 1..3_usize).prop_map(|(age_ms, parts)| Event::Fold { age_ms, parts }),
    ]
}

struct Twins {
    folding: Wallet,
    plain: Bench<WalletMachine, MemoryStore>,
    made: Vec<Capture>,
    now_ms: i64,
}

impl Twins {
    fn happen(&mut self, number: usize, event: Event) {
        let now_ms = self.now_ms;
        match event {
            Event::Charges { count, amount, away_ms } => {
                let sealed_at_ms = |at: usize| if at.is_multiple_of(7) { 0 } else { now_ms - away_ms };
                let one = |at| Capture { record: None, ..charge(&format!("{number}-{at}"), amount, sealed_at_ms(at)) };
                let captures: Vec<_> = (0..count).map(one).collect();
                self.make(&captures);
                self.made.extend(captures);
            }
            Event::Credit(amount) => {
                credit(&mut self.folding, &number.to_string(), amount, now_ms);
                credit(&mut self.plain, &number.to_string(), amount, now_ms);
            }
            Event::Pass(ms) => self.now_ms += ms,
            Event::Repeat { from, count } if !self.made.is_empty() => {
                let from = from.index(self.made.len());
                let again: Vec<_> = self.made[from..].iter().take(count).cloned().collect();
                self.make(&again);
            }
            Event::Repeat { .. } => {}
            Event::Audit => drop(audit(&mut self.folding, now_ms)),
            Event::Fold { age_ms, parts } => {
                let more = |_: &usize| fold(&mut self.folding, now_ms - age_ms, now_ms);
                (0..parts).take_while(more).for_each(drop);
            }
        }
    }

    fn make(&mut self, captures: &[Capture]) {
        make(&mut self.folding, captures, self.now_ms);
        make(&mut self.plain, captures, self.now_ms);
    }

    /// Every movement but charges with the sum of charges, and of what nothing covered, before it.
    fn statement<S: Store>(wallet: &mut Bench<WalletMachine, S>) -> Vec<(String, i64, i64)> {
        let (mut charged, mut written_off, mut lines) = (0, 0, Vec::new());
        for line in journal(wallet) {
            match line.debit.as_str() {
                "balance" => charged += line.amount.0,
                "write_off" => written_off += line.amount.0,
                _ => lines.push((line.id, charged, written_off)),
            }
        }
        lines.push(("end".to_owned(), charged, written_off));
        lines
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_wallet_that_folds_has_the_books_of_one_that_does_not(events in prop::collection::vec(any_event(), 1..40)) {
        let plain = Bench::new("ann", MemoryStore::default());
        let mut twins = Twins { folding: open(1_500), plain, made: vec![], now_ms: 10 * DAY };
        credit(&mut twins.plain, "start", 1_500, 0);
        for (number, event) in events.into_iter().enumerate() {
            twins.happen(number, event);
            let (one, other) = (twins.folding.ask(Command::Balance, 0), twins.plain.ask(Command::Balance, 0));
            prop_assert_eq!(one, other);
        }
        prop_assert_eq!(audit(&mut twins.folding, 0), audit(&mut twins.plain, 0));
        prop_assert_eq!(Twins::statement(&mut twins.folding), Twins::statement(&mut twins.plain));
    }
}
