//! What is kept of calls and of changes, for those who operate the platform: above `store`, below everything that serves.

pub mod audit;
pub mod counters;
pub mod events;
pub mod filing;
pub mod folding;
pub mod history;
pub mod reconciliation;
pub mod retention;
pub mod sums;
pub mod usage;
