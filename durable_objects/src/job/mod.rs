//! Long work: created once, worked on in steps by whoever is awake, finished exactly once.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
mod run;
pub mod state;
