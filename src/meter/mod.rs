//! Leases: how an isolate spends rate limits and money without a hop to an object per request.
//!
//! The objects stay the truth: what is leased is counted there before it is spent here, so that no limit and no
//! balance is ever exceeded, however many isolates there are. A lease lives about a second; then it is renewed while
//! it is in use and given back when it is not.

pub mod address;
pub mod lease;
pub mod limit;
pub mod money;
pub mod payer;
pub mod purse;

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
}

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
        }
    }

    /// Names a batch of records: never the same twice, because the wallet captures each name once.
    fn next_batch_id(&self) -> String {
        let batch = self.batches.get() + 1;
        self.batches.set(batch);
        format!("{}:{batch}", self.holder)
    }
}
