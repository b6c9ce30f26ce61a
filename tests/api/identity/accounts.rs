//! What an administrator does to accounts: credits and limits.

mod credits;
mod limits;
