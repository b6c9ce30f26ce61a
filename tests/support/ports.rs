//! The ports over test doubles; each can fail before or after it has done its work.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use durable_objects::local::LocalObjects;
use guildhall::ports::{
    Background, Clock, Db, Fetch, FetchError, Inbound, Kv, OUTLIVE_MS, Objects, Outbound, Pending, PortError, Ports,
    Random, RowSet, TICK_MS,
};
use guildhall::store::sql::Statement;
use guildhall::vectors::EmbeddedVectors;

use super::event::Event;
use super::{Database, STRIPE_API, StripeDouble, TestApp, Upstream};

/// When a port fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing has happened.
    Before,
    /// Everything has happened, but the answer is lost.
    After,
}

impl Fault {
    fn to_error(self) -> PortError {
        PortError(format!("test: failed {}", if self == Self::Before { "before" } else { "after" }))
    }
}

/// The faults to come, and what was asked of the ports.
#[derive(Default)]
pub struct Faults {
    db: RefCell<VecDeque<Option<Fault>>>,
    /// Of objects, by binding.
    pub objects: RefCell<BTreeMap<&'static str, VecDeque<Option<Fault>>>>,
    kv: RefCell<VecDeque<Fault>>,
    /// How often the cache was asked.
    pub kv_calls: Cell<usize>,
    /// How often the database was asked.
    pub db_calls: Cell<usize>,
    /// How often an object was asked.
    pub object_calls: Cell<usize>,
    calls_by_binding: RefCell<BTreeMap<&'static str, usize>>,
    /// What a call to the database takes beyond its millisecond.
    pub db_extra_ms: Cell<u64>,
    /// What a call to an object takes beyond its millisecond.
    pub object_extra_ms: Cell<u64>,
    slow: RefCell<BTreeMap<&'static str, u64>>,
    /// The counts of database and object calls whenever an upstream was called.
    pub calls_before_upstream: RefCell<Vec<(usize, usize)>>,
}

impl Faults {
    pub fn fail_db(&self, fault: Fault) {
        self.fail_db_after(0, fault);
    }

    /// Lets so many more calls pass, then fails one.
    pub fn fail_db_after(&self, passing: usize, fault: Fault) {
        let mut queue = self.db.borrow_mut();
        queue.extend(std::iter::repeat_n(None, passing));
        queue.push_back(Some(fault));
    }

    pub fn fail_object(&self, binding: &'static str, fault: Fault) {
        self.fail_object_after(binding, 0, fault);
    }

    /// Lets so many more calls of the binding pass, then fails one.
    pub fn fail_object_after(&self, binding: &'static str, passing: usize, fault: Fault) {
        let mut queues = self.objects.borrow_mut();
        let queue = queues.entry(binding).or_default();
        queue.extend(std::iter::repeat_n(None, passing));
        queue.push_back(Some(fault));
    }

    /// Fails the next call to the cache.
    pub fn fail_kv(&self, fault: Fault) {
        self.kv.borrow_mut().push_back(fault);
    }

    /// From now on each object of the binding takes so much longer to answer.
    pub fn slow_object(&self, binding: &'static str, extra_ms: u64) {
        self.slow.borrow_mut().insert(binding, extra_ms);
    }

    fn object_ms(&self, binding: &str) -> u64 {
        1 + self.object_extra_ms.get() + self.slow.borrow().get(binding).copied().unwrap_or(0)
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear(&self) {
        self.slow.borrow_mut().clear();
        self.db.borrow_mut().clear();
        self.objects.borrow_mut().clear();
        self.kv.borrow_mut().clear();
    }

    fn next_of_kv(&self) -> Option<Fault> {
        self.kv_calls.set(self.kv_calls.get() + 1);
        self.kv.borrow_mut().pop_front()
    }

    fn next_of_db(&self) -> Option<Fault> {
        self.db_calls.set(self.db_calls.get() + 1);
        self.db.borrow_mut().pop_front().flatten()
    }

    /// How often an object of the binding was asked.
    pub fn calls_of(&self, binding: &str) -> usize {
        self.calls_by_binding.borrow().get(binding).copied().unwrap_or(0)
    }

    fn next_of_object(&self, binding: &'static str) -> Option<Fault> {
        self.object_calls.set(self.object_calls.get() + 1);
        *self.calls_by_binding.borrow_mut().entry(binding).or_default() += 1;
        self.objects.borrow_mut().get_mut(binding)?.pop_front().flatten()
    }
}

/// An isolate's life: once it is dead, none of its tasks takes another step and none of its calls is answered.
#[derive(Default)]
pub struct Life {
    is_over: Cell<bool>,
    tasks: RefCell<Vec<tokio::task::AbortHandle>>,
}

impl Life {
    pub fn end(&self) {
        self.is_over.set(true);
        self.tasks.take().iter().for_each(tokio::task::AbortHandle::abort);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// How much work runs behind answers.
    pub fn tasks(&self) -> usize {
        self.tasks.borrow().iter().filter(|task| !task.is_finished()).count()
    }

    /// What is sent arrives, even if whoever sent it does not live to hear the answer.
    async fn send<T: 'static>(&self, arrives_in_ms: u64, act: impl FnOnce() -> T + 'static) -> T {
        let travelling = tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(arrives_in_ms)).await;
            act()
        });
        let answer = travelling.await.unwrap();
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        answer
    }
}

