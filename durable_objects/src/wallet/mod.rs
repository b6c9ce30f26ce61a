//! Money: balances, holds, charges, transfers.

mod answers;
mod audit;
mod budgets;
mod charge;
mod debt;
mod draft;
mod fold;
mod heir;
mod holds;
mod ledger;
mod maturity;
mod merge;
mod movement;
#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
mod refusal;
pub mod state;
mod transfer;
