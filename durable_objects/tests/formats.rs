//! Formats that outlive a deployment: stored rows, journal entries, messages between objects and on the queue.
//!
//! A failing test means that objects in production would not be read any more, or that two versions that run side by
//! side would not understand each other. Add fields with defaults; never change these texts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::host::Host;
use durable_objects::idempotency::protocol::{self as idempotency, Answer, Body};
use durable_objects::idempotency::state::IdempotencyMachine;
use durable_objects::machine::{Effect, Enlisted, Machine, Needs, Page, Row, Write};
use durable_objects::memory::MemoryStore;
use durable_objects::protocol::Protocol;
use durable_objects::rate_limiter::protocol::{self as limiter, Limits};
use durable_objects::rate_limiter::state::RateLimiterMachine;
use durable_objects::store::Store;
use durable_objects::vault::protocol as vault;
use durable_objects::vault::state::VaultMachine;
use durable_objects::wallet::protocol::{self as wallet, BudgetLine, Capture, Lease};
use durable_objects::wallet::state::WalletMachine;
use guildhall_domain::password::KdfCost;
use guildhall_domain::secret::{SecretText, Seed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::{Bench, usd};
use zeroize::Zeroizing;

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
    assert_eq!(vault::Vault::BINDING, "VAULT");
    assert_eq!(vault::NAME, "vault");
    assert_eq!(durable_objects::events::protocol::Events::BINDING, "EVENTS");
    assert_eq!(durable_objects::protocol::QUEUE_BINDING, "USAGE");
    assert_eq!(idempotency::name("acc", "key"), "3:acc:key");
    assert_eq!(wallet::name("acc_1"), "acc_1");
}

fn lease() -> wallet::Command {
    let captures =
        vec![Capture { id: text("c"), amount: usd(3), record: Some(text("{}")), counts: vec![], sealed_at_ms: 0 }];
    let (want, least) = (usd(50), usd(5));
    wallet::Command::Lease(Lease { id: text("i"), captures, want, least, expires_at_ms: 2_000, budgets: vec![] })
}

fn transfer() -> wallet::Command {
    wallet::Command::Transfer { id: text("t"), to: text("bob"), amount: usd(4), reason: text("r") }
}

