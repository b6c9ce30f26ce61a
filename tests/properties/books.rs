//! Calls, credits, failures and crashes in any order: no money appears, none is lost, nobody owes.

use std::rc::Rc;
use std::time::Duration;

use durable_objects::local::FaultPoint;
use guildhall::app::App;
use guildhall::ports::{FetchError, StreamEnd};
use proptest::prelude::*;

use super::seeded;
use crate::support::{Fault, Key, Reply, TestApp, run};

/// What happens next. Everything runs beside what began before it.
#[derive(Clone, Debug)]
enum Event {
    /// A call whose upstream answers with so many tokens after so long.
    Call { isolate: usize, input: u64, output: u64, max_tokens: Option<u64>, takes_ms: u64 },
    /// A call whose upstream fails.
    Failing { isolate: usize, how: u8 },
    /// A stream that ends somehow, or that its client leaves.
    Stream { isolate: usize, words: usize, end: u8, leave_after: Option<usize> },
    /// Money comes in.
    Credit { micros: u32 },
    /// A port fails soon.
    PortFault { port: u8, passing: usize, is_after: bool },
    /// An object fails at its next step.
    ObjectFault { point: u8 },
    /// The wallets answer slowly from now on, or quickly again.
    Slow { ms: u64 },
    /// The objects lose their memory.
    Restart,
    /// An isolate dies.
    Crash { isolate: usize },
    /// Time passes.
    Pass { ms: u64 },
    /// Somebody looks at the balance and the usage.
    Look { isolate: usize },
}

const ISOLATES: usize = 3;

fn any_event(with_crashes: bool) -> impl Strategy<Value = Event> {
    let isolate = 0..ISOLATES;
    let max_tokens = prop_oneof![Just(None), (1..200_u64).prop_map(Some)];
    prop_oneof![
        8 => (isolate.clone(), 0..100_u64, 0..200_u64, max_tokens, 0..90_u64).prop_map(
            |(isolate, input, output, max_tokens, takes_ms)| Event::Call { isolate, input, output, max_tokens, takes_ms }
        ),
        2 => (isolate.clone(), 0..4_u8).prop_map(|(isolate, how)| Event::Failing { isolate, how }),
        3 => (isolate.clone(), 0..6_usize, 0..4_u8, prop::option::of(0..8_usize)).prop_map(
            |(isolate, words, end, leave_after)| Event::Stream { isolate, words, end, leave_after }
        ),
        2 => (1..20_000_u32).prop_map(|micros| Event::Credit { micros }),
        2 => (0..3_u8, 0..6_usize, any::<bool>()).prop_map(
            |(port, passing, is_after)| Event::PortFault { port, passing, is_after }
        ),
        1 => (0..3_u8).prop_map(|point| Event::ObjectFault { point }),
        1 => prop::sample::select(vec![0, 0, 3, 700, 6_000]).prop_map(|ms| Event::Slow { ms }),
        1 => Just(Event::Restart),
        1 => isolate.clone().prop_map(move |isolate| {
            if with_crashes { Event::Crash { isolate } } else { Event::Pass { ms: 40 } }
        }),
        5 => (1..120_u64).prop_map(|ms| Event::Pass { ms }),
        2 => isolate.prop_map(|isolate| Event::Look { isolate }),
    ]
}

/// A platform in which events happen.
struct World {
    app: Rc<TestApp>,
    key: Key,
    isolates: Vec<Rc<App>>,
    running: Vec<tokio::task::JoinHandle<u16>>,
    credited: i64,
}

impl World {
    async fn begin(app: TestApp, micros: i64) -> Self {
        let key = app.with_busy_key().await;
        let fresh = app.provision("0").await;
        app.set_limits(&fresh, 1_000_000, 10_000_000, 10_000).await;
        drop(key);
        let isolates = (0..ISOLATES).map(|at| if at == 0 { app.isolate() } else { app.new_isolate() }).collect();
        let mut world = Self { app: Rc::new(app), key: fresh, isolates, running: Vec::new(), credited: 0 };
        world.credit(micros).await;
        world
    }

