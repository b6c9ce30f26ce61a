//! What happens every hour; each part on its own, so that one that fails does not keep another from running.

use crate::app::App;
use crate::auth::claim::drain_due;
use crate::gateway::own::check::recheck_all;
use crate::observe::history::end_abandoned_workflows;
use crate::observe::retention::prune_all;
use crate::ports::Ports;

/// Runs the hour's jobs. What fails is logged and tried again in an hour.
pub async fn run_hourly(app: &App, ports: &Ports) {
    if let Err(error) = prune_all(ports).await {
        ports.background.log(&format!("retention: {error}"));
    }
    if let Err(error) = end_abandoned_workflows(ports).await {
        ports.background.log(&format!("abandoned workflows: {error}"));
    }
    if let Err(error) = drain_due(ports).await {
        ports.background.log(&format!("merged accounts: {error}"));
    }
    // The longest comes last.
    if let Err(error) = recheck_all(app, ports).await {
        ports.background.log(&format!("checks of endpoints: {error}"));
    }
}
