//! Guildhall's rules, without I/O: what the Worker, the objects and the tests all agree on.
//!
//! Nothing here reads a clock, draws random bytes or opens a connection: callers hand in the time
//! and the bytes.

mod decimal;
pub mod hex;

pub mod agent;
pub mod answer;
pub mod anthropic;
pub mod billing;
pub mod cache;
pub mod catalogue;
pub mod chat;
pub mod credential;
pub mod csv;
pub mod duration;
pub mod email;
pub mod ids;
pub mod json;
pub mod json_schema;
pub mod latency;
pub mod media;
pub mod money;
pub mod native;
pub mod outbound;
pub mod own;
pub mod password;
pub mod pricing;
pub mod responses;
pub mod reward;
pub mod routing;
pub mod sandbox;
pub mod seal;
pub mod secret;
pub mod time;
pub mod vector;
pub mod workspace;
