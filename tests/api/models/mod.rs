//! Model calls.

mod aliases;
mod chat;
mod endings;
mod fallback;
mod forwarding;
mod hostile;
mod hot_path;
mod invalid;
mod kit;
mod list;
#[expect(clippy::module_inception, reason = "the resource is called models")]
mod models;
mod pricing;
mod provider_health;
mod providers;
mod retries;
mod routing;
mod routing_admin;
mod sandbox;
mod streams;