/// A wallet with something in every table.
fn used_wallet() -> Bench<WalletMachine, MemoryStore> {
    let mut bench: Bench<WalletMachine, _> = Bench::new("ann", MemoryStore::default());
    bench.ask(wallet::Command::Credit { id: text("d"), amount: usd(100), reason: text("r") }, 1);
    bench.ask(lease(), 2);
    bench.ask(wallet::Command::Hold { id: text("h"), amount: usd(10), expires_at_ms: 9_000, budgets: vec![] }, 3);
    bench.ask(transfer(), 4);
    let (id, from, reason) = (text("t"), text("eve"), text("r"));
    bench.ask(wallet::Command::Receive { id, from, amount: usd(1), reason }, 5);
    let capture = Capture { id: text("big"), amount: usd(60), record: None, counts: vec![], sealed_at_ms: 0 };
    bench.ask(wallet::Command::Capture { hold_id: text("h"), capture, close: true, budgets: vec![] }, 6);
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
    bench.ask(wallet::Command::Hold { id: text("h"), amount: usd(10), expires_at_ms: 9_000, budgets: vec![] }, 3);
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

const COUNTS: &str = concat!(
    r#"{"minute":{"start_ms":7,"count":4},"hour":{"start_ms":7,"count":4},"#,
    r#""leases":{"i":{"reserved":4,"minute":7,"hour":7,"slots":1,"expires_at_ms":45007}}}"#
);

fn ask_limiter(host: &mut Host<RateLimiterMachine, MemoryStore>, command: &limiter::Command, now_ms: i64) -> String {
    let turn = host.call(&serde_json::to_vec(command).unwrap(), now_ms).unwrap();
    String::from_utf8(turn.reply).unwrap()
}

#[test]
fn counts_of_a_rate_limiter_are_unchanged() {
    let mut host = Host::new(text("key:1"), MemoryStore::default());
    let limits = Limits { per_minute: 60, per_hour: 1_000, concurrent: 5, per_second: 0 };
    let (id, expires_at_ms, secret_at_ms) = (text("i"), 45_007, None);
    let lease = limiter::Lease { id, limits, used: 0, want_requests: 4, want_slots: 1, expires_at_ms, secret_at_ms };
    ask_limiter(&mut host, &limiter::Command::Lease(lease), 7);
    host.alarm(3_007).unwrap();
    assert_eq!(host.store().load().unwrap(), [Row { key: text("counts"), value: text(COUNTS) }]);
}

/// What was stored by any version is read for ever.
#[test]
fn rows_of_a_rate_limiter_are_read() {
    let status = |key: &str, value: &str| {
        let store = MemoryStore::default();
        store.commit(&[Write::Put(Row { key: text(key), value: text(value) })], 0).unwrap();
        ask_limiter(&mut Host::new(text("key:1"), store), &limiter::Command::Status, 10_000)
    };
    let none = r#"{"reply":"status","revoked":true,"minute_count":0,"hour_count":0,"slots":0,"leases":0}"#;
    assert_eq!(status("revoked", "true"), none);
    let some = r#"{"reply":"status","revoked":false,"minute_count":4,"hour_count":4,"slots":1,"leases":1}"#;
    assert_eq!(status("counts", COUNTS), some);
}

#[test]
fn rows_of_a_guard_are_unchanged() {
    let mut bench: Bench<IdempotencyMachine, _> = Bench::new("k", MemoryStore::default());
    bench.ask(idempotency::Command::Begin { fingerprint: text("f"), token: text("t") }, 0);
    let running = r#"{"fingerprint":"f","token":"t","expires_at_ms":45000,"progress":"in_flight"}"#;
    assert_eq!(rows(&bench), [pair("entry", running)]);
    let answer =
        Answer { status: 200, headers: vec![(text("a"), text("b"))], body: Body(b"ok".to_vec()), is_sealed: false };
    bench.ask(idempotency::Command::Finish { token: text("t"), answer }, 0);
    let stored = concat!(
        r#"{"fingerprint":"f","token":"t","expires_at_ms":86400000,"#,
        r#""progress":{"stored":{"status":200,"headers":[["a","b"]],"body":"b2s="}}}"#
    );
    assert_eq!(rows(&bench), [pair("entry", stored)]);
}

#[test]
fn messages_of_a_wallet_are_unchanged() {
    use wallet::{Command, JournalLine, Leased, Note, RefusalCode, Reply};
    assert_format(&Command::Balance, r#"{"command":"balance"}"#);
    let json = r#"{"command":"transfer","id":"t","to":"bob","amount":4,"reason":"r"}"#;
    assert_format(&transfer(), json);
    let json = concat!(
        r#"{"command":"lease","id":"i","captures":[{"id":"c","amount":3,"record":"{}"}],"#,
        r#""want":50,"least":5,"expires_at_ms":2000}"#
    );
    assert_format(&lease(), json);
    assert_format(&Command::Recent { limit: 20, before: None }, r#"{"command":"recent","limit":20}"#);
    let (balance, available) = (usd(2), usd(1));
    let line = JournalLine {
        seq: 7,
        id: text("credit:d"),
        at_ms: 1,
        debit: text("external"),
        credit: text("balance"),
        amount: usd(2),
        note: Note { reason: Some(text("r")), ..Note::default() },
    };
    assert_format(&Command::Find { entry_id: text("debit:w") }, r#"{"command":"find","entry_id":"debit:w"}"#);
    assert_format(&Reply::Found { amount: Some(usd(2)), at_ms: Some(3) }, r#"{"reply":"found","amount":2,"at_ms":3}"#);
    assert_format(&Reply::Found { amount: None, at_ms: None }, r#"{"reply":"found","amount":null}"#);
    let there =
        wallet::Balance { balance, available, held_calls: usd(1), held_leases: usd(0), owed: usd(0), immature: vec![] };
    let json = concat!(
        r#"{"reply":"recent","entries":[{"seq":7,"id":"credit:d","at_ms":1,"debit":"external","credit":"balance","amount":2,"#,
        r#""note":{"reason":"r"}}],"balance":{"balance":2,"available":1,"held_calls":1,"held_leases":0}}"#
    );
    assert_format(&Reply::Recent { entries: vec![line], balance: there }, json);
    let json = r#"{"reply":"moved","duplicate":true,"balance":2,"available":1}"#;
    assert_format(&Reply::Moved { duplicate: true, balance, available }, json);
    let leased = Leased { held: usd(1), balance, available, others_held: usd(3), written_off: usd(0), budget: None };
    let json = r#"{"reply":"leased","held":1,"balance":2,"available":1,"others_held":3,"written_off":0}"#;
    assert_format(&Reply::Leased(leased), json);
    let json = r#"{"reply":"refused","code":"insufficient","message":"m","free":1}"#;
    let (code, message) = (RefusalCode::Insufficient, text("m"));
    assert_format(&Reply::Refused { code, message, free: Some(usd(1)), budget: None }, json);
}

#[test]
fn what_folding_keeps_and_says_is_unchanged() {
    use wallet::{Command, JournalLine, Note, Reply};
    let day_ms = wallet::FOLD_AGE_MIN_MS;
    let charge = |number: i64| {
        let (id, sealed_at_ms) = (format!("c{number}"), number);
        Capture { id, amount: usd(2), record: None, counts: vec![], sealed_at_ms }
    };
    assert_format(&charge(7), r#"{"id":"c7","amount":2,"record":null,"sealed_at_ms":7}"#);
    assert_format(&Command::Fold { before_ms: 7 }, r#"{"command":"fold","before_ms":7}"#);
    assert_format(&Reply::Folded { more: true }, r#"{"reply":"folded","more":true}"#);
    let json = r#"{"command":"recent","limit":20,"before":7}"#;
    assert_format(&Command::Recent { limit: 20, before: Some(7) }, json);
    let mut bench: Bench<WalletMachine, _> = Bench::new("ann", MemoryStore::default());
    bench.ask(Command::Credit { id: text("d"), amount: usd(1_999), reason: text("r") }, 1);
    for first in (1..=1_000).step_by(250) {
        let (id, want, least) = (text("i"), usd(0), usd(0));
        let captures = (first..first + 250).map(charge).collect();
        bench.ask(Command::Lease(Lease { id, captures, want, least, expires_at_ms: 2, budgets: vec![] }), 9);
    }
    bench.ask(Command::Audit, day_ms);
    let entry = |bench: &Bench<WalletMachine, MemoryStore>, id: &str| {
        let needs = Needs { ids: vec![text(id)], ..Needs::default() };
        let entry = bench.store.read(&needs).unwrap().known.remove(id).unwrap();
        format!("{} {}>{} {} {}", entry.at_ms, entry.debit, entry.credit, entry.amount_usd_micros, entry.note)
    };
    assert_eq!(entry(&bench, "capture:c2"), r#"9 balance>revenue 2 {"hold":"i","sealed_at_ms":2}"#);
    bench.ask(Command::Fold { before_ms: 999 }, 2 * day_ms);
    assert_eq!(rows(&bench)[2], pair("x:folded", r#"{"before_ms":999,"through_seq":1002,"has_more":false}"#));
    assert_eq!(entry(&bench, "captures:c1"), "9 balance>revenue 1998 {}");
    assert_eq!(entry(&bench, "capture:c1000"), r#"9 balance>revenue 1 {"hold":"i","sealed_at_ms":1000}"#);
    let note = Note { hold: Some(text("i")), sealed_at_ms: 2, ..Note::default() };
    let (debit, credit, amount) = (text("balance"), text("revenue"), usd(2));
    let line = JournalLine { seq: 3, id: text("capture:c2"), at_ms: 9, debit, credit, amount, note };
    let json = concat!(
        r#"{"seq":3,"id":"capture:c2","at_ms":9,"debit":"balance","credit":"revenue","amount":2,"#,
        r#""note":{"hold":"i","sealed_at_ms":2}}"#
    );
    assert_format(&line, json);
}

fn line() -> BudgetLine {
    BudgetLine { id: text("key:k"), period: text("2026-11"), limit: usd(90), since_ms: 7 }
}

#[test]
fn rows_and_messages_of_a_budget_are_unchanged() {
    use wallet::{BudgetLeft, Command, Leased, RefusalCode, Reply};
    let mut bench: Bench<WalletMachine, _> = Bench::new("ann", MemoryStore::default());
    bench.ask(Command::Credit { id: text("d"), amount: usd(100), reason: text("r") }, 1);
    let hold = Command::Hold { id: text("h"), amount: usd(10), expires_at_ms: 9_000, budgets: vec![line()] };
    bench.ask(hold.clone(), 3);
    let capture = Capture { id: text("c"), amount: usd(4), record: None, counts: vec![], sealed_at_ms: 0 };
    let capture = Command::Capture { hold_id: text("h"), capture, close: false, budgets: vec![] };
    bench.ask(capture.clone(), 3);
    let line_json = r#"{"id":"key:k","period":"2026-11","limit":90,"since_ms":7}"#;
    let expected = [
        pair("budget:key:k", r#"{"period":"2026-11","since_ms":7,"spent":4}"#),
        pair("call:h", &format!(r#"{{"amount":6,"expires_at_ms":9000,"budgets":[{line_json}]}}"#)),
    ];
    assert_eq!(rows(&bench)[..2], expected);
    let json = format!(r#"{{"command":"hold","id":"h","amount":10,"expires_at_ms":9000,"budgets":[{line_json}]}}"#);
    assert_format(&hold, &json);
    let json = r#"{"command":"capture","hold_id":"h","capture":{"id":"c","amount":4,"record":null},"close":false}"#;
    assert_format(&capture, json);
    let counts = vec![wallet::Count { id: text("account"), period: text("2026-11"), since_ms: 0, amount: usd(3) }];
    let json = concat!(
        r#"{"id":"c","amount":4,"record":null,"#,
        r#""counts":[{"id":"account","period":"2026-11","since_ms":0,"amount":3}]}"#
    );
    assert_format(&Capture { id: text("c"), amount: usd(4), record: None, counts, sealed_at_ms: 0 }, json);
    let end = Command::EndBudgets { ids: vec![text("key:k"), text("credits:none")] };
    assert_format(&end, r#"{"command":"end_budgets","ids":["key:k","credits:none"]}"#);
    bench.ask(end, 5);
    let ended = pair("budget:key:k", r#"{"period":"2026-11","since_ms":7,"spent":4,"ended_at_ms":5}"#);
    assert_eq!(rows(&bench)[0], ended);
    let json = format!(r#"{{"command":"budgets","lines":[{line_json}]}}"#);
    assert_format(&Command::Budgets { lines: vec![line()] }, &json);
    let left = BudgetLeft { line: 0, spent: usd(4), available: usd(80), others_held: usd(3) };
    let left_json = r#"{"line":0,"spent":4,"available":80,"others_held":3}"#;
    assert_format(&Reply::Budgets { lines: vec![left] }, &format!(r#"{{"reply":"budgets","lines":[{left_json}]}}"#));
    let (balance, available, others_held) = (usd(2), usd(1), usd(3));
    let leased = Leased { held: usd(1), balance, available, others_held, written_off: usd(0), budget: Some(left) };
    let json = format!(
        r#"{{"reply":"leased","held":1,"balance":2,"available":1,"others_held":3,"written_off":0,"budget":{left_json}}}"#
    );
    assert_format(&Reply::Leased(leased), &json);
    let (code, message) = (RefusalCode::BudgetExceeded, text("m"));
    let json =
        format!(r#"{{"reply":"refused","code":"budget_exceeded","message":"m","free":null,"budget":{left_json}}}"#);
    assert_format(&Reply::Refused { code, message, free: None, budget: Some(left) }, &json);
}

#[test]
fn messages_of_a_rate_limiter_are_unchanged() {
    use limiter::{Command, Lease, Leased, Reply};
    let limits = Limits { per_minute: 60, per_hour: 1_000, concurrent: 5, per_second: 0 };
    let (used, want_requests, want_slots) = (1, 2, 3);
    let lease = Lease { id: text("i"), limits, used, want_requests, want_slots, expires_at_ms: 9, secret_at_ms: None };
    let json = concat!(
        r#"{"command":"lease","id":"i","limits":{"per_minute":60,"per_hour":1000,"concurrent":5},"#,
        r#""used":1,"want_requests":2,"want_slots":3,"expires_at_ms":9}"#
    );
    assert_format(&Command::Lease(lease.clone()), json);
    let json = json.replace(r#""expires_at_ms":9"#, r#""expires_at_ms":9,"secret_at_ms":7"#);
    assert_format(&Command::Lease(Lease { secret_at_ms: Some(7), ..lease }), &json);
    assert_format(&Command::Rotate { secret_at_ms: 7 }, r#"{"command":"rotate","secret_at_ms":7}"#);
    let json = r#"{"per_minute":60,"per_hour":1000,"concurrent":5,"per_second":2}"#;
    assert_format(&Limits { per_second: 2, ..limits }, json);
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
    assert_format(&Command::Prolong { token: text("t") }, r#"{"command":"prolong","token":"t"}"#);
    assert_format(&Reply::Started, r#"{"reply":"started"}"#);
    assert_format(&Reply::InFlight { expires_at_ms: 1 }, r#"{"reply":"in_flight","expires_at_ms":1}"#);
    let answer = Answer { status: 200, headers: vec![], body: Body(vec![0xff]), is_sealed: false };
    let json = r#"{"reply":"stored","answer":{"status":200,"headers":[],"body":"/w=="}}"#;
    assert_format(&Reply::Stored { answer }, json);
}

fn seed(byte: u8) -> Seed {
    Seed::new(Zeroizing::new([byte; 32]))
}

fn unlock(password: &str) -> vault::Command {
    let (password, seed) = (password.into(), seed(1));
    vault::Command::Unlock(vault::Unlock { password, seed, cost: "m=8,t=1,p=1".parse().unwrap(), by_hand: true })
}

const ENVELOPE: &str = concat!(
    r#"{"cost":"m=8,t=1,p=1","salt":"wItvhu2koyWyNNeBm5Fekw","#,
    r#""data_key":"v1.DMScf39o3QCCYXxs2dr4_jFAwS4XYI2eSs-i34ibNYRV9YZys5sA8zzWwfNjA1mdDg8U5-JRjKEhKRqE"}"#
);
const SEALED: &str = r#""v1.9Xh6xNTmYHWb9F_1AXdSSWqI14kAD4kMLpAoqt0COuSK""#;

fn ask_vault(host: &mut Host<VaultMachine, MemoryStore>, command: &vault::Command) -> vault::Reply {
    let turn = host.call(&serde_json::to_vec(command).unwrap(), 7).unwrap();
    serde_json::from_slice(&turn.reply).unwrap()
}

#[test]
fn rows_of_a_vault_are_unchanged() {
    let mut host = Host::new(text("vault"), MemoryStore::default());
    ask_vault(&mut host, &unlock("password"));
    let (name, value) = (text("secret:a"), SecretText::from("value"));
    ask_vault(&mut host, &vault::Command::Put { name, value, seed: seed(2) });
    ask_vault(&mut host, &unlock("wrong password"));
    ask_vault(&mut host, &vault::Command::Lock);
    let rows: Vec<_> = host.store().load().unwrap().into_iter().map(|Row { key, value }| (key, value)).collect();
    let guesses = r#"{"since_ms":7,"count":1}"#;
    let expected =
        [pair("envelope", ENVELOPE), pair("guesses", guesses), pair("sealed:secret:a", SEALED), pair("shut", "true")];
    assert_eq!(rows, expected);
}

/// What was stored by any version opens for ever.
#[test]
fn rows_of_a_vault_are_read() {
    let store = MemoryStore::default();
    let rows = [("envelope", ENVELOPE), ("sealed:secret:a", SEALED), ("shut", "true")];
    let rows = rows.map(|(key, value)| Write::Put(Row { key: text(key), value: text(value) }));
    store.commit(&rows, 0).unwrap();
    let mut host = Host::new(text("vault"), store);
    assert_eq!(ask_vault(&mut host, &unlock("password")), vault::Reply::Done);
    let reply = ask_vault(&mut host, &vault::Command::Get { names: vec![text("secret:a")] });
    let values = [(text("secret:a"), "value".into())].into();
    assert_eq!(reply, vault::Reply::Values { values, broken: vec![] });
}

#[test]
fn messages_of_a_vault_are_unchanged() {
    use vault::{Command, Reply, Rotate, Status};
    assert_format(&Command::Status, r#"{"command":"status"}"#);
    let json = concat!(
        r#"{"command":"unlock","password":"password","seed":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","#,
        r#""cost":"m=8,t=1,p=1","by_hand":true}"#
    );
    assert_format(&unlock("password"), json);
    let (old_password, new_password) = ("old".into(), "new".into());
    let rotate = Rotate { old_password, new_password, seed: seed(0), cost: KdfCost::STANDARD };
    let json = concat!(
        r#"{"command":"rotate","old_password":"old","new_password":"new","#,
        r#""seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","cost":"m=19456,t=2,p=1"}"#
    );
    assert_format(&Command::Rotate(rotate), json);
    assert_format(&Command::Get { names: vec![text("a")] }, r#"{"command":"get","names":["a"]}"#);
    let put = Command::Put { name: text("a"), value: "v".into(), seed: seed(0) };
    let json = r#"{"command":"put","name":"a","value":"v","seed":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    assert_format(&put, json);
    assert_format(&Command::Discard { name: text("a") }, r#"{"command":"discard","name":"a"}"#);
    let json = r#"{"reply":"values","values":{"a":"v"},"broken":["b"]}"#;
    assert_format(&Reply::Values { values: [(text("a"), "v".into())].into(), broken: vec![text("b")] }, json);
    let json = r#"{"reply":"locked","initialized":true,"locked":true,"shut":false}"#;
    assert_format(&Reply::Locked(Status { initialized: true, locked: true, shut: false }), json);
    assert_format(&Reply::TooManyGuesses { retry_after_ms: 1 }, r#"{"reply":"too_many_guesses","retry_after_ms":1}"#);
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
        r#""claim":{"token":"t","until_ms":901000},"is_called":false,"is_outcome_due":false,"#,
        r#""events":[{"at_ms":1000,"what":"created"}]}"#
    );
    assert_eq!(rows(&bench), [pair("order", order), pair("run", run)]);
}
