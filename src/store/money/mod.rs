//! What was used and charged.

pub mod usage;
