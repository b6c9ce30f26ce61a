//! Health, metrics, documents.

mod audit;
mod docs;
mod health;
mod metrics;
