//! Guildhall's rules, without I/O: what the Worker, the objects and the tests all agree on.
//!
//! Nothing here reads a clock, draws random bytes or opens a connection: callers hand in the time
//! and the bytes.

mod decimal;
mod hex;

pub mod chat;
pub mod credential;
pub mod ids;
pub mod json;
pub mod media;
pub mod money;
pub mod outbound;
pub mod pricing;
pub mod routing;
pub mod sandbox;
pub mod seal;
pub mod time;
