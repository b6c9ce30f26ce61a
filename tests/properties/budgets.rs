//! Keys, a workspace and an account with budgets on several isolates, with failures, slow wallets and crashes: no budget
//! is ever overstepped by a micro-dollar, and what the wallet says was spent is what the usage says was charged, whether
//! or not it is limited.

use std::rc::Rc;
use std::time::Duration;

use durable_objects::local::FaultPoint;
use durable_objects::wallet::protocol::{BudgetLine, Command, Reply as WalletReply, Wallet};
use guildhall::app::App;
use guildhall::store::identity::accounts::set_account_limit;
use guildhall_domain::money::MicroUsd;
use proptest::prelude::*;
use serde_json::json;

use super::seeded;
use crate::support::{Fault, Key, Reply, TestApp, run};

#[derive(Clone, Debug)]
enum Event {
    /// A call of one of the keys whose upstream answers with so many tokens after so long.
    Call {
        isolate: usize,
        key: usize,
        input: u64,
        output: u64,
        max_tokens: Option<u64>,
        takes_ms: u64,
    },
    /// The wallet's port fails soon.
    PortFault {
        passing: usize,
        is_after: bool,
    },
    /// The wallet fails at its next step.
    ObjectFault {
        point: u8,
    },
    /// The wallets answer slowly from now on, or quickly again: statements overtake each other.
    Slow {
        ms: u64,
    },
    Restart,
    Crash {
        isolate: usize,
    },
    Pass {
        ms: u64,
    },
    /// Long enough for leases to lapse.
    Lapse,
}

const ISOLATES: usize = 3;
/// For each key: which of the budgets is its own, and whether it is the workspace's.
const KEYS: [(Option<usize>, bool); 4] = [(Some(0), false), (Some(1), true), (None, true), (None, false)];

/// The budgets in micro-dollars: of two keys, of the workspace, of the account.
#[derive(Clone, Copy, Debug)]
struct Limits {
    keys: [i64; 2],
    workspace: Option<i64>,
    account: Option<i64>,
}

/// A line of the wallet: its limit, and the usage that counts for it.
struct Line {
    id: String,
    limit: Option<i64>,
    usage: String,
}

fn any_event() -> impl Strategy<Value = Event> {
    let max_tokens = prop_oneof![Just(None), (1..200_u64).prop_map(Some)];
    prop_oneof![
        10 => (0..ISOLATES, 0..KEYS.len(), 0..100_u64, 0..300_u64, max_tokens, 0..90_u64).prop_map(
            |(isolate, key, input, output, max_tokens, takes_ms)| {
                Event::Call { isolate, key, input, output, max_tokens, takes_ms }
            }
        ),
        2 => (0..6_usize, any::<bool>()).prop_map(|(passing, is_after)| Event::PortFault { passing, is_after }),
        1 => (0..3_u8).prop_map(|point| Event::ObjectFault { point }),
        1 => prop::sample::select(vec![0, 3, 700, 6_000]).prop_map(|ms| Event::Slow { ms }),
        1 => Just(Event::Restart),
        1 => (0..ISOLATES).prop_map(|isolate| Event::Crash { isolate }),
        5 => (1..120_u64).prop_map(|ms| Event::Pass { ms }),
        1 => Just(Event::Lapse),
    ]
}

struct World {
    app: Rc<TestApp>,
    owner: Key,
    keys: Vec<Key>,
    lines: Vec<Line>,
    isolates: Vec<Rc<App>>,
    running: Vec<tokio::task::JoinHandle<u16>>,
}

impl World {
    async fn begin(app: TestApp, limits: Limits, credit_micros: i64) -> Self {
        app.with_model().await;
        let ada = app.sign_in_activated("ada@example.com").await;
        app.credit_account(&ada.account_id, &format!("{credit_micros}e-6")).await;
        let usd = |micros: i64| MicroUsd(micros).to_usd();
        let workspace = json!({ "workspace_id": "w", "name": "W", "monthly_budget_usd": limits.workspace.map(usd) });
        app.post("/v1/workspaces").bearer(&ada.token).json(&workspace).send().await.expect(200);
        set_account_limit(&ada.account_id, limits.account).run(&*app.ports().db).await.unwrap();
        let line = |id: String, limit, usage: &str| Line { id, limit, usage: usage.to_owned() };
        let of_workspace = line("workspace:w".to_owned(), limits.workspace, "workspace_id = 'w'");
        let mut lines = vec![of_workspace, line("account".to_owned(), limits.account, "true")];
        let mut keys = Vec::new();
        for (budget, is_of_workspace) in KEYS {
            let limit = budget.map(|at| limits.keys[at]);
            let body = json!({ "monthly_budget_usd": usd(limit.unwrap_or(0)),
                "workspace_id": is_of_workspace.then_some("w") });
            let answer = app.post("/v1/keys").bearer(&ada.token).json(&body).send().await.expect(200).json();
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            let path = format!("/admin/v1/apikeys/{}", text("id"));
            app.admin("PATCH", &path).json(&json!({ "rate_limit_rps": -1 })).send().await.expect(200);
            lines.push(line(format!("key:{}", text("id")), limit, &format!("api_key_id = '{}'", text("id"))));
            keys.push(Key { key: text("key"), account_id: ada.account_id.clone() });
        }
        let isolates = (0..ISOLATES).map(|at| if at == 0 { app.isolate() } else { app.new_isolate() }).collect();
        Self { app: Rc::new(app), owner: keys[0].clone(), keys, lines, isolates, running: Vec::new() }
    }

