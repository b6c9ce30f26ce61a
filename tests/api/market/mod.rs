//! `/api/agents/*`.

mod agents;
mod me;
mod payouts;
mod wallet;
