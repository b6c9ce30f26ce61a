//! Health, metrics, documents.

mod audit;
mod docs;
mod health;
mod logs;
mod metrics;
mod rewards;
mod stats;
mod tsdb;
