//! Agents and their wallets, in Toku's words.

pub mod agents;
pub mod me;
mod profile;
pub mod wallet;
