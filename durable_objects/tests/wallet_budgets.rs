//! Budgets: by example over SQLite, and by model under any interleaving.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use durable_objects::local::{FaultPoint, LocalError, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::sql::SqlStore;
use durable_objects::wallet::protocol::{
    BudgetLeft, BudgetLine, COUNTS_MAX, Capture, Command, Count, Lease, Leased, RefusalCode, Reply, Wallet,
};
use durable_objects::wallet::state::WalletMachine;
use proptest::prelude::*;
use support::{Bench, SqliteConnection, usd};

type Owner = Bench<WalletMachine, SqlStore<SqliteConnection>>;

fn line(id: &str, limit: i64) -> BudgetLine {
    BudgetLine { id: id.to_owned(), period: "2026-11".to_owned(), limit: usd(limit), since_ms: 0 }
}

fn open(balance: i64) -> Owner {
    let mut owner = Bench::new("ann", SqlStore::new(SqliteConnection::open(), true));
    owner.ask(Command::Credit { id: "start".to_owned(), amount: usd(balance), reason: String::new() }, 0);
    owner
}

fn charge(id: &str, amount: i64) -> Capture {
    Capture { id: id.to_owned(), amount: usd(amount), record: None, counts: vec![], sealed_at_ms: 0 }
}

fn hold(id: &str, amount: i64, budgets: &[BudgetLine]) -> Command {
    Command::Hold { id: id.to_owned(), amount: usd(amount), expires_at_ms: 5_000, budgets: budgets.to_vec() }
}

fn lease(owner: &mut Owner, captures: Vec<Capture>, want: i64, least: i64, line: &BudgetLine) -> Leased {
    let (id, budgets) = ("iso".to_owned(), vec![line.clone()]);
    let lease = Lease { id, captures, want: usd(want), least: usd(least), expires_at_ms: 5_000, budgets };
    match owner.ask(Command::Lease(lease), 0) {
        Reply::Leased(leased) => leased,
        other => panic!("{other:?}"),
    }
}

