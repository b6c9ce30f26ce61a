//! Wallets under any interleaving of commands, repetitions, failures, restarts and late alarms: money is conserved.
//!
//! The model knows only what was asked for. Each command is repeated until it is answered, as a caller would; whatever
//! was lost on the way, the sums of all wallets must be what the model expects.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use durable_objects::local::{FaultPoint, LocalError, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::wallet::protocol::{
    Audit, BATCH_MAX, Capture, Command, FOLD_AGE_MIN_MS, JournalLine, Lease, QueuedRecord, RefusalCode, Reply, Wallet,
};
use proptest::prelude::*;
use support::usd;

const NAMES: [&str; 3] = ["ann", "bob", "eve"];
/// When the model begins, in milliseconds: a few days after the charges with which each wallet begins.
const START_MS: i64 = 4 * FOLD_AGE_MIN_MS;
/// So many of those charges: as many as an audit takes to keep what it has found right.
const OLD: i64 = 1_000;
/// Failures in a row that the caller sits out; more cannot be ordered at a time.
const TRIES: usize = 4;

#[derive(Clone, Debug)]
enum Action {
    Command(Command),
    /// A failure, after so many opportunities.
    Fail(FaultPoint, u32),
    Restart,
    /// Time passes, with alarms or without: they may be late.
    Wait {
        ms: i64,
        alarms: bool,
    },
    /// The queue's consumer files what was sent and acknowledges it.
    Consume,
}

#[derive(Clone, Debug)]
struct Event {
    wallet: usize,
    action: Action,
}

/// One of the charges with which each wallet begins, sealed within a day.
fn old_capture(number: i64) -> Capture {
    let sealed_at_ms = 1 + number * FOLD_AGE_MIN_MS / OLD;
    Capture { id: format!("old-{number}"), amount: usd(1), record: None, counts: vec![], sealed_at_ms }
}

