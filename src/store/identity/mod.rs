//! Who may call: accounts and their keys.

pub mod accounts;
pub mod keys;
pub mod people;
pub mod sessions;
