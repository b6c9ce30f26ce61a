//! A merged wallet: what it owes and what its keys have spent go on in the other one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::local::{FaultPoint, LocalError, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::wallet::protocol::{
    Audit, BudgetLine, Capture, Command, Count, Lease, RefusalCode, Reply, Wallet,
};
use proptest::prelude::*;
use support::usd;

const LIMIT: i64 = 100;

fn line(limit: i64) -> BudgetLine {
    BudgetLine { id: "key:k".into(), period: "2026-11".into(), limit: usd(limit), since_ms: 0 }
}

fn ask(objects: &LocalObjects, name: &str, command: &Command, now_ms: i64) -> Reply {
    let answer = (0..6).find_map(|_| match objects.ask::<Wallet>(name, command, now_ms) {
        Ok(reply) => Some(reply),
        Err(LocalError::Fault(_)) => None,
        Err(error) => panic!("{error}"),
    });
    answer.unwrap()
}

fn credit(objects: &LocalObjects, name: &str, amount: i64) {
    let command = Command::Credit { id: format!("start {amount}"), amount: usd(amount), reason: String::new() };
    assert!(matches!(ask(objects, name, &command, 0), Reply::Moved { .. }));
}

fn merge(objects: &LocalObjects, from: &str, into: &str, now_ms: i64) -> bool {
    match ask(objects, from, &Command::Merge { into: into.into() }, now_ms) {
        Reply::Merged { is_told, .. } => is_told,
        other => panic!("{other:?}"),
    }
}

fn audit(objects: &LocalObjects, name: &str, now_ms: i64) -> Audit {
    match ask(objects, name, &Command::Audit, now_ms) {
        Reply::Audit(audit) if audit.consistent => audit,
        other => panic!("{other:?}"),
    }
}

fn spent(objects: &LocalObjects, name: &str, line: BudgetLine, now_ms: i64) -> i64 {
    match ask(objects, name, &Command::Budgets { lines: vec![line] }, now_ms) {
        Reply::Budgets { lines } => lines[0].spent.0,
        other => panic!("{other:?}"),
    }
}

fn lease(id: &str, captures: Vec<Capture>, want: i64, expires_at_ms: i64) -> Command {
    let budgets = vec![line(LIMIT)];
    Command::Lease(Lease { id: id.into(), captures, want: usd(want), least: usd(0), expires_at_ms, budgets })
}

fn capture(id: &str, amount: i64, counts: Vec<Count>) -> Capture {
    Capture { id: id.into(), amount: usd(amount), record: None, counts, sealed_at_ms: 0 }
}

fn reclaim(id: &str, amount: i64) -> Command {
    Command::Reclaim { id: id.into(), amount: usd(amount), reason: String::new(), of: None }
}

#[test]
fn what_is_owed_is_owed_at_the_end_of_the_chain() {
    let objects = LocalObjects::new();
    credit(&objects, "eve", 100);
    ask(&objects, "ann", &reclaim("before", 7), 0);
    assert!(merge(&objects, "bob", "eve", 0) && merge(&objects, "ann", "bob", 0), "nothing to tell");
    assert_eq!((audit(&objects, "ann", 0).owed, audit(&objects, "eve", 0).balance), (usd(0), usd(93)));
    for _ in 0..2 {
        assert!(matches!(ask(&objects, "ann", &reclaim("after", 20), 0), Reply::Moved { .. }));
    }
    ask(&objects, "bob", &reclaim("after", 30), 0);
    let (ann, eve) = (audit(&objects, "ann", 0), audit(&objects, "eve", 0));
    assert_eq!((eve.balance, eve.owed, eve.deposited_net), (usd(43), usd(0), usd(43)));
    assert_eq!((ann.owed, ann.deposited_net, ann.balance), (usd(0), usd(0), usd(0)));
    let other = ask(&objects, "ann", &Command::Merge { into: "eve".into() }, 0);
    assert!(matches!(other, Reply::Refused { code: RefusalCode::IdReused, .. }), "{other:?}");
    let own = ask(&objects, "eve", &Command::Merge { into: "eve".into() }, 0);
    assert!(matches!(own, Reply::Refused { code: RefusalCode::OwnWallet, .. }), "{own:?}");
}

