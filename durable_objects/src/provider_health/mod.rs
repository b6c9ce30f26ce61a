//! How the providers are doing, as all isolates together have seen it.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
