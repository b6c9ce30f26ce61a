//! Deposits, withdrawals, repetitions, failures of every port, deaths and hours in any order: each cent that came in is
//! in the wallet or went to the bank once, and whoever was told so was told the truth.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use guildhall::app::App;
use proptest::prelude::*;
use serde_json::json;

use super::seeded;
use crate::support::{Agent, Fault, TestApp, WITH_STRIPE, run_with};

/// What happens next, beside what began before it.
#[derive(Clone, Debug)]
enum Event {
    /// Money comes in.
    Deposit { cents: i64 },
    /// Money is to go out. The same name is the same withdrawal, sent again.
    Withdraw { isolate: usize, name: u8, waits_ms: u64 },
    /// A port fails soon.
    PortFault { port: u8, passing: usize, is_after: bool },
    /// Stripe answers slowly from now on, or quickly.
    Slow { ms: u64 },
    /// Stripe is down, or back.
    Down { is_down: bool },
    /// Stripe forgets the names of calls, as it may after a day.
    Forget,
    /// The objects lose their memory.
    Restart,
    /// An isolate dies.
    Crash { isolate: usize },
    /// Time passes.
    Pass { ms: u64 },
    /// The hour's job runs.
    Hour,
}

const ISOLATES: usize = 2;
/// Each name always asks for the same amount.
const AMOUNTS: [i64; 6] = [1, 120, 250, 250, 400, 900];

fn any_event() -> impl Strategy<Value = Event> {
    let isolate = 0..ISOLATES;
    prop_oneof![
        3 => (1..600_i64).prop_map(|cents| Event::Deposit { cents }),
        8 => (isolate.clone(), 0..6_u8, 0..20_u64).prop_map(
            |(isolate, name, waits_ms)| Event::Withdraw { isolate, name, waits_ms }
        ),
        4 => (0..3_u8, 0..5_usize, any::<bool>()).prop_map(
            |(port, passing, is_after)| Event::PortFault { port, passing, is_after }
        ),
        1 => prop::sample::select(vec![0, 5, 40, 2_000]).prop_map(|ms| Event::Slow { ms }),
        1 => any::<bool>().prop_map(|is_down| Event::Down { is_down }),
        1 => Just(Event::Forget),
        1 => Just(Event::Restart),
        1 => isolate.prop_map(|isolate| Event::Crash { isolate }),
        4 => prop_oneof![1..90_u64, 240_000..260_000_u64].prop_map(|ms| Event::Pass { ms }),
        2 => Just(Event::Hour),
    ]
}

struct World {
    app: Rc<TestApp>,
    agent: Rc<Agent>,
    isolates: Vec<Rc<App>>,
    running: Vec<tokio::task::JoinHandle<(u8, u16)>>,
    /// What was answered, by name.
    told: BTreeMap<u8, Vec<u16>>,
    deposited: i64,
    deposits: u32,
}

impl World {
    async fn begin(app: TestApp) -> Self {
        let agent = Rc::new(app.banked_agent("Lily", 0).await);
        let isolates = vec![app.isolate(), app.new_isolate()];
        Self {
            app: Rc::new(app),
            agent,
            isolates,
            running: Vec::new(),
            told: BTreeMap::new(),
            deposited: 0,
            deposits: 0,
        }
    }

    async fn deposit(&mut self, cents: i64) {
        let name = format!("deposit {}", self.deposits);
        self.deposits += 1;
        for _ in 0..30 {
            let call = self.app.post("/api/agents/wallet/deposit").bearer(&self.agent.key.key).idempotency_key(&name);
            let answer = call.to(&self.isolates[0]).json(&json!({ "amountCents": cents })).send().await;
            if answer.status == 200 {
                self.deposited += cents;
                return;
            }
        }
        panic!("no deposit in 30 tries");
    }

