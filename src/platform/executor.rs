//! Runs futures over JavaScript's promises.
//!
//! `wasm-bindgen-futures` makes two closures per awaited promise and goes through `queueMicrotask` for every step; on
//! workerd that was a third of a request's own cost. Here a promise is awaited by a number: `glue.js` calls
//! [`resume`] with it when the promise settles, and the task that waits goes on at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use wasm_bindgen::prelude::*;

/// What a settled promise gave.
pub type Settled = Result<JsValue, JsValue>;

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// `None` while it is being polled.
    future: Option<BoxedTask>,
    is_woken: bool,
    waker: Waker,
    /// When it last ran, or a call that it waits for ticked.
    seen_ms: i64,
}

#[derive(Default)]
struct Call {
    settled: Option<Settled>,
    waker: Option<Waker>,
    /// The task that waits.
    task: u32,
    tick: Option<Rc<dyn Fn()>>,
}

thread_local! {
    static TASKS: RefCell<BTreeMap<u32, Task>> = const { RefCell::new(BTreeMap::new()) };
    static CALLS: RefCell<BTreeMap<u32, Call>> = const { RefCell::new(BTreeMap::new()) };
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
    /// The task that is being polled.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
    static SWEPT_MS: Cell<i64> = const { Cell::new(0) };
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
}

/// A number that no open call or task has.
pub fn next_id() -> u32 {
    LAST_ID.with(|last| {
        last.set(last.get().wrapping_add(1));
        last.get()
    })
}

/// The time at which the running turn began: on Workers the clock stands still until the next event anyway.
pub fn now_ms() -> i64 {
    NOW_MS.get()
}

/// Every way into wasm calls this first.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of this age fit, and are whole")]
pub fn begin_turn() {
    NOW_MS.set(js_sys::Date::now() as i64);
}

struct TaskWaker(u32);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        run(self.0);
    }
}

/// Runs a task until it waits for the first time, and later whenever that for which it waits has come.
pub fn spawn(future: BoxedTask) {
    let id = next_id();
    let waker = Waker::from(Arc::new(TaskWaker(id)));
    let task = Task { future: Some(future), is_woken: false, waker, seen_ms: now_ms() };
    TASKS.with_borrow_mut(|tasks| tasks.insert(id, task));
    run(id);
}

/// A task of which nothing was heard for so long is of an event that the runtime has ended, in milliseconds. A call to the
/// outside ticks; nothing else but a very slow body takes minutes.
const LOST_MS: i64 = 15 * 60_000;
/// How often lost tasks are looked for, in milliseconds.
const SWEEP_MS: i64 = 60_000;

/// Drops the tasks of events that the runtime has ended without a word: what they hold of the isolate's money and places
/// comes back. What is begun on the way is the running event's.
pub fn drop_lost() {
    let now_ms = now_ms();
    if now_ms - SWEPT_MS.get() < SWEEP_MS {
        return;
    }
    SWEPT_MS.set(now_ms);
    let is_lost = |task: &Task| task.future.is_some() && now_ms - task.seen_ms > LOST_MS;
    // Dropped outside of the borrow: what the futures held may spawn tasks.
    let lost: Vec<Task> =
        TASKS.with_borrow_mut(|tasks| tasks.extract_if(.., |_, task| is_lost(task)).map(|(_, task)| task).collect());
    drop(lost);
}

fn run(id: u32) {
    loop {
        let taken = TASKS.with_borrow_mut(|tasks| {
            let task = tasks.get_mut(&id)?;
            // Woken while it is polled: whoever polls looks at this afterwards.
            task.is_woken = task.future.is_none();
            task.seen_ms = now_ms();
            Some((task.future.take()?, task.waker.clone()))
        });
        let Some((mut future, waker)) = taken else { return };
        let outer = RUNNING.replace(id);
        let is_ready = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        RUNNING.set(outer);
        if is_ready {
            // Dropped outside of the borrow: what the future held may spawn tasks.
            let done = TASKS.with_borrow_mut(|tasks| tasks.remove(&id));
            drop((future, done));
            return;
        }
        let is_woken = TASKS.with_borrow_mut(|tasks| {
            let task = tasks.get_mut(&id)?;
            task.future = Some(future);
            Some(task.is_woken)
        });
        if is_woken != Some(true) {
            return;
        }
    }
}

/// A promise that is waited for.
pub struct JsCall(u32);

impl JsCall {
    /// Begins a call: `start` hands the number to `glue.js`, which settles it.
    pub fn begin(start: impl FnOnce(u32)) -> Self {
        Self::begin_with(None, start)
    }

    /// As [`JsCall::begin`]; `glue.js` may call `tick` while the promise is open.
    pub fn begin_ticking(tick: Rc<dyn Fn()>, start: impl FnOnce(u32)) -> Self {
        Self::begin_with(Some(tick), start)
    }

    fn begin_with(tick: Option<Rc<dyn Fn()>>, start: impl FnOnce(u32)) -> Self {
        let id = next_id();
        CALLS.with_borrow_mut(|calls| calls.insert(id, Call { tick, task: RUNNING.get(), ..Call::default() }));
        start(id);
        Self(id)
    }
}

impl Future for JsCall {
    type Output = Settled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        CALLS.with_borrow_mut(|calls| {
            let Some(call) = calls.get_mut(&self.0) else { return Poll::Pending };
            match call.settled.take() {
                Some(settled) => Poll::Ready(settled),
                None => {
                    call.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for JsCall {
    fn drop(&mut self) {
        // Dropped outside of the borrow, as its tick may hold the last of a context.
        let call = CALLS.with_borrow_mut(|calls| calls.remove(&self.0));
        drop(call);
    }
}

/// How `glue.js` reports on a call: 0 resolved, 1 rejected, 2 still open.
#[wasm_bindgen]
pub fn resume(id: u32, kind: u8, value: JsValue) {
    begin_turn();
    if kind == 2 {
        let found = CALLS.with_borrow(|calls| calls.get(&id).map(|call| (call.task, call.tick.clone())));
        let Some((task, tick)) = found else { return };
        TASKS.with_borrow_mut(|tasks| {
            if let Some(task) = tasks.get_mut(&task) {
                task.seen_ms = now_ms();
            }
        });
        if let Some(tick) = tick {
            tick();
        }
        return;
    }
    let waker = CALLS.with_borrow_mut(|calls| {
        let call = calls.get_mut(&id)?;
        call.settled = Some(if kind == 0 { Ok(value) } else { Err(value) });
        call.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}
