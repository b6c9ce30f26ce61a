//! What was used and charged.

pub mod reconciliations;
pub mod reports;
pub mod usage;
