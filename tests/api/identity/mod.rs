//! Accounts, keys and people.

mod accounts;
mod apikeys;
mod claims;
mod closure;
mod export;
mod people;
mod provision;
mod sessions;
mod sign_in;
