//! Balance and usage.

mod balance;
mod billing;
mod ledger;
mod reconciliation;
mod usage;