#[test]
fn a_debt_that_is_on_its_way_arrives_once() {
    for (point, spared) in [(FaultPoint::Effect, 0), (FaultPoint::BeforePersist, 1), (FaultPoint::AfterPersist, 1)] {
        let objects = LocalObjects::new();
        credit(&objects, "bob", 100);
        merge(&objects, "ann", "bob", 0);
        objects.fail_after(Wallet::BINDING, point, spared);
        ask(&objects, "ann", &reclaim("r", 20), 0);
        objects.restart();
        objects.run_due_alarms(3_600_000);
        objects.run_due_alarms(7_200_000);
        let bob = audit(&objects, "bob", 3_600_000);
        assert_eq!((bob.balance, bob.deposited_net), (usd(80), usd(80)), "{point:?}");
        assert_eq!(objects.next_alarm_ms(), None);
    }
}

#[test]
fn budgets_go_on_with_what_was_spent_and_held() {
    let objects = LocalObjects::new();
    credit(&objects, "ann", 500);
    credit(&objects, "bob", 500);
    let account = |amount| Count { id: "account".into(), period: "2026-11".into(), since_ms: 0, amount: usd(amount) };
    let other = |name: &str| BudgetLine { id: name.into(), ..line(1_000) };
    ask(&objects, "ann", &lease("a", vec![], 60, 5_000), 0);
    ask(&objects, "ann", &lease("a", vec![capture("c", 40, vec![account(40)])], 30, 6_000), 0);
    ask(&objects, "bob", &lease("b", vec![capture("c", 0, vec![])], 0, 6_000), 0);
    let own = Command::Capture {
        hold_id: "h".into(),
        capture: capture("own", 5, vec![account(5)]),
        close: true,
        budgets: vec![],
    };
    ask(&objects, "bob", &own, 0);
    assert!(!merge(&objects, "ann", "bob", 0), "it is on its way");
    assert!(merge(&objects, "ann", "bob", 0));
    assert_eq!(spent(&objects, "bob", line(LIMIT), 0), 70, "what is held counts as spent");
    assert_eq!(spent(&objects, "bob", other("account"), 0), 45);
    match ask(&objects, "bob", &lease("b", vec![], 90, 7_000), 0) {
        Reply::Leased(leased) => assert_eq!(leased.held, usd(30)),
        other => panic!("{other:?}"),
    }
    // The old one holds no more, charges what it holds, and lets go of the rest.
    match ask(&objects, "ann", &lease("a", vec![], 90, 7_000), 0) {
        Reply::Leased(leased) => assert_eq!(leased.held, usd(30)),
        other => panic!("{other:?}"),
    }
    let hold = Command::Hold { id: "h".into(), amount: usd(1), expires_at_ms: 9_000, budgets: vec![line(LIMIT)] };
    let refused = ask(&objects, "ann", &hold, 0);
    assert!(matches!(refused, Reply::Refused { code: RefusalCode::BudgetExceeded, .. }), "{refused:?}");
    ask(&objects, "ann", &lease("a", vec![capture("d", 10, vec![account(10)])], 0, 8_000), 0);
    assert_eq!(spent(&objects, "bob", line(LIMIT), 0), 50);
    assert_eq!(spent(&objects, "bob", other("account"), 0), 55);
}

#[test]
fn what_has_ended_counts_for_nothing() {
    let objects = LocalObjects::new();
    credit(&objects, "ann", 500);
    ask(&objects, "ann", &lease("a", vec![], 60, 5_000), 0);
    ask(&objects, "ann", &lease("a", vec![capture("c", 40, vec![])], 0, 6_000), 0);
    let later = BudgetLine { period: "2026-12".into(), ..line(LIMIT) };
    let count = Count { id: "key:k".into(), period: "2026-12".into(), since_ms: 0, amount: usd(3) };
    let own =
        Command::Capture { hold_id: "h".into(), capture: capture("own", 3, vec![count]), close: true, budgets: vec![] };
    credit(&objects, "bob", 500);
    ask(&objects, "bob", &own, 0);
    merge(&objects, "ann", "bob", 0);
    assert_eq!(spent(&objects, "bob", later, 0), 3, "the month before is over");
    let reset = BudgetLine { since_ms: 7, ..line(LIMIT) };
    let objects = LocalObjects::new();
    credit(&objects, "ann", 500);
    ask(&objects, "ann", &lease("a", vec![], 60, 5_000), 0);
    ask(&objects, "ann", &lease("a", vec![capture("c", 40, vec![])], 0, 6_000), 0);
    let begun = Command::Lease(Lease {
        budgets: vec![reset.clone()],
        ..match lease("b", vec![], 1, 5_000) {
            Command::Lease(lease) => lease,
            other => panic!("{other:?}"),
        }
    });
    ask(&objects, "bob", &begun, 0);
    merge(&objects, "ann", "bob", 0);
    assert_eq!(spent(&objects, "bob", reset, 0), 0, "it was reset since");
}

