//! What operators look at.

pub mod admin_sessions;
pub mod admin_token;
pub mod audit;
pub mod counters;
pub mod logs;
pub mod outbox;
pub mod retention;
pub mod rewards;
pub mod rollups;
pub mod workflows;
