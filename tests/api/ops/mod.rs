//! Health, metrics, documents.

mod admin_token;
mod audit;
mod console;
mod docs;
mod events;
mod health;
mod logs;
mod metrics;
mod outbox;
mod provider_health;
mod rewards;
mod session;
mod stats;
mod tsdb;
mod workflows;
