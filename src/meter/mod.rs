//! Leases: how an isolate spends rate limits and money without a hop to an object per request.
//!
//! The objects stay the truth: what is leased is counted there before it is spent here, so that no limit and no
//! balance is ever exceeded, however many isolates there are. A lease lives about a second; then it is renewed while
//! it is in use and given back when it is not.

pub mod address;
pub mod batch;
pub mod lease;
pub mod limit;
pub mod money;
pub mod payer;
pub mod purse;
mod shift;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// An isolate's leases.
pub struct Meter {
    /// Names this isolate as a holder.
    holder: String,
    limits: RefCell<HashMap<String, lease::LimitLease>>,
    anonymous: RefCell<HashMap<String, address::Window>>,
    purses: RefCell<HashMap<String, money::Slot>>,
    batches: Cell<u64>,
    /// Whose records left this isolate lately, and when the last one did.
    settled: RefCell<HashMap<String, i64>>,
}

/// Owners remembered at most; the next one above starts anew.
const SETTLED_MAX: usize = 4_096;

impl Meter {
    /// An isolate without leases.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            holder: format!("iso_{seed:016x}"),
            limits: RefCell::default(),
            anonymous: RefCell::default(),
            purses: RefCell::default(),
            batches: Cell::new(0),
            settled: RefCell::default(),
        }
    }

    /// Owners whose calls have ended here since a time, the latest first.
    #[must_use]
    pub fn settled_since(&self, since_ms: i64) -> Vec<String> {
        let settled = self.settled.borrow();
        let mut owners: Vec<_> = settled.iter().filter(|(_, at_ms)| **at_ms >= since_ms).collect();
        owners.sort_by_key(|(owner, at_ms)| (std::cmp::Reverse(**at_ms), owner.as_str()));
        owners.into_iter().map(|(owner, _)| owner.clone()).collect()
    }

    fn note_settled(&self, owner: &str, now_ms: i64) {
        let mut settled = self.settled.borrow_mut();
        if let Some(at_ms) = settled.get_mut(owner) {
            *at_ms = now_ms;
            return;
        }
        if settled.len() >= SETTLED_MAX {
            settled.clear();
        }
        settled.insert(owner.to_owned(), now_ms);
    }

    /// Names a batch of records: never the same twice, because the wallet captures each name once.
    fn next_batch_id(&self) -> String {
        let batch = self.batches.get() + 1;
        self.batches.set(batch);
        format!("{}:{batch}", self.holder)
    }
}

/// Takes something back when it is dropped: a call that waits may be dropped while it does.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
