//! Accounts and keys.

pub mod accounts;
pub mod apikeys;
mod key_fields;
pub mod provision;
