//! A wallet keeps a bounded number of budget lines: which make way, and that no budget is wider for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::local::LocalObjects;
use durable_objects::wallet::protocol::{BudgetLine, Capture, Command, Count, RefusalCode, Reply, Wallet};
use support::usd;

const DAY_MS: i64 = 24 * 3_600_000;

fn open() -> LocalObjects {
    let objects = LocalObjects::new();
    ask(&objects, Command::Credit { id: "start".to_owned(), amount: usd(1_000_000), reason: String::new() }, 0);
    objects
}

fn ask(objects: &LocalObjects, command: Command, now_ms: i64) -> Reply {
    objects.ask::<Wallet>("ann", &command, now_ms).unwrap()
}

fn charge(id: &str, amount: i64) -> Capture {
    Capture { id: id.to_owned(), amount: usd(amount), record: None, counts: vec![], sealed_at_ms: 0 }
}

fn hold(id: &str, line: &BudgetLine, now_ms: i64) -> Command {
    Command::Hold { id: id.to_owned(), amount: usd(1), expires_at_ms: now_ms + 5_000, budgets: vec![line.clone()] }
}

fn monthly(id: &str, month: u8) -> BudgetLine {
    BudgetLine { id: id.to_owned(), period: format!("2026-{month}"), limit: usd(9), since_ms: 0 }
}

/// A key's credits: counted for all time.
fn credits(number: usize) -> BudgetLine {
    BudgetLine { id: format!("credits:{number}"), period: String::new(), limit: usd(9), since_ms: 0 }
}

/// Spends one of the line; what the wallet says of the hold.
fn spend(objects: &LocalObjects, line: &BudgetLine, now_ms: i64) -> Reply {
    let id = format!("{}@{now_ms}", line.id);
    let opened = ask(objects, hold(&id, line, now_ms), now_ms);
    if matches!(opened, Reply::Held { .. }) {
        let capture = Command::Capture { hold_id: id.clone(), capture: charge(&id, 1), close: true, budgets: vec![] };
        ask(objects, capture, now_ms);
    }
    opened
}

fn end(objects: &LocalObjects, line: &BudgetLine, now_ms: i64) {
    assert_eq!(ask(objects, Command::EndBudgets { ids: vec![line.id.clone()] }, now_ms), Reply::Acknowledged);
}

fn spent(objects: &LocalObjects, line: &BudgetLine) -> i64 {
    match ask(objects, Command::Budgets { lines: vec![line.clone()] }, 0) {
        Reply::Budgets { lines } => lines[0].spent.0,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_full(reply: &Reply) {
    assert!(matches!(reply, Reply::Refused { code: RefusalCode::TooManyHolds, .. }), "{reply:?}");
}

#[track_caller]
fn assert_placed(reply: &Reply) {
    assert!(matches!(reply, Reply::Held { .. }), "{reply:?}");
}

#[test]
fn lines_that_have_ended_make_way_after_a_day() {
    let objects = open();
    for number in 0..10_000 {
        assert_placed(&spend(&objects, &credits(number), 0));
    }
    assert_full(&spend(&objects, &credits(10_000), 0));
    // What was used is charged, with a place for its line or without.
    let (capture, budgets) = (charge("late", 1), vec![credits(10_000)]);
    let late = ask(&objects, Command::Capture { hold_id: "lapsed".to_owned(), capture, close: true, budgets }, 0);
    assert!(matches!(late, Reply::Captured { charged, .. } if charged == usd(1)), "{late:?}");
    (0..3).for_each(|number| end(&objects, &credits(number), 1));
    let (id, budgets) = ("long".to_owned(), vec![credits(2)]);
    ask(&objects, Command::Hold { id, amount: usd(1), expires_at_ms: 2 * DAY_MS, budgets }, 1);
    assert_full(&spend(&objects, &credits(10_000), DAY_MS));
    end(&objects, &credits(0), DAY_MS);
    assert_eq!(spent(&objects, &credits(0)), 1, "its last calls find what it has spent");
    objects.restart();
    for number in 10_000..10_002 {
        assert_placed(&spend(&objects, &credits(number), DAY_MS + 1));
    }
    assert_full(&spend(&objects, &credits(10_002), DAY_MS + 1));
    assert_eq!(spent(&objects, &credits(2)), 1, "a line that a call holds stays");
    assert_eq!(spent(&objects, &credits(9_999)), 1, "and one that has not ended, for ever");
}

#[test]
fn past_months_make_way_for_credits_too_and_what_made_way_begins_in_the_newest() {
    let objects = open();
    for at in 0..10 {
        let count =
            |id| Count { id: format!("key:{at}-{id}"), period: "2026-11".to_owned(), since_ms: 0, amount: usd(1) };
        let capture = Capture { counts: (0..500).map(count).collect(), ..charge(&format!("c{at}"), 1) };
        ask(&objects, Command::Capture { hold_id: "h".to_owned(), capture, close: false, budgets: vec![] }, 0);
    }
    for number in 0..5_000 {
        assert_placed(&spend(&objects, &credits(number), 0));
    }
    assert_full(&spend(&objects, &credits(5_000), 0));
    assert_placed(&spend(&objects, &monthly("key:0-0", 12), 0));
    assert_placed(&spend(&objects, &credits(5_000), 0));
    // An isolate whose clock is late names the month in which the line had spent before it made way.
    assert_placed(&spend(&objects, &monthly("key:0-1", 11), 0));
    assert_eq!(spent(&objects, &monthly("key:0-1", 12)), 1, "it counts in the newest month");
}
