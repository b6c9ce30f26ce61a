//! `/api/agents/*`.

mod agents;
mod checkouts;
mod me;
mod payouts;
mod wallet;
