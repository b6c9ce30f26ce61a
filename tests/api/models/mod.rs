//! Model calls.

mod aliases;
mod audio;
mod catalog;
mod chat;
mod discover;
mod embeddings;
mod endings;
mod engine;
mod fallback;
mod forwarding;
mod hostile;
mod hot_path;
mod images;
mod invalid;
mod kinds;
mod kit;
mod list;
mod media;
mod media_endings;
mod messages;
#[expect(clippy::module_inception, reason = "the resource is called models")]
mod models;
mod native;
mod negotiated;
mod plan;
mod price;
mod pricing;
mod provider_health;
mod providers;
mod responses;
mod retries;
mod routing;
mod routing_admin;
mod sandbox;
mod streams;
mod videos;
