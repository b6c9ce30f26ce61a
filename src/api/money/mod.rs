//! Balance, usage and the books.

pub mod balance;
pub mod ledger;
pub mod reconciliation;
pub mod usage;
pub mod usage_history;
mod usage_rows;
mod usage_scope;
pub mod usage_stats;
