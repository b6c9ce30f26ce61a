//! Health, metrics, documents.

mod audit;
mod docs;
mod events;
mod health;
mod logs;
mod metrics;
mod provider_health;
mod rewards;
mod session;
mod stats;
mod tsdb;
mod workflows;
