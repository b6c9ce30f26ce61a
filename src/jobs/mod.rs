//! Queue consumers.

pub mod usage;
