//! What was used and charged.

pub mod billing;
pub mod payments;
pub mod reconciliations;
pub mod record;
pub mod reports;
pub mod sandbox;
pub mod usage;
