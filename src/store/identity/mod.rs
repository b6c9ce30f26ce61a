//! Who may call: accounts and their keys.

pub mod accounts;
pub mod erasure;
pub mod export;
pub mod keys;
pub mod people;
pub mod sessions;
