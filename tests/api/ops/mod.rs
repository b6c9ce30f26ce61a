//! Health, metrics, documents.

mod docs;
mod health;
mod metrics;
