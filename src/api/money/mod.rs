//! Balance and usage.

pub mod balance;
pub mod billing;
pub mod usage;
