//! Balance and usage.

pub mod balance;
pub mod usage;
