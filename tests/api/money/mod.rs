//! Balance and usage.

mod balance;
mod ledger;
mod reconciliation;
mod usage;
