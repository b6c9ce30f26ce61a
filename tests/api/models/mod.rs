//! Model calls.

mod chat;
mod forwarding;
mod invalid;
mod kit;
mod list;
mod models;
mod pricing;
mod providers;
mod streams;
