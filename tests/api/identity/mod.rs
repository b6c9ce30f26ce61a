//! Accounts and keys.

mod accounts;
mod apikeys;
mod closure;
mod export;
mod provision;
