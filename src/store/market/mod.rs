//! Agents, and what they earn and withdraw.

pub mod agents;
pub mod withdrawals;
