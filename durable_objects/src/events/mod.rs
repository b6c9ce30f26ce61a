//! The live feed: what has happened lately, numbered, so that whoever lost the line goes on where it broke.

#[cfg(target_arch = "wasm32")]
mod object;
pub mod protocol;
pub mod state;
