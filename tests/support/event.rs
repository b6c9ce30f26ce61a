//! What the platform knows of one event.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// How long the platform lets a request's tasks run once it is answered or its client has left.
pub const GRACE: Duration = Duration::from_secs(30);

/// What a request's ports know of it.
#[derive(Default)]
pub struct Event {
    pub tasks: RefCell<Vec<tokio::task::AbortHandle>>,
    pub is_over: Cell<bool>,
    /// When its client leaves, if it does.
    pub client_leaves_ms: Option<i64>,
}

impl Event {
    pub fn of_client(leaves_ms: Option<i64>) -> Rc<Self> {
        Rc::new(Self { client_leaves_ms: leaves_ms, ..Self::default() })
    }

    /// The platform ends its tasks; gives how many were not done.
    pub fn end(&self) -> usize {
        self.is_over.set(true);
        let left: Vec<_> = self.tasks.take().into_iter().filter(|task| !task.is_finished()).collect();
        left.iter().for_each(tokio::task::AbortHandle::abort);
        left.len()
    }
}
