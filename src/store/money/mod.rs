//! What was used and charged.

pub mod billing;
pub mod payments;
pub mod sandbox;
pub mod usage;
