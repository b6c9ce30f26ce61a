//! What happens every night.

use crate::observe::reconciliation::reconcile_nightly;
use crate::ports::Ports;

/// How long one event works; what is left is done by the night's next ones.
const TIME_MAX_MS: i64 = 120_000;

/// Goes on with the night's jobs. What fails is logged and tried again by the next event.
pub async fn run_nightly(ports: &Ports) {
    if let Err(error) = reconcile_nightly(ports, TIME_MAX_MS).await {
        ports.background.log(&format!("reconciliation: {error}"));
    }
}
