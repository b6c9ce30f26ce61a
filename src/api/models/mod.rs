//! Model calls, and the providers and models behind them.

pub mod aliases;
pub mod audio;
pub mod cache;
pub mod catalog;
pub mod chat;
pub mod discover;
mod done;
pub mod embeddings;
pub mod engine;
pub mod images;
mod kind;
pub mod list;
pub mod local_endpoints;
pub mod messages;
#[expect(clippy::module_inception, reason = "the resource is called models")]
pub mod models;
pub mod native;
pub mod plan;
pub mod price;
pub mod provider_keys;
pub mod providers;
pub mod responses;
pub mod routing;
mod shapes;

pub use crate::http::page;
pub mod videos;
