//! Model calls, and the providers and models behind them.

pub mod aliases;
pub mod audio;
pub mod chat;
pub mod embeddings;
pub mod images;
mod kind;
pub mod list;
#[expect(clippy::module_inception, reason = "the resource is called models")]
pub mod models;
pub mod page;
pub mod providers;
pub mod routing;
pub mod videos;