    async fn happen(&mut self, event: &Event) {
        match *event {
            Event::Call { isolate, key, input, output, max_tokens, takes_ms } => {
                self.app.upstream.latency_ms.set(takes_ms);
                self.app.upstream.always(Reply::chat("x", input, output));
                let mut body = json!({ "model": "m1", "messages": [{ "role": "user", "content": "hello" }] });
                if let Some(tokens) = max_tokens {
                    body["max_tokens"] = tokens.into();
                }
                let (app, isolate) = (Rc::clone(&self.app), Rc::clone(&self.isolates[isolate]));
                let key = self.keys[key].key.clone();
                self.running.push(tokio::task::spawn_local(async move {
                    app.post("/v1/chat/completions").bearer(&key).to(&isolate).json(&body).send().await.status
                }));
            }
            Event::PortFault { passing, is_after } => {
                let fault = if is_after { Fault::After } else { Fault::Before };
                self.app.faults.fail_object_after("WALLET", passing, fault);
            }
            Event::ObjectFault { point } => {
                let points = [FaultPoint::BeforePersist, FaultPoint::AfterPersist, FaultPoint::Effect];
                self.app.objects.fail_next("WALLET", points[usize::from(point)]);
            }
            Event::Slow { ms } => self.app.faults.slow_object("WALLET", ms),
            Event::Restart => self.app.objects.restart(),
            Event::Crash { isolate } => {
                let dead = std::mem::replace(&mut self.isolates[isolate], self.app.new_isolate());
                self.app.crash(&dead);
            }
            Event::Pass { ms } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                self.app.deliver().await;
            }
            Event::Lapse => tokio::time::sleep(Duration::from_secs(16)).await,
        }
        self.check();
    }

    /// No budget has spent and held more than its limit.
    fn check(&self) {
        for Line { id, limit, .. } in &self.lines {
            if let Some(limit) = limit {
                assert!(self.spent_and_held(id) <= *limit, "{id}");
            }
        }
    }

    fn spent_and_held(&self, id: &str) -> i64 {
        let huge = 1_000_000_000;
        let line = BudgetLine { id: id.to_owned(), period: String::new(), limit: MicroUsd(huge), since_ms: 0 };
        match self.app.ask::<Wallet>(&self.owner.account_id, &Command::Budgets { lines: vec![line] }) {
            WalletReply::Budgets { lines } => huge - lines[0].available.0 + lines[0].others_held.0,
            other => panic!("{other:?}"),
        }
    }
}

fn check(events: &[Event], limits: Limits, credit_micros: i64) {
    run(async |app| {
        let mut world = World::begin(app, limits, credit_micros).await;
        for event in events {
            world.happen(event).await;
        }
        for call in std::mem::take(&mut world.running) {
            let status = call.await.unwrap();
            assert!([0, 200, 402, 429, 503].contains(&status), "{status}");
        }
        world.app.faults.clear();
        world.app.pass_ms(250_000).await;
        world.check();
        for Line { id, usage, .. } in &world.lines {
            let sql = format!("SELECT COALESCE(SUM(charged_micros), 0) FROM usage WHERE {usage}");
            let charged = world.app.database.number(&sql);
            assert_eq!(world.spent_and_held(id), charged, "{id}: nothing is held any more, and all was counted");
        }
        let books = world.app.books(&world.owner);
        assert_eq!((books.held, books.credited), (0, books.balance + books.charged), "{books:?}");
    });
}

proptest! {
    #![proptest_config(seeded(40, 2_026))]

    #[test]
    fn no_budget_is_overstepped(
        events in prop::collection::vec(any_event(), 1..60),
        keys in [1..30_000_i64, 1..60_000_i64],
        workspace in prop::option::of(1..70_000_i64),
        account in prop::option::of(1..80_000_i64),
        credit_micros in 1..90_000_i64,
    ) {
        check(&events, Limits { keys, workspace, account }, credit_micros);
    }
}
