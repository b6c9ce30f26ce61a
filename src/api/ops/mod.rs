//! What operators and newcomers look at: health, metrics, documents, the front page.

pub mod admin_token;
pub mod audit;
pub mod console;
pub mod docs;
pub mod events;
pub mod health;
pub mod info;
pub mod logs;
pub mod metrics;
pub mod outbox;
pub mod provider_health;
pub mod rewards;
pub mod session;
pub mod stats;
pub mod tsdb;
pub mod workflows;
