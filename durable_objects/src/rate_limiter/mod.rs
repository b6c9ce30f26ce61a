//! Requests per second, minute and hour, and concurrency, per key or address.

mod bucket;
mod counts;
#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
mod window;
