//! The shell around a machine on Workers: what has to wait.
//!
//! A step (read, decide, write, set the alarm) happens in one go, between two awaits, so no other event of the object
//! sees a half of it, and the platform makes its writes durable together before it lets the reply out. Effects come
//! after; what they come to is another step.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen::JsValue;
use worker::{
    Date, Delay, Env, Error, Method, QueueContentType, RawMessageBuilder, Request, RequestInit, Response, ResponseBody,
    Result, ScheduledTime, State, console_error,
};

use crate::connection::ObjectConnection;
use crate::host::{Host, HostError, Job, Turn, messages_of};
use crate::machine::Machine;
use crate::protocol::{Protocol, QUEUE_BINDING};
use crate::sql::SqlStore;

/// How soon an alarm that failed comes again, in milliseconds.
const ALARM_RETRY_MS: i64 = 60_000;

/// The whole of a Durable Object but its class name.
pub struct Shell<M> {
    core: Rc<Core<M>>,
}

/// Shared with the effects that run on after the reply.
struct Core<M> {
    state: State,
    env: Env,
    host: RefCell<Host<M, SqlStore<ObjectConnection>>>,
    /// Whether it is known which alarm an earlier life has left.
    knows_alarm: Cell<bool>,
    /// The alarm that is surely set; an earlier one may be.
    armed_at_ms: Cell<Option<i64>>,
    /// Whether a timer runs that will save.
    is_save_planned: Cell<bool>,
    /// For the queue, while the first of them waits for more.
    gathered: RefCell<Vec<String>>,
}

impl<M: Machine + 'static> Shell<M> {
    /// A sleeping object.
    pub fn new(state: State, env: Env) -> Self {
        // Objects are always addressed by name (`getByName`), which the runtime hands to every event, alarms included.
        let name = state.id().name().unwrap_or_default();
        let store = SqlStore::new(ObjectConnection::new(state.storage()), M::HAS_LEDGER);
        let host = RefCell::new(Host::new(name, store));
        let core = Core {
            state,
            env,
            host,
            knows_alarm: Cell::default(),
            armed_at_ms: Cell::default(),
            is_save_planned: Cell::default(),
            gathered: RefCell::default(),
        };
        Self { core: Rc::new(core) }
    }

    /// Obeys the command in the body of a request.
    pub async fn fetch(&self, mut request: Request) -> Result<Response> {
        let body = request.bytes().await?;
        self.core.recall_alarm().await?;
        let turn = self.core.host.borrow_mut().call(&body, now_ms());
        let turn = match turn {
            Ok(turn) => turn,
            Err(HostError::Undecodable(cause)) => return Response::error(cause, 400),
            Err(error) => {
                console_error!("{}: {error}", <M::Protocol as Protocol>::BINDING);
                return Response::error("the object failed", 500);
            }
        };
        self.core.arm(&turn).await?;
        let Turn { reply, jobs, .. } = turn;
        if !jobs.is_empty() {
            let core = Rc::clone(&self.core);
            self.core.state.wait_until(async move { core.perform(jobs).await });
        }
        Response::from_body(ResponseBody::Body(reply))
    }

    /// Does what is due. What fails is tried again by another alarm: the platform repeats one that fails only six times,
    /// within minutes, and then forgets it.
    pub async fn alarm(&self) -> Result<Response> {
        self.core.knows_alarm.set(true);
        self.core.armed_at_ms.set(None);
        if let Err(error) = self.core.alarm().await {
            console_error!("{}: an alarm failed and comes again: {error}", <M::Protocol as Protocol>::BINDING);
            self.core.set_alarm(now_ms() + ALARM_RETRY_MS).await?;
        }
        Response::empty()
    }
}

