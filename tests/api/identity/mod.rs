//! Accounts and keys.

mod accounts;
mod apikeys;
mod provision;
