//! What operators and newcomers look at: health, metrics, documents, the front page.

pub mod audit;
pub mod docs;
pub mod health;
pub mod metrics;
