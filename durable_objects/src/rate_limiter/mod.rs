//! Requests per minute and hour, and concurrency, per key or address.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
mod window;