fn any_capture() -> impl Strategy<Value = Capture> {
    let new = ("[a-z]", 0..40_i64, any::<bool>()).prop_map(|(id, amount, has_record)| {
        // The amount is part of the name: a capture is never repeated with another.
        let record = has_record.then(|| format!(r#"{{"of":"{id}"}}"#));
        let (id, sealed_at_ms) = (format!("{id}{amount}{has_record}"), if has_record { 0 } else { START_MS });
        Capture { id, amount: usd(amount), record, counts: vec![], sealed_at_ms }
    });
    prop_oneof![4 => new, 1 => (0..OLD).prop_map(old_capture)]
}

fn any_lease() -> impl Strategy<Value = Command> {
    let captures = prop::collection::vec(any_capture(), 0..3);
    ("[a-c]", captures, 0..80_i64, 0..20_i64, 0..9_000_i64).prop_map(|(id, captures, want, least, expires_at_ms)| {
        Command::Lease(Lease {
            id,
            captures,
            want: usd(want),
            least: usd(least.min(want)),
            expires_at_ms: START_MS + expires_at_ms,
            budgets: vec![],
        })
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let amount = 1..100_i64;
    prop_oneof![
        3 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| {
            Command::Credit { id: format!("{id}{amount}"), amount: usd(amount), reason: String::new() }
        }),
        1 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| {
            Command::Debit { id: format!("{id}{amount}"), amount: usd(amount), reason: String::new() }
        }),
        1 => ("[a-z]", amount.clone(), 0..9_000_i64).prop_map(|(id, amount, matures_at_ms)| {
            Command::Deposit { id: format!("d{id}{amount}"), amount: usd(amount), reason: String::new(), matures_at_ms: START_MS + matures_at_ms }
        }),
        1 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| {
            Command::Withdraw { id: format!("w{id}{amount}"), amount: usd(amount), reason: String::new() }
        }),
        // Each goes up in the next one.
        1 => Just(Command::Merge { into: String::new() }),
        1 => ("[a-z]", amount.clone()).prop_map(|(id, amount)| {
            Command::Reclaim { id: format!("{id}{amount}"), amount: usd(amount), reason: String::new(), of: None }
        }),
        6 => any_lease(),
        2 => ("[a-c]", amount.clone(), 0..9_000_i64).prop_map(|(id, amount, expires_at_ms)| {
            Command::Hold { id, amount: usd(amount), expires_at_ms: START_MS + expires_at_ms, budgets: vec![] }
        }),
        2 => (0..START_MS - FOLD_AGE_MIN_MS).prop_map(|before_ms| Command::Fold { before_ms }),
        2 => ("[a-c]", any_capture(), any::<bool>()).prop_map(|(hold_id, capture, close)| {
            Command::Capture { hold_id, capture, close, budgets: vec![] }
        }),
        1 => "[a-c]".prop_map(|hold_id| Command::Release { hold_id }),
        4 => ("[a-z]", 0..NAMES.len(), amount).prop_map(|(id, to, amount)| {
            let id = format!("{id}{to}{amount}");
            Command::Transfer { id, to: NAMES[to].to_owned(), amount: usd(amount), reason: String::new() }
        }),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![Just(FaultPoint::BeforePersist), Just(FaultPoint::AfterPersist), Just(FaultPoint::Effect)];
    let action = prop_oneof![
        10 => any_command().prop_map(Action::Command),
        3 => (fault, 0..4_u32).prop_map(|(point, spared)| Action::Fail(point, spared)),
        1 => Just(Action::Restart),
        2 => (0..3_000_i64, any::<bool>()).prop_map(|(ms, alarms)| Action::Wait { ms, alarms }),
        1 => Just(Action::Consume),
    ];
    (0..NAMES.len(), action).prop_map(|(wallet, action)| Event { wallet, action })
}

/// What was asked for and answered, each thing once.
#[derive(Default)]
struct Model {
    deposited: BTreeMap<(usize, String), i64>,
    withdrawn: BTreeMap<(usize, String), i64>,
    captured: BTreeMap<(usize, String), i64>,
    records: BTreeSet<(String, String)>,
    filed: BTreeSet<(String, String)>,
    /// The latest expiry that a holder stated.
    latest_ms: BTreeMap<(usize, String), i64>,
}

impl Model {
    fn note(&mut self, wallet: usize, command: &Command, reply: &Reply) {
        match (command, reply) {
            (Command::Credit { id, amount, .. } | Command::Deposit { id, amount, .. }, Reply::Moved { .. }) => {
                self.deposited.insert((wallet, id.clone()), amount.0);
            }
            (Command::Debit { id, amount, .. } | Command::Withdraw { id, amount, .. }, Reply::Moved { .. }) => {
                self.withdrawn.insert((wallet, id.clone()), amount.0);
            }
            (Command::Reclaim { id, amount, .. }, Reply::Moved { .. }) => {
                self.withdrawn.insert((wallet, format!("reclaim {id}")), amount.0);
            }
            (Command::Lease(lease), Reply::Leased(leased)) => {
                // One that was overtaken leaves the hold as the later one made it.
                let latest_ms = self.latest_ms.entry((wallet, lease.id.clone())).or_default();
                let is_overtaken = lease.expires_at_ms < *latest_ms;
                *latest_ms = lease.expires_at_ms.max(*latest_ms);
                let is_as_wanted = leased.held <= lease.want || leased.held < lease.least;
                assert!(is_as_wanted || is_overtaken, "{leased:?} for {lease:?}");
                lease.captures.iter().for_each(|capture| self.note_capture(wallet, capture));
            }
            (Command::Capture { capture, .. }, Reply::Captured { .. }) => self.note_capture(wallet, capture),
            (_, Reply::Refused { code, message, .. }) => {
                let may_be =
                    [RefusalCode::Insufficient, RefusalCode::Immature, RefusalCode::Invalid, RefusalCode::OwnWallet];
                assert!(may_be.contains(code), "{message}");
            }
            _ => {}
        }
    }

    fn note_capture(&mut self, wallet: usize, capture: &Capture) {
        self.captured.insert((wallet, capture.id.clone()), capture.amount.0);
        if capture.record.is_some() {
            self.records.insert((NAMES[wallet].to_owned(), capture.id.clone()));
        }
    }

    /// Money that must be somewhere: on a balance or on its way.
    fn assert_conserved(&self, audits: &[Audit]) {
        let sum = |of: fn(&Audit) -> i64| audits.iter().map(of).sum::<i64>();
        let on_the_way = sum(|audit| audit.in_flight.0) - sum(|audit| audit.transferred_net.0);
        assert!(on_the_way >= 0, "more arrived than was sent: {audits:?}");
        let deposited = self.deposited.values().sum::<i64>() - self.withdrawn.values().sum::<i64>();
        // A debt that a merged wallet hands on is nobody's until it arrives.
        let handed_on = sum(|audit| audit.deposited_net.0) - deposited;
        assert!(handed_on >= 0, "more is owed than was taken back: {audits:?}");
        assert_eq!(sum(|audit| audit.charged.0), self.captured.values().sum::<i64>());
        let paid = sum(|audit| audit.charged.0) - sum(|audit| audit.written_off.0);
        assert_eq!(sum(|audit| audit.balance.0) + on_the_way, deposited + handed_on - paid + sum(|audit| audit.owed.0));
    }
}

struct World {
    objects: LocalObjects,
    model: Model,
    now_ms: i64,
}

impl World {
    /// Repeats a command until it is answered.
    fn ask(&self, name: &str, command: &Command) -> Reply {
        let answer = (0..TRIES).find_map(|_| match self.objects.ask::<Wallet>(name, command, self.now_ms) {
            Ok(reply) => Some(reply),
            Err(LocalError::Fault(_)) => None,
            Err(error) => panic!("{error}"),
        });
        answer.unwrap()
    }

    fn happen(&mut self, event: Event) {
        match event.action {
            Action::Command(Command::Merge { .. }) => {
                if let Some(into) = NAMES.get(event.wallet + 1) {
                    let reply = self.ask(NAMES[event.wallet], &Command::Merge { into: (*into).to_owned() });
                    assert!(matches!(reply, Reply::Merged { .. }), "{reply:?}");
                }
            }
            Action::Command(command) => {
                let reply = self.ask(NAMES[event.wallet], &command);
                self.model.note(event.wallet, &command, &reply);
            }
            Action::Fail(point, spared) => self.objects.fail_after(Wallet::BINDING, point, spared),
            Action::Restart => self.objects.restart(),
            Action::Wait { ms, alarms } => {
                self.now_ms += ms;
                if alarms {
                    self.objects.run_due_alarms(self.now_ms);
                }
            }
            Action::Consume => self.consume(),
        }
    }

    /// A wallet that has been busy: as many charges as it takes, each paid for, days ago.
    fn age(&mut self, wallet: usize) {
        let (id, amount, reason) = ("old".to_owned(), usd(OLD), String::new());
        let mut commands = vec![Command::Credit { id, amount, reason }];
        let captures: Vec<_> = (0..OLD).map(old_capture).collect();
        commands.extend(captures.chunks(BATCH_MAX).map(|part| {
            let (id, captures, want, least) = ("old".to_owned(), part.to_vec(), usd(0), usd(0));
            Command::Lease(Lease { id, captures, want, least, expires_at_ms: 0, budgets: vec![] })
        }));
        commands.into_iter().for_each(|command| self.happen(Event { wallet, action: Action::Command(command) }));
    }

    /// The whole journal adds up to the balance, whatever was folded; gives how many entries it has.
    fn journal(&self, name: &str, balance: i64) -> usize {
        let (mut lines, mut next): (Vec<JournalLine>, _) = (Vec::new(), Some(0));
        while let Some(after) = next {
            let Reply::Journal { entries, next_after } = self.ask(name, &Command::Journal { after, limit: 700 }) else {
                panic!("no journal")
            };
            lines.extend(entries);
            next = next_after;
        }
        let sum = |takes: fn(&JournalLine) -> &str| {
            lines.iter().filter(|line| takes(line) == "balance").map(|line| line.amount.0).sum::<i64>()
        };
        assert_eq!(sum(|line| &line.credit) - sum(|line| &line.debit), balance);
        lines.len()
    }

    fn consume(&mut self) {
        for message in self.objects.drain_queue() {
            let records: Vec<QueuedRecord> = serde_json::from_str(&message).unwrap();
            for record in records {
                self.ask(&record.wallet, &Command::AckRecords { ids: vec![record.id.clone()] });
                self.model.filed.insert((record.wallet, record.id));
            }
        }
    }

    fn audits(&self) -> Vec<Audit> {
        let audit = |name: &&str| match self.ask(name, &Command::Audit) {
            Reply::Audit(audit) => audit,
            other => panic!("{other:?}"),
        };
        let audits: Vec<Audit> = NAMES.iter().map(audit).collect();
        for audit in &audits {
            assert!(audit.consistent && audit.balance >= usd(0) && audit.held <= audit.balance, "{audit:?}");
        }
        audits
    }

    /// Lets everything that is under way come to its end.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.now_ms += 3_600_000;
            self.objects.run_due_alarms(self.now_ms);
            self.consume();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn money_is_conserved(events in prop::collection::vec(any_event(), 1..60)) {
        let mut world = World { objects: LocalObjects::new(), model: Model::default(), now_ms: 2 * FOLD_AGE_MIN_MS };
        for wallet in 0..NAMES.len() {
            world.age(wallet);
        }
        world.now_ms = START_MS;
        world.audits();
        for wallet in 0..NAMES.len() {
            let (id, amount) = ("start".to_owned(), usd(150));
            let action = Action::Command(Command::Credit { id, amount, reason: String::new() });
            world.happen(Event { wallet, action });
        }
        for event in events {
            let (wallet, folds) = (event.wallet, matches!(event.action, Action::Command(Command::Fold { .. })));
            let before = world.audits();
            world.happen(event);
            if folds {
                assert_eq!(world.audits(), before, "folding moves nothing");
                world.journal(NAMES[wallet], before[wallet].balance.0);
            }
            world.model.assert_conserved(&world.audits());
        }
        world.settle();
        let audits = world.audits();
        world.model.assert_conserved(&audits);
        prop_assert!(audits.iter().all(|audit| audit.held == usd(0)), "everything expires: {audits:?}");
        prop_assert!(audits.iter().all(|audit| audit.owed.min(audit.balance) == usd(0)), "debts are paid: {audits:?}");
        prop_assert!(audits.iter().all(|audit| audit.in_flight == usd(0)), "everything arrives: {audits:?}");
        let deposited = world.model.deposited.values().sum::<i64>() - world.model.withdrawn.values().sum::<i64>();
        prop_assert_eq!(audits.iter().map(|audit| audit.deposited_net.0).sum::<i64>(), deposited, "debts arrive, too");
        prop_assert_eq!(&world.model.filed, &world.model.records, "every record is filed");
        prop_assert_eq!(world.objects.next_alarm_ms(), None, "nothing is left to do");
    }
}

/// A record is sent at once, then after 60 s, 120 s … until it is acknowledged, at most an hour apart.
#[test]
fn a_record_is_sent_until_it_is_acknowledged() {
    let mut world = World { objects: LocalObjects::new(), model: Model::default(), now_ms: 0 };
    let capture =
        Capture { id: "c".to_owned(), amount: usd(0), record: Some("{}".to_owned()), counts: vec![], sealed_at_ms: 0 };
    world.ask("ann", &Command::Capture { hold_id: "h".to_owned(), capture, close: true, budgets: vec![] });
    assert_eq!(world.objects.drain_queue(), [r#"[{"wallet":"ann","id":"c","record":"{}"}]"#]);
    for delay_s in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        let due_ms = world.now_ms + delay_s * 1_000;
        assert_eq!(world.objects.next_alarm_ms(), Some(due_ms));
        world.objects.restart();
        world.objects.run_due_alarms(due_ms - 1);
        assert!(world.objects.drain_queue().is_empty());
        world.now_ms = due_ms;
        world.objects.run_due_alarms(due_ms);
        assert_eq!(world.objects.drain_queue().len(), 1);
    }
    world.ask("ann", &Command::AckRecords { ids: vec!["c".to_owned()] });
    world.settle();
    assert!(world.model.filed.is_empty() && world.objects.next_alarm_ms().is_none());
}

/// What the other wallet cannot take comes back.
#[test]
fn a_transfer_that_is_refused_comes_back() {
    let world = World { objects: LocalObjects::new(), model: Model::default(), now_ms: 0 };
    let credit = |amount| Command::Credit { id: "c".to_owned(), amount, reason: String::new() };
    world.ask("ann", &credit(usd(10)));
    world.ask("bob", &credit(durable_objects::wallet::protocol::AMOUNT_MAX));
    let (id, to, reason) = ("t".to_owned(), "bob".to_owned(), String::new());
    world.ask("ann", &Command::Transfer { id, to, amount: usd(4), reason });
    let audit = world.audits()[0];
    assert_eq!((audit.balance, audit.in_flight, audit.transferred_net), (usd(10), usd(0), usd(0)));
}

/// One message carries a whole turn's records.
#[test]
fn a_full_batch_is_one_message() {
    let world = World { objects: LocalObjects::new(), model: Model::default(), now_ms: 0 };
    let captures = (0..BATCH_MAX).map(|number| {
        let record = Some("{}".to_owned());
        Capture { id: number.to_string(), amount: usd(0), record, counts: vec![], sealed_at_ms: 0 }
    });
    let (id, captures) = ("lease".to_owned(), captures.collect());
    world.ask(
        "ann",
        &Command::Lease(Lease { id, captures, want: usd(0), least: usd(0), expires_at_ms: 0, budgets: vec![] }),
    );
    let queue = world.objects.drain_queue();
    let records: Vec<QueuedRecord> = serde_json::from_str(&queue[0]).unwrap();
    assert_eq!((queue.len(), records.len()), (1, BATCH_MAX));
}
