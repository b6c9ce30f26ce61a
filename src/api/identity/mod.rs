//! Accounts, keys and people.

pub mod accounts;
pub mod apikeys;
pub mod claims;
pub mod closure;
pub mod export;
mod key_fields;
pub mod provision;
pub mod sessions;
pub mod sign_in;