/// The ports of a request in an isolate.
pub fn build(test: &TestApp, life: &Rc<Life>, event: &Rc<Event>) -> Rc<Ports> {
    let (faults, life) = (|| Rc::clone(&test.faults), || Rc::clone(life));
    let objects = Rc::new(TestObjects { objects: Rc::clone(&test.objects), faults: faults(), life: life() });
    Rc::new(Ports {
        db: Rc::new(TestDb { database: Rc::clone(&test.database), faults: faults(), life: life() }),
        kv: Rc::new(TestKv { cache: Rc::clone(&test.cache), faults: faults(), life: life() }),
        vectors: Rc::new(EmbeddedVectors { objects: Rc::clone(&objects) as Rc<dyn Objects> }),
        objects,
        fetch: Rc::new(TestFetch {
            upstream: Rc::clone(&test.upstream),
            stripe: Rc::clone(&test.stripe),
            faults: faults(),
            event: Rc::clone(event),
        }),
        clock: Rc::new(PausedClock),
        random: Rc::new(CountingRandom),
        background: Rc::new(LocalTasks { log: Rc::clone(&test.log), life: life(), event: Rc::clone(event) }),
    })
}

struct TestDb {
    database: Rc<Database>,
    faults: Rc<Faults>,
    life: Rc<Life>,
}

impl Db for TestDb {
    fn run(&self, statements: Vec<Statement>) -> Pending<'_, Result<Vec<RowSet>, PortError>> {
        Box::pin(async move {
            let fault = self.faults.next_of_db();
            let database = Rc::clone(&self.database);
            let run = move || (fault != Some(Fault::Before)).then(|| database.run(&statements));
            let sets = self.life.send(1 + self.faults.db_extra_ms.get(), run).await;
            fault.map_or(Ok(()), Err).map_err(Fault::to_error)?;
            sets.unwrap()
        })
    }
}

struct TestObjects {
    objects: Rc<LocalObjects>,
    faults: Rc<Faults>,
    life: Rc<Life>,
}

impl Objects for TestObjects {
    fn call(&self, binding: &'static str, name: &str, command: Vec<u8>) -> Pending<'_, Result<Vec<u8>, PortError>> {
        let name = name.to_owned();
        Box::pin(async move {
            let fault = self.faults.next_of_object(binding);
            let objects = Rc::clone(&self.objects);
            let run = move || {
                let is_run = fault != Some(Fault::Before);
                is_run.then(|| objects.call(binding, &name, &command, PausedClock.now_ms()))
            };
            let reply = self.life.send(self.faults.object_ms(binding), run).await;
            fault.map_or(Ok(()), Err).map_err(Fault::to_error)?;
            reply.unwrap().map_err(|e| PortError(format!("{e:?}")))
        })
    }
}

/// What the cache holds: values, and when they are gone.
#[derive(Default)]
pub struct Cache(RefCell<BTreeMap<String, (Vec<u8>, i64)>>);

impl Cache {
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Loses everything, as it may at any time.
    pub fn lose(&self) {
        self.0.borrow_mut().clear();
    }

    /// Makes rubbish of every value.
    pub fn spoil(&self) {
        self.0.borrow_mut().values_mut().for_each(|(value, _)| value.truncate(10));
    }

    /// Everything, for "nowhere in clear".
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }
}

struct TestKv {
    cache: Rc<Cache>,
    faults: Rc<Faults>,
    life: Rc<Life>,
}

impl TestKv {
    fn run<T: 'static>(
        &self,
        act: impl FnOnce(&mut BTreeMap<String, (Vec<u8>, i64)>) -> T + 'static,
    ) -> Pending<'_, Result<T, PortError>> {
        Box::pin(async move {
            let (fault, cache) = (self.faults.next_of_kv(), Rc::clone(&self.cache));
            let run = move || (fault != Some(Fault::Before)).then(|| act(&mut cache.0.borrow_mut()));
            let done = self.life.send(1, run).await;
            fault.map_or(Ok(()), Err).map_err(Fault::to_error)?;
            Ok(done.unwrap())
        })
    }
}

