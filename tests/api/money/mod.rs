//! Balance and usage.

mod balance;
mod billing;
mod folding;
mod ledger;
mod reconciliation;
mod usage;
