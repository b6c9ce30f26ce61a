//! Who may call: accounts, their keys and workspaces.

pub mod accounts;
pub mod keys;
pub mod people;
pub mod sessions;
pub mod workspaces;
