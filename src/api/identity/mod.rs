//! Accounts and keys.

pub mod accounts;
pub mod provision;
