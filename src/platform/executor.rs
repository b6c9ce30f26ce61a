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
}

#[derive(Default)]
struct Call {
    settled: Option<Settled>,
    waker: Option<Waker>,
    tick: Option<Rc<dyn Fn()>>,
}

thread_local! {
    static TASKS: RefCell<BTreeMap<u32, Task>> = const { RefCell::new(BTreeMap::new()) };
    static CALLS: RefCell<BTreeMap<u32, Call>> = const { RefCell::new(BTreeMap::new()) };
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
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
    TASKS.with_borrow_mut(|tasks| tasks.insert(id, Task { future: Some(future), is_woken: false, waker }));
    run(id);
}

fn run(id: u32) {
    loop {
        let taken = TASKS.with_borrow_mut(|tasks| {
            let task = tasks.get_mut(&id)?;
            // Woken while it is polled: whoever polls looks at this afterwards.
            task.is_woken = task.future.is_none();
            Some((task.future.take()?, task.waker.clone()))
        });
        let Some((mut future, waker)) = taken else { return };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
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
        CALLS.with_borrow_mut(|calls| calls.insert(id, Call { tick, ..Call::default() }));
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
        let tick = CALLS.with_borrow(|calls| calls.get(&id).and_then(|call| call.tick.clone()));
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
