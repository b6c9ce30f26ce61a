//! Long work: created once, worked on in steps by whoever is awake, finished exactly once.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
