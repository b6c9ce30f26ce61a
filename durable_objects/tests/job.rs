//! Jobs: created once, one worker at a time, finished once, whatever fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use durable_objects::job::protocol::{
    Command, Delivery, EVENTS_MAX, Job, Order, QueuedStep, RETAIN_MAX_MS, Reply, Report, Status, TEXT_MAX_BYTES, View,
};
use durable_objects::job::state::{CLAIM_MS, FIRST_CLAIM_MS, JobMachine};
use durable_objects::local::{FaultPoint, LocalObjects};
use durable_objects::protocol::Protocol;
use durable_objects::sql::SqlStore;
use durable_objects::wallet::protocol::{Capture, Command as WalletCommand, Reply as WalletReply, Wallet};
use proptest::prelude::*;
use support::{Bench, SqliteConnection, usd};

const DEADLINE_MS: i64 = 60 * 60 * 1_000;
const RETAIN_MS: i64 = 24 * 60 * 60 * 1_000;

type Work = Bench<JobMachine, SqlStore<SqliteConnection>>;

fn work() -> Work {
    Bench::new("job_1", SqlStore::new(SqliteConnection::open(), true))
}

fn to_wallet(command: &WalletCommand) -> Delivery {
    let command = serde_json::to_string(command).unwrap();
    Delivery { binding: Wallet::BINDING.to_owned(), name: "alice".to_owned(), command }
}

fn release() -> Delivery {
    to_wallet(&WalletCommand::Release { hold_id: "job_1".to_owned() })
}

fn capture() -> Delivery {
    let capture = Capture {
        id: "job_1".to_owned(),
        amount: usd(30),
        record: Some("{}".to_owned()),
        counts: vec![],
        sealed_at_ms: 0,
    };
    to_wallet(&WalletCommand::Capture { hold_id: "job_1".to_owned(), capture, close: true, budgets: vec![] })
}

fn order() -> Order {
    Order {
        kind: "video".to_owned(),
        owner: "alice".to_owned(),
        spec: "{}".to_owned(),
        deadline_at_ms: DEADLINE_MS,
        retain_ms: RETAIN_MS,
        on_unfinished: Some(release()),
    }
}

fn create() -> Command {
    Command::Create { order: order(), token: "creator".to_owned() }
}

fn claim(token: &str, idle_ms: i64) -> Command {
    Command::Claim { token: token.to_owned(), owner: None, idle_ms }
}

fn get() -> Command {
    Command::Get { owner: "alice".to_owned() }
}

fn report(token: &str, report: Report) -> Command {
    Command::Report { token: token.to_owned(), report }
}

fn working(progress: u8) -> Report {
    Report::Working { reference: Some("up_1".to_owned()), progress: Some(progress) }
}

fn completed() -> Report {
    Report::Completed { result: "r".to_owned(), then: Some(capture()) }
}

