//! Guildhall's Durable Objects.
//!
//! An object is three files: `protocol.rs` (commands and replies, used by both sides), `state.rs` (a pure
//! [`machine::Machine`], with its parts beside it) and `object.rs` (the class, a few lines). One mechanism serves them
//! all:
//!
//! ```text
//! command ─▶ shell (Workers) or local (native) ─▶ host ─▶ machine     decides, without I/O
//!                                                  │
//!                                                  └────▶ store       SQLite, or maps in memory
//! ```
//!
//! A new object: its three files, a line in [`local`], and its class in `wrangler.toml` and `src/platform/shim.js`.

#[cfg(target_arch = "wasm32")]
mod connection;
pub mod events;
pub mod host;
pub mod idempotency;
pub mod job;
#[cfg(not(target_arch = "wasm32"))]
pub mod local;
pub mod machine;
#[cfg(not(target_arch = "wasm32"))]
pub mod memory;
pub mod protocol;
pub mod provider_health;
pub mod rate_limiter;
#[cfg(target_arch = "wasm32")]
mod shell;
pub mod sql;
pub mod store;
pub mod vault;
pub mod vector_index;
pub mod wallet;