    fn spawn_withdrawal(&mut self, isolate: usize, name: u8, waits_ms: u64) {
        let (app, agent, isolate) = (Rc::clone(&self.app), Rc::clone(&self.agent), Rc::clone(&self.isolates[isolate]));
        self.running.push(tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(waits_ms)).await;
            let call = app.post("/api/agents/wallet/withdraw").bearer(&agent.key.key).to(&isolate);
            let body = json!({ "amountCents": AMOUNTS[usize::from(name)] });
            (name, call.idempotency_key(&format!("w{name}")).json(&body).send().await.status)
        }));
    }

    async fn happen(&mut self, event: &Event) {
        match *event {
            Event::Deposit { cents } => self.deposit(cents).await,
            Event::Withdraw { isolate, name, waits_ms } => self.spawn_withdrawal(isolate, name, waits_ms),
            Event::PortFault { port, passing, is_after } => {
                let fault = if is_after { Fault::After } else { Fault::Before };
                match port {
                    0 => self.app.faults.fail_db_after(passing, fault),
                    1 => self.app.faults.fail_object_after("WALLET", passing, fault),
                    _ => self.app.stripe.fail_after(passing, fault),
                }
            }
            Event::Slow { ms } => self.app.stripe.latency_ms.set(ms),
            Event::Down { is_down } => self.app.stripe.set_down(is_down),
            Event::Forget => {
                // Only what is older than a day: nobody is at work then.
                self.rest().await;
                self.app.pass_ms(300_000).await;
                self.app.stripe.shelf.borrow_mut().retain(|id, _| !id.starts_with("idem:"));
            }
            Event::Restart => self.app.objects.restart(),
            Event::Crash { isolate } => {
                let dead = std::mem::replace(&mut self.isolates[isolate], self.app.new_isolate());
                self.app.crash(&dead);
            }
            Event::Pass { ms } => {
                self.app.pass_ms(ms).await;
                if ms > 1_000 {
                    self.rest().await;
                }
            }
            Event::Hour => self.run_hour().await,
        }
        let audit = self.app.audit(&self.agent.key);
        let paid: i64 = self.app.paid_out().iter().sum();
        assert!(audit.consistent && audit.balance.0 >= 0, "{audit:?}");
        assert!(
            paid <= self.deposited && audit.balance.0 <= (self.deposited - paid) * 10_000,
            "{audit:?}, paid {paid}"
        );
    }

    async fn run_hour(&self) {
        guildhall::jobs::hourly::run_hourly(&self.isolates[0], &self.app.ports()).await;
    }

    /// Whatever runs comes to its end.
    async fn rest(&mut self) {
        for call in std::mem::take(&mut self.running) {
            let (name, status) = call.await.unwrap();
            assert!([0, 200, 400, 401, 409, 500, 502, 503].contains(&status), "{status}");
            self.told.entry(name).or_default().push(status);
        }
    }
}

fn check(events: &[Event]) {
    run_with(WITH_STRIPE, async |app| {
        let mut world = World::begin(app).await;
        for event in events {
            world.happen(event).await;
        }
        world.rest().await;
        world.app.faults.clear();
        world.app.stripe.heal();
        for _ in 0..2 {
            world.app.pass_ms(300_000).await;
            world.run_hour().await;
        }
        world.app.assert_nothing_lost(&world.agent, world.deposited);
        let paid = world.app.paid_out();
        let told_paid = world.told.values().filter(|told| told.contains(&200)).count();
        assert!(told_paid <= paid.len() && paid.len() <= world.told.len(), "{:?}, paid {paid:?}", world.told);
        for (name, told) in &world.told {
            assert!(!(told.contains(&200) && told.contains(&502)), "w{name} was told both: {told:?}");
        }
    });
}

proptest! {
    #![proptest_config(seeded(60, 4_711))]

    #[test]
    fn every_cent_is_in_the_wallet_or_went_to_the_bank_once(events in prop::collection::vec(any_event(), 1..40)) {
        check(&events);
    }
}
