//! What operators look at.

pub mod audit;
