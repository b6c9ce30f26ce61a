//! Model calls, and the providers and models behind them.

pub mod aliases;
pub mod catalog;
pub mod chat;
pub mod discover;
pub mod engine;
pub mod list;
#[expect(clippy::module_inception, reason = "the resource is called models")]
pub mod models;
pub mod native;
pub mod plan;
pub mod price;
pub mod providers;
pub mod routing;

pub use crate::http::page;
