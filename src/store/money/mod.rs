//! What was used and charged.

pub mod sandbox;
pub mod usage;
