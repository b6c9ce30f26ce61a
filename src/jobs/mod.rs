//! What nobody's request asks for: the queue's consumer, and what happens every hour.

pub mod hourly;
pub mod steps;
pub mod usage;

use std::rc::Rc;

use crate::app::App;
use crate::ports::{PortError, Ports};

/// Consumes a batch of messages: usage records of wallets, and steps of jobs that are due.
///
/// # Errors
/// When the database or an object fails: the queue delivers the batch again.
pub async fn consume(app: &Rc<App>, ports: &Rc<Ports>, messages: Vec<String>) -> Result<(), PortError> {
    // A message comes of one object, so its first item says what all are.
    let (steps, records): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.starts_with(r#"[{"job":"#));
    usage::file_usage(ports, &records).await?;
    steps::take_steps(app, ports, &steps).await
}
