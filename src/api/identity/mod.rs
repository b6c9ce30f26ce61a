//! Accounts and keys.

pub mod accounts;
pub mod apikeys;
pub mod closure;
pub mod export;
mod key_fields;
pub mod provision;
