//! Money: balances, holds, charges, transfers.

mod budgets;
mod charge;
mod debt;
mod draft;
mod holds;
mod ledger;
#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
mod refusal;
pub mod state;
mod transfer;
