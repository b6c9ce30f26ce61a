//! Balance and usage.

mod balance;
mod billing;
mod usage;
