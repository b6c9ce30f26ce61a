//! Accounts, their keys and workspaces.

pub mod accounts;
pub mod apikeys;
mod fields;
mod key_fields;
mod key_view;
pub mod keys;
pub mod provision;
mod workspace_names;
pub mod workspaces;
