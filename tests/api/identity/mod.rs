//! Accounts and keys.

mod accounts;
mod provision;