#[track_caller]
fn view(reply: Reply) -> (bool, View) {
    match reply {
        Reply::Job { claimed, job } => (claimed, *job),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_goes_from_queued_to_completed() {
    let mut job = work();
    assert_eq!(job.ask(get(), 0), Reply::Absent);
    let (claimed, queued) = view(job.ask(create(), 0));
    assert!(claimed && queued.status == Status::Queued);
    let (_, under_way) = view(job.ask(report("creator", working(10)), 5));
    assert_eq!(
        (under_way.status, under_way.progress, under_way.reference.as_deref()),
        (Status::Processing, 10, Some("up_1"))
    );
    assert!(view(job.ask(claim("a", 0), 10)).0);
    let (_, back) =
        view(job.ask(report("a", Report::Working { reference: Some("other".to_owned()), progress: Some(5) }), 11));
    assert_eq!((back.progress, back.reference.as_deref()), (10, Some("up_1")), "neither goes back");
    assert!(view(job.ask(claim("b", 0), 20)).0);
    let (_, done) = view(job.ask(report("b", completed()), 30));
    assert_eq!((done.status, done.progress, done.result.as_deref()), (Status::Completed, 100, Some("r")));
    assert_eq!((done.finished_at_ms, done.expires_at_ms, done.attempts), (Some(30), Some(30 + RETAIN_MS), 3));
    let what: Vec<_> = done.events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(what, ["created", "processing", "completed"]);
    assert!(!view(job.ask(claim("c", 0), 40)).0, "nothing is left to do");
    assert_eq!(job.ask(report("b", Report::Failed { reason: "late".to_owned() }), 40), Reply::Stale);
    assert_eq!(view(job.ask(Command::Cancel, 50)).1.status, Status::Completed);
}

#[test]
fn creating_again_changes_nothing() {
    let mut job = work();
    job.ask(create(), 0);
    assert!(view(job.ask(create(), 1)).0, "its answer was lost");
    job.ask(report("creator", working(0)), 2);
    let (claimed, again) = view(job.ask(create(), 3));
    assert!(!claimed && again.status == Status::Processing);
    assert_eq!(job.ask(Command::Get { owner: "bob".to_owned() }, 3), Reply::Absent);
    let bobs = Command::Claim { token: "t".to_owned(), owner: Some("bob".to_owned()), idle_ms: 0 };
    assert_eq!(job.ask(bobs, FIRST_CLAIM_MS), Reply::Absent);
    let other = Command::Create { order: Order { owner: "bob".to_owned(), ..order() }, token: "t".to_owned() };
    assert!(matches!(job.ask(other, 4), Reply::Refused { .. }));
}

#[test]
fn one_worker_at_a_time() {
    let mut job = work();
    job.ask(create(), 0);
    assert!(!view(job.ask(claim("a", 0), 1)).0, "the creator has the first step");
    assert!(view(job.ask(claim("a", 0), FIRST_CLAIM_MS)).0, "the creator has had its time");
    assert_eq!(job.ask(report("creator", working(1)), FIRST_CLAIM_MS), Reply::Stale);
    assert!(view(job.ask(claim("a", 0), FIRST_CLAIM_MS + 1)).0, "its answer was lost");
    assert!(!view(job.ask(claim("b", 0), FIRST_CLAIM_MS + CLAIM_MS - 1)).0);
    job.ask(report("a", working(1)), FIRST_CLAIM_MS + 100);
    assert!(!view(job.ask(claim("b", 1_000), FIRST_CLAIM_MS + 1_099)).0, "too soon");
    assert!(view(job.ask(claim("b", 1_000), FIRST_CLAIM_MS + 1_100)).0);
}

#[test]
fn what_breaks_a_bound_is_refused() {
    let mut job = work();
    for wrong in [
        Order { kind: String::new(), ..order() },
        Order { owner: "x".repeat(257), ..order() },
        Order { spec: "x".repeat(TEXT_MAX_BYTES + 1), ..order() },
        Order { deadline_at_ms: 5, ..order() },
        Order { retain_ms: -1, ..order() },
    ] {
        let create = Command::Create { order: wrong, token: "t".to_owned() };
        assert!(matches!(job.ask(create, 5), Reply::Refused { .. }));
    }
    job.ask(create(), 5);
    let result = "x".repeat(TEXT_MAX_BYTES + 1);
    assert!(matches!(job.ask(report("creator", Report::Completed { result, then: None }), 6), Reply::Refused { .. }));
    assert!(matches!(job.ask(claim("", 0), FIRST_CLAIM_MS * 2), Reply::Refused { .. }));
}

#[test]
fn steps_that_fail_are_repeated_and_then_given_up() {
    let mut job = work();
    job.ask(create(), 0);
    job.ask(report("creator", working(0)), 1);
    let mut at_ms = 1;
    for step in 0..20 {
        at_ms += 30_000;
        assert!(view(job.ask(claim("a", 0), at_ms)).0, "{step}");
        job.ask(report("a", Report::Retry { cause: format!("cause {step}") }), at_ms);
    }
    let (_, failed) = view(job.ask(get(), at_ms));
    assert_eq!((failed.status, failed.error.as_deref()), (Status::Failed, Some("the provider could not be reached")));
    assert!(failed.events.len() <= EVENTS_MAX);
    assert_eq!(failed.events[0].what, "created");
}

#[test]
fn a_client_that_asks_all_the_time_does_not_use_up_the_tries() {
    let mut job = work();
    job.ask(create(), 0);
    job.ask(report("creator", working(0)), 1);
    let mut at_ms = 1;
    let mut failed_at_ms = None;
    while failed_at_ms.is_none() {
        at_ms += 2_000;
        assert!(view(job.ask(claim("client", 2_000), at_ms)).0, "at {at_ms}");
        let (_, seen) = view(job.ask(report("client", Report::Retry { cause: "busy".to_owned() }), at_ms));
        failed_at_ms = (seen.status == Status::Failed).then_some(at_ms);
    }
    let minutes = failed_at_ms.unwrap() / 60_000;
    assert!((8..10).contains(&minutes), "as when nobody asks: {failed_at_ms:?}");
}

/// Objects with a wallet that holds 50 of 100 for the job.
fn funded() -> LocalObjects {
    let objects = LocalObjects::new();
    let credit = WalletCommand::Credit { id: "c".to_owned(), amount: usd(100), reason: "r".to_owned() };
    objects.ask::<Wallet>("alice", &credit, 0).unwrap();
    let hold = WalletCommand::Hold {
        id: "job_1".to_owned(),
        amount: usd(50),
        expires_at_ms: DEADLINE_MS * 2,
        budgets: vec![],
    };
    objects.ask::<Wallet>("alice", &hold, 0).unwrap();
    objects
}

/// Balance and what is held.
fn money(objects: &LocalObjects, now_ms: i64) -> (i64, i64) {
    match objects.ask::<Wallet>("alice", &WalletCommand::Balance, now_ms).unwrap() {
        WalletReply::Balance(balance) => (balance.balance.0, balance.held_calls.0),
        other => panic!("{other:?}"),
    }
}

fn steps_called_for(objects: &LocalObjects) -> usize {
    let is_step = |message: &String| {
        let items: Vec<serde_json::Value> = serde_json::from_str(message).unwrap();
        items.iter().filter(|item| serde_json::from_value::<QueuedStep>((*item).clone()).is_ok()).count()
    };
    objects.drain_queue().iter().map(is_step).sum()
}

#[test]
fn a_completed_job_is_paid_and_a_failed_one_is_not() {
    for (end, expected) in [
        (report("creator", completed()), (70, 0)),
        (report("creator", Report::Failed { reason: "no".to_owned() }), (100, 0)),
        (Command::Cancel, (100, 0)),
    ] {
        let objects = funded();
        objects.ask::<Job>("job_1", &create(), 0).unwrap();
        assert_eq!(money(&objects, 0), (100, 50));
        objects.ask::<Job>("job_1", &end, 1).unwrap();
        assert_eq!(money(&objects, 1), expected, "{end:?}");
    }
}

#[test]
fn what_the_wallet_refuses_is_owed_and_asked_for_again() {
    let objects = funded();
    let earlier = Capture { id: "job_1".to_owned(), amount: usd(1), record: None, counts: vec![], sealed_at_ms: 0 };
    let earlier = WalletCommand::Capture { hold_id: "none".to_owned(), capture: earlier, close: true, budgets: vec![] };
    objects.ask::<Wallet>("alice", &earlier, 0).unwrap();
    objects.ask::<Job>("job_1", &create(), 0).unwrap();
    objects.ask::<Job>("job_1", &report("creator", completed()), 1).unwrap();
    for round in 1..4 {
        objects.run_due_alarms(round * (RETAIN_MS + 3_600_000));
    }
    let (_, done) = view(objects.ask::<Job>("job_1", &get(), 4 * RETAIN_MS).unwrap());
    let what: Vec<_> = done.events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(what.len(), 3, "it is said once: {what:?}");
    assert!(what[2].contains("another amount"), "{what:?}");
    objects.run_due_alarms(RETAIN_MAX_MS + 3_600_000);
    assert!(objects.is_vacant(Job::BINDING, "job_1"), "what nobody has taken for a month is given up");
}

#[test]
fn the_alarm_calls_for_workers_until_one_comes() {
    let objects = funded();
    objects.ask::<Job>("job_1", &create(), 0).unwrap();
    objects.ask::<Job>("job_1", &report("creator", working(0)), 0).unwrap();
    objects.run_due_alarms(1_999);
    assert_eq!(steps_called_for(&objects), 0);
    objects.run_due_alarms(2_000);
    assert_eq!(steps_called_for(&objects), 1);
    objects.run_due_alarms(20_000);
    assert_eq!(steps_called_for(&objects), 0, "not again at once");
    objects.run_due_alarms(2_000 + 30_000);
    assert_eq!(steps_called_for(&objects), 1, "nobody came");
    assert!(view(objects.ask::<Job>("job_1", &claim("w", 0), 33_000).unwrap()).0);
    objects.run_due_alarms(33_000 + CLAIM_MS - 1);
    assert_eq!(steps_called_for(&objects), 0, "a worker is at it");
    objects.run_due_alarms(33_000 + CLAIM_MS);
    assert_eq!(steps_called_for(&objects), 1, "the worker died");
}

#[test]
fn a_job_that_nobody_finishes_ends_at_its_deadline_and_is_forgotten() {
    let objects = funded();
    objects.ask::<Job>("job_1", &create(), 0).unwrap();
    objects.restart();
    objects.run_due_alarms(DEADLINE_MS);
    let (_, failed) = view(objects.ask::<Job>("job_1", &get(), DEADLINE_MS).unwrap());
    assert_eq!((failed.status, failed.error.as_deref()), (Status::Failed, Some("it took too long")));
    assert_eq!(failed.events.last().unwrap().what, "settled");
    assert_eq!(money(&objects, DEADLINE_MS), (100, 0));
    objects.run_due_alarms(DEADLINE_MS + RETAIN_MS);
    assert!(objects.is_vacant(Job::BINDING, "job_1"));
}

#[derive(Clone, Debug)]
enum Happening {
    Claim(u8),
    Working(u8),
    Retry(u8),
    Complete(u8),
    Fail(u8),
    Cancel,
    Fault(&'static str, FaultPoint),
    Restart,
    Wait(i64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let worker = || 0..3_u8;
    let point = prop_oneof![Just(FaultPoint::BeforePersist), Just(FaultPoint::AfterPersist), Just(FaultPoint::Effect)];
    prop_oneof![
        4 => worker().prop_map(Happening::Claim),
        2 => worker().prop_map(Happening::Working),
        1 => worker().prop_map(Happening::Retry),
        2 => worker().prop_map(Happening::Complete),
        1 => worker().prop_map(Happening::Fail),
        1 => Just(Happening::Cancel),
        3 => (prop_oneof![Just(Job::BINDING), Just(Wallet::BINDING)], point).prop_map(|(b, p)| Happening::Fault(b, p)),
        1 => Just(Happening::Restart),
        3 => (0..2 * CLAIM_MS).prop_map(Happening::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever fails: in the end a completed job is paid once, any other not at all, and nothing is held.
    #[test]
    fn money_follows_the_end(happenings in prop::collection::vec(any_happening(), 1..40)) {
        let objects = funded();
        let mut now_ms = 0;
        let ask = |command: &Command, now_ms| (0..5).find_map(|_| objects.ask::<Job>("job_1", command, now_ms).ok());
        ask(&create(), 0);
        for happening in happenings {
            let token = |worker: u8| if worker == 0 { "creator".to_owned() } else { worker.to_string() };
            let command = match happening {
                Happening::Claim(worker) => claim(&token(worker), 0),
                Happening::Working(worker) => report(&token(worker), working(1)),
                Happening::Retry(worker) => report(&token(worker), Report::Retry { cause: "c".to_owned() }),
                Happening::Complete(worker) => report(&token(worker), completed()),
                Happening::Fail(worker) => report(&token(worker), Report::Failed { reason: "f".to_owned() }),
                Happening::Cancel => Command::Cancel,
                Happening::Fault(binding, point) => {
                    objects.fail_next(binding, point);
                    continue;
                }
                Happening::Restart => {
                    objects.restart();
                    continue;
                }
                Happening::Wait(ms) => {
                    now_ms += ms;
                    objects.run_due_alarms(now_ms);
                    continue;
                }
            };
            ask(&command, now_ms);
        }
        let end_ms = now_ms.max(DEADLINE_MS);
        (0..10).for_each(|round| objects.run_due_alarms(end_ms + round * 3_600_000));
        let end_ms = end_ms + 36_000_000;
        let (_, job) = view(ask(&get(), end_ms).unwrap());
        prop_assert!(job.status.is_final());
        let paid = if job.status == Status::Completed { 70 } else { 100 };
        let money = (0..5).find_map(|_| match objects.ask::<Wallet>("alice", &WalletCommand::Balance, end_ms) {
            Ok(WalletReply::Balance(balance)) => Some((balance.balance.0, balance.held_calls.0)),
            _ => None,
        });
        prop_assert_eq!(money, Some((paid, 0)), "{:?}", job);
    }
}
