//! Accounts, keys and people.

pub mod accounts;
pub mod apikeys;
pub mod claims;
mod key_fields;
pub mod provision;
pub mod sessions;
pub mod sign_in;