    async fn credit(&mut self, micros: i64) {
        let body = format!(r#"{{"amount_usd":{}e-6}}"#, micros);
        let path = format!("/admin/v1/accounts/{}/credits", self.key.account_id);
        // As a careful administrator: the same Idempotency-Key until there is an answer.
        let name = format!("credit {}", self.credited);
        for _ in 0..20 {
            let call = self.app.admin("POST", &path).to(&self.isolates[0]).idempotency_key(&name).body(&body);
            if call.send().await.status == 200 {
                self.credited += micros;
                return;
            }
        }
        panic!("no credit in 20 tries");
    }

    fn spawn_call(&mut self, isolate: usize, body: String, leave_after: Option<usize>) {
        let (app, key, isolate) = (Rc::clone(&self.app), self.key.clone(), Rc::clone(&self.isolates[isolate]));
        self.running.push(tokio::task::spawn_local(async move {
            let call = app.post("/v1/chat/completions").bearer(&key.key).to(&isolate).body(&body);
            let call = match leave_after {
                Some(chunks) => call.leave_after(chunks),
                None => call,
            };
            call.send().await.status
        }));
    }

    fn body(max_tokens: Option<u64>, is_stream: bool) -> String {
        let max_tokens = max_tokens.map_or_else(String::new, |tokens| format!(r#","max_tokens":{tokens}"#));
        format!(r#"{{"model":"m1","messages":[{{"role":"user","content":"hello"}}],"stream":{is_stream}{max_tokens}}}"#)
    }

    async fn happen(&mut self, event: &Event) {
        let upstream = &self.app.upstream;
        match *event {
            Event::Call { isolate, input, output, max_tokens, takes_ms } => {
                upstream.latency_ms.set(takes_ms);
                upstream.always(Reply::chat("x", input, output));
                self.spawn_call(isolate, Self::body(max_tokens, false), None);
            }
            Event::Failing { isolate, how } => {
                upstream.always(match how {
                    0 => Reply::error(500, "no"),
                    1 => Reply::error(400, "no"),
                    2 => Reply::Whole(200, "not json".into(), ""),
                    _ => Reply::Fails(FetchError::TimedOut),
                });
                self.spawn_call(isolate, Self::body(Some(50), false), None);
            }
            Event::Stream { isolate, words, end, leave_after } => {
                let usage = (end % 2 == 0).then_some((10, 20));
                let mut chunks = Reply::chunks(&["word "].repeat(words), usage);
                let end = if end < 2 { StreamEnd::Eof } else { StreamEnd::Broken };
                if end == StreamEnd::Broken {
                    chunks.truncate(1 + words);
                }
                upstream.always(Reply::Stream(chunks, end));
                self.spawn_call(isolate, Self::body(Some(50), true), leave_after);
            }
            Event::Credit { micros } => self.credit(i64::from(micros)).await,
            Event::PortFault { port, passing, is_after } => {
                let fault = if is_after { Fault::After } else { Fault::Before };
                match port {
                    0 => self.app.faults.fail_db_after(passing, fault),
                    1 => self.app.faults.fail_object_after("WALLET", passing, fault),
                    _ => self.app.faults.fail_object_after("RATE_LIMITER", passing, fault),
                }
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
            Event::Look { isolate } => {
                for path in ["/v1/balance", "/v1/usage"] {
                    self.app.get(path).bearer(&self.key.key).to(&self.isolates[isolate]).send().await;
                }
            }
        }
        // Whatever has happened: nobody owes, and what is held is there.
        let books = self.app.books(&self.key);
        assert!(books.balance >= 0 && books.credited <= self.credited + 20_000, "{books:?}");
        assert!(books.balance <= books.credited, "{books:?}");
    }

    /// Everything that runs ends, and what was held comes back.
    async fn end(mut self) -> (Vec<u16>, Rc<TestApp>, Key, i64) {
        let mut statuses = Vec::new();
        for call in std::mem::take(&mut self.running) {
            statuses.push(call.await.unwrap());
        }
        self.app.faults.clear();
        self.app.pass_ms(250_000).await;
        (statuses, self.app, self.key, self.credited)
    }
}

fn check(events: &[Event], micros: i64, with_crashes: bool) {
    run(async |app| {
        let mut world = World::begin(app, micros).await;
        for event in events {
            world.happen(event).await;
        }
        let (statuses, app, key, credited) = world.end().await;
        let books = app.assert_books_rest(&key);
        assert_eq!(books.credited, credited, "each credit counts once");
        let answered = i64::try_from(statuses.iter().filter(|status| **status == 200).count()).unwrap();
        for status in &statuses {
            assert!([0, 200, 400, 401, 402, 429, 500, 502, 503].contains(status), "{statuses:?}");
            assert!(*status != 0 || with_crashes);
        }
        if !with_crashes {
            assert!(books.calls >= answered, "{answered} answers, {books:?}");
        }
        let sum = app.database.number("SELECT COALESCE(SUM(charged_micros), 0) FROM usage_totals");
        assert_eq!(sum, books.charged, "the counters are the rows");
    });
}

proptest! {
    #![proptest_config(seeded(40, 2_026))]

    #[test]
    fn without_a_crash_every_micro_dollar_is_accounted_for(
        events in prop::collection::vec(any_event(false), 1..60),
        micros in 1..60_000_i64,
    ) {
        check(&events, micros, false);
    }

    #[test]
    fn with_crashes_no_money_appears_and_none_is_lost(
        events in prop::collection::vec(any_event(true), 1..60),
        micros in 1..60_000_i64,
    ) {
        check(&events, micros, true);
    }
}
