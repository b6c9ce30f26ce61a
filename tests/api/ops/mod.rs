//! Health, metrics, documents.

mod audit;
mod docs;
mod events;
mod health;
mod logs;
mod metrics;
mod rewards;
mod session;
mod stats;
mod tsdb;
