//! The host: what is in memory is never ahead of what is stored, and nothing that must be handed on is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::host::{Host, HostError, Job, messages_of};
use durable_objects::local::{FaultPoint, LocalError, LocalObjects};
use durable_objects::machine::Row;
use durable_objects::machine::Write;
use durable_objects::memory::MemoryStore;
use durable_objects::protocol::Protocol;
use durable_objects::store::Store;
use durable_objects::wallet::protocol::{Audit, Capture, Command, RECORD_MAX_BYTES, Reply, Wallet};
use durable_objects::wallet::state::WalletMachine;
use support::usd;

type WalletHost = Host<WalletMachine, MemoryStore>;

fn host() -> WalletHost {
    Host::new("ann".to_owned(), MemoryStore::default())
}

fn ask(host: &mut WalletHost, command: &Command) -> Result<(Reply, Vec<Job>), HostError> {
    let turn = host.call(&serde_json::to_vec(command).unwrap(), 0)?;
    Ok((serde_json::from_slice(&turn.reply).unwrap(), turn.jobs))
}

fn credit(amount: i64) -> Command {
    Command::Credit { id: format!("c{amount}"), amount: usd(amount), reason: String::new() }
}

fn transfer(amount: i64) -> Command {
    let (id, to, reason) = ("t".to_owned(), "bob".to_owned(), String::new());
    Command::Transfer { id, to, amount: usd(amount), reason }
}

fn balance_of(reply: &Reply) -> i64 {
    match reply {
        Reply::Moved { balance, .. } => balance.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let mut host = host();
    ask(&mut host, &credit(1)).unwrap();
    host.store().set_failing(true);
    assert!(matches!(ask(&mut host, &credit(2)), Err(HostError::Store(_))));
    let (reply, _) = ask(&mut host, &credit(4)).unwrap();
    assert_eq!(balance_of(&reply), 5);
}

#[test]
fn what_is_no_command_is_told_from_what_fails() {
    let mut host = host();
    assert!(matches!(host.call(b"{", 0), Err(HostError::Undecodable(_))));
    assert!(matches!(host.call(br#"{"command":"steal"}"#, 0), Err(HostError::Undecodable(_))));
}

#[test]
fn what_cannot_be_read_is_not_guessed() {
    for (key, value) in [("sums", "{"), ("lease:a", "{}"), ("unknown", "1")] {
        let store = MemoryStore::default();
        store.commit(&[Write::Put(Row { key: key.to_owned(), value: value.to_owned() })], 0).unwrap();
        let mut host = WalletHost::new("ann".to_owned(), store);
        assert!(matches!(ask(&mut host, &Command::Balance), Err(HostError::Machine(_))), "{key}");
    }
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut host = host();
    ask(&mut host, &credit(10)).unwrap();
    let (_, jobs) = ask(&mut host, &transfer(4)).unwrap();
    let [Job::Deliver { id, name, .. }] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(name, "bob");
    let answer = Reply::Moved { duplicate: false, balance: usd(4), available: usd(4) };
    let answer = serde_json::to_vec(&answer).unwrap();
    host.delivered(id, &answer, 0).unwrap();
    assert_eq!(host.store().journal().len(), 3);
    host.delivered(id, &answer, 0).unwrap();
    assert_eq!(host.store().journal().len(), 3);
}

#[test]
fn an_answer_that_makes_no_sense_leaves_the_transfer_under_way() {
    let mut host = host();
    ask(&mut host, &credit(10)).unwrap();
    ask(&mut host, &transfer(4)).unwrap();
    for answer in [&b"nonsense"[..], br#"{"reply":"acknowledged"}"#] {
        assert!(matches!(host.delivered("transfer:t", answer, 0), Err(HostError::Machine(_))));
    }
    let turn = host.alarm(1_000).unwrap();
    assert!(matches!(&turn.jobs[..], [Job::Deliver { .. }]));
    assert_eq!(turn.alarm_at_ms, Some(3_000), "one second, then two");
}

#[test]
fn messages_stay_below_the_bound_of_the_queue() {
    let mut host = host();
    for number in 0..60 {
        let record = Some("x".repeat(RECORD_MAX_BYTES));
        let capture = Capture { id: number.to_string(), amount: usd(0), record, counts: vec![], sealed_at_ms: 0 };
        ask(&mut host, &Command::Capture { hold_id: "h".to_owned(), capture, close: true, budgets: vec![] }).unwrap();
    }
    let jobs = host.alarm(60_000).unwrap().jobs;
    let [Job::Send { items }] = &jobs[..] else { panic!("{jobs:?}") };
    let messages = messages_of(items.clone());
    assert!(messages.len() > 1);
    let mut records = 0;
    for message in messages {
        assert!(message.len() < 128_000);
        records += serde_json::from_str::<Vec<serde_json::Value>>(&message).unwrap().len();
    }
    assert_eq!(records, 60);
}

#[test]
fn more_effects_than_one_alarm_takes_follow_at_once() {
    let mut host = host();
    for number in 0..150 {
        let capture = Capture {
            id: number.to_string(),
            amount: usd(0),
            record: Some("{}".to_owned()),
            counts: vec![],
            sealed_at_ms: 0,
        };
        ask(&mut host, &Command::Capture { hold_id: "h".to_owned(), capture, close: true, budgets: vec![] }).unwrap();
    }
    assert_eq!(host.alarm(60_000).unwrap().alarm_at_ms, Some(60_000));
    assert_eq!(host.alarm(60_000).unwrap().alarm_at_ms, Some(180_000));
}

/// A transfer dies at every point where it can: in the sender's turn, the receiver's, or the sender's again.
#[test]
fn a_transfer_survives_every_failure() {
    let faults = [FaultPoint::BeforePersist, FaultPoint::AfterPersist, FaultPoint::Effect];
    for (fault, spared) in faults.into_iter().flat_map(|fault| (0..3).map(move |spared| (fault, spared))) {
        let objects = LocalObjects::new();
        let ask = |name: &str, command: &Command, now_ms| objects.ask::<Wallet>(name, command, now_ms);
        ask("ann", &credit(10), 0).unwrap();
        objects.fail_after(Wallet::BINDING, fault, spared);
        let first = ask("ann", &transfer(4), 0);
        let is_seen = spared == 0 && fault != FaultPoint::Effect;
        assert_eq!(first.err(), is_seen.then_some(LocalError::Fault(fault)));
        if is_seen {
            ask("ann", &transfer(4), 0).unwrap();
        }
        objects.restart();
        (0..20).for_each(|second| objects.run_due_alarms(second * 1_000));
        let audit = |name| -> Audit {
            match ask(name, &Command::Audit, 20_000).unwrap() {
                Reply::Audit(audit) => audit,
                other => panic!("{other:?}"),
            }
        };
        let (ann, bob) = (audit("ann"), audit("bob"));
        assert_eq!((ann.balance, ann.in_flight, bob.balance), (usd(6), usd(0), usd(4)), "{fault:?} {spared}");
        assert!(ann.consistent && bob.consistent && objects.next_alarm_ms().is_none());
    }
}

#[test]
fn an_unknown_binding_is_an_error() {
    let error = LocalObjects::new().call("NOBODY", "x", b"{}", 0).unwrap_err();
    assert_eq!(error, LocalError::UnknownBinding("NOBODY".to_owned()));
}
