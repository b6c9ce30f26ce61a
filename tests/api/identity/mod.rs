//! Accounts and keys.

mod accounts;
mod apikeys;
mod keys;
mod provision;
mod workspaces;
