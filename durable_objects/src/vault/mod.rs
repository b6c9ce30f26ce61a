//! The vault: secrets at rest under a password, and the one place that holds the key to them.

mod envelope;
#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