impl Kv for TestKv {
    fn get(&self, key: &str) -> Pending<'_, Result<Option<Vec<u8>>, PortError>> {
        let key = key.to_owned();
        self.run(move |cache| {
            let (value, gone_ms) = cache.get(&key)?;
            (PausedClock.now_ms() < *gone_ms).then(|| value.clone())
        })
    }

    fn put(&self, key: &str, value: Vec<u8>, ttl_s: u32) -> Pending<'_, Result<(), PortError>> {
        assert!(ttl_s >= 60, "Workers KV refuses less");
        assert!(key.len() <= 512, "and longer keys");
        let key = key.to_owned();
        self.run(move |cache| drop(cache.insert(key, (value, PausedClock.now_ms() + i64::from(ttl_s) * 1_000))))
    }

    fn delete(&self, key: &str) -> Pending<'_, Result<(), PortError>> {
        let key = key.to_owned();
        self.run(move |cache| drop(cache.remove(&key)))
    }
}

struct TestFetch {
    upstream: Rc<Upstream>,
    stripe: Rc<StripeDouble>,
    faults: Rc<Faults>,
    event: Rc<Event>,
}

impl Fetch for TestFetch {
    fn is_client_gone(&self) -> bool {
        self.event.client_leaves_ms.is_some_and(|leaves_ms| PausedClock.now_ms() >= leaves_ms)
    }

    fn send(&self, request: Outbound, tick: Rc<dyn Fn()>) -> Pending<'_, Result<Inbound, FetchError>> {
        if request.url.starts_with(STRIPE_API) {
            return Box::pin(async move { self.stripe.answer(request, PausedClock.now_ms()).await });
        }
        let calls = (self.faults.db_calls.get(), self.faults.object_calls.get());
        self.faults.calls_before_upstream.borrow_mut().push(calls);
        Box::pin(async move {
            if request.outlives_client && self.is_client_gone() {
                return Err(FetchError::ClientGone { was_asked: false });
            }
            let alone_ms = self.event.client_leaves_ms.filter(|_| request.outlives_client);
            let answer = self.upstream.answer(request);
            tokio::pin!(answer);
            loop {
                let now_ms = PausedClock.now_ms();
                if alone_ms.is_some_and(|since_ms| now_ms - since_ms >= i64::from(OUTLIVE_MS)) {
                    return Err(FetchError::ClientGone { was_asked: true });
                }
                match tokio::time::timeout(Duration::from_millis(u64::from(TICK_MS)), &mut answer).await {
                    Ok(inbound) => return inbound,
                    Err(_) => tick(),
                }
            }
        })
    }

    /// Streams come as chunks here.
    fn read_more<'a>(
        &'a self,
        _handle: &'a dyn Any,
        _wait_ms: u32,
        _tick: Rc<dyn Fn()>,
    ) -> Pending<'a, Result<Option<Vec<u8>>, FetchError>> {
        Box::pin(async { Ok(None) })
    }
}

pub struct PausedClock;

thread_local! {
    /// Where the paused clock of this scenario began.
    static ORIGIN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

/// Begins the time of a scenario: one thread may run several, each with a clock of its own.
pub fn begin_time() {
    ORIGIN.set(Some(tokio::time::Instant::now()));
}

impl Clock for PausedClock {
    fn now_ms(&self) -> i64 {
        let passed = ORIGIN.get().map_or(Duration::ZERO, |origin| origin.elapsed());
        1_800_000_000_000 + i64::try_from(passed.as_millis()).unwrap()
    }

    fn sleep_ms(&self, ms: u32) -> Pending<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(u64::from(ms))))
    }
}

struct CountingRandom;

thread_local! {
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

impl Random for CountingRandom {
    /// Never the same twice, and every run alike.
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let drawn = DRAWN.with(|drawn| drawn.replace(drawn.get() + 1));
            *byte = u8::try_from((drawn.wrapping_mul(2_654_435_761) >> 7) & 255).unwrap();
        }
    }
}

struct LocalTasks {
    log: Rc<RefCell<Vec<String>>>,
    life: Rc<Life>,
    event: Rc<Event>,
}

impl Background for LocalTasks {
    fn spawn(&self, task: Pending<'static, ()>) {
        if self.life.is_over() || self.event.is_over.get() {
            return;
        }
        let handle = tokio::task::spawn_local(task).abort_handle();
        for tasks in [&self.life.tasks, &self.event.tasks] {
            let mut tasks = tasks.borrow_mut();
            tasks.retain(|task| !task.is_finished());
            tasks.push(handle.clone());
        }
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
    }
}
