//! The audit trail: one row per change that an administrator made.
//!
//! The row is part of the first transaction in which the request's handler writes, so there is no change without it and
//! no row without a change. What a handler changes elsewhere than in the database (a wallet, say) is written down when
//! it has succeeded, before the answer goes out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::app::Cx;
use crate::observe::events::{Event, publish};
use crate::ports::{Clock, Db, Pending, PortError, Ports, RowSet};
use crate::store::ops::audit::insert_audit;
use crate::store::sql::Statement;

const DETAIL_MAX_CHARS: usize = 4_000;
/// Waits between the attempts to write a row that no transaction took along.
const PAUSES_MS: [u32; 4] = [20, 100, 500, 2_000];

/// What the log will say of a request.
pub struct Trail {
    action: &'static str,
    resource: RefCell<String>,
    detail: RefCell<String>,
    request_id: Rc<str>,
    is_written: Cell<bool>,
}

/// A trail that is to be ended when the handler has succeeded.
pub struct OpenTrail {
    trail: Rc<Trail>,
    ports: Rc<Ports>,
}

impl Trail {
    /// Begins the trail of a request: from here on its context writes the log along with the change.
    #[must_use]
    pub fn begin(cx: Cx, action: &'static str, resource: String) -> (Cx, OpenTrail) {
        let trail = Rc::new(Self {
            action,
            resource: RefCell::new(resource),
            detail: RefCell::default(),
            request_id: Rc::clone(&cx.request_id),
            is_written: Cell::new(false),
        });
        let db =
            AuditedDb { inner: Rc::clone(&cx.ports.db), clock: Rc::clone(&cx.ports.clock), trail: Rc::clone(&trail) };
        let open = OpenTrail { trail: Rc::clone(&trail), ports: Rc::clone(&cx.ports) };
        let ports = Rc::new(Ports { db: Rc::new(db), ..(*cx.ports).clone() });
        (Cx { ports, trail: Some(trail), ..cx }, open)
    }

    /// Says what the change is about.
    pub fn set_resource(&self, id: &str) {
        id.clone_into(&mut self.resource.borrow_mut());
    }

    /// Says more of it.
    pub fn set_detail(&self, detail: &str) {
        *self.detail.borrow_mut() = detail.chars().take(DETAIL_MAX_CHARS).collect();
    }

    fn statement(&self, now_ms: i64) -> Statement {
        let (resource, detail) = (self.resource.borrow(), self.detail.borrow());
        insert_audit(now_ms, self.action, &resource, &detail, &self.request_id).statement
    }
}

impl OpenTrail {
    /// The change is made: sees to it that the log has it.
    pub async fn end(self) {
        let (action, resource) = (self.trail.action, self.trail.resource.borrow().clone());
        let happened = Event::of_change(action, &resource, &self.trail.request_id, self.ports.clock.now_ms());
        let ports = Rc::clone(&self.ports);
        self.ports.background.spawn(Box::pin(async move { publish(&ports, vec![happened]).await }));
        if self.trail.is_written.get() {
            return;
        }
        let row = self.trail.statement(self.ports.clock.now_ms());
        for pause_ms in PAUSES_MS {
            match self.ports.db.run(vec![row.clone()]).await {
                Ok(_) => return,
                Err(error) => self.ports.background.log(&format!("audit: {error}")),
            }
            self.ports.clock.sleep_ms(pause_ms).await;
        }
        // The change cannot be taken back: the log of the platform keeps what the database would not take.
        self.ports.background.log(&format!("audit row refused: {:?}", row.params));
    }
}

/// The database of an audited request.
struct AuditedDb {
    inner: Rc<dyn Db>,
    clock: Rc<dyn Clock>,
    trail: Rc<Trail>,
}

impl Db for AuditedDb {
    fn run(&self, mut statements: Vec<Statement>) -> Pending<'_, Result<Vec<RowSet>, PortError>> {
        Box::pin(async move {
            let takes_along = !self.trail.is_written.get() && statements.iter().any(Statement::is_write);
            if takes_along {
                statements.push(self.trail.statement(self.clock.now_ms()));
            }
            let mut sets = self.inner.run(statements).await?;
            if takes_along {
                self.trail.is_written.set(true);
                sets.pop();
            }
            Ok(sets)
        })
    }
}
