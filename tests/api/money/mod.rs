//! Balance and usage.

mod balance;
mod usage;
