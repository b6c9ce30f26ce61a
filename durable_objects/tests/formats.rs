//! Formats that outlive a deployment: stored rows, journal entries, messages between objects and on the queue.
//!
//! A failing test means that objects in production would not be read any more, or that two versions that run side by
//! side would not understand each other. Add fields with defaults; never change these texts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::idempotency::protocol::{self as idempotency, Answer, Body};
use durable_objects::idempotency::state::IdempotencyMachine;
use durable_objects::machine::{Effect, Enlisted, Machine, Needs, Page, Row};
use durable_objects::memory::MemoryStore;
use durable_objects::protocol::Protocol;
use durable_objects::rate_limiter::protocol::{self as limiter, Limits};
use durable_objects::rate_limiter::state::RateLimiterMachine;
use durable_objects::store::Store;
use durable_objects::wallet::protocol::{self as wallet, Capture, Lease};
use durable_objects::wallet::state::WalletMachine;
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::{Bench, usd};

fn text(text: &str) -> String {
    text.to_owned()
}

/// The value is written as `json`, and read from it.
fn assert_format<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
}

fn rows<M: Machine>(bench: &Bench<M, MemoryStore>) -> Vec<(String, String)> {
    let rows = bench.store.load().unwrap().into_iter();
    rows.map(|Row { key, value }| (key, value)).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn bindings_are_unchanged() {
    assert_eq!(limiter::RateLimiter::BINDING, "RATE_LIMITER");
    assert_eq!(wallet::Wallet::BINDING, "WALLET");
    assert_eq!(idempotency::Idempotency::BINDING, "IDEMPOTENCY");
    assert_eq!(durable_objects::protocol::QUEUE_BINDING, "USAGE");
    assert_eq!(idempotency::name("acc", "key"), "3:acc:key");
    assert_eq!(wallet::name("acc_1"), "acc_1");
}

fn lease() -> wallet::Command {
    let captures = vec![Capture { id: text("c"), amount: usd(3), record: Some(text("{}")) }];
    let (want, least) = (usd(50), usd(5));
    wallet::Command::Lease(Lease { id: text("i"), captures, want, least, expires_at_ms: 2_000 })
}

fn transfer() -> wallet::Command {
    wallet::Command::Transfer { id: text("t"), to: text("bob"), amount: usd(4), reason: text("r") }
}

/// A wallet with something in every table.
fn used_wallet() -> Bench<WalletMachine, MemoryStore> {
    let mut bench: Bench<WalletMachine, _> = Bench::new("ann", MemoryStore::default());
    bench.ask(wallet::Command::Credit { id: text("d"), amount: usd(100), reason: text("r") }, 1);
    bench.ask(lease(), 2);
    bench.ask(wallet::Command::Hold { id: text("h"), amount: usd(10), expires_at_ms: 9_000 }, 3);
    bench.ask(transfer(), 4);
    let (id, from, reason) = (text("t"), text("eve"), text("r"));
    bench.ask(wallet::Command::Receive { id, from, amount: usd(1), reason }, 5);
    let capture = Capture { id: text("big"), amount: usd(60), record: None };
    bench.ask(wallet::Command::Capture { hold_id: text("h"), capture, close: true }, 6);
    bench
}

#[test]
fn rows_of_a_wallet_are_unchanged() {
    let rows = rows(&used_wallet());
    let expected =
        [pair("lease:i", r#"{"amount":50,"expires_at_ms":2000}"#), pair("sums", r#"{"balance":50,"in_flight":4}"#)];
    assert_eq!(rows, expected);
    let mut bench: Bench<WalletMachine, _> = Bench::new("ann", MemoryStore::default());
    bench.ask(wallet::Command::Credit { id: text("d"), amount: usd(100), reason: text("r") }, 1);
    bench.ask(wallet::Command::Hold { id: text("h"), amount: usd(10), expires_at_ms: 9_000 }, 3);
    assert_eq!(self::rows(&bench)[0], pair("call:h", r#"{"amount":10,"expires_at_ms":9000}"#));
}

#[test]
fn entries_of_a_journal_are_unchanged() {
    let needs = Needs { page: Some(Page { after: 0, limit: 100 }), ..Needs::default() };
    let page = used_wallet().store.read(&needs).unwrap().page;
    let lines: Vec<String> = page
        .iter()
        .map(|one| &one.entry)
        .map(|e| format!("{} {} {}>{} {} {}", e.id, e.at_ms, e.debit, e.credit, e.amount_usd_micros, e.note))
        .collect();
    let expected = [
        r#"credit:d 1 external>balance 100 {"reason":"r"}"#,
        r#"capture:c 2 balance>revenue 3 {"hold":"i"}"#,
        r#"send:t 4 balance>in_flight 4 {"reason":"r","wallet":"bob"}"#,
        r#"receive:3:eve:t 5 wallets>balance 1 {"reason":"r","wallet":"eve"}"#,
        r#"capture:big 6 balance>revenue 44 {"hold":"h"}"#,
        r#"write_off:big 6 write_off>revenue 16 {"hold":"h"}"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn effects_of_a_wallet_are_unchanged() {
    let due = used_wallet().store.due(i64::MAX, 10).unwrap().into_iter();
    let mut due: Vec<Enlisted> = due.map(|due| due.enlisted).collect();
    due.sort_by(|one, other| one.id.cmp(&other.id));
    let item = text(r#"{"wallet":"ann","id":"c","record":"{}"}"#);
    let command = text(r#"{"command":"receive","id":"t","from":"ann","amount":4,"reason":"r"}"#);
    let deliver = Effect::Deliver { binding: text("WALLET"), name: text("bob"), command };
    let expected = [
        Enlisted { id: text("record:c"), effect: Effect::Enqueue { item }, retry_after_ms: 60_000 },
        Enlisted { id: text("transfer:t"), effect: deliver, retry_after_ms: 1_000 },
    ];
    assert_eq!(due, expected);
}

#[test]
fn rows_of_a_rate_limiter_are_unchanged() {
    let mut bench: Bench<RateLimiterMachine, _> = Bench::new("key:1", MemoryStore::default());
    bench.ask(limiter::Command::Revoke, 0);
    assert_eq!(rows(&bench), [pair("revoked", "true")]);
}

#[test]
fn rows_of_a_guard_are_unchanged() {
    let mut bench: Bench<IdempotencyMachine, _> = Bench::new("k", MemoryStore::default());
    bench.ask(idempotency::Command::Begin { fingerprint: text("f"), token: text("t") }, 0);
    let running = r#"{"fingerprint":"f","token":"t","expires_at_ms":45000,"progress":"in_flight"}"#;
    assert_eq!(rows(&bench), [pair("entry", running)]);
    let answer = Answer { status: 200, headers: vec![(text("a"), text("b"))], body: Body(b"ok".to_vec()) };
    bench.ask(idempotency::Command::Finish { token: text("t"), answer }, 0);
    let stored = concat!(
        r#"{"fingerprint":"f","token":"t","expires_at_ms":86400000,"#,
        r#""progress":{"stored":{"status":200,"headers":[["a","b"]],"body":"b2s="}}}"#
    );
    assert_eq!(rows(&bench), [pair("entry", stored)]);
}

#[test]
fn messages_of_a_wallet_are_unchanged() {
    use wallet::{Command, Leased, RefusalCode, Reply};
    assert_format(&Command::Balance, r#"{"command":"balance"}"#);
    let json = r#"{"command":"transfer","id":"t","to":"bob","amount":4,"reason":"r"}"#;
    assert_format(&transfer(), json);
    let json = concat!(
        r#"{"command":"lease","id":"i","captures":[{"id":"c","amount":3,"record":"{}"}],"#,
        r#""want":50,"least":5,"expires_at_ms":2000}"#
    );
    assert_format(&lease(), json);
    let (balance, available) = (usd(2), usd(1));
    let json = r#"{"reply":"moved","duplicate":true,"balance":2,"available":1}"#;
    assert_format(&Reply::Moved { duplicate: true, balance, available }, json);
    let leased = Leased { held: usd(1), balance, available, others_held: usd(3), written_off: usd(0) };
    let json = r#"{"reply":"leased","held":1,"balance":2,"available":1,"others_held":3,"written_off":0}"#;
    assert_format(&Reply::Leased(leased), json);
    let json = r#"{"reply":"refused","code":"insufficient","message":"m","free":1}"#;
    let (code, message) = (RefusalCode::Insufficient, text("m"));
    assert_format(&Reply::Refused { code, message, free: Some(usd(1)) }, json);
}

#[test]
fn messages_of_a_rate_limiter_are_unchanged() {
    use limiter::{Command, Lease, Leased, Reply};
    let limits = Limits { per_minute: 60, per_hour: 1_000, concurrent: 5 };
    let (used, want_requests, want_slots) = (1, 2, 3);
    let lease = Lease { id: text("i"), limits, used, want_requests, want_slots, expires_at_ms: 9 };
    let json = concat!(
        r#"{"command":"lease","id":"i","limits":{"per_minute":60,"per_hour":1000,"concurrent":5},"#,
        r#""used":1,"want_requests":2,"want_slots":3,"expires_at_ms":9}"#
    );
    assert_format(&Command::Lease(lease), json);
    assert_format(&Command::Revoke, r#"{"command":"revoke"}"#);
    let (requests, slots, limit, remaining, reset_at_ms) = (2, 3, 60, 57, 60_009);
    let leased = Leased { requests, slots, limit, remaining, reset_at_ms, retry_after_ms: None, revoked: false };
    let json = concat!(
        r#"{"reply":"leased","requests":2,"slots":3,"limit":60,"remaining":57,"reset_at_ms":60009,"#,
        r#""retry_after_ms":null,"revoked":false}"#
    );
    assert_format(&Reply::Leased(leased), json);
}

#[test]
fn messages_of_a_guard_are_unchanged() {
    use idempotency::{Command, Reply};
    let json = r#"{"command":"begin","fingerprint":"f","token":"t"}"#;
    assert_format(&Command::Begin { fingerprint: text("f"), token: text("t") }, json);
    assert_format(&Reply::Started, r#"{"reply":"started"}"#);
    assert_format(&Reply::InFlight { expires_at_ms: 1 }, r#"{"reply":"in_flight","expires_at_ms":1}"#);
    let answer = Answer { status: 200, headers: vec![], body: Body(vec![0xff]) };
    let json = r#"{"reply":"stored","answer":{"status":200,"headers":[],"body":"/w=="}}"#;
    assert_format(&Reply::Stored { answer }, json);
}

#[test]
fn stored_jobs_are_unchanged() {
    use durable_objects::job::protocol::{Command, Delivery, Order};
    use durable_objects::job::state::JobMachine;
    let mut bench = Bench::<JobMachine, _>::new("j", MemoryStore::default());
    let delivery = Delivery { binding: text("WALLET"), name: text("a"), command: text("{}") };
    let (kind, owner, spec) = (text("video"), text("a"), text("s"));
    let order = Order { kind, owner, spec, deadline_at_ms: 9_000, retain_ms: 5, on_unfinished: Some(delivery) };
    bench.ask(Command::Create { order, token: text("t") }, 1_000);
    let order = concat!(
        r#"{"kind":"video","owner":"a","spec":"s","deadline_at_ms":9000,"retain_ms":5,"#,
        r#""on_unfinished":{"binding":"WALLET","name":"a","command":"{}"}}"#
    );
    let run = concat!(
        r#"{"status":"queued","progress":0,"reference":null,"result":null,"error":null,"attempts":1,"failures":0,"#,
        r#""created_at_ms":1000,"stepped_at_ms":1000,"next_at_ms":1000,"finished_at_ms":null,"#,
        r#""claim":{"token":"t","until_ms":301000},"is_called":false,"is_outcome_due":false,"#,
        r#""events":[{"at_ms":1000,"what":"created"}]}"#
    );
    assert_eq!(rows(&bench), [pair("order", order), pair("run", run)]);
}
