//! What nobody's request asks for: the queue's consumer, and what happens every hour and every night.

pub mod hourly;
pub mod nightly;
pub mod steps;
pub mod usage;

use std::rc::Rc;

use crate::app::App;
use crate::ports::{PortError, Ports};

/// When the hour's jobs run, as `wrangler.toml` says it.
pub const HOURLY: &str = "17 * * * *";
/// When the night's jobs go on, as `wrangler.toml` says it.
pub const NIGHTLY: &str = "*/5 1-4 * * *";

/// Runs what is due at a cron's time; all of it for a cron that nobody knows, such as an event sent by hand.
pub async fn run_scheduled(app: &Rc<App>, ports: &Rc<Ports>, cron: &str) {
    if cron != NIGHTLY {
        hourly::run_hourly(app, ports).await;
    }
    if cron != HOURLY {
        nightly::run_nightly(ports).await;
    }
}

/// Consumes a batch of messages: usage records of wallets, and steps of jobs that are due.
///
/// # Errors
/// When the database or an object fails: the queue delivers the batch again.
pub async fn consume<'m>(
    app: &Rc<App>,
    ports: &Rc<Ports>,
    messages: impl Iterator<Item = &'m str>,
) -> Result<(), PortError> {
    // A message comes of one object, so its first item says what all are.
    let (steps, records): (Vec<_>, Vec<_>) = messages.partition(|message| message.starts_with(r#"[{"job":"#));
    usage::file_usage(ports, &records).await?;
    steps::take_steps(app, ports, &steps).await
}