/// Stored and sent: these texts never change.
#[test]
fn formats_are_unchanged() {
    let objects = LocalObjects::new();
    credit(&objects, "ann", 500);
    ask(&objects, "ann", &lease("a", vec![], 60, 5_000), 0);
    objects.fail_after(Wallet::BINDING, FaultPoint::Effect, 0);
    merge(&objects, "ann", "bob", 0);
    let dump = objects.dump();
    for text in [
        r#"{\"into\":\"bob\",\"number\":1,\"is_telling\":true}"#,
        r#"{\"period\":\"2026-11\",\"since_ms\":0,\"spent\":0,\"told\":60}"#,
        r#"\"command\":\"inherit\",\"from\":\"ann\",\"number\":1,\"counts\""#,
    ] {
        assert!(dump.contains(text) || dump.replace("\\\\\\", "\\").contains(text), "{text} in {dump}");
    }
    let merge = Command::Merge { into: "bob".into() };
    assert_eq!(serde_json::to_string(&merge).unwrap(), r#"{"command":"merge","into":"bob"}"#);
}

#[derive(Clone, Debug)]
enum Event {
    /// A holder states what it spent and what it wants.
    Lease {
        holder: usize,
        spends: i64,
        want: i64,
    },
    Merge,
    Fail(FaultPoint, u32),
    Restart,
    Wait {
        ms: i64,
    },
}

fn any_event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![Just(FaultPoint::BeforePersist), Just(FaultPoint::AfterPersist), Just(FaultPoint::Effect)];
    prop_oneof![
        9 => (0..4_usize, 0..50_i64, 0..70_i64).prop_map(|(holder, spends, want)| Event::Lease { holder, spends, want }),
        2 => Just(Event::Merge),
        2 => (fault, 0..4_u32).prop_map(|(point, spared)| Event::Fail(point, spared)),
        1 => Just(Event::Restart),
        3 => (0..3_000_i64).prop_map(|ms| Event::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Isolates pay from the old wallet, and from the new one once it knows; some go on with the old one.
    #[test]
    fn a_budget_is_never_widened_by_merging(events in prop::collection::vec(any_event(), 1..50)) {
        let objects = LocalObjects::new();
        credit(&objects, "ann", 1_000);
        credit(&objects, "bob", 1_000);
        let (mut now_ms, mut is_told, mut captures) = (0, false, 0);
        for event in events {
            match event {
                Event::Lease { holder, spends, want } => {
                    // Two of four isolates hear of it at once, the others never.
                    let name = if is_told && holder < 2 { "bob" } else { "ann" };
                    captures += 1;
                    let spent = capture(&format!("c{captures}"), spends, vec![]);
                    ask(&objects, name, &lease(&format!("h{holder}"), vec![spent], want, now_ms + 2_000), now_ms);
                }
                Event::Merge => is_told |= merge(&objects, "ann", "bob", now_ms),
                Event::Fail(point, spared) => objects.fail_after(Wallet::BINDING, point, spared),
                Event::Restart => objects.restart(),
                Event::Wait { ms } => {
                    now_ms += ms;
                    objects.run_due_alarms(now_ms);
                }
            }
            let paid = |name| { let audit = audit(&objects, name, now_ms); audit.charged.0 - audit.written_off.0 };
            prop_assert!(paid("ann") + paid("bob") <= LIMIT);
        }
        for _ in 0..4 {
            now_ms += 3_600_000;
            objects.run_due_alarms(now_ms);
            merge(&objects, "ann", "bob", now_ms);
        }
        let paid = |name| { let audit = audit(&objects, name, now_ms); audit.charged.0 - audit.written_off.0 };
        prop_assert_eq!(spent(&objects, "bob", line(LIMIT), now_ms), paid("ann") + paid("bob"));
    }
}
