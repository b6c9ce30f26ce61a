//! Model calls.

mod chat;
mod endings;
mod fallback;
mod forwarding;
mod hot_path;
mod invalid;
mod kit;
mod list;
mod models;
mod pricing;
mod provider_health;
mod providers;
mod routing;
mod streams;
