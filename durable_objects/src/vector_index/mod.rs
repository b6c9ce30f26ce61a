//! Vectors of one owner, and which of them are nearest to another: exact, in memory.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
