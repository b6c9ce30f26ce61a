//! Accounts, their keys and workspaces, and people.

pub mod accounts;
pub mod apikeys;
pub mod claims;
pub mod closure;
pub mod export;
mod fields;
mod key_fields;
mod key_view;
pub mod keys;
pub mod provision;
pub mod sessions;
pub mod sign_in;
mod workspace_names;
pub mod workspaces;
