//! Who may call: accounts and their keys.

pub mod accounts;
pub mod claims;
pub mod erasure;
pub mod export;
pub mod keys;
pub mod people;
pub mod sessions;
pub mod sign_ins;
