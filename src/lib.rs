//! Guildhall: the edge platform that AI agents live on. This crate is the Worker.
//!
//! A request goes down the house and its answer comes up again; no arrow points the other way:
//!
//! | room | what it does |
//! |---|---|
//! | [`platform`] | the only place that knows the Workers runtime; implements the ports |
//! | [`http`] | matches, checks, limits, reads input, renders output and errors |
//! | [`auth`] | credential → [`auth::Caller`]; scopes |
//! | [`api`] | the handlers, one file per resource, each with its `routes!` list |
//! | [`gateway`] | what model endpoints share: the routing table, attempts, streams, settlement |
//! | [`payments`] | Stripe, and what its answers and events do to wallets |
//! | [`meter`] | leases: how an isolate spends limits and money without a hop per request |
//! | [`vault`] | asks the vault for secrets, and opens it where the deployment may |
//! | [`vectors`] | the `Vectors` port over Durable Objects |
//! | [`mail`] | sends mail, or shows it in the sandbox |
//! | [`observe`] | what is kept of calls and changes: filing, audit, events, retention |
//! | [`store`] | SQL, one `queries!` list per table family |
//! | [`jobs`] | what nobody's request asks for: the queue, the hour, the night |
//! | [`error`] | what can go wrong, for all of them; `http` says it in each API's words |
//! | [`ports`] | what all of them need from outside, as traits |
//!
//! Rules without I/O live in `domain/`, the Durable Objects in `durable_objects/`.

pub mod api;
pub mod app;
pub mod auth;
pub mod bindings;
pub mod config;
pub mod error;
pub mod gateway;
pub mod http;
pub mod jobs;
pub mod mail;
pub mod meter;
pub mod observe;
#[cfg(not(target_arch = "wasm32"))]
pub mod openapi;
pub mod payments;
#[cfg(target_arch = "wasm32")]
mod platform;
pub mod ports;
pub mod store;
pub mod vault;
pub mod vectors;

// The object classes are exported by their own crate; without this line the linker drops them silently.
#[cfg(target_arch = "wasm32")]
use durable_objects as _;
