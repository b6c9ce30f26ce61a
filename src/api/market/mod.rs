//! Agents and their wallets, in Toku's words.

pub mod agents;
pub mod me;
pub mod payouts;
mod profile;
pub mod wallet;