impl<M: Machine + 'static> Core<M> {
    /// Finds out which alarm is set: a call that wakes the object need not write it once more.
    async fn recall_alarm(&self) -> Result<()> {
        if !self.knows_alarm.get() {
            let set_at_ms = self.state.storage().get_alarm().await?;
            if !self.knows_alarm.replace(true) {
                self.armed_at_ms.set(set_at_ms);
            }
        }
        Ok(())
    }

    async fn alarm(self: &Rc<Self>) -> Result<()> {
        let turn = self.host.borrow_mut().alarm(now_ms());
        let turn = turn.map_err(|error| Error::RustError(error.to_string()))?;
        self.arm(&turn).await?;
        self.perform(turn.jobs).await;
        Ok(())
    }

    /// Starts the timer that saves, unless one runs.
    fn plan_save(self: &Rc<Self>, at_ms: i64) {
        if self.is_save_planned.replace(true) {
            return;
        }
        let delay_ms = u64::try_from(at_ms.saturating_sub(now_ms())).unwrap_or(0);
        let core = Rc::clone(self);
        self.state.wait_until(async move {
            Delay::from(Duration::from_millis(delay_ms)).await;
            core.is_save_planned.set(false);
            if let Err(error) = core.alarm().await {
                console_error!("{}: not saved: {error}", <M::Protocol as Protocol>::BINDING);
            }
        });
    }

    /// Sets the alarm, unless one is set that comes no later: an alarm too early costs less than a write per request,
    /// and sets the right one. Wipes the storage of an object that keeps nothing, so that it ceases to exist.
    ///
    /// Must be polled at once after the step, with no await in between, to be durable together with it.
    async fn arm(self: &Rc<Self>, turn: &Turn) -> Result<()> {
        if turn.vacant {
            self.host.borrow_mut().forget();
            self.armed_at_ms.set(None);
            self.state.storage().delete_alarm().await?;
            return self.state.storage().delete_all().await;
        }
        if let Some(at_ms) = turn.save_at_ms {
            self.plan_save(at_ms);
        }
        let Some(at_ms) = turn.alarm_at_ms else {
            return Ok(());
        };
        if self.armed_at_ms.get().is_none_or(|armed_at_ms| at_ms < armed_at_ms) {
            return self.set_alarm(at_ms).await;
        }
        Ok(())
    }

    async fn set_alarm(&self, at_ms: i64) -> Result<()> {
        self.armed_at_ms.set(Some(at_ms));
        let delay_ms = at_ms.saturating_sub(now_ms()).max(0);
        let set = self.state.storage().set_alarm(ScheduledTime::from(delay_ms)).await;
        set.inspect_err(|_| self.armed_at_ms.set(None))
    }

    /// Performs jobs, and those that come of them. What fails stays in the outbox.
    async fn perform(self: &Rc<Self>, jobs: Vec<Job>) {
        let mut todo = VecDeque::from(jobs);
        while let Some(job) = todo.pop_front() {
            match self.perform_one(job).await {
                Ok(more) => todo.extend(more),
                Err(error) => console_error!(
                    "{}: an effect failed and will be tried again: {error}",
                    <M::Protocol as Protocol>::BINDING
                ),
            }
        }
    }

    async fn perform_one(self: &Rc<Self>, job: Job) -> Result<Vec<Job>> {
        match job {
            Job::Send { items } => {
                self.send(items).await?;
                Ok(Vec::new())
            }
            Job::Deliver { id, binding, name, command } => {
                let answer = self.deliver(&binding, &name, &command).await?;
                let turn = self.host.borrow_mut().delivered(&id, &answer, now_ms());
                let turn = turn.map_err(|error| Error::RustError(error.to_string()))?;
                self.arm(&turn).await?;
                Ok(turn.jobs)
            }
        }
    }

    /// Sends items to the queue, together with those that come while the first of them wait.
    async fn send(&self, items: Vec<String>) -> Result<()> {
        let is_first = self.gathered.borrow().is_empty();
        self.gathered.borrow_mut().extend(items);
        if !is_first {
            return Ok(());
        }
        if M::GATHER_MS > 0 {
            Delay::from(Duration::from_millis(M::GATHER_MS)).await;
        }
        // Whatever fails from here on, the next items are the first again.
        let messages = messages_of(self.gathered.take());
        let queue = self.env.queue(QUEUE_BINDING)?;
        for message in messages {
            let message = RawMessageBuilder::new(JsValue::from_str(&message));
            queue.send_raw(message.build_with_content_type(QueueContentType::Text)).await?;
        }
        Ok(())
    }

    /// Sends a command to another object and returns its reply.
    async fn deliver(&self, binding: &str, name: &str, command: &str) -> Result<Vec<u8>> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(JsValue::from_str(command)));
        let request = Request::new_with_init("https://object/", &init)?;
        let mut response = self.env.durable_object(binding)?.get_by_name(name)?.fetch_with_request(request).await?;
        match response.status_code() {
            200 => response.bytes().await,
            status => Err(Error::RustError(format!("{binding} answered {status}"))),
        }
    }
}

/// The time of the event; milliseconds since 1970.
fn now_ms() -> i64 {
    i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX)
}
