//! Model calls, and the providers and models behind them.

pub mod aliases;
pub mod chat;
pub mod list;
#[expect(clippy::module_inception, reason = "the resource is called models")]
pub mod models;
pub mod page;
pub mod providers;
pub mod routing;
