//! What happens every hour; each part on its own, so that one that fails does not keep another from running.

use crate::auth::claim::drain_due;
use crate::meter::forfeit::forfeit_closed;
use crate::observe::retention::prune_all;
use crate::ports::Ports;

/// Runs the hour's jobs. What fails is logged and tried again in an hour.
pub async fn run_hourly(ports: &Ports) {
    if let Err(error) = prune_all(ports).await {
        ports.background.log(&format!("retention: {error}"));
    }
    if let Err(error) = drain_due(ports).await {
        ports.background.log(&format!("merged accounts: {error}"));
    }
    if let Err(error) = forfeit_closed(ports).await {
        ports.background.log(&format!("closed accounts: {error}"));
    }
}