fn left(owner: &mut Owner, line: &BudgetLine) -> BudgetLeft {
    match owner.ask(Command::Budgets { lines: vec![line.clone()] }, 0) {
        Reply::Budgets { lines } => lines[0],
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refused(reply: &Reply, expected: RefusalCode) {
    assert!(matches!(reply, Reply::Refused { code, .. } if *code == expected), "{reply:?}");
}

#[test]
fn of_a_thousand_holds_as_many_are_open_as_the_budget_allows() {
    let mut owner = open(1_000_000);
    let budgets = [line("key:1", 10_000), line("workspace:w", 4_321)];
    let mut opened = 0;
    for number in 0..1_000 {
        match owner.ask(hold(&number.to_string(), 10, &budgets), 0) {
            Reply::Held { .. } => opened += 1,
            other => {
                assert_refused(&other, RefusalCode::BudgetExceeded);
                let Reply::Refused { budget: Some(left), .. } = other else { panic!("no budget") };
                assert_eq!((left.line, left.available), (1, usd(1)), "the tighter one is named");
            }
        }
    }
    assert_eq!(opened, 432);
    assert_eq!(left(&mut owner, &budgets[0]).available, usd(10_000 - 4_320));
    owner.ask(Command::Release { hold_id: "7".to_owned() }, 0);
    assert!(matches!(owner.ask(hold("again", 11, &budgets), 0), Reply::Held { .. }), "what is released is free");
    owner.alarm(5_000);
    assert_eq!(left(&mut owner, &budgets[1]).available, usd(4_321), "what lapses is free");
}

#[test]
fn a_lease_gets_what_the_budget_leaves_and_hears_how_it_stands() {
    let mut owner = open(1_000);
    let budget = line("key:1", 100);
    assert_eq!(lease(&mut owner, vec![], 70, 70, &budget).held, usd(70));
    let leased = lease(&mut owner, vec![charge("a", 60)], 90, 20, &budget);
    let expected = BudgetLeft { line: 0, spent: usd(60), available: usd(40), others_held: usd(0) };
    assert_eq!((leased.held, leased.budget, leased.available), (usd(40), Some(expected), usd(940)));
    assert_eq!(lease(&mut owner, vec![], 90, 41, &budget).held, usd(40), "less than the least: left as it was");
    let leased = lease(&mut owner, vec![charge("b", 40)], 0, 0, &budget);
    assert_eq!((leased.held, leased.balance), (usd(0), usd(900)));
    assert_refused(&owner.ask(hold("h", 1, &[budget]), 0), RefusalCode::BudgetExceeded);
    assert!(matches!(owner.ask(hold("h", 900, &[]), 0), Reply::Held { .. }), "others go on");
}

#[test]
fn what_the_budget_does_not_cover_is_written_off() {
    let mut owner = open(1_000);
    let budget = line("key:1", 100);
    lease(&mut owner, vec![], 30, 30, &budget);
    let leased = lease(&mut owner, vec![charge("a", 130)], 0, 0, &budget);
    assert_eq!((leased.written_off, leased.balance), (usd(30), usd(900)));
    // The hold has lapsed; the budgets of the command count.
    let (hold_id, capture) = ("gone".to_owned(), charge("b", 5));
    let reply = owner.ask(Command::Capture { hold_id, capture, close: true, budgets: vec![budget.clone()] }, 0);
    assert!(matches!(reply, Reply::Captured { written_off, .. } if written_off == usd(5)), "{reply:?}");
    assert_eq!(left(&mut owner, &budget).spent, usd(100));
}

#[test]
fn a_new_month_and_a_reset_begin_at_nothing() {
    let mut owner = open(1_000);
    let budget = line("key:1", 100);
    lease(&mut owner, vec![], 100, 100, &budget);
    lease(&mut owner, vec![charge("a", 90)], 10, 0, &budget);
    let december = BudgetLine { period: "2026-12".to_owned(), ..budget.clone() };
    assert_eq!(left(&mut owner, &december).spent, usd(0), "to be seen before it begins");
    assert_eq!(left(&mut owner, &budget).spent, usd(90));
    assert_eq!(lease(&mut owner, vec![charge("b", 10)], 95, 1, &december).held, usd(90), "an old hold counts on");
    assert_eq!(left(&mut owner, &december).spent, usd(10));
    assert_eq!(left(&mut owner, &budget).spent, usd(10), "an isolate whose clock is late is in December too");
    let reset = BudgetLine { since_ms: 5, ..december.clone() };
    assert_eq!(lease(&mut owner, vec![], 100, 1, &reset).held, usd(100));
    assert_eq!(left(&mut owner, &december).spent, usd(0), "who has not heard of the reset counts as it does");
}

#[test]
fn a_lower_limit_lets_nothing_new_through() {
    let mut owner = open(1_000);
    let budget = line("key:1", 100);
    lease(&mut owner, vec![], 80, 80, &budget);
    let lower = BudgetLine { limit: usd(50), ..budget };
    let leased = lease(&mut owner, vec![charge("a", 30)], 90, 0, &lower);
    assert_eq!(leased.held, usd(50), "what was held stays, nothing is added");
    assert_eq!(leased.budget.map(|left| left.available), Some(usd(20)));
    assert_refused(&owner.ask(hold("h", 1, &[lower]), 0), RefusalCode::BudgetExceeded);
}

fn count(id: &str, amount: i64) -> Count {
    Count { id: id.to_owned(), period: "2026-11".to_owned(), since_ms: 0, amount: usd(amount) }
}

#[test]
fn what_nothing_limits_yet_is_counted_once_for_the_budget_that_comes() {
    let mut owner = open(1_000);
    let capture = Capture { counts: vec![count("account", 30), count("key:1", 20)], ..charge("a", 30) };
    let report = |captures| Lease {
        id: "iso".to_owned(),
        captures,
        want: usd(0),
        least: usd(0),
        expires_at_ms: 5_000,
        budgets: vec![],
    };
    for _ in 0..2 {
        owner.ask(Command::Lease(report(vec![capture.clone()])), 0);
        assert_eq!(left(&mut owner, &line("account", 100)).spent, usd(30), "a repetition counts no more");
    }
    assert_eq!(left(&mut owner, &line("key:1", 100)).available, usd(80));
    assert_refused(&owner.ask(hold("h", 71, &[line("account", 100)]), 0), RefusalCode::BudgetExceeded);
    // A hold whose budget it is counts by the budget alone.
    owner.ask(hold("h", 70, &[line("account", 100)]), 0);
    let capture = Capture { counts: vec![count("account", 40), count("key:1", 40)], ..charge("b", 40) };
    owner.ask(Command::Capture { hold_id: "h".to_owned(), capture, close: true, budgets: vec![] }, 0);
    assert_eq!(left(&mut owner, &line("account", 100)).spent, usd(70));
    assert_eq!(left(&mut owner, &line("key:1", 100)).spent, usd(60));
    // What no money covers does not count, and a new month or a reset begins at nothing.
    let late = Count { period: "2026-12".to_owned(), ..count("account", 9_000) };
    let reset = Count { since_ms: 5, ..count("key:1", 9_000) };
    owner.ask(Command::Lease(report(vec![Capture { counts: vec![late, reset], ..charge("c", 9_000) }])), 0);
    assert_eq!(left(&mut owner, &line("account", 9_999)).spent, usd(930));
    assert_eq!(left(&mut owner, &BudgetLine { since_ms: 5, ..line("key:1", 9_999) }).spent, usd(930));
}

#[test]
fn counts_never_take_the_places_of_budgets() {
    let mut owner = open(1_000_000);
    let spend = |owner: &mut Owner, from: usize, to: usize, period: &str| {
        for (at, ids) in (from..to).collect::<Vec<_>>().chunks(COUNTS_MAX).enumerate() {
            let counts = ids.iter().map(|id| Count { period: period.to_owned(), ..count(&format!("key:{id}"), 1) });
            let capture = Capture { counts: counts.collect(), ..charge(&format!("{period}{from}{at}"), 1) };
            owner.ask(Command::Capture { hold_id: "h".to_owned(), capture, close: false, budgets: vec![] }, 0);
        }
    };
    spend(&mut owner, 0, 6_000, "2026-11");
    assert_eq!(left(&mut owner, &line("key:4999", 9)).spent, usd(1));
    assert_eq!(left(&mut owner, &line("key:5000", 9)).spent, usd(0), "there is no place for more");
    assert!(matches!(owner.ask(hold("h", 1, &[line("key:new", 9)]), 0), Reply::Held { .. }), "but for budgets");
    spend(&mut owner, 7_000, 7_010, "2026-12");
    let december = BudgetLine { period: "2026-12".to_owned(), ..line("key:7009", 9) };
    assert_eq!(left(&mut owner, &december).spent, usd(1), "past months make way");
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let mut owner = open(1_000);
    let many: Vec<BudgetLine> = (0..9).map(|number| line(&number.to_string(), 5)).collect();
    let wrong = [
        many,
        vec![line("a", 5), line("a", 6)],
        vec![line("", 5)],
        vec![BudgetLine { period: "x".repeat(17), ..line("a", 5) }],
    ];
    for budgets in wrong {
        assert_refused(&owner.ask(hold("h", 1, &budgets), 0), RefusalCode::Invalid);
    }
    assert_refused(&owner.ask(hold("h", 1, &[line("a", -1)]), 0), RefusalCode::AmountInvalid);
    lease(&mut owner, vec![], 5, 5, &line("a", 5));
    let lease = Lease {
        id: "iso".to_owned(),
        captures: vec![],
        want: usd(1),
        least: usd(0),
        expires_at_ms: 5_000,
        budgets: vec![line("b", 5)],
    };
    assert_refused(&owner.ask(Command::Lease(lease), 0), RefusalCode::Invalid);
    for (counts, code) in [
        (vec![count("a", 1); COUNTS_MAX + 1], RefusalCode::Invalid),
        (vec![count("", 1)], RefusalCode::Invalid),
        (vec![Count { period: "x".repeat(17), ..count("a", 1) }], RefusalCode::Invalid),
        (vec![count("a", -1)], RefusalCode::AmountInvalid),
    ] {
        let capture = Capture { counts, ..charge("z", 1) };
        let capture = Command::Capture { hold_id: "h".to_owned(), capture, close: true, budgets: vec![] };
        assert_refused(&owner.ask(capture, 0), code);
    }
}

const LIMITS: [i64; 2] = [120, 90];
/// Far above every limit, so that nothing is cut off at 0.
const HUGE: i64 = 1_000_000;

/// Which budgets a holder counts against: always the same.
fn lines_of(id: &str, month: u8, since_ms: i64) -> Vec<BudgetLine> {
    let both = [line("key:1", LIMITS[0]), line("workspace:w", LIMITS[1])];
    let lines = match id {
        "a" => &both[..1],
        "b" => &both[..],
        "c" => &both[1..],
        _ => &[],
    };
    let period = format!("2026-{month}");
    lines.iter().map(|line| BudgetLine { period: period.clone(), since_ms, ..line.clone() }).collect()
}

#[derive(Clone, Debug)]
enum Action {
    /// A command, and how often it arrives.
    Command(Command, u8),
    Fail(FaultPoint),
    Restart,
    Wait {
        ms: i64,
        alarms: bool,
    },
}

fn any_command() -> impl Strategy<Value = Command> {
    let capture = || {
        let capture = ("[a-m]", 0..60_i64).prop_map(|(id, amount)| (charge(&format!("{id}{amount}"), amount), amount));
        capture.prop_map(|(capture, amount)| Capture { counts: vec![count("account", amount)], ..capture })
    };
    let line = || ("[a-d]", 10..13_u8, 0..3_i64);
    let captures = prop::collection::vec(capture(), 0..3);
    prop_oneof![
        6 => (line(), captures, 0..150_i64, 0..40_i64, 0..9_000_i64).prop_map(
            |((id, month, since_ms), captures, want, least, expires_at_ms)| {
                let budgets = lines_of(&id, month, since_ms);
                Command::Lease(Lease { id, captures, want: usd(want), least: usd(least.min(want)), expires_at_ms, budgets })
            }
        ),
        3 => (line(), 0..3_u8, 1..150_i64, 0..9_000_i64).prop_map(
            |((id, month, since_ms), number, amount, expires_at_ms)| {
                let budgets = lines_of(&id, month, since_ms);
                Command::Hold { id: format!("{id}{number}"), amount: usd(amount), expires_at_ms, budgets }
            }
        ),
        3 => (line(), 0..3_u8, capture(), any::<bool>()).prop_map(|((id, month, since_ms), number, capture, close)| {
            let budgets = lines_of(&id, month, since_ms);
            Command::Capture { hold_id: format!("{id}{number}"), capture, close, budgets }
        }),
        1 => ("[a-d]", 0..3_u8).prop_map(|(id, number)| Command::Release { hold_id: format!("{id}{number}") }),
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (any_command(), 1..3_u8).prop_map(|(command, times)| Action::Command(command, times)),
        2 => prop_oneof![Just(FaultPoint::BeforePersist), Just(FaultPoint::AfterPersist)].prop_map(Action::Fail),
        1 => Just(Action::Restart),
        3 => (0..4_000_i64, any::<bool>()).prop_map(|(ms, alarms)| Action::Wait { ms, alarms }),
    ]
}

/// What each budget has spent, by what was asked and what the journal says.
#[derive(Default)]
struct Model {
    /// What all captures took from the balance.
    paid: i64,
    spent: BTreeMap<String, i64>,
    /// The newest period and reset that a lease has named: what is not newer begins nothing.
    begun: BTreeMap<String, (String, i64)>,
}

impl Model {
    /// Checks what the wallet says that a budget has spent, after a command that took `charged`.
    fn assert_spent(&mut self, id: &str, spent: i64, charged: i64, command: Option<&Command>) {
        let before = *self.spent.get(id).unwrap_or(&0);
        let lines: &[BudgetLine] = match command {
            Some(Command::Lease(Lease { budgets, .. }) | Command::Hold { budgets, .. }) => budgets,
            Some(Command::Capture { budgets, .. }) => budgets,
            _ => &[],
        };
        let line = lines.iter().find(|line| line.id == id);
        let charged = if line.is_some() { charged } else { 0 };
        let begun = self.begun.entry(id.to_owned()).or_default();
        let is_newer = line.is_some_and(|line| begun.0 < line.period || begun.1 < line.since_ms);
        assert!(
            spent == before + charged || (is_newer && spent == charged),
            "{id}: {spent} after {before} + {charged}"
        );
        if let (Some(line), Some(Command::Lease(_))) = (line, command) {
            *begun = (line.period.clone().max(begun.0.clone()), line.since_ms.max(begun.1));
        }
        self.spent.insert(id.to_owned(), spent);
    }
}

fn ask(objects: &LocalObjects, command: &Command, now_ms: i64) -> Reply {
    let answer = (0..4).find_map(|_| match objects.ask::<Wallet>("ann", command, now_ms) {
        Ok(reply) => Some(reply),
        Err(LocalError::Fault(_)) => None,
        Err(error) => panic!("{error}"),
    });
    answer.unwrap()
}

/// No budget has spent and held more than its limit, and what it has spent is what was charged.
fn check(objects: &LocalObjects, model: &mut Model, now_ms: i64, command: Option<&Command>) {
    let Reply::Audit(audit) = ask(objects, &Command::Audit, now_ms) else { panic!("no audit") };
    assert!(audit.consistent, "{audit:?}");
    let paid = audit.charged.0 - audit.written_off.0;
    let charged = paid - std::mem::replace(&mut model.paid, paid);
    for (id, limit) in [("key:1", LIMITS[0]), ("workspace:w", LIMITS[1])] {
        let read = BudgetLine { period: String::new(), ..line(id, HUGE) };
        let Reply::Budgets { lines } = ask(objects, &Command::Budgets { lines: vec![read] }, now_ms) else {
            panic!("no budgets")
        };
        let spent_and_held = HUGE - lines[0].available.0 + lines[0].others_held.0;
        assert!(spent_and_held <= limit, "{id}: {:?} of {limit}", lines[0]);
        model.assert_spent(id, lines[0].spent.0, charged, command);
    }
    let Reply::Budgets { lines } = ask(objects, &Command::Budgets { lines: vec![line("account", HUGE)] }, now_ms)
    else {
        panic!("no budgets")
    };
    assert_eq!(lines[0].spent.0, paid, "every capture counts for the account");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn no_budget_is_ever_overstepped(actions in prop::collection::vec(any_action(), 1..80), balance in 0..400_i64) {
        let (objects, mut model, mut now_ms) = (LocalObjects::new(), Model::default(), 0);
        ask(&objects, &Command::Credit { id: "start".to_owned(), amount: usd(balance), reason: String::new() }, 0);
        for action in actions {
            match action {
                Action::Command(command, times) => {
                    for _ in 0..times {
                        ask(&objects, &command, now_ms);
                        check(&objects, &mut model, now_ms, Some(&command));
                    }
                }
                Action::Fail(point) => objects.fail_after(Wallet::BINDING, point, 0),
                Action::Restart => objects.restart(),
                Action::Wait { ms, alarms } => {
                    now_ms += ms;
                    if alarms {
                        objects.run_due_alarms(now_ms);
                    }
                    check(&objects, &mut model, now_ms, None);
                }
            }
        }
        objects.run_due_alarms(now_ms + 3_600_000);
        let Reply::Balance(left) = ask(&objects, &Command::Balance, now_ms + 3_600_000) else { panic!("no balance") };
        prop_assert_eq!((left.held_calls, left.held_leases), (usd(0), usd(0)));
    }
}
