//! One run per caller and `Idempotency-Key`, and its answer replayed.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
