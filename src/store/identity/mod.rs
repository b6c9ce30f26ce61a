//! Who may call: accounts, their keys and workspaces.

pub mod accounts;
pub mod claims;
pub mod erasure;
pub mod export;
pub mod keys;
pub mod people;
pub mod sessions;
pub mod sign_ins;
pub mod workspaces;
